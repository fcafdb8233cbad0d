package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/escalation"
)

// rosters reads who is on duty when.
func (b *builder) rosters() {
	type key struct{ role, location string }
	seen := map[key]*yaml.Node{}
	calendars := b.calendars()
	for _, e := range b.file.Rosters {
		r := escalation.Roster{
			Role: watchbill.RoleID(e.Role.v), Location: e.Location.v, Zone: b.zone(e.TZ), Line: b.line(e.Node),
			Handover: escalation.Handover{Weekday: time.Monday, Hour: 9},
		}
		if e.Role.given() {
			b.knownRole(e.Role)
			k := key{e.Role.v, e.Location.v}
			if first := seen[k]; first != nil {
				b.problem(e.Role.n, "the first is at "+b.place(first)+": write one roster with all people, or give each a location:", "a second roster for %s", e.Role.v)
			}
			seen[k] = e.Role.n
		} else if keyNode(e.Node, "role") == nil {
			b.problem(e.Node, "add role: and the role it is for", "a roster without a role")
		}
		for _, h := range e.Hours {
			r.Hours = append(r.Hours, b.hours(h, false))
		}
		for _, h := range e.Staffed {
			r.Staffed = append(r.Staffed, b.hours(h, true))
		}
		if len(e.Layers) > 0 {
			b.layers(e, &r, calendars)
		} else {
			r.People = b.rosterPeople(e.Node, e.People, e.Role)
			r.Start = b.rosterStart(e.Node, e.Start, r.Zone)
			if e.Handover.given() {
				r.Handover = b.handover(e.Handover)
			}
		}
		b.cfg.Escalation.Rosters = append(b.cfg.Escalation.Rosters, r)
	}
}

// rosterPeople returns the people of a roster, or of a layer of it, who must hold
// its role unless none is given.
func (b *builder) rosterPeople(n *yaml.Node, people []text, role text) []watchbill.PersonID {
	if len(people) == 0 && (keyNode(n, "people") == nil || valueNode(n, "people").Kind == yaml.SequenceNode) {
		b.problem(n, "add people: [NAME, …] in the order of their weeks", "a roster without people")
	}
	var out []watchbill.PersonID
	for _, t := range people {
		if !b.known(t, "person", b.people) {
			continue
		}
		id := watchbill.PersonID(t.v)
		i := slices.IndexFunc(b.cfg.People, func(p watchbill.Person) bool { return p.ID == id })
		if i >= 0 && role.given() && slices.Contains(b.roles, role.v) && !b.cfg.People[i].Holds(watchbill.RoleID(role.v)) {
			b.problem(t.n, fmt.Sprintf("add %s to their roles, or take them off the roster", role.v), "%s does not hold the role %s", t.v, role.v)
		}
		out = append(out, id)
	}
	return out
}

// rosterStart returns noon of the first day of the rotation: noon exists on
// every day in every zone.
func (b *builder) rosterStart(n *yaml.Node, start text, zone *time.Location) time.Time {
	if !start.given() {
		if keyNode(n, "start") == nil {
			b.problem(n, "add start: with a date in the week of the first person, as in 2026-01-05", "a roster without a start")
		}
		return time.Time{}
	}
	day, err := time.ParseInLocation(time.DateOnly, start.v, zone)
	if err != nil {
		b.problem(start.n, "write year-month-day, as in 2026-01-05", "%q is not a date", start.v)
		return time.Time{}
	}
	return time.Date(day.Year(), day.Month(), day.Day(), 12, 0, 0, 0, zone)
}

// handover reads "monday 09:00".
func (b *builder) handover(t text) escalation.Handover {
	const advice = "write a weekday and a time, as in \"monday 09:00\""
	day, clock, ok := strings.Cut(strings.TrimSpace(t.v), " ")
	if !ok {
		b.problem(t.n, advice, "handover must be a weekday and a time, not %q", t.v)
		return escalation.Handover{}
	}
	weekday := b.weekday(t.n, day)
	minutes, ok := minuteOfDay(strings.TrimSpace(clock))
	if !ok || minutes == 24*60 {
		b.problem(t.n, advice, "%q is not a time of day", strings.TrimSpace(clock))
	}
	if weekday == time.Sunday && minutes == 0 { // not the zero value, which stands for the default
		return escalation.Handover{Weekday: time.Saturday, Hour: 24}
	}
	return escalation.Handover{Weekday: weekday, Hour: minutes / 60, Minute: minutes % 60}
}

// hours reads a span of the day on some weekdays; without weekdays it is every
// day. One that may be overnight can end on the next day.
func (b *builder) hours(e hoursEntry, overnight bool) escalation.Hours {
	h := escalation.Hours{To: 24 * 60}
	for _, t := range e.Weekdays {
		if !t.given() {
			continue
		}
		from, to, span := strings.Cut(t.v, ":")
		first := b.weekday(t.n, strings.TrimSpace(from))
		last := first
		if span {
			last = b.weekday(t.n, strings.TrimSpace(to))
		}
		for d := first; ; d = (d + 1) % 7 {
			if !slices.Contains(h.Weekdays, d) {
				h.Weekdays = append(h.Weekdays, d)
			}
			if d == last {
				break
			}
		}
	}
	if len(e.Weekdays) == 0 {
		for d := range time.Weekday(7) {
			h.Weekdays = append(h.Weekdays, d)
		}
	}
	h.From = b.minutes(e.From, 0)
	h.To = b.minutes(e.To, 24*60)
	if overnight && h.To <= h.From {
		h.To += 24 * 60
	}
	if h.From >= h.To && e.From.given() && e.To.given() {
		b.problem(e.To.n, "split a span over midnight in two: until 24:00, and from 00:00 on the next day", "these hours end at %s, before they begin at %s", e.To.v, e.From.v)
	}
	return h
}

func (b *builder) minutes(t text, fallback int) int {
	if !t.given() {
		return fallback
	}
	m, ok := minuteOfDay(t.v)
	if !ok {
		b.problem(t.n, "write it as \"09:00\"; the end of the day is \"24:00\"", "%q is not a time of day", t.v)
		return fallback
	}
	return m
}

// minuteOfDay reads "09:00" to "24:00".
func minuteOfDay(s string) (int, bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, false
	}
	return t.Hour()*60 + t.Minute(), true
}

// weekday reads the English name of a day.
func (b *builder) weekday(n *yaml.Node, name string) time.Weekday {
	var names []string
	for d := range time.Weekday(7) {
		if strings.EqualFold(name, d.String()) {
			return d
		}
		names = append(names, strings.ToLower(d.String()))
	}
	b.problem(n, didYouMean(name, names, ""), "%q is not a weekday", name)
	return time.Monday
}
