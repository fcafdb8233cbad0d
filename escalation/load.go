package escalation

import (
	"slices"
	"time"

	"watchbill"
)

// Night is from 22:00 to 07:00 on the clock of whoever sleeps.
const (
	nightFrom = 22 * 60
	nightTo   = 7 * 60
)

// AtNight reports whether an instant is at night for a person.
func AtNight(at time.Time, zone *time.Location) bool {
	m := mod(wallAt(at, zone), oneDay) / minute
	return m >= nightFrom || m < nightTo
}

// stretch is a time on duty.
type stretch struct{ from, to time.Time }

// Load returns what the rosters ask of each person between two instants, in the
// order of the configuration. Standing behind somebody counts by itself.
func (p *Planner) Load(from, to time.Time) []watchbill.DutyLoad {
	first, second := map[watchbill.PersonID][]stretch{}, map[watchbill.PersonID][]stretch{}
	for _, role := range p.cfg.Matrix.Roles {
		for _, s := range p.Shifts(role.ID, from, to) {
			id := s.Watch.Primary.Person
			first[id] = append(first[id], stretch{s.From, s.To})
			for _, d := range s.Watch.Second {
				second[d.Person] = append(second[d.Person], stretch{s.From, s.To})
			}
		}
	}
	all := make([]watchbill.DutyLoad, len(p.cfg.People))
	for i, person := range p.cfg.People {
		l := watchbill.DutyLoad{Person: person.ID}
		zone := person.Zone()
		nights := map[wall]bool{}
		for _, s := range joined(first[person.ID]) {
			l.Hours += s.to.Sub(s.from).Hours()
			walk(s, zone, func(part stretch, w wall) {
				switch w.weekday() { //nolint:exhaustive // the others are no weekend
				case time.Saturday, time.Sunday:
					l.Weekend += part.to.Sub(part.from).Hours()
				}
				if m := mod(w, oneDay) / minute; m >= nightFrom || m < nightTo {
					nights[(w + (24*60-nightFrom)*minute).day()] = true // the night before a day
				}
			})
		}
		for _, s := range joined(second[person.ID]) {
			l.Second += s.to.Sub(s.from).Hours()
		}
		l.Nights = len(nights)
		all[i] = l
	}
	return all
}

// joined returns stretches without overlaps, in order.
func joined(all []stretch) []stretch {
	slices.SortFunc(all, func(a, b stretch) int { return a.from.Compare(b.from) })
	var out []stretch
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// walk cuts a stretch at midnight and at the edges of the night.
func walk(s stretch, zone *time.Location, visit func(stretch, wall)) {
	at := s.from
	for at.Before(s.to) {
		w := wallAt(at, zone)
		next := s.to
		for _, m := range []wall{nightTo, nightFrom, 24 * 60} {
			if t := (w.day()*oneDay + m*minute).in(zone); t.After(at) && t.Before(next) {
				next = t
			}
		}
		visit(stretch{at, next}, w)
		at = next
	}
}
