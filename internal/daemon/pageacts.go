package daemon

import (
	"cmp"
	"context"
	"crypto/hmac"
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// PageAct shows a page to whoever has its link. It changes nothing but that the page
// counts as opened.
func (f *flow) PageAct(ctx context.Context, page int64, token string, opened bool) (web.ActView, error) {
	row, inc, err := f.linked(ctx, page, token)
	if err != nil {
		return web.ActView{}, err
	}
	if opened {
		if err := f.opened(ctx, row); err != nil { // it is still worth reading
			f.logger.WarnContext(ctx, "cannot record that a page was opened", "page", row.Key(), "err", err)
		}
	}
	return actView(row, inc), nil
}

// linked returns the page that a link leads to.
func (f *flow) linked(ctx context.Context, page int64, token string) (row store.PageRow, inc watchbill.Incident, err error) {
	found := false
	err = f.store.View(ctx, func(tx *store.Tx) error {
		if row, found, err = tx.Page(page); err != nil || !found || row.Incident <= 0 {
			return err
		}
		inc, err = tx.Incident(row.Incident)
		return err
	})
	if err != nil {
		return row, inc, err
	}
	want := ""
	if found && row.Incident > 0 && row.Edit == nil && !row.Content.Copy && f.codes != nil {
		want = f.codes.token(row.Key())
	}
	if want == "" || !hmac.Equal([]byte(want), []byte(token)) {
		return row, inc, watchbill.Errorf(watchbill.CodeNotFound, "open the link as it stands in the page", "there is no such page")
	}
	return row, inc, nil
}

// opened records that a page was opened, the first time.
func (f *flow) opened(ctx context.Context, row store.PageRow) error {
	return f.receipt(ctx, row, watchbill.Receipt{Kind: watchbill.ReceiptOpened}, watchbill.EventPageOpened,
		fmt.Sprintf("opened the page to %s by %s (%s)", row.Person, row.Method, row.Key()))
}

// receipt records what became known about a page, and the first time says so on the
// timeline.
func (f *flow) receipt(ctx context.Context, row store.PageRow, r watchbill.Receipt, kind watchbill.EventKind, text string) error {
	seen := false
	err := f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.ReceiptsOf(row.Incident)
		seen = slices.ContainsFunc(all, func(x watchbill.Receipt) bool { return x.Page == row.ID && x.Kind == r.Kind })
		return err
	})
	if err != nil || seen { // what is known is not written again
		return err
	}
	return f.update(ctx, func(w *work) error {
		r.Page, r.At = row.ID, w.now
		first, err := w.tx.PutReceipt(r)
		if err != nil || !first || row.Incident <= 0 {
			return err
		}
		inc, err := w.incident(row.Incident)
		if err != nil {
			return err
		}
		return w.save(&inc, w.event(kind, "%s", text))
	})
}

// ActFromPage acknowledges the incident of a page: as the caller, if they said who
// they are, else as the person whom the page went to, if the code is theirs.
func (f *flow) ActFromPage(ctx context.Context, page int64, token string, a web.PageAct) (web.ActView, error) {
	row, inc, err := f.linked(ctx, page, token)
	if err != nil {
		return web.ActView{}, err
	}
	who := a.As
	if who.Person == "" {
		who = web.Actor{Person: row.Person, Via: "page"}
		if err := f.checkCode(ctx, inc.ID, row.Person, a); err != nil {
			return actView(row, inc), err
		}
	}
	inc, err = f.acknowledge(ctx, row.Incident, who, a.Note, row.ID)
	if err != nil {
		return actView(row, inc), err
	}
	v := actView(row, inc)
	v.Said = taken(inc)
	return v, nil
}

// taken says what an acknowledgement promised.
func taken(inc watchbill.Incident) string {
	switch {
	case inc.Drill != nil:
		return fmt.Sprintf("the drill %s is answered", inc.ID)
	case inc.State == watchbill.StateOpen:
		return fmt.Sprintf("recorded; %s pages on until %d people have acknowledged", inc.ID, inc.Path.Acks)
	}
	return fmt.Sprintf("%s is yours until %s", inc.ID, inc.AckDeadline.UTC().Format("15:04 UTC"))
}

// checkCode compares a code that was typed on a page with the one in it.
func (f *flow) checkCode(ctx context.Context, id watchbill.IncidentID, person watchbill.PersonID, a web.PageAct) error {
	now := time.Now()
	g := guesser{id.String(), a.Source}
	if wait := f.guesses.locked(g, now); wait > 0 {
		return tooManyCodes(wait)
	}
	code := typed(a.Code)
	if code == "" {
		return watchbill.Invalidf("type the six digits that stand in your page", "the code is missing")
	}
	if !hmac.Equal([]byte(code), []byte(f.codes.code(id, person))) {
		return f.wrongCode(ctx, id, g, now)
	}
	return f.rooms.Load().mayAnswer(person)
}

// mayAnswer reports whether a person may acknowledge: they may have left since they
// were paged.
func (r *rooms) mayAnswer(id watchbill.PersonID) error {
	p, ok := r.people[id]
	if !ok {
		return watchbill.Errorf(watchbill.CodeDenied, "whoever is on duty takes it", "%s is not one of the people any more", id)
	}
	if may := r.matrix.May(p, watchbill.ActivityRaiseAlerts, watchbill.Place{}, time.Now()); !may.OK {
		return watchbill.Errorf(watchbill.CodeDenied, "the matrix decides; see matrix: in the configuration", "%s", may.Reason)
	}
	return nil
}

func tooManyCodes(wait time.Duration) error {
	return &watchbill.Error{
		Code: watchbill.CodeTooMany, Message: "too many wrong codes", RetryAfter: wait,
		Hint: fmt.Sprintf("try again in %s, or use: watchbill incident ack", short(wait.Round(time.Minute)+time.Minute)),
	}
}

// wrongCode counts a wrong code, and tells the timeline when it locks its source out.
func (f *flow) wrongCode(ctx context.Context, id watchbill.IncidentID, g guesser, now time.Time) error {
	denied := watchbill.Errorf(watchbill.CodeDenied, "type the six digits that stand in your page about this incident", "this is not the code")
	if !f.guesses.wrong(g, now) {
		return denied
	}
	err := f.update(ctx, func(w *work) error {
		inc, err := w.incident(id)
		if err != nil {
			return err
		}
		return w.save(&inc, w.event(watchbill.EventCodeLocked, "too many wrong codes from %s: none is taken for %s", g.source, short(guessWindow)))
	})
	return cmp.Or(err, tooManyCodes(guessWindow))
}

// actView is a page for whoever opened its link.
func actView(row store.PageRow, inc watchbill.Incident) web.ActView {
	v := web.ActView{Incident: inc, Heading: notify.Heading(row.Content), To: row.Person}
	c := row.Content
	c.Actions = nil // this page is the action
	for _, f := range notify.Fields(c) {
		v.Fields = append(v.Fields, web.ActField{Name: f.Name, Lines: f.Lines(), Link: f.Link})
	}
	return v
}

// readsAlong refuses somebody who only got copies of what another one gets.
func (w *work) readsAlong(inc watchbill.Incident, id watchbill.PersonID) error {
	pages, err := w.tx.PagesOf(inc.ID)
	if err != nil || slices.ContainsFunc(pages, func(p store.PageRow) bool { return p.Person == id && p.Generation == inc.Generation && !p.Content.Copy }) {
		return err
	}
	return watchbill.Errorf(watchbill.CodeDenied, fmt.Sprintf("whoever was paged acknowledges it, or hands it to you: watchbill incident handover %s --to %s", inc.ID, id),
		"%s reads along with %s as a trainee, and is not the one to take it", id, inc.ID)
}

// acknowledge records that a person takes an incident, and by which page if that is
// known.
func (f *flow) acknowledge(ctx context.Context, id watchbill.IncidentID, who web.Actor, note string, page int64) (watchbill.Incident, error) {
	inc, err := f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		told, err := w.told(inc)
		if err != nil {
			return incident.Effect{}, err
		}
		if slices.Contains(told, who.Person) {
			if err := w.readsAlong(inc, who.Person); err != nil {
				return incident.Effect{}, err
			}
		}
		e, err := w.life.Acknowledge(w.now, inc, incident.Actor(who), slices.Contains(told, who.Person), note)
		if err != nil {
			return e, err
		}
		if inc.State == watchbill.StateOpen && e.Incident.State == watchbill.StateAcknowledged {
			w.tx.OnCommit(func() { w.responses.acknowledged(e.Incident) })
		}
		if page != 0 {
			_, err = w.tx.PutReceipt(watchbill.Receipt{Page: page, Kind: watchbill.ReceiptAcknowledged, At: w.now, Detail: "by " + string(who.Person)})
		}
		return e, err
	})
	if err == nil {
		f.stats.acks.WithLabelValues(who.Via).Inc()
	}
	return inc, err
}
