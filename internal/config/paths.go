package config

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/escalation"
)

// pathEntry is an escalation path, for some services, activities and
// environments.
type pathEntry struct {
	where
	Name         text        `yaml:"name"`
	Services     []text      `yaml:"services"`
	Activities   []text      `yaml:"activities"`
	Environments []text      `yaml:"environments"`
	Acks         number      `yaml:"acks"`
	Steps        []stepEntry `yaml:"steps"`
	Repeat       stepRepeat  `yaml:"repeat"`
}

type stepRepeat struct {
	Times number   `yaml:"times"`
	Every duration `yaml:"every"`
}

type stepEntry struct {
	where
	After      duration      `yaml:"after"`
	Roles      []text        `yaml:"roles"`
	Rosters    []text        `yaml:"rosters"`
	Behind     []text        `yaml:"behind"`
	Everyone   []text        `yaml:"everyone"`
	People     []text        `yaml:"people"`
	Receivers  []text        `yaml:"receivers"`
	Level      table[number] `yaml:"level"`
	Severities []text        `yaml:"severities"`
	Hours      []hoursEntry  `yaml:"hours"`
	TZ         text          `yaml:"tz"`
}

// Bounds of a path: its steps, and how often they are walked again. It is stored
// in each incident, and after it comes the manager.
const (
	maxSteps  = 20
	maxRounds = 20
)

// paths reads the escalation paths.
func (b *builder) paths() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.Paths {
		b.name(e.Name, e.Node, "path", seen)
		p := escalation.ConfiguredPath{
			Name: e.Name.v, Environments: values(e.Environments), Line: b.line(e.Node),
			Times: e.Repeat.Times.v, Every: b.positive(e.Repeat.Every, "every"), Acks: e.Acks.v,
		}
		if k := keyNode(e.Node, "repeat"); k != nil {
			p.Line = b.line(k)
		}
		for _, s := range e.Services {
			if b.known(s, "service", b.services) {
				p.Services = append(p.Services, s.v)
			}
		}
		for _, a := range e.Activities {
			if b.known(a, "activity", b.activities) {
				p.Activities = append(p.Activities, watchbill.ActivityID(a.v))
			}
		}
		for _, key := range []string{"services", "activities", "environments"} {
			if k := keyNode(e.Node, key); k != nil && isEmptyList(valueNode(e.Node, key)) {
				b.problem(k, "name some, or remove the key: without it the path is not limited by them", "a path for no %s", key)
			}
		}
		if e.Repeat.Times.given() && (p.Times < 0 || p.Times > maxRounds) {
			b.problem(e.Repeat.Times.n, fmt.Sprintf("write 0 to %d; after that the manager is paged, and then everyone of the path", maxRounds), "the steps cannot be repeated %d times", p.Times)
		}
		b.steps(e, &p)
		if len(p.Steps) == 0 {
			continue
		}
		b.pathAcks(e, p)
		for i, before := range b.cfg.Escalation.Paths {
			if before.Covers(p) {
				b.warn(e.Node, "move it in front, or limit the other one by services, activities or environments",
					"the path %s is never chosen: %s, at %s, is for all that it is for", p.Name, before.Name, b.place(b.file.Paths[i].Node))
				break
			}
		}
		b.cfg.Escalation.Paths = append(b.cfg.Escalation.Paths, p)
	}
}

// steps reads the steps of a path.
func (b *builder) steps(e pathEntry, p *escalation.ConfiguredPath) {
	if len(e.Steps) == 0 {
		b.problem(e.Node, "add steps: [{roles: [ROLE]}, {after: 10m, people: [NAME]}]", "a path without steps")
		return
	}
	if len(e.Steps) > maxSteps {
		b.problem(e.Steps[maxSteps].Node, "page more people in a step, or use repeat:", "a path of more than %d steps", maxSteps)
		return
	}
	var last time.Duration
	for i, s := range e.Steps {
		step := b.step(s)
		if i == 0 && step.After > 0 {
			b.problem(s.After.n, "remove after:; to wait before anybody is paged, let the alert wait: `for:` of its rule", "the first step pages at once, not after %s", short(step.After))
		}
		if step.After < last {
			b.problem(firstNode(s.After.n, s.Node), "order the steps by after:, which counts from the first page", "step %d (%s) comes before the one above it (%s)", i, short(step.After), short(last))
		}
		last = max(last, step.After)
		p.Steps = append(p.Steps, step)
	}
}

func firstNode(a, b *yaml.Node) *yaml.Node {
	if a != nil {
		return a
	}
	return b
}

// step reads one step.
func (b *builder) step(e stepEntry) watchbill.PathStep {
	s := watchbill.PathStep{After: e.After.v, Line: b.line(e.Node)}
	b.stepRoles(e, &s)
	for _, t := range e.People {
		if b.known(t, "person", b.people) && !slices.Contains(s.People, watchbill.PersonID(t.v)) {
			s.People = append(s.People, watchbill.PersonID(t.v))
		}
	}
	for _, t := range e.Receivers {
		if t.given() && (b.anyReceiver || b.known(t, "receiver", b.receivers)) {
			s.Receivers = append(s.Receivers, t.v)
		}
	}
	if len(e.Roles)+len(e.Rosters)+len(e.Behind)+len(e.Everyone)+len(e.People)+len(e.Receivers) == 0 {
		b.problem(e.Node, "add roles:, rosters:, behind:, everyone:, people: or receivers:", "a step that pages nobody")
	}
	b.stepLevels(e, &s)
	w := watchbill.StepWhen{Zone: e.TZ.v}
	b.zone(e.TZ)
	for _, t := range e.Severities {
		if !t.given() {
			continue
		}
		sev, err := watchbill.ParseSeverity(t.v)
		switch {
		case err != nil:
			b.problem(t.n, "use sev1, sev2 or sev3", "%q is not a severity", t.v)
		case sev == watchbill.Sev4:
			b.problem(t.n, "use sev1, sev2 or sev3", "sev4 is recorded and pages nobody")
		default:
			w.Severities = append(w.Severities, sev)
		}
	}
	for _, h := range e.Hours {
		span := b.hours(h, false)
		w.Hours = append(w.Hours, watchbill.DaySpan{Weekdays: span.Weekdays, From: span.From, To: span.To})
	}
	if e.TZ.given() && len(e.Hours) == 0 {
		b.problem(e.TZ.n, "add hours:, or remove tz:", "a zone without hours")
	}
	if len(w.Severities)+len(w.Hours) > 0 {
		s.When = &w
	}
	s.Reason = "pages " + s.Whom()
	return s
}

// stepRoles reads the roles of a step: on duty, or everyone.
func (b *builder) stepRoles(e stepEntry, s *watchbill.PathStep) {
	add := func(t text) {
		if b.knownRole(t) && !slices.Contains(s.Roles, watchbill.RoleID(t.v)) {
			s.Roles = append(s.Roles, watchbill.RoleID(t.v))
		}
	}
	for _, t := range e.Roles {
		add(t)
	}
	for _, t := range e.Rosters {
		if t.given() && !slices.ContainsFunc(b.file.Rosters, func(r rosterEntry) bool { return r.Role.v == t.v }) {
			b.problem(t.n, "add it under rosters:, or write roles: for whoever is on duty without one", "there is no roster for %q", t.v)
			continue
		}
		add(t)
	}
	for _, t := range e.Behind {
		if b.knownRole(t) && !slices.Contains(s.Behind, watchbill.RoleID(t.v)) {
			s.Behind = append(s.Behind, watchbill.RoleID(t.v))
		}
	}
	b.standsBehind(e)
	if len(e.Everyone) == 0 {
		return
	}
	if len(e.Roles)+len(e.Rosters)+len(e.Behind) > 0 {
		b.problem(keyNode(e.Node, "everyone"), "write two steps with the same after:", "one step pages either those on duty or everyone of its roles")
	}
	s.Everyone = true
	for _, t := range e.Everyone {
		add(t)
	}
}

// standsBehind warns of a role for which nobody ever stands behind: it has one roster,
// without a secondary layer.
func (b *builder) standsBehind(e stepEntry) {
	for _, t := range e.Behind {
		rosters := slices.DeleteFunc(slices.Clone(b.file.Rosters), func(r rosterEntry) bool { return r.Role.v != t.v })
		second := slices.ContainsFunc(rosters, func(r rosterEntry) bool {
			return slices.ContainsFunc(r.Layers, func(l layerEntry) bool { return l.As.v == "secondary" })
		})
		if t.given() && len(rosters) < 2 && !second {
			b.warn(t.n, "give its roster a layer that is as: secondary; until then whoever is on duty is paged", "nobody ever stands behind for %s", t.v)
		}
	}
}

// stepLevels reads the levels that a step wants of those of its roles.
func (b *builder) stepLevels(e stepEntry, s *watchbill.PathStep) {
	for _, level := range e.Level {
		if !level.Value.given() {
			continue
		}
		if level.Value.v < 2 || level.Value.v > 6 {
			b.problem(level.Value.n, "use 2 (assists) to 6 (sets policy)", "a level is between 2 and 6, not %d", level.Value.v)
			continue
		}
		if s.Levels == nil {
			s.Levels = map[string]int{}
		}
		s.Levels[level.Key.v] = level.Value.v
	}
	if len(s.Levels) == 0 {
		return
	}
	if len(s.Roles)+len(s.Behind) == 0 {
		b.problem(keyNode(e.Node, "level"), "add roles:, behind: or everyone:; people: names whom it wants", "a level is wanted of those of a role, and the step has none")
		return
	}
	if !slices.ContainsFunc(b.cfg.People, func(p watchbill.Person) bool {
		return p.HasLevels(s.Levels) && slices.ContainsFunc(slices.Concat(s.Roles, s.Behind), p.Holds)
	}) {
		b.warn(keyNode(e.Node, "level"), "give somebody this level: under people:, or ask for less; until then whoever is on duty is paged",
			"nobody of %s has the level that the step wants", watchbill.JoinRoles(slices.Concat(s.Roles, s.Behind), ""))
	}
}

// pathAcks checks that enough people can acknowledge.
func (b *builder) pathAcks(e pathEntry, p escalation.ConfiguredPath) {
	if !e.Acks.given() {
		return
	}
	if p.Acks < 1 {
		b.problem(e.Acks.n, "write 2, or remove the key: one is enough then", "a path stops when at least one person acknowledges")
		return
	}
	able := 0
	for _, person := range b.cfg.People {
		if person.Holds(b.cfg.Matrix.Manager) || slices.ContainsFunc(p.Steps, func(s watchbill.PathStep) bool {
			return slices.Contains(s.People, person.ID) || slices.ContainsFunc(slices.Concat(s.Roles, s.Behind), person.Holds)
		}) {
			able++
		}
	}
	if p.Acks > able && !b.guessing && !b.untrusted {
		b.problem(e.Acks.n, "page more people, or ask for fewer", "the path wants %d people to acknowledge and can page %d", p.Acks, able)
	}
}
