package daemon

import (
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// pageViews are an incident's pages with what is known of each, which are different
// things: that it was attempted, accepted by a receiver, delivered as the provider
// says, opened, and answered.
func pageViews(tx *store.Tx, id watchbill.IncidentID) ([]web.PageView, error) {
	d, err := deliveriesOf(tx, id)
	if err != nil {
		return nil, err
	}
	views := make([]web.PageView, len(d.pages))
	for i, p := range d.pages {
		views[i] = web.PageView{Key: p.Key(), Page: p.Page, State: p.State, Attempts: p.Attempt, Known: d.known(p.ID)}
	}
	return views, nil
}

// deliveries is what became of an incident's pages.
type deliveries struct {
	pages    []store.PageRow
	attempts []store.Attempt
	receipts []watchbill.Receipt
}

func deliveriesOf(tx *store.Tx, id watchbill.IncidentID) (d deliveries, err error) {
	if d.pages, err = tx.PagesOf(id); err != nil {
		return d, err
	}
	if d.attempts, err = tx.AttemptsOf(id); err != nil {
		return d, err
	}
	d.receipts, err = tx.ReceiptsOf(id)
	return d, err
}

// known is what is known of one page.
func (d deliveries) known(page int64) web.PageKnown {
	var k web.PageKnown
	for _, a := range d.attempts {
		if a.Page != page || a.Result == watchbill.ResultDropped {
			continue
		}
		if k.Attempted.IsZero() {
			k.Attempted = a.At
		}
		if a.Result == watchbill.ResultDelivered && k.Accepted.IsZero() {
			k.Accepted = a.At
		}
	}
	for _, r := range d.receipts {
		if r.Page != page {
			continue
		}
		switch r.Kind {
		case watchbill.ReceiptDelivered:
			k.Delivered = r.At
		case watchbill.ReceiptFailed:
			k.Failed, k.Failure = r.At, r.Detail
		case watchbill.ReceiptOpened:
			k.Opened = r.At
		case watchbill.ReceiptAcknowledged:
			k.Acknowledged = r.At
		}
	}
	return k
}

// status says how an incident stands, on a chat's message that is edited.
func status(inc watchbill.Incident, now time.Time) string {
	at := now.UTC().Format("15:04 UTC")
	switch inc.State {
	case watchbill.StateAcknowledged:
		return fmt.Sprintf("acknowledged by %s at %s, until %s", inc.AcknowledgedBy, at, inc.AckDeadline.UTC().Format("15:04 UTC"))
	case watchbill.StateResolved:
		if inc.ResolvedBy != "" {
			return fmt.Sprintf("resolved by %s at %s", inc.ResolvedBy, at)
		}
		return "resolved at " + at
	case watchbill.StateOpen:
		return "open again since " + at
	case watchbill.StateClosed:
	}
	return ""
}

// edit has the messages about an incident say how it stands now. Each is a row of the
// outbox of its own, which is not needed once there is a newer one.
func (w *work) edit(inc watchbill.Incident, events []watchbill.Event) error {
	turned := slices.ContainsFunc(events, func(e watchbill.Event) bool {
		return slices.Contains([]watchbill.EventKind{watchbill.EventAcknowledged, watchbill.EventResolved, watchbill.EventReopened, watchbill.EventAckExpired}, e.Kind)
	})
	if !turned || inc.ID <= 0 {
		return nil
	}
	messages, err := w.tx.MessagesOf(inc.ID)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := w.editOne(inc, m); err != nil {
			return err
		}
	}
	return nil
}

// editable remembers the messages of chats that an attempt sent. What happened while
// it was on its way is said at once.
func (w *work) editable(inc watchbill.Incident, out watchbill.Outcome) error {
	for _, m := range out.Sent {
		if err := w.tx.PutMessage(m); err != nil {
			return err
		}
		if inc.State != watchbill.StateOpen {
			if err := w.editOne(inc, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *work) editOne(inc watchbill.Incident, m watchbill.SentMessage) error {
	row, found, err := w.tx.Page(m.Page)
	if err != nil || !found {
		return err
	}
	p := row.Page
	p.Content.Status, p.Content.At, p.Content.Incident = status(inc, w.now), w.now, inc.ID
	p.Content.Next, p.Content.Severity = "", inc.Severity
	// The key names the message and the event that this follows.
	p.Incident, p.Generation, p.Step, p.Due, p.Edit = notices, int(m.Page), int(inc.Seq), w.now, &m
	p.Person = watchbill.PersonID(fmt.Sprintf("%s edit %s", p.Person, m.Integration))
	return w.tx.PutPage(p)
}

// edits reports whether a delivery changes a message instead of sending one.
func edits(d watchbill.Delivery) bool { return d.Page.Edit != nil }

// waits are the pages of an incident that wait for quiet hours to end.
func (w *work) waits(inc watchbill.Incident) (map[[2]string]time.Time, error) {
	quiet := false
	for _, p := range w.people {
		quiet = quiet || p.Quiet != nil
	}
	if inc.Severity != watchbill.Sev3 || inc.ID == 0 || !quiet {
		return nil, nil
	}
	pages, err := w.tx.PagesOf(inc.ID)
	waits := map[[2]string]time.Time{}
	for _, p := range pages {
		if p.Generation == inc.Generation && p.State == "pending" && p.Attempt == 0 {
			waits[[2]string{string(p.Person), p.Method}] = p.NextDue
		}
	}
	return waits, err
}
