// Package ical reads and writes calendars in the format of RFC 5545, .ics files.
//
// [Write] writes events in UTC. [Read] reads the events of a file that somebody
// exported elsewhere: it is foreign, so its size, its events and the length of what
// they say are bounded. Of events that repeat it knows those that do so each year,
// as holidays do; others are refused, since a leave that is misread leaves a shift
// with nobody.
package ical

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	ics "github.com/arran4/golang-ical"

	"watchbill"
)

// Bounds of a file that is read.
const (
	MaxSize   = 1 << 20
	MaxEvents = 2000
	maxText   = 200 // characters of a summary
	maxYears  = 10  // of an event that repeats each year
)

// Event is an event of a calendar. One of whole days has midnights UTC, which stand
// for the days themselves; To is the first instant, or day, after it.
type Event struct {
	ID          string
	Summary     string
	Description string
	From, To    time.Time
	WholeDays   bool
}

// In returns the event with its days in a zone.
func (e Event) In(zone *time.Location) (from, to time.Time) {
	if !e.WholeDays {
		return e.From, e.To
	}
	day := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone) }
	return day(e.From), day(e.To)
}

// Write writes a calendar. now stamps its events.
func Write(out io.Writer, name string, events []Event, now time.Time) error {
	cal := ics.NewCalendarFor("watchbill")
	cal.SetMethod(ics.MethodPublish)
	cal.SetXWRCalName(plain(name))
	cal.SetRefreshInterval("PT1H")
	for _, e := range events {
		x := cal.AddEvent(plain(e.ID))
		x.SetDtStampTime(now.UTC())
		x.SetStartAt(e.From.UTC())
		x.SetEndAt(e.To.UTC())
		x.SetSummary(plain(e.Summary))
		if e.Description != "" {
			x.SetDescription(plain(e.Description))
		}
	}
	if err := cal.SerializeTo(out, ics.WithNewLineWindows, ics.WithLineLength(75)); err != nil {
		return fmt.Errorf("write a calendar: %w", err)
	}
	return nil
}

// plain takes out what no line of a calendar may hold.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Read returns the events of a calendar, those that were cancelled left out, by when
// they begin. An event without an end, of the kind that lasts no time, is left out
// too.
func Read(content []byte) ([]Event, error) {
	if len(content) > MaxSize {
		return nil, watchbill.Errorf(watchbill.CodeTooLarge, "export fewer years", "the calendar is larger than %d KB", MaxSize>>10)
	}
	cal, err := ics.ParseCalendar(bytes.NewReader(content))
	if err != nil {
		return nil, watchbill.Invalidf("export it again, as an .ics file", "it is no calendar: %s", strings.Join(strings.Fields(plain(err.Error())), " "))
	}
	var all []Event
	for _, x := range cal.Events() {
		if p := x.GetProperty(ics.ComponentPropertyStatus); p != nil && strings.EqualFold(p.Value, "CANCELLED") {
			continue
		}
		e, err := read(x)
		if err != nil {
			return nil, err
		}
		repeated, err := years(x, e)
		if err != nil {
			return nil, err
		}
		if all = append(all, repeated...); len(all) > MaxEvents {
			return nil, watchbill.Errorf(watchbill.CodeTooLarge, "export fewer years", "the calendar has more than %d events", MaxEvents)
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.From.Compare(b.From) })
	return all, nil
}

// read reads one event.
func read(x *ics.VEvent) (Event, error) {
	e := Event{ID: limit(x.Id()), Summary: limit(value(x, ics.ComponentPropertySummary))}
	start := x.GetProperty(ics.ComponentPropertyDtStart)
	if start == nil {
		return e, wrong(e, "says not when it begins")
	}
	var err error
	if e.From, e.WholeDays, err = instant(start); err != nil {
		return e, wrong(e, "begins at no time: "+err.Error())
	}
	end, lasts := x.GetProperty(ics.ComponentPropertyDtEnd), x.GetProperty(ics.ComponentPropertyDuration)
	switch {
	case end != nil:
		var days bool
		if e.To, days, err = instant(end); err != nil || days != e.WholeDays {
			return e, wrong(e, "ends at no time of its kind")
		}
	case lasts != nil:
		d, ok := duration(lasts.Value)
		if !ok {
			return e, wrong(e, fmt.Sprintf("lasts %q", limit(lasts.Value)))
		}
		e.To = e.From.Add(d)
	case e.WholeDays:
		e.To = e.From.AddDate(0, 0, 1)
	default:
		e.To = e.From
	}
	if e.To.Before(e.From) {
		return e, wrong(e, "ends before it begins")
	}
	return e, nil
}

func wrong(e Event, what string) error {
	name := e.Summary
	if name == "" {
		name = e.ID
	}
	return watchbill.Invalidf("correct it where the calendar comes from, and export it again", "the event %q %s", name, what)
}

func value(x *ics.VEvent, name ics.ComponentProperty) string {
	if p := x.GetProperty(name); p != nil {
		return p.Value
	}
	return ""
}

// limit makes one line of foreign text.
func limit(s string) string {
	runes := []rune(strings.Join(strings.Fields(plain(ics.FromText(s))), " "))
	return string(runes[:min(len(runes), maxText)])
}

// instant reads a date, or a time in UTC or in a named zone.
func instant(p *ics.IANAProperty) (t time.Time, days bool, err error) {
	text := p.Value
	if len(text) == len("20060102") {
		t, err = time.Parse("20060102", text)
		return t, true, sane(t, err)
	}
	if utc, ok := strings.CutSuffix(text, "Z"); ok {
		t, err = time.Parse("20060102T150405", utc)
		return t, false, sane(t, err)
	}
	names := p.ICalParameters["TZID"]
	if len(names) != 1 {
		return t, false, fmt.Errorf("%q names no zone", limit(text))
	}
	zone, err := time.LoadLocation(names[0])
	if err != nil || names[0] == "" || names[0] == "Local" {
		return t, false, fmt.Errorf("there is no zone %q", limit(names[0]))
	}
	t, err = time.ParseInLocation("20060102T150405", text, zone)
	return t.UTC(), false, sane(t, err)
}

func sane(t time.Time, err error) error {
	if err != nil {
		return fmt.Errorf("it is written like 20261224 or 20261224T080000Z")
	}
	if t.Year() < 1900 || t.Year() > 2200 {
		return fmt.Errorf("the year is %d", t.Year())
	}
	return nil
}

// duration reads what RFC 5545 calls a duration, of up to a year: P1W, P2D, PT8H30M.
func duration(s string) (total time.Duration, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimPrefix(s, "+"), "P")
	if !ok || s == "" {
		return 0, false
	}
	units, inDay := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour}, false
	for s != "" {
		if s[0] == 'T' && !inDay {
			units, inDay, s = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}, true, s[1:]
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i < 1 || i > 6 {
			return 0, false
		}
		n, _ := strconv.Atoi(s[:i])
		unit, known := units[s[i]]
		if !known {
			return 0, false
		}
		if total += time.Duration(n) * unit; total > 366*24*time.Hour {
			return 0, false
		}
		s = s[i+1:]
	}
	return total, true
}

// years returns an event as often as it repeats, each year and for some years.
func years(x *ics.VEvent, e Event) ([]Event, error) {
	if x.GetProperty(ics.ComponentPropertyRdate) != nil || x.GetProperty(ics.ComponentPropertyExdate) != nil || x.GetProperty(ics.ComponentPropertyExrule) != nil {
		return nil, wrong(e, "repeats at times that are listed, or not at some: write it out as events that do not repeat")
	}
	rule := value(x, ics.ComponentPropertyRrule)
	if rule == "" {
		if e.To.Equal(e.From) {
			return nil, nil
		}
		return []Event{e}, nil
	}
	count, until, every := maxYears, time.Time{}, 1
	for part := range strings.SplitSeq(rule, ";") {
		key, v, _ := strings.Cut(part, "=")
		n, err := strconv.Atoi(v)
		switch key = strings.ToUpper(key); {
		case key == "FREQ" && strings.EqualFold(v, "YEARLY"), key == "WKST":
		case key == "COUNT" && err == nil && n > 0:
			count = min(count, n)
		case key == "INTERVAL" && err == nil && n > 0 && n <= 100:
			every = n
		case key == "UNTIL" && len(v) >= 8:
			if until, err = time.Parse("20060102", v[:8]); err != nil {
				return nil, wrong(e, "repeats until no day")
			}
		case key == "BYMONTH" && err == nil && n == int(e.From.Month()), key == "BYMONTHDAY" && err == nil && n == e.From.Day():
		default:
			return nil, wrong(e, fmt.Sprintf("repeats by %q, not simply each year: write it out as events that do not repeat", limit(part)))
		}
	}
	var all []Event
	for i := range count {
		y := e
		y.From, y.To = e.From.AddDate(i*every, 0, 0), e.To.AddDate(i*every, 0, 0)
		if y.From.Day() != e.From.Day() { // the 29th of February
			continue
		}
		if !until.IsZero() && y.From.After(until.AddDate(0, 0, 1)) || y.From.Year() > 2200 {
			break
		}
		if y.To.After(y.From) {
			all = append(all, y)
		}
	}
	return all, nil
}
