package daemon

import (
	"context"
	"fmt"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// OpenActions returns the incidents that have action items which are not done.
func (f *flow) OpenActions(ctx context.Context) (all []watchbill.Incident, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.WithActions()
		return err
	})
	return all, err
}

// ActOnActions adds an action item to an incident, or says that one is done.
func (f *flow) ActOnActions(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.ActionRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		if r.Done != 0 {
			return w.life.DoneAction(w.now, inc, incident.Actor(who), r.Done, r.Note)
		}
		if r.Owner == "" {
			r.Owner = who.Person
		}
		if err := w.somebody("owner", r.Owner); err != nil {
			return incident.Effect{}, err
		}
		return w.life.AddAction(w.now, inc, incident.Actor(who), watchbill.ActionItem{Text: r.Text, Owner: r.Owner, Due: r.Due})
	})
}

// Severity changes an incident's severity by a person's word.
func (f *flow) Severity(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.SeverityRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		return w.life.SetSeverity(w.now, inc, incident.Actor(who), r.Severity, r.Reason)
	})
}

// Assign gives a person a part in an incident.
func (f *flow) Assign(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.AssignRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		if r.Person != "" {
			if err := w.somebody("person", r.Person); err != nil {
				return incident.Effect{}, err
			}
		}
		return w.life.Assign(w.now, inc, incident.Actor(who), r.Role, r.Person)
	})
}

// actionsDue tells the owners of action items that these are due. What belongs to
// somebody who is gone is the manager's.
func (w *work) actionsDue(inc watchbill.Incident) error {
	e, due := w.life.ActionsDue(w.now, inc)
	for _, a := range due {
		whom := []watchbill.PersonID{a.Owner}
		if _, known := w.people[a.Owner]; !known || a.Reminded > 1 {
			for _, d := range w.planner.OnDuty(w.matrix.Manager, w.now) {
				if d.Person != a.Owner {
					whom = append(whom, d.Person)
				}
			}
		}
		for _, id := range whom {
			err := w.tell(notice{
				to: id, about: fmt.Sprintf("action %d of %s", a.N, inc.ID), title: fmt.Sprintf("Action %d of %s is due: %s", a.N, inc.ID, a.Text),
				impact: "It follows from " + inc.Title, action: fmt.Sprintf("watchbill action done %s %d …", inc.ID, a.N),
				why: fmt.Sprintf("it is %s's, since %s", a.Owner, a.AddedAt.UTC().Format("2006-01-02")),
			})
			if err != nil {
				return err
			}
		}
	}
	return w.apply(e, nil, nil)
}
