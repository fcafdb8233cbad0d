package escalation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"watchbill"
)

// Question is what a proof of coverage looks for, from one instant to another.
type Question struct {
	From, To  time.Time
	Reachable func(watchbill.Person) bool
	Needs     Needs
}

// Needs is what must be there beside a first person and somebody behind, for every
// role at every minute of its staffed hours.
type Needs struct {
	Locations []LocationNeed
	// Changes is when two people must be on duty who may change production; empty is
	// always.
	Changes []Hours
	Zone    *time.Location // of Changes; nil is UTC
}

// LocationNeed says that somebody on duty for a role must be at a location.
type LocationNeed struct {
	Role     watchbill.RoleID
	Location string
	Hours    []Hours // empty is always
	Zone     *time.Location
	Line     string
}

// skill is that whose level counts for a change of production, and supervised the
// highest level of it at which a person needs a supervisor as the second one.
const (
	skill      = "deployment"
	supervised = 2
)

// Coverage returns everything that is missing between two instants, in the order
// of time: for every role a first person who can be reached and somebody else
// behind, who can be too; at the locations that ask for it somebody of the role;
// and two different people on duty who may change production, of whom one needs no
// supervisor. It looks only at the instants at which something may change, so that
// it does not matter how many minutes lie between.
func (p *Planner) Coverage(q Question) []watchbill.Gap {
	s := newSweep(p, q)
	slices.SortStableFunc(s.turns, func(a, b turnOver) int { return a.at.Compare(b.at) })
	for i := 0; i < len(s.turns); {
		at := s.turns[i].at
		for ; i < len(s.turns) && s.turns[i].at.Equal(at); i++ {
			s.turns[i].do()
		}
		s.look(at)
	}
	return s.close()
}

// turnOver is something that changes at an instant.
type turnOver struct {
	at time.Time
	do func()
}

// sweep walks through time and knows who is on duty.
type sweep struct {
	p     *Planner
	q     Question
	turns []turnOver
	roles map[watchbill.RoleID]*roleState
	order []*roleState

	manager  *roleState
	allRoles bool // look at every role: the manager changed
	hands    map[watchbill.PersonID]int
	open     map[gapKey]*watchbill.Gap
	gaps     []watchbill.Gap
}

type gapKey struct {
	kind     watchbill.GapKind
	role     watchbill.RoleID
	location string
}

// roleState is a role as it is at the instant that the sweep has reached.
type roleState struct {
	id      watchbill.RoleID
	crews   []crew
	first   int
	behind  []crewSeat
	dirty   bool
	onDuty  []watchbill.PersonID // those of them who may change production
	needs   []LocationNeed
	rosters []*roster
}

func newSweep(p *Planner, q Question) *sweep {
	s := &sweep{p: p, q: q, roles: map[watchbill.RoleID]*roleState{}, hands: map[watchbill.PersonID]int{}, open: map[gapKey]*watchbill.Gap{}}
	begin := func(spans []Hours, zone *time.Location, do func()) {
		if len(spans) > 0 {
			spanEdges(spans, zone, wallAt(q.From, zone), wallAt(q.To, zone), func(at time.Time) { s.at(at, do) })
		}
	}
	s.at(q.From, func() {})
	for _, role := range p.cfg.Matrix.Roles {
		st := &roleState{id: role.ID, dirty: true, rosters: p.rosters[role.ID]}
		st.crews = make([]crew, len(st.rosters))
		s.roles[role.ID], s.order = st, append(s.order, st)
		for i, r := range st.rosters {
			for _, x := range p.spans(r, q.From, q.To) {
				s.at(x.from, func() { st.crews[i], st.dirty = x.crew, true })
			}
			begin(r.Staffed, r.Zone, func() { st.dirty = true })
		}
		// A deputy of whoever is first may be behind, unless they are away themselves.
		for _, at := range p.edges(st.rosters, q.From, q.To) {
			s.at(at, func() { st.dirty = true })
		}
	}
	s.manager = s.roles[p.cfg.Matrix.Manager]
	for _, n := range q.Needs.Locations {
		if st := s.roles[n.Role]; st != nil {
			n.Zone = cmp.Or(n.Zone, time.UTC)
			st.needs = append(st.needs, n)
			begin(n.Hours, n.Zone, func() { st.dirty = true })
		}
	}
	s.q.Needs.Zone = cmp.Or(q.Needs.Zone, time.UTC)
	begin(q.Needs.Changes, s.q.Needs.Zone, func() {})
	return s
}

func (s *sweep) at(at time.Time, do func()) {
	if !at.Before(s.q.From) && at.Before(s.q.To) {
		s.turns = append(s.turns, turnOver{at, do})
	}
}

// look decides what is missing from an instant on.
func (s *sweep) look(at time.Time) {
	if s.manager.dirty { // they stand behind everybody
		s.seat(s.manager, at)
		s.allRoles = true
	}
	for _, st := range s.order {
		if st.dirty {
			s.seat(st, at)
		}
	}
	for _, st := range s.order {
		if st.dirty || s.allRoles {
			st.dirty = false
			s.judge(st, at)
		}
	}
	s.allRoles = false
	s.fourEyes(at)
}

// seat says who is on duty for a role now.
func (s *sweep) seat(st *roleState, at time.Time) {
	for _, id := range st.onDuty {
		hand := s.p.people[id].Identity()
		if s.hands[hand]--; s.hands[hand] == 0 {
			delete(s.hands, hand)
		}
	}
	st.onDuty = st.onDuty[:0]
	st.first, st.behind = chosen(st.crews)
	if st.first < 0 {
		return
	}
	add := func(id watchbill.PersonID) {
		person := s.p.people[id]
		if s.q.Reachable(person) && s.p.cfg.Matrix.May(person, watchbill.ActivityChangeProduction, watchbill.Place{}, at).OK {
			s.hands[person.Identity()]++ // two accounts of one person are one pair of eyes
			st.onDuty = append(st.onDuty, id)
		}
	}
	add(st.crews[st.first].primary.person)
	for _, b := range st.behind {
		add(b.s.person)
	}
}

// judge decides what a role lacks from an instant on.
func (s *sweep) judge(st *roleState, at time.Time) {
	staffed := s.staffed(st, at)
	primary := watchbill.PersonID("")
	if st.first >= 0 {
		primary = st.crews[st.first].primary.person
	}
	reached := primary != "" && s.q.Reachable(s.p.people[primary])
	s.gap(staffed && primary == "", at, watchbill.Gap{Kind: watchbill.GapVacant, Role: st.id, Why: "nobody of the role is on duty"})
	s.gap(staffed && primary != "" && !reached, at, watchbill.Gap{
		Kind: watchbill.GapUnreachable, Role: st.id, Why: fmt.Sprintf("%s is on duty and cannot be reached", primary),
	})
	s.gap(staffed && primary != "" && !s.backed(st, primary, at), at, watchbill.Gap{
		Kind: watchbill.GapFallback, Role: st.id, Why: fmt.Sprintf("nobody else who can be reached stands behind %s", primary),
	})
	for _, n := range st.needs {
		s.gap(within(n.Hours, wallAt(at, n.Zone)) && !s.present(st, n.Location), at, watchbill.Gap{
			Kind: watchbill.GapLocation, Role: st.id, Location: n.Location, Why: "nobody who is on duty and can be reached is there",
		})
	}
}

// staffed reports whether somebody must be on duty for a role: at least one of its
// rosters says so.
func (s *sweep) staffed(st *roleState, at time.Time) bool {
	return slices.ContainsFunc(st.rosters, func(r *roster) bool { return within(r.Staffed, wallAt(at, r.Zone)) })
}

// backed reports whether somebody else can be reached if the first person of a
// role does not answer: who stands behind, their deputy, or the manager.
func (s *sweep) backed(st *roleState, primary watchbill.PersonID, at time.Time) bool {
	can := func(id watchbill.PersonID) bool {
		person, known := s.p.people[id]
		return known && id != primary && s.q.Reachable(person)
	}
	if slices.ContainsFunc(st.behind, func(b crewSeat) bool { return can(b.s.person) }) {
		return true
	}
	if deputy := s.p.people[primary].Deputy; can(deputy) && s.p.Away(deputy, at) == nil {
		return true
	}
	m := s.manager
	return m.first >= 0 && (can(m.crews[m.first].primary.person) || slices.ContainsFunc(m.behind, func(b crewSeat) bool { return can(b.s.person) }))
}

// present reports whether somebody on duty for a role is at a location.
func (s *sweep) present(st *roleState, location string) bool {
	if st.first < 0 {
		return false
	}
	is := func(r *roster, id watchbill.PersonID) bool {
		person := s.p.people[id]
		return cmp.Or(person.Location, r.Location) == location && s.q.Reachable(person)
	}
	first := st.crews[st.first]
	return is(first.r, first.primary.person) || slices.ContainsFunc(st.behind, func(b crewSeat) bool { return is(b.r, b.s.person) })
}

// fourEyes decides whether two people may change production from an instant on.
func (s *sweep) fourEyes(at time.Time) {
	lead, why := false, ""
	for id := range s.hands {
		level, known := s.p.people[id].Level[skill]
		lead = lead || !known || level > supervised
		why = string(id)
	}
	switch {
	case len(s.hands) == 0:
		why = "nobody who is on duty may change production"
	case len(s.hands) == 1:
		why = fmt.Sprintf("of those on duty only %s may change production", why)
	case !lead:
		why = fmt.Sprintf("nobody on duty may supervise: all who may change production have level %d or less", supervised)
	}
	needed := within(s.q.Needs.Changes, wallAt(at, s.q.Needs.Zone))
	s.gap(needed && (len(s.hands) < 2 || !lead), at, watchbill.Gap{Kind: watchbill.GapFourEyes, Why: why})
}

// gap begins a gap, lets it go on, or ends it.
func (s *sweep) gap(missing bool, at time.Time, g watchbill.Gap) {
	key := gapKey{g.Kind, g.Role, g.Location}
	open := s.open[key]
	switch {
	case missing && open == nil:
		g.From = at
		s.open[key] = &g
	case !missing && open != nil:
		open.To = at
		s.gaps = append(s.gaps, *open)
		delete(s.open, key)
	}
}

// close ends what is open, and returns everything in order.
func (s *sweep) close() []watchbill.Gap {
	for _, g := range s.open {
		g.To = s.q.To
		s.gaps = append(s.gaps, *g)
	}
	slices.SortFunc(s.gaps, func(a, b watchbill.Gap) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Location, b.Location))
	})
	return s.gaps
}
