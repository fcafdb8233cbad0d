// Package escalation knows who is on duty for a role at an instant, and how an
// incident climbs from one person to the next until somebody takes it.
//
// # On duty
//
// [Planner.OnDuty] answers for every role and instant, with the reason. A
// roster is a weekly rotation: its people take turns, changing at the hand-over
// time on the wall clock of the roster's zone, so that a change of the clocks
// never moves the hand-over. A role without a roster rotates over those who
// hold it. A role that nobody holds is answered by the manager.
//
// # The path
//
// [Planner.Path] derives the path from the matrix: the roles marked first at
// once; after 5 minutes the other roles of the row or, when there are none, the
// role that owns the service, else the deployment role; after 10 minutes the
// manager; after 15 minutes everyone who holds one of these roles, and again
// every 15 minutes. It never ends. The path is frozen in the incident; who is
// on duty is looked up when a step fires.
//
// # Severity and hours
//
// sev1 and sev2 page at any hour. sev3 pages within the hours of the roster of
// the step's first role and otherwise waits for the next such hour. sev4 is
// recorded and pages nobody.
package escalation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"watchbill"
)

// Planner answers who is on duty and what comes next. It is immutable and safe
// for concurrent use.
type Planner struct {
	cfg      Config
	people   map[watchbill.PersonID]watchbill.Person
	services map[string]watchbill.Service
	rosters  map[watchbill.RoleID]Roster
}

// New makes a planner. It fails when nobody holds the manager role: a path
// could then end at nobody.
func New(cfg Config) (*Planner, error) {
	t := &cfg.Timing
	t.Second = cmp.Or(t.Second, 5*time.Minute)
	t.Manager = cmp.Or(t.Manager, 10*time.Minute)
	t.Everyone = cmp.Or(t.Everyone, 15*time.Minute)
	t.Repeat = cmp.Or(t.Repeat, 15*time.Minute)
	if t.Second > t.Manager || t.Manager > t.Everyone || t.Second < 0 || t.Repeat <= 0 {
		return nil, watchbill.Invalidf("order them second, manager, everyone",
			"escalation: the delays %s, %s, %s, repeat %s do not climb", t.Second, t.Manager, t.Everyone, t.Repeat)
	}
	p := &Planner{
		cfg: cfg, people: map[watchbill.PersonID]watchbill.Person{},
		services: map[string]watchbill.Service{}, rosters: map[watchbill.RoleID]Roster{},
	}
	for _, person := range cfg.People {
		p.people[person.ID] = person
	}
	for _, s := range cfg.Services {
		p.services[s.Name] = s
	}
	for _, r := range cfg.Rosters {
		p.rosters[r.Role] = r.withDefaults()
	}
	for _, role := range cfg.Matrix.Roles {
		if _, ok := p.rosters[role.ID]; !ok {
			p.rosters[role.ID] = p.derived(role.ID)
		}
	}
	if len(p.rosters[cfg.Matrix.Manager].People) == 0 {
		return nil, watchbill.Invalidf("give the role "+string(cfg.Matrix.Manager)+" to somebody under people:",
			"nobody holds %s, so a page could end at nobody", cfg.Matrix.Manager)
	}
	return p, nil
}

// derived is the roster of a role that has none: those who hold it, in order.
func (p *Planner) derived(role watchbill.RoleID) Roster {
	r := Roster{Role: role}
	for _, person := range p.cfg.People {
		if person.Holds(role) {
			r.People = append(r.People, person.ID)
			if r.Zone == nil {
				r.Zone = person.Zone()
			}
		}
	}
	return r.withDefaults()
}

func (r Roster) withDefaults() Roster {
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	if r.Handover == (Handover{}) {
		r.Handover = Handover{Weekday: time.Monday, Hour: 9}
	}
	if r.Start.IsZero() {
		r.Start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) // a Monday
	}
	return r
}

// Person returns a person by id.
func (p *Planner) Person(id watchbill.PersonID) (watchbill.Person, bool) {
	person, ok := p.people[id]
	return person, ok
}

// OnDuty returns who is on duty for a role at an instant: always at least one
// person.
func (p *Planner) OnDuty(role watchbill.RoleID, at time.Time) []watchbill.Duty {
	r := p.rosters[role]
	if id, turn, ok := r.at(at); ok {
		return []watchbill.Duty{{Person: id, Role: role, Reason: turn}}
	}
	manager := p.cfg.Matrix.Manager
	id, turn, _ := p.rosters[manager].at(at)
	return []watchbill.Duty{{Person: id, Role: manager, Reason: fmt.Sprintf("nobody holds %s, so the manager answers: %s", role, turn)}}
}

// at returns whose week it is, and why.
func (r Roster) at(at time.Time) (watchbill.PersonID, string, bool) {
	if len(r.People) == 0 {
		return "", "", false
	}
	n := len(r.People)
	if n == 1 {
		return r.People[0], fmt.Sprintf("the only one who holds %s", r.Role), true
	}
	week := r.week(at)
	id := r.People[((week%n)+n)%n]
	began := r.handoverOf(week)
	where := "derived: no roster for " + string(r.Role)
	if r.Line != "" {
		where = r.Line
	}
	return id, fmt.Sprintf("weekly rotation of %s, since %s (%s)", r.Role, began.Format("Mon 2 Jan 15:04 MST"), where), true
}

// handoverOf returns the instant at which week n of the rotation begins, on the
// wall clock of the roster's zone.
func (r Roster) handoverOf(n int) time.Time {
	y, m, d := r.Start.Date()
	start := time.Date(y, m, d, 12, 0, 0, 0, time.UTC)
	back := (int(start.Weekday()) - int(r.Handover.Weekday) + 7) % 7
	return time.Date(y, m, d-back+7*n, r.Handover.Hour, r.Handover.Minute, 0, 0, r.Zone)
}

// week returns the number of the week that contains an instant. The estimate by
// elapsed time can be off by one around a change of the clocks, so it is
// checked against the calendar.
func (r Roster) week(at time.Time) int {
	n := int(at.Sub(r.handoverOf(0)).Hours() / (7 * 24))
	for r.handoverOf(n).After(at) {
		n--
	}
	for !r.handoverOf(n + 1).After(at) {
		n++
	}
	return n
}

// Path returns the escalation path of an activity for a service, as the matrix is
// without overrides for environments.
func (p *Planner) Path(activity watchbill.ActivityID, service string) watchbill.Path {
	return p.PathAt(activity, watchbill.Place{Service: service})
}

// PathAt returns the escalation path of an activity for a service in an
// environment.
func (p *Planner) PathAt(activity watchbill.ActivityID, at watchbill.Place) watchbill.Path {
	m, t := p.cfg.Matrix.At(at), p.cfg.Timing
	first := m.FirstRoles(activity)
	all := m.Responsible(activity)
	rest := slices.DeleteFunc(slices.Clone(all), func(r watchbill.RoleID) bool { return slices.Contains(first, r) })
	why := fmt.Sprintf("marked for %s", activity)
	if len(rest) == 0 {
		rest, why = p.second(activity, at.Service, first)
	}
	steps := []watchbill.PathStep{
		{Roles: first, Reason: fmt.Sprintf("first for %s", activity)},
	}
	if len(all) == 0 {
		steps[0].Reason = fmt.Sprintf("no role is marked for %s, so the manager answers", activity)
	}
	if len(rest) > 0 {
		steps = append(steps, watchbill.PathStep{After: t.Second, Roles: rest, Reason: why})
	}
	steps = append(steps, watchbill.PathStep{After: t.Manager, Roles: []watchbill.RoleID{m.Manager}, Reason: "the manager"})
	everyone := slices.Concat(first, rest)
	if !slices.Contains(everyone, m.Manager) {
		everyone = append(everyone, m.Manager)
	}
	steps = append(steps, watchbill.PathStep{After: t.Everyone, Roles: everyone, Everyone: true, Reason: "everyone in these roles"})
	return watchbill.Path{Name: fmt.Sprintf("%s, from the matrix", activity), Steps: steps, Repeat: t.Repeat}
}

// second returns who stands behind the first roles when the row marks nobody
// else.
func (p *Planner) second(activity watchbill.ActivityID, service string, first []watchbill.RoleID) ([]watchbill.RoleID, string) {
	behind, named := p.cfg.Matrix.Second(activity)
	if behind != "" && slices.Contains(first, behind) {
		behind = ""
	}
	if named && behind != "" {
		return []watchbill.RoleID{behind}, "stands behind " + string(first[0])
	}
	if owner := p.services[service].Owner; owner != "" && !slices.Contains(first, owner) {
		return []watchbill.RoleID{owner}, "owns " + service
	}
	if behind != "" {
		return []watchbill.RoleID{behind}, "stands behind " + string(first[0])
	}
	return nil, ""
}

// Targets returns whom a step pages at an instant: each person once, with the
// first reason for which they are paged, and never nobody.
func (p *Planner) Targets(step watchbill.PathStep, at time.Time) []watchbill.Duty {
	var all []watchbill.Duty
	add := func(d watchbill.Duty) {
		if !slices.ContainsFunc(all, func(x watchbill.Duty) bool { return x.Person == d.Person }) {
			all = append(all, d)
		}
	}
	for _, role := range step.Roles {
		if !step.Everyone {
			for _, d := range p.OnDuty(role, at) {
				add(d)
			}
			continue
		}
		for _, person := range p.cfg.People {
			if person.Holds(role) {
				add(watchbill.Duty{Person: person.ID, Role: role, Reason: "everyone who holds " + string(role)})
			}
		}
	}
	if len(all) == 0 { // every role of the frozen path was emptied by a reload
		all = p.OnDuty(p.cfg.Matrix.Manager, at)
	}
	return all
}

// Due returns when a step that the path places at planned may page, and a
// reason when that is later. ok is false for sev4, which never pages.
func (p *Planner) Due(sev watchbill.Severity, step watchbill.PathStep, planned time.Time) (due time.Time, why string, ok bool) {
	switch sev {
	case watchbill.Sev1, watchbill.Sev2:
		return planned, "", true
	case watchbill.Sev3:
		r := p.rosters[step.Roles[0]]
		due = r.nextHour(planned)
		if due.Equal(planned) {
			return planned, "", true
		}
		return due, fmt.Sprintf("sev3 waits for the hours of %s", r.Role), true
	case watchbill.Sev4:
	}
	return time.Time{}, "sev4 is recorded and pages nobody", false
}

// nextHour returns the first instant from at on that is within the roster's
// hours.
func (r Roster) nextHour(at time.Time) time.Time {
	if len(r.Hours) == 0 {
		return at
	}
	local := at.In(r.Zone)
	best := time.Time{}
	for day := range 8 {
		date := time.Date(local.Year(), local.Month(), local.Day()+day, 12, 0, 0, 0, r.Zone)
		for _, h := range r.Hours {
			if !slices.Contains(h.Weekdays, date.Weekday()) {
				continue
			}
			from := time.Date(date.Year(), date.Month(), date.Day(), 0, h.From, 0, 0, r.Zone)
			to := time.Date(date.Year(), date.Month(), date.Day(), 0, h.To, 0, 0, r.Zone)
			if !at.Before(from) && at.Before(to) {
				return at
			}
			if from.After(at) && (best.IsZero() || from.Before(best)) {
				best = from
			}
		}
	}
	if best.IsZero() { // hours without a weekday: better at once than never
		return at
	}
	return best
}
