package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// Bounds of an answer about alerts.
const (
	maxWhyAlerts    = 10
	maxWhyDecisions = 20
	maxWhyIncidents = 5 // earlier ones of the same group
)

// WhyIncident says who was paged for an incident and why, from the decisions that
// were kept when they were taken. Only why a person's turn did not come is worked
// out now.
func (f *flow) WhyIncident(ctx context.Context, id watchbill.IncidentID, person watchbill.PersonID) (v web.IncidentWhy, err error) {
	r := f.rooms.Load()
	if _, known := r.people[person]; person != "" && !known {
		return v, watchbill.Errorf(watchbill.CodeNotFound, "name somebody of people: in the configuration", "there is no person %q", person)
	}
	var d deliveries
	err = f.store.View(ctx, func(tx *store.Tx) (err error) {
		if v.Incident, err = tx.Incident(id); err != nil {
			return err
		}
		events, err := tx.Events(id)
		if err != nil {
			return err
		}
		if err := account(tx, events, &v); err != nil {
			return err
		}
		d, err = deliveriesOf(tx, id)
		return err
	})
	if err != nil || person == "" {
		return v, err
	}
	p := r.whyPerson(v, person, d)
	v.Person = &p
	return v, nil
}

// account sorts an incident's events into decisions and what it did about people.
func account(tx *store.Tx, events []watchbill.Event, v *web.IncidentWhy) error {
	decisions, err := store.Decisions(events)
	if err != nil {
		return err
	}
	for _, e := range events {
		if d, ok := decisions[e.Seq]; ok {
			row, _, err := tx.Alert(d.Alert)
			if err != nil {
				return err
			}
			v.Decisions = append(v.Decisions, web.DecisionView{Decision: d, Of: row.Labels})
		}
		switch e.Kind { //nolint:exhaustive // what concerns alerts only is told above
		case watchbill.EventOpened, watchbill.EventAlertJoined, watchbill.EventAlertEnded, watchbill.EventNote:
			continue
		}
		c := web.CourseView{At: e.At, Kind: string(e.Kind), Text: e.Text}
		if e.Actor != watchbill.ActorSelf {
			c.Text = e.Actor + ": " + e.Text
		}
		if e.Kind == watchbill.EventStepFired && len(e.Data) > 0 {
			c.Firing = &watchbill.Firing{}
			if err := json.Unmarshal(e.Data, c.Firing); err != nil {
				return fmt.Errorf("read the step in event %d of %s: %w", e.Seq, e.Incident, err)
			}
		}
		v.Course = append(v.Course, c)
	}
	return nil
}

// whyPerson says why a person was paged or not.
func (r *rooms) whyPerson(v web.IncidentWhy, person watchbill.PersonID, d deliveries) web.PersonWhy {
	p := web.PersonWhy{Person: person}
	last := map[int64]store.Attempt{}
	for _, a := range d.attempts {
		last[a.Page] = a
	}
	for _, row := range d.pages {
		if row.Person != person {
			continue
		}
		g := web.PersonPage{At: row.Due, Step: row.Step, Method: row.Method, State: row.State, Known: d.known(row.ID)}
		if a, ok := last[row.ID]; ok {
			g.Last = fmt.Sprintf("attempt %d at %s: %s", a.Attempt, a.At.UTC().Format("15:04:05"), cmp.Or(a.Detail, string(a.Result)))
		}
		p.Paged = p.Paged || row.State == "delivered"
		p.Pages = append(p.Pages, g)
	}
	slices.SortStableFunc(p.Pages, func(a, b web.PersonPage) int { return a.At.Compare(b.At) })
	for _, c := range v.Course {
		if c.Firing == nil {
			continue
		}
		for _, g := range c.Firing.Pages {
			if g.Person == person {
				p.Why = append(p.Why, fmt.Sprintf("step %d at %s paged %s as %s: %s; %s", c.Firing.Step, c.At.UTC().Format("15:04:05"), person, g.Role, c.Firing.Why, g.Why))
			}
		}
	}
	if len(p.Why) > 0 {
		if !p.Paged {
			p.Why = append(p.Why, "none of these pages arrived: see what became of each above")
		}
		return p
	}
	p.Why = r.whyNot(v, r.people[person])
	return p
}

// whyNot says why no step paged a person.
func (r *rooms) whyNot(v web.IncidentWhy, person watchbill.Person) []string {
	inc := v.Incident
	var asked []watchbill.RoleID
	for _, s := range inc.Path.Steps {
		for _, role := range s.Roles {
			if !slices.Contains(asked, role) {
				asked = append(asked, role)
			}
		}
	}
	if !slices.ContainsFunc(asked, person.Holds) {
		return []string{fmt.Sprintf("the path of %s asks %s, and %s holds %s", inc.Activity, watchbill.JoinRoles(asked, "no role"), person.ID, watchbill.JoinRoles(person.Roles, "no role"))}
	}
	var why []string
	fired := -1
	for _, c := range v.Course {
		if c.Firing == nil {
			continue
		}
		fired = max(fired, c.Firing.Step)
		step, _ := inc.Path.Step(c.Firing.Step)
		for _, role := range step.Roles {
			if !person.Holds(role) {
				continue
			}
			for _, g := range c.Firing.Pages {
				if g.Role == role {
					why = append(why, fmt.Sprintf("step %d at %s asked %s, and that was %s: %s", c.Firing.Step, c.At.UTC().Format("15:04:05"), role, g.Person, g.Why))
				}
			}
		}
	}
	for n := fired + 1; n < len(inc.Path.Steps); n++ {
		step := inc.Path.Steps[n]
		mine := slices.DeleteFunc(slices.Clone(step.Roles), func(role watchbill.RoleID) bool { return !person.Holds(role) })
		if len(mine) > 0 {
			why = append(why, fmt.Sprintf("step %d (%s), %s after the path began, asks %s, and did not fire: %s",
				n, step.Reason, short(step.After), watchbill.JoinRoles(mine, "no role"), kept(v)))
		}
	}
	return why
}

// kept says what kept the next steps from firing.
func kept(v web.IncidentWhy) string {
	inc := v.Incident
	switch inc.State {
	case watchbill.StateAcknowledged:
		return fmt.Sprintf("%s had acknowledged at %s", inc.AcknowledgedBy, lastOf(v, watchbill.EventAcknowledged).UTC().Format("15:04:05"))
	case watchbill.StateResolved, watchbill.StateClosed:
		if at := lastOf(v, watchbill.EventAcknowledged); !at.IsZero() {
			return fmt.Sprintf("it was acknowledged at %s, and is over", at.UTC().Format("15:04:05"))
		}
		return fmt.Sprintf("it was over at %s", inc.ResolvedAt.UTC().Format("15:04:05"))
	case watchbill.StateOpen:
	}
	if inc.HeldBy != "" {
		return "its path is held: " + inc.HeldBy
	}
	if inc.Severity == watchbill.Sev4 {
		return "sev4 is recorded and pages nobody"
	}
	return "its time has not come"
}

func lastOf(v web.IncidentWhy, kind watchbill.EventKind) (at time.Time) {
	for _, c := range v.Course {
		if c.Kind == string(kind) {
			at = c.At
		}
	}
	return at
}

// WhyAlerts returns alerts that have all of these labels, with the decisions about
// them: in the incident that they are part of now, in earlier ones of its group,
// and while they were muted.
func (f *flow) WhyAlerts(ctx context.Context, labels watchbill.Labels) (all []web.AlertWhy, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.AlertsNamed(labels, maxWhyAlerts)
		if err != nil {
			return err
		}
		for _, row := range rows {
			v := web.AlertWhy{Alert: row.Alert, Ended: row.Ended, Muted: row.Muted, Incident: row.Incident}
			if v.Decisions, err = decisionsAbout(tx, row); err != nil {
				return err
			}
			all = append(all, v)
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = watchbill.Errorf(watchbill.CodeNotFound, "list incidents with: watchbill incident list --state all", "no alert is known that has the labels %s", labels)
	}
	return all, err
}

func decisionsAbout(tx *store.Tx, row store.AlertRow) ([]watchbill.Decision, error) {
	fp := row.Fingerprint()
	all, err := tx.MutedDecisions(fp, maxWhyDecisions)
	if err != nil {
		return nil, err
	}
	id := row.Incident
	for range maxWhyIncidents {
		if id == 0 {
			break
		}
		some, err := tx.DecisionsOf(id, fp)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		inc, err := tx.Incident(id)
		if err != nil {
			return nil, err
		}
		id = inc.Previous
		if id != 0 && !tx.HasIncident(id) { // retention has deleted it
			break
		}
	}
	slices.SortStableFunc(all, func(a, b watchbill.Decision) int { return b.At.Compare(a.At) })
	return all[:min(len(all), maxWhyDecisions)], nil
}
