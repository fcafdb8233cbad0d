package escalation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// ConfiguredPath is a path that was written, for the incidents of some services,
// activities and environments; an empty list is all of them.
type ConfiguredPath struct {
	Name         string
	Services     []string
	Activities   []watchbill.ActivityID
	Environments []string
	Steps        []watchbill.PathStep
	Times        int           // how often the steps are walked again before the fallback
	Every        time.Duration // between two rounds, and before the fallback; zero is Timing.Repeat
	Acks         int           // how many people must acknowledge; 0 is one
	Line         string        // where its repetition stands, or it does
}

// is reports whether the path is for an activity of a service in an environment.
func (c ConfiguredPath) is(activity watchbill.ActivityID, at watchbill.Place) bool {
	return (len(c.Services) == 0 || slices.Contains(c.Services, at.Service)) &&
		(len(c.Activities) == 0 || slices.Contains(c.Activities, activity)) &&
		(len(c.Environments) == 0 || slices.Contains(c.Environments, at.Environment))
}

// Covers reports whether every incident that is for other is for this path too,
// so that other is never chosen after it.
func (c ConfiguredPath) Covers(other ConfiguredPath) bool {
	return covers(c.Services, other.Services) && covers(c.Activities, other.Activities) && covers(c.Environments, other.Environments)
}

func covers[T comparable](wide, narrow []T) bool {
	if len(wide) == 0 {
		return true
	}
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(x T) bool { return !slices.Contains(wide, x) })
}

// PathFor returns the path of an activity for a service in an environment: the
// first configured one that is for it, else the one of the matrix.
func (p *Planner) PathFor(activity watchbill.ActivityID, at watchbill.Place) watchbill.Path {
	if c, ok := p.cfg.PathOf(activity, at); ok {
		return p.written(c)
	}
	return p.PathAt(activity, at)
}

// PathOf returns the configured path of an activity for a service in an
// environment, if there is one.
func (c Config) PathOf(activity watchbill.ActivityID, at watchbill.Place) (ConfiguredPath, bool) {
	for _, path := range c.Paths {
		if path.is(activity, at) {
			return path, true
		}
	}
	return ConfiguredPath{}, false
}

// written makes the path of a configured one. After its last round stand the
// manager and then everybody whom it names, again and again, so that it never
// ends silently.
func (p *Planner) written(c ConfiguredPath) watchbill.Path {
	t := p.cfg.Timing
	every := cmp.Or(c.Every, t.Repeat)
	end := c.Steps[len(c.Steps)-1].After + every
	path := watchbill.Path{
		Name: c.Name, Steps: slices.Clone(c.Steps), Repeat: t.Repeat, Acks: c.Acks,
		Round: len(c.Steps), Times: c.Times + 1, RoundLength: end,
	}
	manager := p.cfg.Matrix.Manager
	all := watchbill.PathStep{
		After: end + t.Everyone - t.Manager, Everyone: true, Roles: []watchbill.RoleID{manager},
		Reason: "everyone of the path", Line: c.Line,
	}
	for _, s := range c.Steps {
		for _, r := range slices.Concat(s.Roles, s.Behind) {
			if !slices.Contains(all.Roles, r) {
				all.Roles = append(all.Roles, r)
			}
		}
		for _, id := range s.People {
			if !slices.Contains(all.People, id) {
				all.People = append(all.People, id)
			}
		}
	}
	path.Steps = append(path.Steps,
		watchbill.PathStep{After: end, Roles: []watchbill.RoleID{manager}, Reason: "nobody took it, so the manager", Line: c.Line}, all)
	return path
}

// PathTo returns the path with which an incident is handed to a role: whoever is
// on duty for it, then the manager, then everyone who holds it.
func (p *Planner) PathTo(role watchbill.RoleID, why string) watchbill.Path {
	t, manager := p.cfg.Timing, p.cfg.Matrix.Manager
	everyone := []watchbill.RoleID{role}
	if role != manager {
		everyone = append(everyone, manager)
	}
	return watchbill.Path{Name: fmt.Sprintf("%s, %s", role, why), Repeat: t.Repeat, Steps: []watchbill.PathStep{
		{Roles: []watchbill.RoleID{role}, Reason: why},
		{After: t.Manager, Roles: []watchbill.RoleID{manager}, Reason: "the manager"},
		{After: t.Everyone, Roles: everyone, Everyone: true, Reason: "everyone in these roles"},
	}}
}

// StepDue is Due for any step: one that names no role has no roster whose hours a
// sev3 could wait for.
func (p *Planner) StepDue(sev watchbill.Severity, step watchbill.PathStep, planned time.Time) (due time.Time, why string, ok bool) {
	if len(step.Roles) == 0 {
		step.Roles = step.Behind
	}
	if len(step.Roles) == 0 && sev != watchbill.Sev4 {
		return planned, "", true
	}
	return p.Due(sev, step, planned)
}

// StepTargets returns whom a step pages at an instant: each person once, and
// never nobody. Whoever is not in the configuration any more is answered for by
// the manager.
func (p *Planner) StepTargets(step watchbill.PathStep, at time.Time) []watchbill.Duty {
	var all []watchbill.Duty
	add := func(duties ...watchbill.Duty) {
		for _, d := range duties {
			if !slices.ContainsFunc(all, func(x watchbill.Duty) bool { return x.Person == d.Person }) {
				all = append(all, d)
			}
		}
	}
	if len(step.Roles)+len(step.Behind) > 0 {
		add(p.ofLevel(step, p.Targets(step, at), at)...)
	}
	for _, id := range step.People {
		if _, ok := p.people[id]; ok {
			add(watchbill.Duty{Person: id, Reason: "the step names " + string(id)})
			continue
		}
		for _, d := range p.OnDuty(p.cfg.Matrix.Manager, at) {
			d.Reason = fmt.Sprintf("the step names %s, who is not in the configuration any more, so the manager answers: %s", id, d.Reason)
			add(d)
		}
	}
	for _, name := range step.Receivers {
		add(watchbill.Duty{Person: watchbill.ReceiverID(name), Reason: "the step names the receiver " + name})
	}
	if len(all) == 0 {
		all = p.OnDuty(p.cfg.Matrix.Manager, at)
	}
	return all
}

// ofLevel replaces those of the roles who have not the level that a step wants:
// by the others who are paged anyway, else by somebody of the same role who has it
// and is there: whoever stands behind, else the first. Nobody having it pages whoever
// is on duty, saying so. Trainees who read along are neither counted nor replaced.
func (p *Planner) ofLevel(step watchbill.PathStep, duties []watchbill.Duty, at time.Time) []watchbill.Duty {
	if len(step.Levels) == 0 {
		return duties
	}
	wanted := levels(step.Levels)
	var fit, copies []watchbill.Duty
	for _, d := range duties {
		switch {
		case d.Copy:
			copies = append(copies, d)
		case p.people[d.Person].HasLevels(step.Levels):
			fit = append(fit, d)
		case step.Everyone:
		default:
			if id, ok := p.withLevel(step, d.Role, at); ok {
				fit = append(fit, watchbill.Duty{
					Person: id, Role: d.Role,
					Reason: fmt.Sprintf("the step wants %s, which %s, on duty for %s, has not", wanted, d.Person, d.Role),
				})
			}
		}
	}
	if len(fit) > 0 {
		return append(fit, copies...)
	}
	for i := range duties {
		if !duties[i].Copy {
			duties[i].Reason += fmt.Sprintf("; the step wants %s, which nobody of the role who is there has", wanted)
		}
	}
	return duties
}

// withLevel returns somebody of a role who has the level that a step wants and is not
// away.
func (p *Planner) withLevel(step watchbill.PathStep, role watchbill.RoleID, at time.Time) (watchbill.PersonID, bool) {
	for _, d := range p.Watch(role, at).Second {
		if p.people[d.Person].HasLevels(step.Levels) {
			return d.Person, true
		}
	}
	for _, person := range p.cfg.People {
		if person.Holds(role) && person.HasLevels(step.Levels) && p.Away(person.ID, at) == nil {
			return person.ID, true
		}
	}
	return "", false
}

// levels writes what a step wants: "deployment 4".
func levels(all map[string]int) string {
	var parts []string
	for _, skill := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s %d or more", skill, all[skill]))
	}
	return strings.Join(parts, " and ")
}
