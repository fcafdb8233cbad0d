package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/internal/web"
	"watchbill/router"
)

// List returns incidents, newest first.
func (f *flow) List(ctx context.Context, state string, limit int) ([]watchbill.Incident, error) {
	var all []watchbill.Incident
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Incidents(state, limit)
		return err
	})
	all = slices.DeleteFunc(all, func(inc watchbill.Incident) bool { return inc.ID == store.SelfTestID })
	return all, err
}

// Show returns an incident with everything that happened to it.
func (f *flow) Show(ctx context.Context, id watchbill.IncidentID) (web.IncidentView, error) {
	var v web.IncidentView
	err := f.store.View(ctx, func(tx *store.Tx) error {
		inc, err := tx.Incident(id)
		if err != nil {
			return err
		}
		v.Incident = inc
		if v.Timeline, err = tx.Events(id); err != nil {
			return err
		}
		alerts, err := tx.AlertsOf(id)
		if err != nil {
			return err
		}
		for _, a := range alerts {
			v.Alerts = append(v.Alerts, a.Alert)
		}
		if v.Pages, err = pageViews(tx, id); err != nil {
			return err
		}
		timers, err := tx.TimersOf(id)
		if err != nil {
			return err
		}
		for _, tm := range timers {
			v.Next = append(v.Next, web.NextView{What: string(tm.Kind), Step: tm.Step, At: tm.Due})
		}
		return nil
	})
	return v, err
}

// Acknowledge records that a person takes an incident.
func (f *flow) Acknowledge(ctx context.Context, id watchbill.IncidentID, who web.Actor, note string) (watchbill.Incident, error) {
	return f.acknowledge(ctx, id, who, note, 0)
}

// Note records a person's words on an incident.
func (f *flow) Note(ctx context.Context, id watchbill.IncidentID, who web.Actor, text string) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		return w.life.Note(w.now, inc, incident.Actor(who), text)
	})
}

// Resolve records that a person holds an incident for over.
func (f *flow) Resolve(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.ResolveRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		firing, err := w.endTold(id)
		if err != nil {
			return incident.Effect{}, err
		}
		return w.life.Resolve(w.now, inc, incident.Resolution{By: incident.Actor(who), Reason: r.Reason, Firing: firing, Quiet: r.QuietUntil, Proof: watchbill.Proof{Cause: r.Cause, Verdict: r.Verdict}})
	})
}

func (f *flow) act(ctx context.Context, id watchbill.IncidentID, do func(*work, watchbill.Incident) (incident.Effect, error)) (watchbill.Incident, error) {
	var inc watchbill.Incident
	err := f.update(ctx, func(w *work) error {
		before, err := w.incident(id)
		if err != nil {
			return err
		}
		e, err := do(w, before)
		if err != nil {
			return err
		}
		if err := w.apply(e, nil, nil); err != nil {
			return err
		}
		inc, err = w.incident(id) // as apply left it
		return err
	})
	return inc, err
}

// Silences returns the silences that have not ended, and those that ended in
// the last five days, as Alertmanager keeps them.
func (f *flow) Silences(ctx context.Context) ([]watchbill.Silence, error) {
	var all []watchbill.Silence
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Silences(time.Now().Add(-5 * 24 * time.Hour))
		return err
	})
	return all, err
}

// Silence returns one silence.
func (f *flow) Silence(ctx context.Context, id string) (s watchbill.Silence, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		s, err = tx.Silence(id)
		return err
	})
	return s, err
}

// PutSilence creates a silence, or changes the one whose id it has. Its author
// is who sends it, whatever it says. One that needs a second person is kept, mutes
// nothing, and is refused with the id under which it can be approved.
func (f *flow) PutSilence(ctx context.Context, who web.Actor, s watchbill.Silence) (watchbill.Silence, error) {
	s.ApprovedBy, s.ApprovedAt, s.Reminded = "", time.Time{}, false
	if err := router.ValidateSilence(s, time.Now()); err != nil {
		return s, err
	}
	reach, err := f.Reach(ctx, s)
	if err != nil {
		return s, err
	}
	s.Reach = &reach
	asked := s
	err = f.update(ctx, func(w *work) error {
		s = asked // it may be run again
		s.CreatedBy, s.UpdatedAt = string(who.Person), w.now
		if err := router.ValidateSilence(s, w.now); err != nil {
			return err
		}
		s.NeedsApproval = w.router.NeedsApproval(s, reach)
		old := watchbill.Silence{}
		if s.ID != "" {
			var err error
			if old, err = w.tx.Silence(s.ID); err != nil {
				return err
			}
		}
		switch {
		case s.NeedsApproval != "": // what is in force stays so meanwhile
			s.ID = uuid.NewString()
		case !keepsID(old, s, w.now):
			if old.EndsAt.After(w.now) { // replaced: the old one ends here and stays as it was
				old = expired(old, w.now)
				if err := w.tx.PutSilence(old); err != nil {
					return err
				}
			}
			s.ID = uuid.NewString()
		}
		if err := w.tx.HastenMuted(w.now); err != nil {
			return err
		}
		if err := w.audit(who, auditOf(watchbill.AuditSilenceMade, s)); err != nil {
			return err
		}
		return w.tx.PutSilence(s)
	})
	return s, cmp.Or(err, asks(s))
}

// ExpireSilence ends a silence now.
func (f *flow) ExpireSilence(ctx context.Context, who web.Actor, id string) error {
	return f.update(ctx, func(w *work) error {
		s, err := w.tx.Silence(id)
		if err != nil {
			return err
		}
		if !s.EndsAt.After(w.now) {
			return nil
		}
		s = expired(s, w.now)
		if err := w.tx.HastenMuted(w.now); err != nil {
			return err
		}
		if err := w.audit(who, auditOf(watchbill.AuditSilenceEnded, s)); err != nil {
			return err
		}
		return w.tx.PutSilence(s)
	})
}

// expired is a silence that ends now.
func expired(s watchbill.Silence, now time.Time) watchbill.Silence {
	s.EndsAt, s.UpdatedAt = now, now
	if s.StartsAt.After(now) {
		s.StartsAt = now
	}
	return s
}

// keepsID reports whether a change leaves a silence the one that it was: it mutes
// the same alerts and does not rewrite the past. Any other change makes a new
// silence, as in Alertmanager (silence.canUpdate), so that what an id stood for
// can be looked up later.
func keepsID(old, s watchbill.Silence, now time.Time) bool {
	switch {
	case !old.EndsAt.After(now) || !slices.Equal(old.Matchers, s.Matchers):
		return false
	case old.StartsAt.After(now):
		return !s.StartsAt.Before(now)
	}
	return old.StartsAt.Unix() == s.StartsAt.Unix()
}
