package escalation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"watchbill"
)

// roster is a roster as it is worked with.
type roster struct {
	Roster
	layers []*layer
}

// layer is a layer as it is worked with.
type layer struct {
	Layer
	start    wall // when the turn of People[0] began
	length   wall
	holidays map[wall]string // by day
	simple   bool            // the roster itself is the rotation
}

func newRoster(r Roster) *roster {
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	if r.Handover == (Handover{}) {
		r.Handover = Handover{Weekday: time.Monday, Hour: 9}
	}
	out := &roster{Roster: r}
	if len(r.Layers) == 0 {
		l := newLayer(Layer{
			People: r.People, Start: r.Start, Handover: r.Handover, Zone: r.Zone, Line: r.Line,
		}, r)
		l.simple = true
		out.layers = []*layer{l}
		return out
	}
	for _, l := range r.Layers {
		out.layers = append(out.layers, newLayer(l, r))
	}
	return out
}

func newLayer(l Layer, r Roster) *layer {
	if l.Zone == nil {
		l.Zone = r.Zone
	}
	if l.Start.IsZero() {
		l.Start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // a Monday
	}
	l.Every = cmp.Or(l.Every, 7*24*time.Hour)
	out := &layer{Layer: l, length: wall(l.Every / time.Second), start: date(l.Start)}
	if out.length%(7*oneDay) == 0 {
		out.start -= oneDay * mod(wall(out.start.weekday())-wall(l.Handover.Weekday), 7)
	}
	out.start += wall(l.Handover.Hour)*60*minute + wall(l.Handover.Minute)*minute
	if len(l.Holidays) > 0 {
		out.holidays = map[wall]string{}
	}
	for _, h := range l.Holidays {
		out.holidays[date(h.Date).day()] = h.Name
	}
	return out
}

// on reports whether the layer is on at a reading of its clock.
func (l *layer) on(w wall) bool {
	if !within(l.On, w) {
		return false
	}
	if l.OnHolidays == HolidaysOn {
		return true
	}
	_, holiday := l.holidays[w.day()]
	return holiday == (l.OnHolidays == HolidaysOnly)
}

// within reports whether a reading is in one of the spans; no span is always.
func within(spans []Hours, w wall) bool {
	if len(spans) == 0 {
		return true
	}
	for _, h := range spans {
		for back := wall(0); back <= wall(h.To)/(24*60); back++ {
			m := mod(w, oneDay)/minute + back*24*60
			if m >= wall(h.From) && m < wall(h.To) && slices.Contains(h.Weekdays, (w-back*oneDay).weekday()) {
				return true
			}
		}
	}
	return false
}

// turn is the number of the turn at a reading, and when it began.
func (l *layer) turn(w wall) (n, began wall) {
	n = floor(w-l.start, l.length)
	return n, l.start + n*l.length
}

// person is whose turn it is, some places after the first one.
func (l *layer) person(n wall, after int) watchbill.PersonID {
	return l.People[mod(n+wall(after), wall(len(l.People)))]
}

// named is what the layer is called in a reason.
func (l *layer) named(role watchbill.RoleID) string {
	if l.simple {
		return fmt.Sprintf("weekly rotation of %s", role)
	}
	names := map[wall]string{oneDay: "daily rotation", 7 * oneDay: "weekly rotation"}
	every := cmp.Or(names[l.length], "rotation every "+short(l.Every))
	return fmt.Sprintf("%s of %s, layer %s", every, role, l.Name)
}

// short writes the length of a turn: 12h, 3d.
func short(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// edges calls add with every instant between from and to at which a layer may
// change who sits, and perhaps some more.
func (l *layer) edges(from, to time.Time, add func(time.Time)) {
	begin, end := wallAt(from, l.Zone), wallAt(to, l.Zone)
	if len(l.People) > 1 {
		n, _ := l.turn(begin)
		for w := l.start + (n+1)*l.length; w <= end; w += l.length {
			add(w.in(l.Zone))
		}
	}
	spanEdges(l.On, l.Zone, begin, end, add)
	if l.OnHolidays == HolidaysOn {
		return
	}
	for day := range l.holidays {
		for _, w := range []wall{day * oneDay, (day + 1) * oneDay} {
			if w > begin && w <= end {
				add(w.in(l.Zone))
			}
		}
	}
}

// spanEdges calls add with the beginnings and ends of spans between two readings.
func spanEdges(spans []Hours, zone *time.Location, begin, end wall, add func(time.Time)) {
	for _, h := range spans {
		for day := begin.day() - 1 - wall(h.To)/(24*60); day <= end.day(); day++ {
			if !slices.Contains(h.Weekdays, (day * oneDay).weekday()) {
				continue
			}
			for _, m := range []int{h.From, h.To} {
				if w := day*oneDay + wall(m)*minute; w > begin && w <= end {
					add(w.in(zone))
				}
			}
		}
	}
}

// nextHour returns the first instant from at on at which a sev3 may page.
func (r *roster) nextHour(at time.Time) time.Time {
	if len(r.Hours) == 0 {
		return at
	}
	w := wallAt(at, r.Zone)
	if within(r.Hours, w) {
		return at
	}
	best := time.Time{}
	for _, h := range r.Hours {
		for day := w.day(); day <= w.day()+7; day++ {
			from := day*oneDay + wall(h.From)*minute
			if from > w && h.From < h.To && slices.Contains(h.Weekdays, (day*oneDay).weekday()) {
				if t := from.in(r.Zone); best.IsZero() || t.Before(best) {
					best = t
				}
				break
			}
		}
	}
	if best.IsZero() { // hours without a weekday: better at once than never
		return at
	}
	return best
}
