package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

const (
	// handoverAhead is how far a pack looks.
	handoverAhead = 7 * 24 * time.Hour
	// handoverEarly is how long before their shift somebody may accept a pack.
	handoverEarly = 12 * time.Hour
	// maxHandoverIncidents bounds a pack, which is stored with its acceptance.
	maxHandoverIncidents = 200
)

// HandoverPack is what whoever comes on duty for a role has to know.
func (f *flow) HandoverPack(ctx context.Context, role watchbill.RoleID) (p watchbill.HandoverPack, err error) {
	m := f.now()
	if err := m.handedOver(role); err != nil {
		return p, err
	}
	err = f.store.View(ctx, func(tx *store.Tx) error {
		p, err = m.pack(tx, role)
		return err
	})
	return p, err
}

func (r *rooms) handedOver(role watchbill.RoleID) error {
	if role == "" {
		return watchbill.Invalidf("name one of "+roleNames(r.matrix), "role: the duty of which role is handed over?")
	}
	return r.knows(role)
}

// AcceptHandover records that whoever comes on duty has read the pack.
func (f *flow) AcceptHandover(ctx context.Context, who web.Actor, q web.AcceptRequest) (h watchbill.Handover, err error) {
	err = f.update(ctx, func(w *work) error {
		if err := w.handedOver(q.Role); err != nil {
			return err
		}
		p, err := moment{w.rooms, w.now}.pack(w.tx, q.Role)
		if err != nil {
			return err
		}
		if err := mayAccept(p, who.Person); err != nil {
			return err
		}
		h = watchbill.Handover{Role: q.Role, By: who.Person, At: w.now, Note: q.Note, Pack: &p}
		if from := p.Now.Watch.Primary.Person; from != who.Person {
			h.From = from
		} else if p.Accepted != nil && p.Accepted.By != who.Person {
			h.From = p.Accepted.By
		}
		if err := w.tx.PutHandover(&h); err != nil {
			return err
		}
		return w.audit(who, watchbill.AuditEntry{
			Kind: watchbill.AuditHandover, Object: string(q.Role), Detail: q.Note,
			Text: fmt.Sprintf("accepted as handover %d: %d incidents, %d silences, %d waiting for a second person, %d changes of production", h.ID, len(p.Incidents), len(p.Silences), len(p.Approvals), len(p.Production)),
		})
	})
	return h, err
}

// mayAccept reports whether somebody comes on duty: they are, in front or behind, or
// theirs is the next shift and it is near.
func mayAccept(p watchbill.HandoverPack, id watchbill.PersonID) error {
	on := func(w watchbill.Watch) bool {
		return w.Primary.Person == id || slices.ContainsFunc(w.Second, func(d watchbill.Duty) bool { return d.Person == id })
	}
	if on(p.Now.Watch) {
		return nil
	}
	if p.Next == nil || !on(p.Next.Watch) {
		return watchbill.Errorf(watchbill.CodeDenied, fmt.Sprintf("whoever comes on duty accepts it: watchbill oncall next %s", p.Role),
			"%s is not on duty for %s, and is not next", id, p.Role)
	}
	if wait := p.Next.From.Sub(p.At); wait > handoverEarly {
		return watchbill.Errorf(watchbill.CodeDenied, fmt.Sprintf("accept it from %s on", p.Next.From.Add(-handoverEarly).UTC().Format(time.RFC3339)),
			"the shift of %s begins only at %s: until then much will change", id, p.Next.From.UTC().Format(time.RFC3339))
	}
	return nil
}

// ListHandovers returns who accepted a role, or any, newest first.
func (f *flow) ListHandovers(ctx context.Context, role watchbill.RoleID, limit int) (all []watchbill.Handover, err error) {
	if err := f.rooms.Load().knows(role); err != nil {
		return nil, err
	}
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.Handovers(role, limit)
		return err
	})
	for i := range all {
		all[i].Pack = nil
	}
	return all, err
}

// pack gathers what a role has to know.
func (m moment) pack(tx *store.Tx, role watchbill.RoleID) (watchbill.HandoverPack, error) {
	p := watchbill.HandoverPack{
		Role: role, At: m.now, Now: m.planner.ShiftAt(role, m.now), Windows: m.windows(),
		Incidents: []watchbill.HandoverIncident{}, Production: []watchbill.HandoverChange{}, Silences: []watchbill.Silence{}, Approvals: []watchbill.Silence{}, Changes: []watchbill.DutyChange{},
	}
	p.Next = m.nextShift(role, p.Now)
	if err := m.packIncidents(tx, &p); err != nil {
		return p, err
	}
	silences, err := tx.Silences(m.now)
	if err != nil {
		return p, err
	}
	for _, s := range silences {
		switch {
		case !s.EndsAt.After(m.now):
		case s.Waits() != "":
			p.Approvals = append(p.Approvals, s)
		default:
			p.Silences = append(p.Silences, s)
		}
	}
	soonest := func(a, b watchbill.Silence) int { return a.EndsAt.Compare(b.EndsAt) }
	slices.SortStableFunc(p.Silences, soonest)
	slices.SortStableFunc(p.Approvals, soonest)
	if err := packChanges(tx, &p); err != nil {
		return p, err
	}
	changes, err := tx.DutyChanges(m.now)
	if err != nil {
		return p, err
	}
	for _, c := range changes {
		if c.From.Before(m.now.Add(handoverAhead)) && m.concerns(c, role) {
			p.Changes = append(p.Changes, c)
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b watchbill.DutyChange) int { return a.From.Compare(b.From) })
	last, err := tx.Handovers(role, 1)
	if err == nil && len(last) > 0 {
		last[0].Pack = nil
		p.Accepted = &last[0]
	}
	return p, err
}

// packChanges adds the changes of production that wait for somebody, the one that
// lapses first in front.
func packChanges(tx *store.Tx, p *watchbill.HandoverPack) error {
	all, err := tx.Changes(store.ChangeQuery{State: "live", Limit: maxHandoverIncidents})
	for _, c := range all {
		p.Production = append(p.Production, watchbill.HandoverChange{
			ID: c.ID, State: c.State, Title: c.Content.Title, Service: c.Content.Service, Requester: c.Requester, NotAfter: c.Content.NotAfter,
		})
	}
	slices.SortStableFunc(p.Production, func(a, b watchbill.HandoverChange) int { return a.NotAfter.Compare(b.NotAfter) })
	return err
}

// nextShift is the next shift of a role in which somebody else is on duty first.
func (m moment) nextShift(role watchbill.RoleID, now watchbill.Shift) *watchbill.Shift {
	for _, s := range m.planner.Shifts(role, m.now, m.now.Add(handoverAhead)) {
		if s.From.After(m.now) && s.Watch.Primary.Person != now.Watch.Primary.Person {
			return &s
		}
	}
	return nil
}

// concerns reports whether a change is one of a role.
func (r *rooms) concerns(c watchbill.DutyChange, role watchbill.RoleID) bool {
	if c.Role != "" {
		return c.Role == role
	}
	return r.people[c.Person].Holds(role) || r.people[c.Instead].Holds(role)
}

// windows are the maintenance windows that run or are to come.
func (m moment) windows() []watchbill.HandoverWindow {
	all := []watchbill.HandoverWindow{}
	for _, x := range m.targets.Maintenance {
		w := watchbill.HandoverWindow{Name: x.Name, Reason: x.Reason, Mutes: x.Mute}
		if until, ok := x.Running(m.now); ok {
			w.To = until
			all = append(all, w)
			continue
		}
		if from, ok := x.Next(m.now); ok && from.Before(m.now.Add(handoverAhead)) {
			w.From, w.To = from.UTC(), x.Until(from).UTC()
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b watchbill.HandoverWindow) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To))
	})
	return all
}

// packIncidents adds the incidents whose path names the role. The manager's path is
// every path.
func (m moment) packIncidents(tx *store.Tx, p *watchbill.HandoverPack) error {
	all, err := tx.IncidentsBetween(m.now, m.now.Add(time.Second))
	if err != nil {
		return err
	}
	for _, inc := range all {
		held := inc.State.Live() || inc.State == watchbill.StateResolved && inc.QuietUntil.After(m.now)
		if !held || inc.ID <= 0 || inc.Drill != nil || !slices.ContainsFunc(inc.Path.Steps, func(s watchbill.PathStep) bool {
			return slices.Contains(s.Roles, p.Role) || slices.Contains(s.Behind, p.Role)
		}) {
			continue
		}
		x := watchbill.HandoverIncident{
			ID: inc.ID, Severity: inc.Severity, State: inc.State, Service: inc.Service, Title: inc.Title, OpenedAt: inc.OpenedAt,
			Owner: inc.AcknowledgedBy, Since: inc.AcknowledgedAt,
		}
		if inc.State == watchbill.StateOpen {
			x.Owner, x.Since = "", time.Time{}
		}
		p.Incidents = append(p.Incidents, x)
	}
	slices.SortStableFunc(p.Incidents, func(a, b watchbill.HandoverIncident) int {
		return cmp.Or(a.Since.Compare(b.Since), int(a.Severity-b.Severity), a.OpenedAt.Compare(b.OpenedAt))
	})
	p.Incidents = p.Incidents[:min(len(p.Incidents), maxHandoverIncidents)]
	for i := range p.Incidents {
		if err := told(tx, &p.Incidents[i]); err != nil {
			return err
		}
	}
	return nil
}

// told adds what was said last about an incident, and what happens next.
func told(tx *store.Tx, x *watchbill.HandoverIncident) error {
	events, err := tx.Events(x.ID)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(events) {
		if e.Kind == watchbill.EventStatus || e.Kind == watchbill.EventPlanned || e.Kind == watchbill.EventNote {
			x.Said, x.SaidBy = e.Text, e.Actor
			break
		}
	}
	timers, err := tx.TimersOf(x.ID)
	if err != nil || len(timers) == 0 {
		return err
	}
	next := slices.MinFunc(timers, func(a, b watchbill.Timer) int { return a.Due.Compare(b.Due) })
	x.NextAt = next.Due
	switch next.Kind {
	case watchbill.TimerStep:
		x.Next = fmt.Sprintf("step %d pages", next.Step)
	case watchbill.TimerAck:
		x.Next = "the acknowledgement expires"
	case watchbill.TimerStatus:
		x.Next = "a status update is due"
	case watchbill.TimerPlan:
		x.Next = "a plan is due"
	case watchbill.TimerPlanStep:
		x.Next = "a step of the plan is overdue"
	case watchbill.TimerProof:
		x.Next = "the closing proof is owed"
	case watchbill.TimerAction:
		x.Next = "an action item is due"
	case watchbill.TimerQuiet:
		x.Next = "it is held quiet no more"
	case watchbill.TimerClose:
		x.Next = "it is closed"
	case watchbill.TimerDrill:
		x.Next = "the drill ends"
	}
	return nil
}
