package daemon

import (
	"fmt"
	"hash/fnv"
	"time"

	"watchbill"
	"watchbill/internal/store"
)

// notices is the incident of pages that belong to none: what somebody should know
// and need not take. They are rows of the outbox like all others, but nothing
// escalates from them.
const notices watchbill.IncidentID = 0

// stale is when a notice is of no use any more.
const stale = time.Hour

// notice is what somebody should know.
type notice struct {
	to     watchbill.PersonID
	at     time.Time // of what it is about; zero is now
	about  string    // with the instant it makes the notice one of its own, sent once
	title  string
	impact string // what it means, one thing a line
	action string // what the reader may do
	why    string
}

// tell puts a notice into the outbox, by the person's first method. Who is not one
// of the people any more, or never was, is told nothing.
func (w *work) tell(n notice) error {
	person, ok := w.people[n.to]
	if !ok {
		return nil
	}
	m := w.notifier.Methods(person, watchbill.Sev4, w.now)[0]
	if n.at.IsZero() {
		n.at = w.now
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.about))
	return w.tx.PutPage(watchbill.Page{
		Incident: notices, Generation: int(n.at.Unix()), Step: int(h.Sum32()), Person: n.to, Method: m.Receiver, Due: w.now,
		Content: watchbill.PageContent{
			Severity: watchbill.Sev4, Service: "watchbill", Title: n.title, Impact: n.impact, FirstAction: n.action, Why: n.why,
			Since: w.now, At: w.now, LocalAt: w.now.In(person.Zone()).Format("Mon 15:04 MST"),
			Reason: "for your information", To: n.to, ToName: person.Name, ToEmail: person.Email,
			Labels: watchbill.Labels{"alertname": "WatchbillNotice"},
		},
	})
}

// noticeNeeded reports whether a notice is still worth sending.
func noticeNeeded(d watchbill.Delivery, row store.PageRow, now time.Time) (bool, string) {
	switch {
	case row.State != "pending":
		return false, "it is " + row.State
	case row.Attempt != d.Attempt:
		return false, fmt.Sprintf("attempt %d has begun", row.Attempt)
	case now.Sub(d.Page.Due) > stale:
		return false, "it is too old to be of use"
	}
	return true, ""
}

// finishNotice records the result. What a receiver refuses goes to the person's
// next method.
func (w *work) finishNotice(out watchbill.Outcome) error {
	if err := w.tx.FinishAttempt(out); err != nil || out.Result != watchbill.ResultRefused {
		return err
	}
	p, person := out.Delivery.Page, w.people[out.Delivery.Page.Person]
	methods := w.notifier.Methods(person, watchbill.Sev4, w.now)
	for i, m := range methods[:len(methods)-1] {
		if m.Receiver == p.Method {
			p.Method, p.Due = methods[i+1].Receiver, w.now
			return w.tx.PutPage(p)
		}
	}
	return nil
}
