package daemon

import (
	"context"
	"fmt"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// week is how far back the reach of a silence is measured.
const week = 7 * 24 * time.Hour

// Reach returns what a silence would mute now and would have muted in the last 7
// days. It reads, so that nobody waits for it who pages.
func (f *flow) Reach(ctx context.Context, s watchbill.Silence) (watchbill.SilenceReach, error) {
	now := time.Now()
	var alerts []watchbill.Alert
	err := f.store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.AlertsSince(now.Add(-week))
		for _, row := range rows {
			if row.Source == selfSource {
				continue
			}
			if !row.Ended && row.Resolved(now) { // about to end
				row.EndsAt = now
			}
			alerts = append(alerts, row.Alert)
		}
		return err
	})
	if err != nil {
		return watchbill.SilenceReach{}, err
	}
	return f.rooms.Load().router.Reach(s, alerts, now)
}

// ApproveSilence puts a silence that needs a second person in force. The second
// person is not its author and, for security alerts, is responsible for security.
func (f *flow) ApproveSilence(ctx context.Context, who web.Actor, id string) (s watchbill.Silence, err error) {
	err = f.update(ctx, func(w *work) error {
		if s, err = w.tx.Silence(id); err != nil {
			return err
		}
		switch {
		case !s.EndsAt.After(w.now):
			return watchbill.Errorf(watchbill.CodeConflict, "make a new one", "the silence %s has ended", id)
		case s.ApprovedBy != "":
			return watchbill.Errorf(watchbill.CodeConflict, "there is nothing to do", "%s approved the silence %s already", s.ApprovedBy, id)
		case s.CreatedBy == string(who.Person):
			return watchbill.Errorf(watchbill.CodeDenied, "ask somebody else", "%s made the silence: it takes a second person", who.Person)
		}
		if w.router.ForSecurity(s) {
			if p := w.matrix.May(w.people[who.Person], watchbill.ActivitySecurity, watchbill.Place{}, w.now); !p.OK {
				return watchbill.Errorf(watchbill.CodeDenied, "ask whoever is responsible for security", "%s", p.Reason)
			}
		}
		s.ApprovedBy, s.ApprovedAt, s.UpdatedAt = string(who.Person), w.now, w.now
		if err := w.audit(who, auditOf(watchbill.AuditSilenceApproved, s)); err != nil {
			return err
		}
		if err := w.tx.HastenMuted(w.now); err != nil {
			return err
		}
		return w.tx.PutSilence(s)
	})
	return s, err
}

// asks says that a silence was kept and mutes nothing until a second person agrees.
func asks(s watchbill.Silence) error {
	if s.Waits() == "" {
		return nil
	}
	return watchbill.Errorf(watchbill.CodeConflict, "somebody else approves it with: watchbill silence approve "+s.ID,
		"the silence %s mutes nothing until a second person approved it: %s", s.ID, s.NeedsApproval)
}

// reminders returns the silences whose authors are to be told at now, and when the
// next is due.
func (r *rooms) reminders(silences []watchbill.Silence, now time.Time) (due []watchbill.Silence, next time.Time) {
	for _, s := range silences {
		at, ok := r.router.Remind(s)
		switch {
		case !ok || !s.EndsAt.After(now):
		case !at.After(now):
			due = append(due, s)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return due, next
}

// remind tells the author of a silence that it ends soon and still mutes
// something. It is marked in the same transaction.
func (w *work) remind(id string) error {
	s, err := w.tx.Silence(id)
	if err != nil || !s.EndsAt.After(w.now) {
		return err
	}
	if at, ok := w.router.Remind(s); !ok || at.After(w.now) {
		return nil
	}
	s.Reminded = true
	if err := w.tx.PutSilence(s); err != nil {
		return err
	}
	rows, err := w.tx.ActiveAlerts()
	if err != nil {
		return err
	}
	var firing []watchbill.Alert
	for _, row := range rows {
		firing = append(firing, row.Alert)
	}
	reach, err := w.router.Reach(s, firing, w.now)
	if err != nil || reach.Now == 0 {
		return err
	}
	author := watchbill.PersonID(s.CreatedBy)
	return w.tell(notice{
		to: author, about: s.ID,
		title:  fmt.Sprintf("Your silence ends at %s and %d alerts still fire", clock(s.EndsAt, w.people[author].Zone(), false), reach.Now),
		impact: fmt.Sprintf("%s: when it ends they page whoever is responsible, one of them %s", s.Comment, reach.Examples[0]),
		action: "Mend it, or make the silence longer and say why: " + s.ID,
		why:    "you made the silence",
	})
}
