// Package escalation knows who is on duty for a role at an instant, and how an
// incident climbs from one person to the next until somebody takes it.
//
// # On duty
//
// [Planner.Watch] answers for every role and instant, with the reason. A roster
// is a weekly rotation, or has layers: rotations of any length that are on at some
// hours and days, each on the wall clock of its own zone, so that a change of the
// clocks never moves a hand-over. In this order count: an override that somebody
// made; the first layer that is on; whoever covers the person whose turn it is;
// their deputy, while they are on leave; the next in the turn. A second person and
// trainees have layers of their own. A role without a roster rotates over those
// who hold it. While nobody of a role is on duty, the manager answers.
//
// [Planner.Coverage] proves ahead of time that there is somebody, and [Planner.Load]
// says what it asks of each.
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
	rosters  map[watchbill.RoleID][]*roster

	// Changes that somebody made, the last one first; see [Planner.With].
	overrides map[watchbill.RoleID][]*watchbill.DutyChange
	covers    map[watchbill.PersonID][]*watchbill.DutyChange // by whom they are for
	leaves    map[watchbill.PersonID][]*watchbill.Leave      // of the configuration too
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
		services: map[string]watchbill.Service{}, rosters: map[watchbill.RoleID][]*roster{},
	}
	for _, person := range cfg.People {
		p.people[person.ID] = person
	}
	for _, s := range cfg.Services {
		p.services[s.Name] = s
	}
	for _, r := range cfg.Rosters {
		p.rosters[r.Role] = append(p.rosters[r.Role], newRoster(r))
	}
	for _, role := range cfg.Matrix.Roles {
		if _, ok := p.rosters[role.ID]; !ok {
			p.rosters[role.ID] = []*roster{p.derived(role.ID)}
		}
	}
	if !slices.ContainsFunc(p.rosters[cfg.Matrix.Manager], func(r *roster) bool {
		return slices.ContainsFunc(r.layers, func(l *layer) bool { return len(l.People) > 0 && l.Seat != Shadow })
	}) {
		return nil, watchbill.Invalidf("give the role "+string(cfg.Matrix.Manager)+" to somebody under people:",
			"nobody holds %s, so a page could end at nobody", cfg.Matrix.Manager)
	}
	return p.With(nil), nil
}

// derived is the roster of a role that has none: those who hold it, in order.
func (p *Planner) derived(role watchbill.RoleID) *roster {
	r := Roster{Role: role}
	for _, person := range p.cfg.People {
		if person.Holds(role) {
			r.People = append(r.People, person.ID)
			if r.Zone == nil {
				r.Zone = person.Zone()
			}
		}
	}
	return newRoster(r)
}

// Person returns a person by id.
func (p *Planner) Person(id watchbill.PersonID) (watchbill.Person, bool) {
	person, ok := p.people[id]
	return person, ok
}

// OnDuty returns who is on duty for a role at an instant: always at least one
// person.
func (p *Planner) OnDuty(role watchbill.RoleID, at time.Time) []watchbill.Duty {
	return []watchbill.Duty{p.Watch(role, at).Primary}
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
	var behind []watchbill.RoleID
	for _, role := range first {
		if slices.ContainsFunc(p.rosters[role], func(r *roster) bool { return r.has(Secondary) }) {
			behind = append(behind, role)
			why += fmt.Sprintf(", and who stands behind for %s", role)
		}
	}
	if len(behind) > 0 && len(rest) == 0 {
		rest, why = first, "again"+why
	}
	if len(rest) > 0 {
		steps = append(steps, watchbill.PathStep{After: t.Second, Roles: rest, Behind: behind, Reason: why})
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
// first reason for which they are paged, and never nobody. Copies for trainees
// come last, and only to those who are not paged anyway.
func (p *Planner) Targets(step watchbill.PathStep, at time.Time) []watchbill.Duty {
	var all, copies []watchbill.Duty
	add := func(d watchbill.Duty) {
		if !slices.ContainsFunc(all, func(x watchbill.Duty) bool { return x.Person == d.Person }) {
			all = append(all, d)
		}
	}
	for _, role := range step.Roles {
		if !step.Everyone {
			w := p.Watch(role, at)
			add(w.Primary)
			copies = append(copies, w.Copies...)
			continue
		}
		for _, person := range p.cfg.People {
			if person.Holds(role) {
				add(watchbill.Duty{Person: person.ID, Role: role, Reason: "everyone who holds " + string(role)})
			}
		}
	}
	for _, role := range step.Behind {
		w := p.Watch(role, at)
		for _, d := range w.Second {
			d.Reason = "stands behind: " + d.Reason
			add(d)
		}
		if len(w.Second) == 0 && len(step.Roles) == 0 { // the step has nobody else
			w.Primary.Reason = fmt.Sprintf("nobody stands behind for %s: %s", role, w.Primary.Reason)
			add(w.Primary)
		}
	}
	if len(all) == 0 { // every role of the frozen path was emptied by a reload
		all = p.OnDuty(p.cfg.Matrix.Manager, at)
	}
	for _, d := range copies {
		add(d)
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
		due = p.nextHour(step.Roles[0], planned)
		if due.Equal(planned) {
			return planned, "", true
		}
		return due, fmt.Sprintf("sev3 waits for the hours of %s", step.Roles[0]), true
	case watchbill.Sev4:
	}
	return time.Time{}, "sev4 is recorded and pages nobody", false
}

// nextHour returns the first instant from at on at which a sev3 may page a role:
// within the hours of any of its rosters.
func (p *Planner) nextHour(role watchbill.RoleID, at time.Time) time.Time {
	best := at
	for i, r := range p.rosters[role] {
		if next := r.nextHour(at); i == 0 || next.Before(best) {
			best = next
		}
	}
	return best
}
