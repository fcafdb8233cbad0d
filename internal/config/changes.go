package config

import (
	"slices"
	"time"

	"watchbill"
	"watchbill/incident/change"
)

// changesSection is what a change of production takes.
type changesSection struct {
	where
	Approvals        number             `yaml:"approvals"`
	Witness          text               `yaml:"witness"`
	Expires          duration           `yaml:"expires"`
	ForbidDevelopers toggle             `yaml:"forbid_developers"`
	NotProduction    []text             `yaml:"not_production"`
	Skill            text               `yaml:"skill"`
	Remind           duration           `yaml:"remind"`
	Escalate         duration           `yaml:"escalate"`
	Validity         duration           `yaml:"validity"`
	BreakGlass       breakGlassSection  `yaml:"break_glass"`
	Environments     table[demandEntry] `yaml:"environments"`
	LoosenedBy       text               `yaml:"loosened_by"`
}

type breakGlassSection struct {
	Pages  text     `yaml:"pages"`
	Review duration `yaml:"review"`
}

type demandEntry struct {
	Approvals number   `yaml:"approvals"`
	Witness   text     `yaml:"witness"`
	Expires   duration `yaml:"expires"`
}

// grantEntry is a role of somebody from outside.
type grantEntry struct {
	where
	Role     text   `yaml:"role"`
	Services []text `yaml:"services"`
	Until    text   `yaml:"until"`
}

// changes reads what a change of production takes.
func (b *builder) changes() {
	f, c := &b.file.Changes, &b.cfg.Changes
	c.Matrix, c.People = b.cfg.Matrix, b.cfg.People
	built := change.Config{Matrix: b.cfg.Matrix}.WithDefaults()
	c.Default = b.demand(demandEntry{f.Approvals, f.Witness, f.Expires}, built.Default)
	if f.ForbidDevelopers.given() && !f.ForbidDevelopers.v {
		b.problem(f.ForbidDevelopers.n, "write true, or remove the key; not_production: names the environments in which developers may act",
			"no developer acts on production: this cannot be switched off")
	}
	c.NotProduction = values(f.NotProduction)
	c.Skill = f.Skill.or(built.Skill)
	c.Remind, c.Escalate = b.positive(f.Remind, "remind"), b.positive(f.Escalate, "escalate")
	if both := (change.Config{Remind: c.Remind, Escalate: c.Escalate}).WithDefaults(); both.Remind >= both.Escalate {
		b.problem(firstGiven(f.Escalate, f.Remind), "write remind: 30m and escalate: 2h", "changes: escalate must come after remind")
	}
	c.Validity = b.positive(f.Validity, "validity")
	c.ReviewIn = b.positive(f.BreakGlass.Review, "review")
	if b.knownRole(f.BreakGlass.Pages) {
		c.BreakGlassPages = watchbill.RoleID(f.BreakGlass.Pages.v)
	}
	for _, e := range f.Environments {
		d := b.demand(e.Value, c.Default)
		if slices.Contains(c.NotProduction, e.Key.v) {
			b.problem(e.Key.n, "remove it from one of the two", "%s is listed under not_production, where nothing is asked of a change", e.Key.v)
		}
		if looser := d.Looser(c.Default); len(looser) > 0 {
			b.problem(e.Key.n, "an environment can only be stricter than the rest", "%s is looser than the rest: %s", e.Key.v, looser[0])
			continue
		}
		if c.Environments == nil {
			c.Environments = map[string]change.Demand{}
		}
		c.Environments[e.Key.v] = d
	}
	if f.LoosenedBy.given() {
		id, err := watchbill.ParseChangeID(f.LoosenedBy.v)
		if err != nil {
			b.problem(f.LoosenedBy.n, "write a change such as CHG-7", "%q is not a change", f.LoosenedBy.v)
		}
		c.LoosenedBy = id
	}
	if looser := c.WithDefaults().Looser(c.WithDefaults().Baseline()); len(looser) > 0 && c.LoosenedBy == 0 {
		b.warn(f.Node, "docs/changes.md says how a second person approves it; until then the stricter rule is in force",
			"changes: this is looser than the rules without it: %s", looser[0])
	}
}

// demand reads what an environment asks for; fallback is what stands where nothing
// is written.
func (b *builder) demand(e demandEntry, fallback change.Demand) change.Demand {
	d := change.Demand{Approvals: e.Approvals.or(fallback.Approvals), WitnessOptional: fallback.WitnessOptional, Expires: fallback.Expires}
	if e.Approvals.given() && (e.Approvals.v < 1 || e.Approvals.v > 5) {
		b.problem(e.Approvals.n, "write 1, or 2 where it matters most", "approvals is between 1 and 5")
		d.Approvals = fallback.Approvals
	}
	switch e.Witness.or("") {
	case "":
	case "required":
		d.WitnessOptional = false
	case "optional":
		d.WitnessOptional = true
	default:
		b.problem(e.Witness.n, "write required or optional", "witness is not %q", e.Witness.v)
	}
	if v := b.positive(e.Expires, "expires"); v > 0 {
		d.Expires = v
	}
	return d
}

// grants reads the roles of somebody from outside.
func (b *builder) grants(e personEntry) []watchbill.Grant {
	var out []watchbill.Grant
	for _, g := range e.Grants {
		if !g.Role.given() || len(g.Services) == 0 {
			b.problem(g.Node, "write {role: ROLE, services: [SERVICE], until: 2026-12-31}", "a grant names a role and services")
			continue
		}
		if !b.knownRole(g.Role) {
			continue
		}
		for _, s := range g.Services {
			b.known(s, "service", b.services)
		}
		grant := watchbill.Grant{Role: watchbill.RoleID(g.Role.v), Services: values(g.Services)}
		if g.Until.given() {
			until, err := time.Parse(time.RFC3339, g.Until.v)
			if err != nil {
				until, err = time.ParseInLocation(time.DateOnly, g.Until.v, b.zone(e.TZ))
			}
			if err != nil {
				b.problem(g.Until.n, "write a date such as 2026-12-31, at whose beginning it ends, or an instant", "%q is not a date", g.Until.v)
			}
			grant.Until = until
		}
		out = append(out, grant)
	}
	return out
}

// sameAs checks that accounts of one person name the one that stands for all.
func (b *builder) sameAs() {
	for _, e := range b.file.People {
		if !e.SameAs.given() || !b.known(e.SameAs, "person", b.people) {
			continue
		}
		i := slices.IndexFunc(b.file.People, func(x personEntry) bool { return x.Name.v == e.SameAs.v })
		if e.SameAs.v == e.Name.v || i >= 0 && b.file.People[i].SameAs.given() {
			b.problem(e.SameAs.n, "name the account that stands for the person, and give that one no same_as", "%s cannot stand for %s", e.SameAs.v, e.Name.v)
		}
	}
}
