package escalation

import "time"

// wall is a reading of a wall clock, in seconds since it showed midnight of 1
// January 1970. Rosters are arithmetic on readings; only at the edges do these
// become instants, so that no change of the clocks moves a hand-over.
//
// A reading is reached at the first instant at which the clock shows it or a later
// one. What begins at a time that the clocks skip begins when they are set forward;
// what begins at a time that comes twice begins the first time.
type wall int64

const (
	minute wall = 60
	oneDay wall = 24 * 60 * 60
)

// wallAt is the furthest reading that a clock has reached by an instant: while the
// hour that comes twice passes again, it stands still.
func wallAt(at time.Time, zone *time.Location) wall {
	at = at.In(zone)
	_, offset := at.Zone()
	w := wall(at.Unix()) + wall(offset)
	began, _ := at.ZoneBounds()
	if began.IsZero() {
		return w
	}
	_, before := began.Add(-time.Second).Zone()
	return max(w, wall(began.Unix())+wall(before)-1)
}

// in is the instant at which a clock reaches the reading.
func (w wall) in(zone *time.Location) time.Time {
	at := func(offset int) (time.Time, bool) {
		t := time.Unix(int64(w)-int64(offset), 0).In(zone)
		_, is := t.Zone()
		return t, is == offset
	}
	around := func(d wall) int { // no clock is further from UTC than 14 hours
		_, offset := time.Unix(int64(w+d), 0).In(zone).Zone()
		return offset
	}
	first, ok := at(around(-15 * 60 * minute))
	if ok {
		return first
	}
	if later, ok := at(around(15 * 60 * minute)); ok {
		return later
	}
	changed, _ := first.ZoneBounds() // the clocks skip it
	return changed
}

// date is the reading at midnight of the day of t, on the clock that t has.
func date(t time.Time) wall {
	y, m, d := t.Date()
	return wall(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix())
}

// day is the number of the day of a reading since 1970.
func (w wall) day() wall { return floor(w, oneDay) }

// weekday is the day of the week of a reading.
func (w wall) weekday() time.Weekday {
	return time.Weekday(mod(w.day()+wall(time.Thursday), 7)) // 1 January 1970 was one
}

// floor is a/b, rounded down.
func floor(a, b wall) wall {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// mod is what is left of a after floor.
func mod(a, b wall) wall { return a - b*floor(a, b) }
