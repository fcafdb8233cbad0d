package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/notify"
	"watchbill/internal/store"
)

// outbox is the flow as the page worker sees it: [notify.Outbox] over the store.
type outbox struct{ *flow }

// Claim leases due pages. It reads first: an idle round must not write.
func (o outbox) Claim(ctx context.Context, c notify.Claim) ([]watchbill.Delivery, error) {
	next, err := o.NextDue(ctx, c.Queue)
	if err != nil || next.IsZero() || next.After(c.Now) {
		return nil, err
	}
	var claimed []watchbill.Delivery
	reserved := map[watchbill.PersonID]int{}
	err = o.store.Update(ctx, func(tx *store.Tx) (err error) {
		claimed, err = o.claim(tx, store.Claim{Method: c.Method, Known: c.Except, Now: c.Now, Lease: c.Lease, Limit: c.Limit}, reserved)
		return err
	})
	if err != nil {
		for person, n := range reserved {
			for range n {
				o.storm.giveBack(person)
			}
		}
	}
	o.codes.equip(claimed, o.rooms.Load().externalURL)
	return claimed, err
}

// NextDue returns when the next page of a queue can be claimed.
func (o outbox) NextDue(ctx context.Context, q notify.Queue) (time.Time, error) {
	var next time.Time
	err := o.store.View(ctx, func(tx *store.Tx) (err error) {
		next, err = tx.NextPage(store.Claim{Method: q.Method, Known: q.Except})
		return err
	})
	return next, err
}

// Needed reports whether a page must still be sent, or why not.
func (o outbox) Needed(ctx context.Context, d watchbill.Delivery) (bool, string, error) {
	if d.Page.Incident == store.SelfTestID { // one that is over takes its page along
		return true, "", nil
	}
	if len(d.Bundle) > 0 {
		return o.bundleNeeded(ctx, d)
	}
	var inc watchbill.Incident
	var row store.PageRow
	if d.Page.Incident == notices {
		newer := false
		err := o.store.View(ctx, func(tx *store.Tx) (err error) {
			row, _, err = tx.Page(d.ID)
			return err
		})
		if err == nil && edits(d) {
			err = o.store.View(ctx, func(tx *store.Tx) (err error) {
				newer, err = tx.NewerEdit(d.Page)
				return err
			})
		}
		if newer {
			return false, "there is a newer edit of the message", err
		}
		needed, why := noticeNeeded(d, row, time.Now())
		return needed, why, err
	}
	err := o.store.View(ctx, func(tx *store.Tx) (err error) {
		if inc, err = tx.Incident(d.Page.Incident); err != nil {
			return err
		}
		row, _, err = tx.Page(d.ID)
		return err
	})
	switch {
	case err != nil:
		return false, "", err
	case row.State != "pending":
		return false, "it is " + row.State, nil
	case row.Attempt != d.Attempt:
		return false, fmt.Sprintf("attempt %d has begun", row.Attempt), nil
	case d.Page.Call != "":
		needed, why := callNeeded(inc, d.Page)
		return needed, why, nil
	case inc.Generation != d.Page.Generation:
		return false, fmt.Sprintf("generation %d has begun", inc.Generation), nil
	case inc.State != watchbill.StateOpen:
		return false, fmt.Sprintf("%s is %s", inc.ID, inc.State), nil
	case slices.Contains(inc.Acks, d.Page.Person):
		return false, fmt.Sprintf("%s acknowledged", d.Page.Person), nil
	}
	return true, "", nil
}

// Finish records the result of an attempt. A page that its receiver refused
// makes the person's next method due at once; after the last method, the next
// step of the path.
func (o outbox) Finish(ctx context.Context, out watchbill.Outcome) error {
	if out.Delivery.Page.Incident == store.SelfTestID {
		return o.finishSelfTest(ctx, out)
	}
	if edits(out.Delivery) {
		return o.store.Update(ctx, func(tx *store.Tx) error { return tx.FinishAttempt(out) })
	}
	if out.Result != watchbill.ResultDelivered {
		o.storm.giveBack(out.Delivery.Page.Person)
	}
	if len(out.Delivery.Bundle) > 0 {
		return o.finishBundle(ctx, out)
	}
	unreached := ""
	err := o.update(ctx, func(w *work) (err error) {
		unreached, err = w.finish(out)
		return err
	})
	if err == nil && unreached != "" {
		o.health.unreached(unreached)
	}
	return err
}

// finish records the result of one page's attempt, and says so if nobody could be
// reached by it.
func (w *work) finish(out watchbill.Outcome) (unreached string, err error) {
	if out.Delivery.Page.Incident == notices {
		return "", w.finishNotice(out)
	}
	if err := w.tx.FinishAttempt(out); err != nil {
		return "", err
	}
	inc, err := w.incident(out.Delivery.Page.Incident)
	if err != nil {
		return "", err
	}
	if err := w.editable(inc, out); err != nil {
		return "", err
	}
	p := out.Delivery.Page
	what := fmt.Sprintf("%s by %s, attempt %d (%s)", p.Person, p.Method, out.Delivery.Attempt, p.Key())
	switch out.Result {
	case watchbill.ResultDelivered:
		if strings.HasPrefix(out.Detail, "in one message") {
			what += " " + out.Detail
		}
		return "", w.save(&inc, w.event(watchbill.EventPageSent, "paged %s", what))
	case watchbill.ResultDropped:
		return "", w.save(&inc, w.event(watchbill.EventPageDropped, "not sent: %s: %s", what, out.Detail))
	case watchbill.ResultRetry:
		if out.Delivery.Attempt > 1 { // the first failure is on the timeline, the rest in the attempts
			return "", nil
		}
		return "", w.save(&inc, w.event(watchbill.EventPageFailed, "could not page %s: %s", what, out.Detail))
	case watchbill.ResultRefused:
		if unreached, err = w.unreached(out.Delivery); err != nil {
			return "", err
		}
		return unreached, w.refused(inc, out, what)
	}
	return "", nil
}

// unreached says so if every method of a person refused the page of a step, and
// this attempt was the last of them.
func (w *work) unreached(d watchbill.Delivery) (string, error) {
	before, err := w.tx.RefusedBefore(d)
	if err != nil || before {
		return "", err
	}
	refused, err := w.tx.RefusedPages(d.Page.Incident)
	if err != nil {
		return "", err
	}
	pages, err := w.tx.PagesOf(d.Page.Incident)
	if err != nil {
		return "", err
	}
	for _, x := range pages {
		if x.Generation == d.Page.Generation && x.Step == d.Page.Step && x.Person == d.Page.Person && !refused[x.ID] {
			return "", nil
		}
	}
	return fmt.Sprintf("every way to reach %s was refused for a page of %s", d.Page.Person, d.Page.Incident), nil
}

func (w *work) refused(inc watchbill.Incident, out watchbill.Outcome, what string) error {
	before, err := w.tx.RefusedBefore(out.Delivery)
	if err != nil || before { // its first refusal was acted on
		return err
	}
	then, err := w.fallBack(inc, out.Delivery.Page)
	if err != nil {
		return err
	}
	return w.save(&inc, w.event(watchbill.EventPageFailed, "refused: %s: %s; %s", what, out.Detail, then))
}

// fallBack hastens the person's next method, else the next step, unless that
// only repeats the last one.
func (w *work) fallBack(inc watchbill.Incident, p watchbill.Page) (string, error) {
	pages, err := w.tx.PagesOf(inc.ID)
	if err != nil {
		return "", err
	}
	pages = slices.DeleteFunc(pages, func(x store.PageRow) bool {
		return x.Generation != p.Generation || x.Step != p.Step || x.Person != p.Person || x.Method == p.Method || x.State != "pending" || x.Attempt > 0
	})
	if len(pages) > 0 {
		_, err := w.tx.HastenPage(pages[0].Key(), w.now)
		return "next by " + pages[0].Method + " at once", err
	}
	if inc.State != watchbill.StateOpen || inc.Generation != p.Generation {
		return "no other way is left", nil
	}
	if p.Step < 0 || p.Step+1 >= inc.Path.Len() { // what repeats reaches the same people: it keeps its pace
		return "the path goes on", nil
	}
	timers, err := w.tx.TimersOf(inc.ID)
	if err != nil {
		return "", err
	}
	for _, tm := range timers {
		if tm.Kind == watchbill.TimerStep && tm.Step == p.Step+1 && tm.Due.After(w.now) && !w.othersReached(inc, p) {
			tm.Due = w.now
			return "nobody else of this step is left, so the next step fires at once", w.tx.SetTimer(tm)
		}
	}
	return "the path goes on", nil
}

// othersReached reports whether the step paged somebody else, who may answer.
func (w *work) othersReached(inc watchbill.Incident, p watchbill.Page) bool {
	pages, err := w.tx.PagesOf(inc.ID)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(pages, func(x store.PageRow) bool {
		return x.Generation == p.Generation && x.Step == p.Step && x.Person != p.Person
	})
}
