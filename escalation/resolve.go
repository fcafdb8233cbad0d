package escalation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// sitting is somebody at a seat, with what brought them there. Its reason is
// written only when it is asked for.
type sitting struct {
	person   watchbill.PersonID // empty: nobody
	layer    *layer             // whose turn it is, or would be
	n, began wall               // the turn
	after    int                // how many places after the one whose turn it is
	by       *watchbill.DutyChange
	stood    []standIn
}

// standIn is one person standing in for another.
type standIn struct {
	away   watchbill.PersonID
	change *watchbill.DutyChange // a cover or a swap; nil: their deputy, because of
	leave  *watchbill.Leave
}

// crew is who sits at a roster at an instant.
type crew struct {
	r       *roster
	primary sitting
	second  sitting
}

// same reports whether the same people are on duty.
func (c crew) same(o crew) bool {
	return c.primary.person == o.primary.person && c.second.person == o.second.person
}

// With returns a planner of the same configuration under changes of the duty.
// Those that were ended are not among them.
func (p *Planner) With(changes []watchbill.DutyChange) *Planner {
	q := *p
	q.overrides = map[watchbill.RoleID][]*watchbill.DutyChange{}
	q.covers = map[watchbill.PersonID][]*watchbill.DutyChange{}
	q.leaves = map[watchbill.PersonID][]*watchbill.Leave{}
	for _, person := range p.cfg.People {
		for i := range person.Leave {
			q.leaves[person.ID] = append(q.leaves[person.ID], &person.Leave[i])
		}
	}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b watchbill.DutyChange) int { return int(b.ID - a.ID) }) // the last one first
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case watchbill.DutyOverride:
			q.overrides[c.Role] = append(q.overrides[c.Role], c)
		case watchbill.DutyCover, watchbill.DutySwap:
			q.covers[c.Instead] = append(q.covers[c.Instead], c)
		case watchbill.DutyLeave:
			q.leaves[c.Instead] = append(q.leaves[c.Instead], &watchbill.Leave{From: c.From, To: c.To, Reason: c.Reason, Line: fmt.Sprintf("oncall change %d", c.ID)})
		}
	}
	return &q
}

// Away returns the leave that somebody is on at an instant, or nil.
func (p *Planner) Away(id watchbill.PersonID, at time.Time) *watchbill.Leave {
	for _, l := range p.leaves[id] {
		if !at.Before(l.From) && at.Before(l.To) {
			return l
		}
	}
	return nil
}

// standIn returns who is there for a person at an instant: whoever covers them or,
// while they are on leave, their deputy, and so on. It is not ok when that ends at
// somebody who is away.
func (p *Planner) standIn(id watchbill.PersonID, role watchbill.RoleID, at time.Time) (who watchbill.PersonID, stood []standIn, ok bool) {
	met := []watchbill.PersonID{id}
	fresh := func(id watchbill.PersonID) bool {
		_, known := p.people[id]
		return known && !slices.Contains(met, id)
	}
	for {
		next := watchbill.PersonID("")
		by := standIn{away: id}
		for _, c := range p.covers[id] {
			if (c.Role == "" || c.Role == role) && c.In(at) && fresh(c.Person) {
				next, by.change = c.Person, c
				break
			}
		}
		if next == "" {
			if by.leave = p.Away(id, at); by.leave == nil {
				return id, stood, true
			}
			if next = p.people[id].Deputy; !fresh(next) {
				return id, stood, false
			}
		}
		met, stood, id = append(met, next), append(stood, by), next
	}
}

// sits returns who has a seat of a roster at an instant, without those who are
// taken.
func (p *Planner) sits(r *roster, seat Seat, at time.Time, taken watchbill.PersonID) sitting {
	if seat == Primary {
		for _, c := range p.overrides[r.Role] {
			if !c.In(at) || c.Location != "" && c.Location != r.Location {
				continue
			}
			if _, known := p.people[c.Person]; !known {
				continue
			}
			if who, stood, ok := p.standIn(c.Person, r.Role, at); ok {
				return sitting{person: who, by: c, stood: stood}
			}
		}
	}
	for _, l := range r.layers {
		if l.Seat != seat || len(l.People) == 0 {
			continue
		}
		w := wallAt(at, l.Zone)
		if !l.on(w) {
			continue
		}
		s := sitting{layer: l}
		s.n, s.began = l.turn(w)
		for s.after = range l.People {
			who, stood, ok := p.standIn(l.person(s.n, s.after), r.Role, at)
			if ok && who != taken {
				s.person, s.stood = who, stood
				return s
			}
		}
	}
	return sitting{}
}

// crew returns who sits at a roster at an instant.
func (p *Planner) crew(r *roster, at time.Time) crew {
	c := crew{r: r, primary: p.sits(r, Primary, at, "")}
	if r.has(Secondary) {
		c.second = p.sits(r, Secondary, at, c.primary.person)
	}
	return c
}

// has reports whether a roster has a layer with a seat.
func (r *roster) has(s Seat) bool {
	return slices.ContainsFunc(r.layers, func(l *layer) bool { return l.Seat == s })
}

// shadow returns the trainees of a roster at an instant. Nobody stands in for one.
func (p *Planner) shadow(r *roster, at time.Time) []sitting {
	var all []sitting
	for _, l := range r.layers {
		if l.Seat != Shadow || len(l.People) == 0 {
			continue
		}
		if w := wallAt(at, l.Zone); l.on(w) {
			s := sitting{layer: l}
			s.n, s.began = l.turn(w)
			if s.person = l.person(s.n, 0); p.Away(s.person, at) == nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// chosen says which of the crews of a role is paged first, and who stands behind
// it: its own second person, then the first ones of the others. -1 is none.
func chosen(crews []crew) (first int, behind []crewSeat) {
	first = slices.IndexFunc(crews, func(c crew) bool { return c.primary.person != "" })
	if first < 0 {
		return first, nil
	}
	met := []watchbill.PersonID{crews[first].primary.person}
	add := func(c crew, s sitting) {
		if s.person != "" && !slices.Contains(met, s.person) {
			met = append(met, s.person)
			behind = append(behind, crewSeat{c.r, s})
		}
	}
	add(crews[first], crews[first].second)
	for i, c := range crews {
		if i != first {
			add(c, c.primary)
		}
	}
	return first, behind
}

// crewSeat is somebody at a seat of a roster.
type crewSeat struct {
	r *roster
	s sitting
}

// Watch returns who is on duty for a role at an instant. The first one is always
// somebody: while nobody of the role is on duty, the manager.
func (p *Planner) Watch(role watchbill.RoleID, at time.Time) watchbill.Watch {
	w := watchbill.Watch{Role: role, At: at}
	crews := make([]crew, len(p.rosters[role]))
	for i, r := range p.rosters[role] {
		crews[i] = p.crew(r, at)
	}
	first, behind := chosen(crews)
	if first < 0 {
		w.Vacant, w.Primary = true, p.vacant(role, at)
		return w
	}
	r := crews[first].r
	w.Primary = p.duty(r, crews[first].primary)
	for _, b := range behind {
		w.Second = append(w.Second, p.duty(b.r, b.s))
	}
	for _, s := range p.shadow(r, at) {
		if !slices.ContainsFunc(append([]watchbill.Duty{w.Primary}, w.Second...), func(d watchbill.Duty) bool { return d.Person == s.person }) {
			d := p.duty(r, s)
			d.Copy, d.Reason = true, fmt.Sprintf("reads along with %s: %s", w.Primary.Person, d.Reason)
			w.Copies = append(w.Copies, d)
		}
	}
	return w
}

// vacant is who answers for a role of which nobody is on duty.
func (p *Planner) vacant(role watchbill.RoleID, at time.Time) watchbill.Duty {
	manager := p.cfg.Matrix.Manager
	nobody := fmt.Sprintf("nobody of %s is on duty", role)
	if !slices.ContainsFunc(p.rosters[role], func(r *roster) bool {
		return slices.ContainsFunc(r.layers, func(l *layer) bool { return len(l.People) > 0 })
	}) {
		nobody = fmt.Sprintf("nobody holds %s", role)
	}
	if role != manager {
		if w := p.Watch(manager, at); !w.Vacant {
			w.Primary.Reason = fmt.Sprintf("%s, so the manager answers: %s", nobody, w.Primary.Reason)
			return w.Primary
		}
	}
	for _, r := range p.rosters[manager] {
		for _, l := range r.layers {
			if len(l.People) > 0 && l.Seat != Shadow {
				n, _ := l.turn(wallAt(at, l.Zone))
				return watchbill.Duty{
					Person: l.person(n, 0), Role: manager, Line: l.Line,
					Reason: fmt.Sprintf("nobody of %s is on duty, so whose turn it would be answers", watchbill.JoinRoles(slices.Compact([]watchbill.RoleID{role, manager}), "")),
				}
			}
		}
	}
	return watchbill.Duty{Person: p.cfg.People[0].ID, Role: manager, Reason: nobody} // New makes sure that there is a manager
}

// duty is a sitting with its reason.
func (p *Planner) duty(r *roster, s sitting) watchbill.Duty {
	d := watchbill.Duty{Person: s.person, Role: r.Role}
	var why []string
	switch l := s.layer; {
	case s.by != nil:
		why = append(why, s.by.String())
		d.Line = fmt.Sprintf("oncall change %d", s.by.ID)
	case l.simple && len(l.People) == 1:
		why = append(why, fmt.Sprintf("the only one who holds %s", r.Role))
		d.Line = l.Line
	default:
		where := "derived: no roster for " + string(r.Role)
		if l.Line != "" {
			where = l.Line
		}
		began := s.began.in(l.Zone).Format("Mon 2 Jan 15:04 MST")
		why = append(why, fmt.Sprintf("%s, since %s (%s)", l.named(r.Role), began, where))
		d.Line = l.Line
	}
	for i := range s.after { // those whose turn would come first
		id := s.layer.person(s.n, i)
		if id != s.person {
			why = append(why, fmt.Sprintf("%s is not free", id))
		}
	}
	for i, x := range s.stood {
		who := s.person
		if i+1 < len(s.stood) {
			who = s.stood[i+1].away
		}
		if x.change != nil {
			why = append(why, fmt.Sprintf("%s stands in: %s", who, x.change))
			continue
		}
		reason := x.leave.Reason
		if x.leave.Line != "" {
			reason = strings.TrimPrefix(reason+", "+x.leave.Line, ", ")
		}
		why = append(why, fmt.Sprintf("%s is away until %s (%s), and %s is their deputy", x.away, x.leave.To.UTC().Format("Mon 2 Jan 15:04 UTC"), reason, who))
	}
	d.Reason = strings.Join(why, "; ")
	return d
}
