package watchbill

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Mark is one cell of the matrix.
type Mark int

// The marks of a cell. First is a responsible role that is paged before the
// others of its row; OnRequest is responsible only while a recorded request of
// a responsible role exists.
const (
	NotMarked Mark = iota
	OnRequest
	Responsible
	First
)

// String returns the mark as it is written in the configuration: "no",
// "on-request", "yes" or "first".
func (m Mark) String() string {
	switch m {
	case OnRequest:
		return "on-request"
	case Responsible:
		return "yes"
	case First:
		return "first"
	case NotMarked:
	}
	return "no"
}

// ParseMark reads "yes", "first", "on-request" or "no".
func ParseMark(s string) (Mark, error) {
	for _, m := range []Mark{NotMarked, OnRequest, Responsible, First} {
		if s == m.String() {
			return m, nil
		}
	}
	return NotMarked, Invalidf("use yes, first, on-request or no", "%q is not a mark of the matrix", s)
}

// Role is a column of the matrix.
type Role struct {
	ID    RoleID `json:"id"`
	Title string `json:"title"`
}

// Activity is a row of the matrix.
type Activity struct {
	ID    ActivityID `json:"id"`
	Title string     `json:"title"`
}

// Activities that the daemon itself refers to. A matrix must have rows for
// them.
const (
	ActivityChangeProduction ActivityID = "change-production"
	ActivityDeployPlatform   ActivityID = "deploy-platform"
	ActivityRaiseAlerts      ActivityID = "raise-alerts"
	ActivityPerformance      ActivityID = "performance"
	ActivitySecurity         ActivityID = "security"
	ActivityStates           ActivityID = "states"
	ActivityFirstLine        ActivityID = "first-line"
)

// Matrix is the responsibility matrix: which role is responsible for which
// activity. It decides who is paged and who may act.
type Matrix struct {
	Roles      []Role
	Activities []Activity
	Manager    RoleID // the role that answers for everything unowned
	Marks      map[ActivityID]map[RoleID]Mark
	// Behind names, by activity, the role that is paged second when the row marks
	// no other; the empty activity stands for all others.
	Behind map[ActivityID]RoleID
	// Overrides replace rows for some services and environments. For each row the
	// first that is about the place and has the row counts.
	Overrides []Override
	// NotProduction are the environments in which a change touches no production.
	NotProduction []string
}

// Override is a part of the matrix that differs for some services, in some
// environments. An empty list is all of them.
type Override struct {
	Services     []string
	Environments []string
	Marks        map[ActivityID]map[RoleID]Mark // whole rows
	Line         string                         // where it stands, "watchbill.yaml:41"
}

// Covers reports whether the override is about a place. A place of which a part
// is not known is covered only by what does not ask for that part.
func (o Override) Covers(p Place) bool {
	return (len(o.Services) == 0 || slices.Contains(o.Services, p.Service)) &&
		(len(o.Environments) == 0 || slices.Contains(o.Environments, p.Environment))
}

// At returns the matrix as it is for a place, without overrides.
func (m Matrix) At(p Place) Matrix {
	overrides, own := m.Overrides, false
	m.Overrides = nil
	for _, o := range slices.Backward(overrides) { // so that the first wins
		if !o.Covers(p) {
			continue
		}
		if !own {
			m.Marks, own = maps.Clone(m.Marks), true
		}
		maps.Copy(m.Marks, o.Marks)
	}
	return m
}

// OverriddenBy returns the override that gives the row of an activity at a place.
func (m Matrix) OverriddenBy(a ActivityID, p Place) (Override, bool) {
	for _, o := range m.Overrides {
		if o.Covers(p) && o.Marks[a] != nil {
			return o, true
		}
	}
	return Override{}, false
}

// Second returns the role that stands behind the first ones of an activity when
// its row marks no other. named is true for one that is named for this very
// activity. Without Behind it is the role deployment, or infrastructure for
// deploy-platform, if there are such.
func (m Matrix) Second(a ActivityID) (role RoleID, named bool) {
	if m.Behind != nil {
		if role, named = m.Behind[a]; named {
			return role, true
		}
		return m.Behind[""], false
	}
	switch {
	case a == ActivityDeployPlatform && m.HasRole("infrastructure"):
		return "infrastructure", true
	case m.HasRole("deployment"):
		return "deployment", false
	}
	return "", false
}

// Merge returns the matrix with several columns made one, in the place of the
// first of them. Each of its cells is the strongest of theirs.
func (m Matrix) Merge(into Role, from ...RoleID) Matrix {
	behind := map[ActivityID]RoleID{}
	for _, a := range append(slices.Clone(m.Activities), Activity{}) {
		if role, named := m.Second(a.ID); role != "" && (named || a.ID == "") {
			behind[a.ID] = role
		}
	}
	rename := func(r RoleID) RoleID {
		if slices.Contains(from, r) {
			return into.ID
		}
		return r
	}
	out := m
	out.Roles, out.Behind, out.Manager = nil, map[ActivityID]RoleID{}, rename(m.Manager)
	for _, r := range m.Roles {
		if id := rename(r.ID); id != r.ID {
			r = into
		}
		if !out.HasRole(r.ID) {
			out.Roles = append(out.Roles, r)
		}
	}
	for a, r := range behind {
		out.Behind[a] = rename(r)
	}
	out.Marks = map[ActivityID]map[RoleID]Mark{}
	for a, row := range m.Marks {
		out.Marks[a] = map[RoleID]Mark{}
		for r, mark := range row {
			out.Marks[a][rename(r)] = max(out.Marks[a][rename(r)], mark)
		}
	}
	return out
}

// Mark returns the cell of an activity and a role.
func (m Matrix) Mark(a ActivityID, r RoleID) Mark { return m.Marks[a][r] }

// HasRole reports whether r is a column.
func (m Matrix) HasRole(r RoleID) bool {
	return slices.ContainsFunc(m.Roles, func(x Role) bool { return x.ID == r })
}

// HasActivity reports whether a is a row.
func (m Matrix) HasActivity(a ActivityID) bool {
	return slices.ContainsFunc(m.Activities, func(x Activity) bool { return x.ID == a })
}

// Responsible returns the roles marked yes or first in the row of a, first ones
// before the others, otherwise in column order. On-request cells are left out:
// they allow acting after a request, they do not get paged.
func (m Matrix) Responsible(a ActivityID) []RoleID {
	var first, rest []RoleID
	for _, r := range m.Roles {
		switch m.Mark(a, r.ID) {
		case First:
			first = append(first, r.ID)
		case Responsible:
			rest = append(rest, r.ID)
		case OnRequest, NotMarked:
		}
	}
	return append(first, rest...)
}

// FirstRoles returns the roles that are paged at once for an activity: those
// marked first, else the first responsible column, else the manager.
func (m Matrix) FirstRoles(a ActivityID) []RoleID {
	all := m.Responsible(a)
	if len(all) == 0 {
		return []RoleID{m.Manager}
	}
	n := 0
	for n < len(all) && m.Mark(a, all[n]) == First {
		n++
	}
	return all[:max(n, 1)]
}

// Place is what an act is about: a service in an environment. Empty parts mean
// any.
type Place struct {
	Service     string
	Environment string
}

// Permission is the answer of [Matrix.May], with the reason a person can read.
type Permission struct {
	OK        bool
	OnRequest bool   // not OK, but it would be after a recorded request of a responsible role
	Role      RoleID // the one that gives it, or would
	Reason    string
}

// Production reports whether an environment is production: every one is that was
// not named as something else, the unnamed one too.
func (m Matrix) Production(environment string) bool {
	return !slices.Contains(m.NotProduction, environment)
}

// May says whether a person may do at an instant what an activity stands for, at a
// place. A person may when one of their roles is marked yes or first in the
// activity's row; a role that somebody holds only for some services, until a date,
// counts there and until then. The manager may do everything but touch production:
// production changes need a marked role, and a developer may never do one. An
// on-request mark is not enough here: it needs a recorded request, which change
// control checks. The place is part of the question because overrides change rows
// per service and environment.
func (m Matrix) May(p Person, a ActivityID, at Place, now time.Time) Permission {
	if len(m.Overrides) > 0 {
		m = m.At(at)
	}
	touches := (a == ActivityChangeProduction || a == ActivityDeployPlatform) && m.Production(at.Environment)
	if touches && p.Developer {
		return Permission{Reason: fmt.Sprintf("%s is marked developer: no developer acts on production", p.ID)}
	}
	roles := p.RolesAt(at, now)
	var asked RoleID
	for _, r := range roles {
		if m.Mark(a, r) >= Responsible {
			return Permission{OK: true, Role: r, Reason: fmt.Sprintf("%s holds %s, marked %s for %s", p.ID, r, m.Mark(a, r), a)}
		}
		if m.Mark(a, r) == OnRequest && asked == "" {
			asked = r
		}
	}
	if !touches && slices.Contains(roles, m.Manager) {
		return Permission{OK: true, Role: m.Manager, Reason: fmt.Sprintf("%s holds %s, who answers for every activity", p.ID, m.Manager)}
	}
	return Permission{OnRequest: asked != "", Role: asked, Reason: fmt.Sprintf("%s is for %s; %s holds %s",
		a, JoinRoles(m.Responsible(a), "nobody"), p.ID, JoinRoles(roles, "no role"))}
}

// JoinRoles lists roles in a sentence; none stands for no role.
func JoinRoles(roles []RoleID, none string) string {
	if len(roles) == 0 {
		return none
	}
	s := make([]string, len(roles))
	for i, r := range roles {
		s[i] = string(r)
	}
	return strings.Join(s, ", ")
}

// Person is somebody who holds roles and can be reached.
type Person struct {
	ID        PersonID
	Name      string
	Roles     []RoleID
	Level     map[string]int // level 2 to 6 per skill
	Location  string
	TZ        string // IANA name; empty is UTC
	Email     string
	Phone     string      // for text messages, like +34600111222
	Contact   []Contact   // in the order in which they are tried
	Quiet     *QuietHours // nil: none
	Deputy    PersonID
	Leave     []Leave // when they are away; their deputy stands in
	Developer bool
	// SameAs names the person of whom this is another account. Both count as one
	// wherever two people are needed.
	SameAs PersonID
	// Grants are roles of somebody from outside, such as a supplier: they allow to
	// act and page nobody.
	Grants []Grant
}

// Grant is a role for some services until an instant.
type Grant struct {
	Role     RoleID
	Services []string
	Until    time.Time // zero: without end
}

// Covers reports whether the grant counts at a place and an instant. A place whose
// service is not known is covered by none.
func (g Grant) Covers(at Place, now time.Time) bool {
	return slices.Contains(g.Services, at.Service) && (g.Until.IsZero() || now.Before(g.Until))
}

// RolesAt returns the roles that the person has at a place and an instant.
func (p Person) RolesAt(at Place, now time.Time) []RoleID {
	roles := slices.Clip(p.Roles)
	for _, g := range p.Grants {
		if g.Covers(at, now) && !slices.Contains(roles, g.Role) {
			roles = append(roles, g.Role)
		}
	}
	return roles
}

// Identity names the human behind the account.
func (p Person) Identity() PersonID {
	if p.SameAs != "" {
		return p.SameAs
	}
	return p.ID
}

// Holds reports whether the person has a role.
func (p Person) Holds(r RoleID) bool { return slices.Contains(p.Roles, r) }

// HasLevels reports whether the person has at least these levels, by skill.
func (p Person) HasLevels(wanted map[string]int) bool {
	for skill, level := range wanted {
		if p.Level[skill] < level {
			return false
		}
	}
	return true
}

// Zone returns the person's time zone, and UTC if it is unknown.
func (p Person) Zone() *time.Location {
	if loc, err := time.LoadLocation(p.TZ); err == nil {
		return loc
	}
	return time.UTC
}

// Contact is one way to reach a person: a receiver, and how long after the
// escalation step fired it is used.
type Contact struct {
	Receiver string
	After    time.Duration
	// Severities are those for which it is used. Empty: all.
	Severities []Severity
	// Address is the person's own for the receiver. Empty: the one of the person.
	Address string
	// Own is set for what the person added themselves and confirmed.
	Own bool
}

// For reports whether a severity uses the contact.
func (c Contact) For(s Severity) bool {
	return len(c.Severities) == 0 || slices.Contains(c.Severities, s)
}

// QuietHours are the hours of every day, on a person's own clock, in which sev3
// waits. From may be later than To: they then cross midnight.
type QuietHours struct {
	From, To int // minutes of the day
}

// End returns when the quiet that holds at an instant ends, and the instant itself
// if none does.
func (q *QuietHours) End(at time.Time, zone *time.Location) time.Time {
	if q == nil || q.From == q.To {
		return at
	}
	local := at.In(zone)
	minute := local.Hour()*60 + local.Minute()
	within, day := minute >= q.From && minute < q.To, 0
	if q.From > q.To {
		within = minute >= q.From || minute < q.To
		if minute >= q.From {
			day = 1
		}
	}
	if !within {
		return at
	}
	end := time.Date(local.Year(), local.Month(), local.Day()+day, 0, q.To, 0, 0, zone)
	if !end.After(at) { // the clocks were set back over the end
		return at
	}
	return end.UTC()
}
