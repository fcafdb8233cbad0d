package daemon

import (
	"context"
	"fmt"
	"slices"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/web"
)

// Escalate has an incident's next step fire now.
func (f *flow) Escalate(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.EscalateRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		next, err := w.nextStep(id)
		if err != nil {
			return incident.Effect{}, err
		}
		if r.Generation != 0 && (r.Generation != inc.Generation || r.Step != next) {
			return incident.Effect{Incident: inc}, nil // it went on since the caller looked
		}
		return w.life.Escalate(w.now, inc, incident.Actor(who), next, r.Note)
	})
}

// HandOver asks a person to take an incident.
func (f *flow) HandOver(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.HandOverRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		if err := w.somebody("to", r.To); err != nil {
			return incident.Effect{}, err
		}
		return w.life.HandOver(w.now, inc, incident.Actor(who), r.To, r.Note)
	})
}

// NotMine hands an incident to another role.
func (f *flow) NotMine(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.NotMineRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		if err := w.aRole("role", r.Role); err != nil {
			return incident.Effect{}, err
		}
		path := w.planner.PathTo(r.Role, "as "+string(who.Person)+" said")
		return w.life.NotMine(w.now, inc, incident.Actor(who), path, r.Note)
	})
}

// Snooze puts an incident's pages off.
func (f *flow) Snooze(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.SnoozeRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		return w.life.Snooze(w.now, inc, incident.Actor(who), r.Until, r.Note)
	})
}

// Call pages people, or whoever is on duty for a role, in addition.
func (f *flow) Call(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.CallRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		people := slices.Clone(r.People)
		for _, p := range people {
			if err := w.somebody("people", p); err != nil {
				return incident.Effect{}, err
			}
		}
		if r.Role != "" {
			if err := w.aRole("role", r.Role); err != nil {
				return incident.Effect{}, err
			}
			for _, d := range w.planner.OnDuty(r.Role, w.now) {
				people = append(people, d.Person)
			}
		}
		if len(people) == 0 {
			return incident.Effect{}, watchbill.Invalidf("name people, or a role", "people: nobody is named")
		}
		return w.life.Call(w.now, inc, incident.Actor(who), people, r.Note)
	})
}

// Status records a status update.
func (f *flow) Status(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.StatusRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		return w.life.Status(w.now, inc, incident.Actor(who), r.Text, r.Plan)
	})
}

func (w *work) somebody(field string, id watchbill.PersonID) error {
	if _, ok := w.people[id]; ok {
		return nil
	}
	return watchbill.Invalidf("write a name that stands under people: in the configuration", "%s: there is no person %q", field, id)
}

func (w *work) aRole(field string, id watchbill.RoleID) error {
	if slices.ContainsFunc(w.matrix.Roles, func(r watchbill.Role) bool { return r.ID == id }) {
		return nil
	}
	names := make([]watchbill.RoleID, len(w.matrix.Roles))
	for i, r := range w.matrix.Roles {
		names[i] = r.ID
	}
	return watchbill.Invalidf("use one of "+watchbill.JoinRoles(names, ""), "%s: there is no role %q", field, id)
}

// call writes the pages of calls beside the path. Their step is below zero: the
// number of the event that says so, so that each is one of its own.
func (w *work) call(inc watchbill.Incident, calls []incident.Call) error {
	for i, c := range calls {
		s := firing{n: -(int(inc.Seq) + i), due: w.now, because: c.Reason}
		for _, id := range c.People {
			d := watchbill.Duty{Person: id, Reason: c.Reason}
			for _, m := range w.methods(id, inc.Severity, w.now) {
				content := w.content(inc, s, d)
				address(&content, m)
				err := w.tx.PutPage(watchbill.Page{
					Incident: inc.ID, Generation: inc.Generation, Step: s.n, Person: id, Method: m.Receiver, Due: m.At,
					Call: c.Kind, Content: content,
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// callNeeded reports whether a page beside the path must still be sent.
func callNeeded(inc watchbill.Incident, p watchbill.Page) (bool, string) {
	switch {
	case !inc.State.Live():
		return false, fmt.Sprintf("%s is %s", inc.ID, inc.State)
	case p.Call == watchbill.CallReminder && (inc.State != watchbill.StateAcknowledged || inc.AcknowledgedBy != p.Person):
		return false, fmt.Sprintf("%s has it no more", p.Person)
	case p.Call != watchbill.CallReminder && !slices.Contains(inc.Awaited, p.Person):
		return false, fmt.Sprintf("%s answered", p.Person)
	}
	return true, ""
}
