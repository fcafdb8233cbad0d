package escalation

import (
	"slices"
	"time"

	"watchbill"
)

// span is a stretch of time in which a roster has one crew.
type span struct {
	from time.Time
	crew crew
}

// edges returns every instant between two, the first one included, at which who
// sits at one of the rosters may change.
func (p *Planner) edges(rosters []*roster, from, to time.Time) []time.Time {
	all := []time.Time{from}
	add := func(at time.Time) {
		if at.After(from) && at.Before(to) {
			all = append(all, at)
		}
	}
	for _, r := range rosters {
		for _, l := range r.layers {
			l.edges(from, to, add)
		}
		for _, c := range p.overrides[r.Role] {
			add(c.From)
			add(c.To)
		}
		for _, id := range p.involved(r) {
			for _, c := range p.covers[id] {
				add(c.From)
				add(c.To)
			}
			for _, l := range p.leaves[id] {
				add(l.From)
				add(l.To)
			}
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// involved are the people who may come to sit at a roster.
func (p *Planner) involved(r *roster) []watchbill.PersonID {
	var all, asked []watchbill.PersonID
	met := map[watchbill.PersonID]bool{}
	add := func(id watchbill.PersonID) {
		if id != "" && !met[id] {
			met[id] = true
			all = append(all, id)
		}
	}
	for _, l := range r.layers {
		for _, id := range l.People {
			add(id)
		}
	}
	for _, c := range p.overrides[r.Role] {
		add(c.Person)
	}
	for len(all) > len(asked) {
		id := all[len(asked)]
		asked = append(asked, id)
		add(p.people[id].Deputy)
		for _, c := range p.covers[id] {
			add(c.Person)
		}
	}
	return all
}

// spans returns the crews of a roster from one instant to another, one after the
// other.
func (p *Planner) spans(r *roster, from, to time.Time) []span {
	var all []span
	for _, at := range p.edges([]*roster{r}, from, to) {
		c := p.crew(r, at)
		if n := len(all); n == 0 || !all[n-1].crew.same(c) {
			all = append(all, span{at, c})
		}
	}
	return all
}

// Shifts returns who is on duty for a role from one instant to another. A shift is
// as long as the same people are.
func (p *Planner) Shifts(role watchbill.RoleID, from, to time.Time) []watchbill.Shift {
	rosters := slices.Clone(p.rosters[role])
	if role != p.cfg.Matrix.Manager { // who answers while nobody is on duty
		rosters = append(rosters, p.rosters[p.cfg.Matrix.Manager]...)
	}
	var all []watchbill.Shift
	for _, at := range p.edges(rosters, from, to) {
		w := p.Watch(role, at)
		n := len(all)
		if n > 0 {
			all[n-1].To = at
			if sameWatch(all[n-1].Watch, w) {
				continue
			}
		}
		all = append(all, watchbill.Shift{From: at, Watch: w})
	}
	if n := len(all); n > 0 {
		all[n-1].To = to
		for i := range all[:n-1] { // those that went on beyond an edge
			all[i].To = all[i+1].From
		}
	}
	return all
}

func sameWatch(a, b watchbill.Watch) bool {
	same := func(x, y watchbill.Duty) bool { return x.Person == y.Person && x.Role == y.Role }
	return a.Vacant == b.Vacant && same(a.Primary, b.Primary) && slices.EqualFunc(a.Second, b.Second, same) && slices.EqualFunc(a.Copies, b.Copies, same)
}

// ShiftAt returns the whole shift of the person who is on duty first at an
// instant, as far as a week before and two months after it.
func (p *Planner) ShiftAt(role watchbill.RoleID, at time.Time) watchbill.Shift {
	all := p.Shifts(role, at.AddDate(0, 0, -8), at.AddDate(0, 2, 0))
	i := slices.IndexFunc(all, func(s watchbill.Shift) bool { return at.Before(s.To) })
	out := all[i]
	out.Watch = p.Watch(role, at)
	same := func(s watchbill.Shift) bool { return s.Watch.Primary.Person == out.Watch.Primary.Person }
	for j := i - 1; j >= 0 && same(all[j]); j-- {
		out.From = all[j].From
	}
	for j := i + 1; j < len(all) && same(all[j]); j++ {
		out.To = all[j].To
	}
	return out
}
