package change

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"watchbill"
)

// Config is what a configuration says of changes.
type Config struct {
	Policy
	// Remind is after how long who may approve is told again, and Escalate after how
	// long the manager is, and again each time.
	Remind, Escalate time.Duration
	// Validity is how long a change may be made that states no end.
	Validity time.Duration
	// LoosenedBy is the change that allows this configuration to be looser than the
	// one before it.
	LoosenedBy watchbill.ChangeID

	Matrix watchbill.Matrix
	People []watchbill.Person
}

// Policy is what a configuration must not loosen by itself: the rules, and who and
// what is exempt from them. It is kept, so that a start does not forget it.
type Policy struct {
	Default         Demand                                     `json:"default"`
	Environments    map[string]Demand                          `json:"environments,omitempty"`
	NotProduction   []string                                   `json:"not_production,omitempty"`
	Skill           string                                     `json:"skill"` // whose levels count
	BreakGlassPages watchbill.RoleID                           `json:"break_glass_pages"`
	ReviewIn        time.Duration                              `json:"review_in"` // after the glass was broken
	Developers      []watchbill.PersonID                       `json:"developers,omitempty"`
	Same            map[watchbill.PersonID]watchbill.PersonID  `json:"same,omitempty"` // accounts of one person
	Marks           map[watchbill.ActivityID]map[string]string `json:"marks"`          // the rows that let somebody change production
}

// Demand is what an environment asks of a change.
type Demand struct {
	Approvals       int           `json:"approvals"`
	WitnessOptional bool          `json:"witness_optional,omitempty"`
	Expires         time.Duration `json:"expires"` // an approval, after it was given
}

// Looser says how far a demand is looser than another.
func (d Demand) Looser(than Demand) []string {
	var out []string
	if d.Approvals < than.Approvals {
		out = append(out, fmt.Sprintf("approvals from %d to %d", than.Approvals, d.Approvals))
	}
	if d.WitnessOptional && !than.WitnessOptional {
		out = append(out, "witness from required to optional")
	}
	if d.Expires > than.Expires {
		out = append(out, fmt.Sprintf("expires from %s to %s", than.Expires, d.Expires))
	}
	return out
}

// Defaults returns the rules without any configuration.
func Defaults() Policy {
	return Policy{Default: Demand{Approvals: 1, Expires: 8 * time.Hour}, Skill: "deployment", ReviewIn: 3 * 24 * time.Hour}
}

// WithDefaults returns the configuration with what was left out.
func (c Config) WithDefaults() Config {
	d := Defaults()
	def := func(t *time.Duration, v time.Duration) {
		if *t == 0 {
			*t = v
		}
	}
	if c.Default.Approvals == 0 {
		c.Default.Approvals = d.Default.Approvals
	}
	def(&c.Default.Expires, d.Default.Expires)
	def(&c.ReviewIn, d.ReviewIn)
	def(&c.Remind, 30*time.Minute)
	def(&c.Escalate, 2*time.Hour)
	def(&c.Validity, 24*time.Hour)
	if c.Skill == "" {
		c.Skill = d.Skill
	}
	if c.BreakGlassPages == "" {
		c.BreakGlassPages = c.Matrix.Manager
	}
	c.Developers, c.Same = nil, map[watchbill.PersonID]watchbill.PersonID{}
	for _, p := range c.People {
		if p.Developer {
			c.Developers = append(c.Developers, p.ID)
		}
		if p.SameAs != "" {
			c.Same[p.ID] = p.SameAs
		}
	}
	slices.Sort(c.Developers)
	c.Marks = map[watchbill.ActivityID]map[string]string{}
	for _, a := range guarded() {
		c.Marks[a] = map[string]string{}
		for _, r := range c.Matrix.Roles {
			if m := c.Matrix.Mark(a, r.ID); m != watchbill.NotMarked {
				c.Marks[a][string(r.ID)] = m.String()
			}
		}
		for i, o := range c.Matrix.Overrides {
			for r, m := range o.Marks[a] {
				if m != watchbill.NotMarked {
					c.Marks[a][fmt.Sprintf("%s for %v in %v (override %d)", r, o.Services, o.Environments, i+1)] = m.String()
				}
			}
		}
	}
	return c
}

// guarded are the rows of the matrix that let somebody change production.
func guarded() []watchbill.ActivityID {
	return []watchbill.ActivityID{watchbill.ActivityChangeProduction, watchbill.ActivityDeployPlatform}
}

// Looser says in what a policy is looser than the one before it; nothing if in
// nothing.
func (p Policy) Looser(than Policy) []string {
	out := p.Default.Looser(than.Default)
	envs := maps.Clone(than.Environments)
	if envs == nil {
		envs = map[string]Demand{}
	}
	for e := range p.Environments {
		if _, ok := envs[e]; !ok {
			envs[e] = than.Default
		}
	}
	for _, e := range slices.Sorted(maps.Keys(envs)) {
		now, ok := p.Environments[e]
		if !ok {
			now = p.Default
		}
		for _, l := range now.Looser(envs[e]) {
			out = append(out, e+": "+l)
		}
	}
	for _, e := range p.NotProduction {
		if !slices.Contains(than.NotProduction, e) {
			out = append(out, e+" is production no more")
		}
	}
	if p.ReviewIn > than.ReviewIn {
		out = append(out, fmt.Sprintf("break_glass: review from %s to %s", than.ReviewIn, p.ReviewIn))
	}
	if p.BreakGlassPages != than.BreakGlassPages && than.BreakGlassPages != "" {
		out = append(out, fmt.Sprintf("break_glass: pages from %s to %s", than.BreakGlassPages, p.BreakGlassPages))
	}
	if p.Skill != than.Skill {
		out = append(out, fmt.Sprintf("skill from %s to %s", than.Skill, p.Skill))
	}
	for _, d := range than.Developers {
		if !slices.Contains(p.Developers, d) {
			out = append(out, string(d)+" is a developer no more")
		}
	}
	for _, a := range slices.Sorted(maps.Keys(than.Same)) {
		if p.Same[a] != than.Same[a] {
			out = append(out, fmt.Sprintf("%s is the same person as %s no more", a, than.Same[a]))
		}
	}
	return append(out, marksLooser(p.Marks, than.Marks)...)
}

func marksLooser(now, than map[watchbill.ActivityID]map[string]string) []string {
	var out []string
	for _, a := range guarded() {
		for _, r := range slices.Sorted(maps.Keys(now[a])) {
			is, _ := watchbill.ParseMark(now[a][r]) // a mark's own text
			was := watchbill.NotMarked
			if text, ok := than[a][r]; ok {
				was, _ = watchbill.ParseMark(text)
			}
			if min(is, watchbill.Responsible) > min(was, watchbill.Responsible) {
				out = append(out, fmt.Sprintf("%s: %s from %s to %s", a, r, was, is))
			}
		}
	}
	return out
}

// Digest names the policy: what a change of the kind configuration has as its
// command, so that its approval is for these rules and no others.
func (p Policy) Digest() string {
	b, err := json.Marshal(p)
	if err != nil { // only numbers and texts
		b = fmt.Append(nil, p)
	}
	sum := sha256.Sum256(b)
	return "changes sha256:" + hex.EncodeToString(sum[:])
}

// Under returns the configuration as it is under the rules of an older one: where
// what is new was not approved, what was stays in force.
func (c Config) Under(old Policy) Config {
	c = c.WithDefaults()
	c.People = slices.Clone(c.People)
	for i := range c.People {
		p := &c.People[i]
		p.Developer = p.Developer || slices.Contains(old.Developers, p.ID)
		if same, ok := old.Same[p.ID]; ok {
			p.SameAs = same
		}
	}
	// Overrides of these rows are left out: they may loosen, and what they were is
	// not known as a row.
	c.Matrix.Marks, c.Matrix.Overrides = maps.Clone(c.Matrix.Marks), slices.Clone(c.Matrix.Overrides)
	for _, a := range guarded() {
		row := map[watchbill.RoleID]watchbill.Mark{}
		for _, r := range c.Matrix.Roles {
			if m, err := watchbill.ParseMark(old.Marks[a][string(r.ID)]); err == nil {
				row[r.ID] = m
			}
		}
		c.Matrix.Marks[a] = row
		for i := range c.Matrix.Overrides {
			c.Matrix.Overrides[i].Marks = maps.Clone(c.Matrix.Overrides[i].Marks)
			delete(c.Matrix.Overrides[i].Marks, a)
		}
	}
	c.Policy = old
	return c
}

// Baseline is what a first configuration is held against: the rules are those
// without any, and who and what is exempt is what it says.
func (p Policy) Baseline() Policy {
	d := Defaults()
	p.Default, p.Environments, p.ReviewIn = d.Default, nil, d.ReviewIn
	return p
}

// Allows reports whether a change allows a policy: it is of the kind configuration,
// it names this policy, and it may be performed now.
func (k *Control) Allows(now time.Time, c watchbill.Change, p Policy) (bool, string) {
	if c.Content.Kind != watchbill.ChangeConfiguration || c.Content.Command != p.Digest() {
		return false, fmt.Sprintf("%s is not a change of the kind configuration with the command %q", c.ID, p.Digest())
	}
	if !k.Production(c.Content.Environment) {
		return false, fmt.Sprintf("%s is for %s, which is not production", c.ID, c.Content.Environment)
	}
	permit := k.Permit(now, c, c.Hash, c.Content.Environment)
	return permit.OK, permit.Reason
}
