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

// rosters reads the weekly rotations.
func (b *builder) rosters() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.Rosters {
		r := escalation.Roster{
			Role: watchbill.RoleID(e.Role.v), Zone: b.zone(e.TZ), Line: b.line(e.Node),
			Handover: escalation.Handover{Weekday: time.Monday, Hour: 9},
		}
		if e.Role.given() {
			b.knownRole(e.Role)
			if first := seen[e.Role.v]; first != nil {
				b.problem(e.Role.n, "the first is at "+b.place(first)+": write one roster with all people", "a second roster for %s", e.Role.v)
			}
			seen[e.Role.v] = e.Role.n
		} else if keyNode(e.Node, "role") == nil {
			b.problem(e.Node, "add role: and the role it is for", "a roster without a role")
		}
		r.People = b.rosterPeople(e)
		r.Start = b.rosterStart(e, r.Zone)
		if e.Handover.given() {
			r.Handover = b.handover(e.Handover)
		}
		for _, h := range e.Hours {
			r.Hours = append(r.Hours, b.hours(h))
		}
		b.cfg.Escalation.Rosters = append(b.cfg.Escalation.Rosters, r)
	}
}

// rosterPeople returns the people of a roster, who must hold its role.
func (b *builder) rosterPeople(e rosterEntry) []watchbill.PersonID {
	if len(e.People) == 0 && (keyNode(e.Node, "people") == nil || valueNode(e.Node, "people").Kind == yaml.SequenceNode) {
		b.problem(e.Node, "add people: [NAME, …] in the order of their weeks", "a roster without people")
	}
	var out []watchbill.PersonID
	for _, t := range e.People {
		if !b.known(t, "person", b.people) {
			continue
		}
		id := watchbill.PersonID(t.v)
		i := slices.IndexFunc(b.cfg.People, func(p watchbill.Person) bool { return p.ID == id })
		if i >= 0 && e.Role.given() && slices.Contains(b.roles, e.Role.v) && !b.cfg.People[i].Holds(watchbill.RoleID(e.Role.v)) {
			b.problem(t.n, fmt.Sprintf("add %s to their roles, or take them off the roster", e.Role.v), "%s does not hold the role %s", t.v, e.Role.v)
		}
		out = append(out, id)
	}
	return out
}

// rosterStart returns noon of the first day of the rotation: noon exists on
// every day in every zone.
func (b *builder) rosterStart(e rosterEntry, zone *time.Location) time.Time {
	if !e.Start.given() {
		if keyNode(e.Node, "start") == nil {
			b.problem(e.Node, "add start: with a date in the week of the first person, as in 2026-01-05", "a roster without a start")
		}
		return time.Time{}
	}
	day, err := time.ParseInLocation(time.DateOnly, e.Start.v, zone)
	if err != nil {
		b.problem(e.Start.n, "write year-month-day, as in 2026-01-05", "%q is not a date", e.Start.v)
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
	return escalation.Handover{Weekday: weekday, Hour: minutes / 60, Minute: minutes % 60}
}

// hours reads a span of the day on some weekdays; without weekdays it is every
// day.
func (b *builder) hours(e hoursEntry) escalation.Hours {
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
