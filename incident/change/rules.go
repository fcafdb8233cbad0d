package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Rule names what refuses an act. It stands in the refusal.
type Rule string

// The rules.
const (
	RuleDeveloper Rule = "no developer on production"
	RuleTwoPeople Rule = "two people make a change"
	RuleAuthor    Rule = "the approver wrote none of it"
	RulePerformer Rule = "the approver does not perform it"
	RuleWitness   Rule = "the witness does not perform it"
	RuleOnePerson Rule = "two accounts of one person count once"
	RuleMarked    Rule = "the matrix marks the role"
	RuleManager   Rule = "the manager approves access"
	RuleOnRequest Rule = "on request of a responsible role"
	RuleLevel     Rule = "level 2 performs with a supervisor"
	RuleApproval  Rule = "documented approval first"
	RuleHash      Rule = "an approval is for one content"
	RuleExpires   Rule = "approvals end"
	RuleWindow    Rule = "within its time"
	RuleReview    Rule = "somebody else reviews"
	RuleHands     Rule = "who performs says how it went"
	RuleOrder     Rule = "one step after the other"
)

// part is what somebody does for a change.
type part int

const (
	requesting part = iota
	approving
	performing
	witnessing
	finishing
	ending
	breaking
	reviewing
)

// doing says it in words.
func (p part) doing() string {
	return [...]string{"ask for it", "approve it", "perform it", "witness it", "say that it is done", "end it", "break the glass", "review it"}[p]
}

// refusal is a rule that says no, and why.
type refusal struct {
	rule Rule
	why  string
}

func refuse(code watchbill.Code, rule Rule, hint, format string, args ...any) error {
	return watchbill.Errorf(code, hint, "%s (rule: %s)", fmt.Sprintf(format, args...), rule)
}

// refused is the error of a refusal, with who could act now.
func (k *Control) refused(no *refusal, p part, c watchbill.Change, now time.Time) error {
	return refuse(watchbill.CodeDenied, no.rule, fmt.Sprintf("who could %s now: %s", p.doing(), k.listed(p, c, now)), "%s", no.why)
}

// order is the error of an act that does not fit the state.
func (k *Control) order(c watchbill.Change, format string, args ...any) error {
	return refuse(watchbill.CodeConflict, RuleOrder, "see what is next with: watchbill change show "+c.ID.String(), format, args...)
}

// outside is the error of an act outside the time for which a change was asked.
func (k *Control) outside(c watchbill.Change, now time.Time) error {
	if now.Before(c.Content.NotBefore) {
		return refuse(watchbill.CodeConflict, RuleWindow, "wait, or edit its time, which voids its approvals",
			"%s may not be made before %s", c.ID, c.Content.NotBefore.Format(time.RFC3339))
	}
	return refuse(watchbill.CodeConflict, RuleWindow, "edit its time, which asks for approval anew",
		"%s was to be made until %s", c.ID, c.Content.NotAfter.Format(time.RFC3339))
}

// Rule returns what an environment asks for.
func (k *Control) Rule(environment string) Demand {
	if !k.cfg.Matrix.Production(environment) {
		return Demand{WitnessOptional: true, Expires: k.cfg.Default.Expires}
	}
	if d, ok := k.cfg.Environments[environment]; ok {
		return d
	}
	return k.cfg.Default
}

// Production reports whether an environment is production.
func (k *Control) Production(environment string) bool { return k.cfg.Matrix.Production(environment) }

// same reports whether two accounts are one person's.
func (k *Control) same(a, b watchbill.PersonID) bool {
	return a != "" && b != "" && (a == b || k.identity(a) == k.identity(b))
}

func (k *Control) identity(id watchbill.PersonID) watchbill.PersonID {
	if p, ok := k.people[id]; ok {
		return p.Identity()
	}
	return id
}

// developer reports whether one of a person's accounts is a developer's.
func (k *Control) developer(id watchbill.PersonID) bool {
	for _, p := range k.people {
		if p.Developer && k.same(p.ID, id) {
			return true
		}
	}
	return false
}

func (k *Control) author(c watchbill.Change, id watchbill.PersonID) bool {
	return slices.ContainsFunc(c.Authors, func(a watchbill.PersonID) bool { return k.same(a, id) })
}

// level is a person's level in the skill of changes, and 0 if none is known.
func (k *Control) level(id watchbill.PersonID) int { return k.people[id].Level[k.cfg.Skill] }

// Levels of responsibility: who assists performs under the eyes of somebody who
// applies at least.
const (
	levelAssists = 2
	levelApplies = 3
)

// needsWitness reports whether a change with its performer needs a witness.
func (k *Control) needsWitness(c watchbill.Change) bool {
	return !k.Rule(c.Content.Environment).WitnessOptional ||
		k.Production(c.Content.Environment) && k.level(c.Performer) == levelAssists
}

// may says whether a person may take a part in a change at an instant: nil, or the
// rule that says no.
func (k *Control) may(p part, c watchbill.Change, id watchbill.PersonID, now time.Time) *refusal {
	person, known := k.people[id]
	if !known {
		return &refusal{RuleMarked, fmt.Sprintf("%s is not one of the people", id)}
	}
	if !k.Production(c.Content.Environment) {
		if p == finishing && c.Performer != id {
			return &refusal{RuleHands, fmt.Sprintf("%s performs it, not %s", c.Performer, id)}
		}
		return nil
	}
	if k.developer(id) {
		return &refusal{RuleDeveloper, fmt.Sprintf("%s is a developer: no developer takes part in a change of production", id)}
	}
	at := c.Content.Place()
	is := k.cfg.Matrix.May(person, c.Content.Kind.Activity(), at, now)
	manager := slices.Contains(person.RolesAt(at, now), k.cfg.Matrix.Manager)
	switch p {
	case requesting:
		if is.OK || is.OnRequest || manager || k.cfg.Matrix.May(person, watchbill.ActivityRaiseAlerts, at, now).OK {
			return nil
		}
		return &refusal{RuleMarked, is.Reason}
	case approving:
		return k.mayApprove(c, id, is, manager)
	case performing:
		return k.mayPerform(c, id, is, now)
	case witnessing:
		return k.mayWitness(c, id, is, manager)
	case breaking:
		switch {
		case !is.OK && !is.OnRequest:
			return &refusal{RuleMarked, is.Reason}
		case k.level(id) == levelAssists:
			return &refusal{RuleLevel, fmt.Sprintf("%s is of level 2 in %s", id, k.cfg.Skill)}
		}
	case finishing:
		if c.Performer != id {
			return &refusal{RuleHands, fmt.Sprintf("%s performs it, not %s", c.Performer, id)}
		}
	case ending:
		if c.Performer != id && c.Witness != id && !manager {
			return &refusal{RuleHands, fmt.Sprintf("it is in the hands of %s", k.hands(c))}
		}
	case reviewing:
		switch {
		case k.same(c.BreakGlass.Person, id) || k.same(c.Performer, id) || k.author(c, id):
			return &refusal{RuleReview, fmt.Sprintf("%s wrote or made it", id)}
		case !is.OK && !manager && !person.Holds(k.cfg.BreakGlassPages):
			return &refusal{RuleMarked, is.Reason}
		}
	}
	return nil
}

func (k *Control) hands(c watchbill.Change) string {
	if c.Witness == "" {
		return string(c.Performer)
	}
	return fmt.Sprintf("%s and %s", c.Performer, c.Witness)
}

func (k *Control) mayApprove(c watchbill.Change, id watchbill.PersonID, is watchbill.Permission, manager bool) *refusal {
	switch {
	case k.author(c, id):
		return &refusal{RuleAuthor, fmt.Sprintf("%s asked for %s or edited it", id, c.ID)}
	case k.same(c.Performer, id):
		return &refusal{RulePerformer, fmt.Sprintf("%s performs it", id)}
	case c.Content.Kind == watchbill.ChangeAccess && !manager:
		return &refusal{RuleManager, fmt.Sprintf("%s does not hold %s", id, k.cfg.Matrix.Manager)}
	case !is.OK && !manager:
		return &refusal{RuleMarked, is.Reason}
	}
	return nil
}

func (k *Control) mayPerform(c watchbill.Change, id watchbill.PersonID, is watchbill.Permission, now time.Time) *refusal {
	for _, a := range c.Approvals {
		if a.Voided.IsZero() && a.Hash == c.Hash && k.same(a.Person, id) {
			return &refusal{RulePerformer, fmt.Sprintf("%s approved it", a.Person)}
		}
	}
	switch {
	case is.OK:
	case !is.OnRequest:
		return &refusal{RuleMarked, is.Reason}
	case k.same(c.Requester, id) || !k.responsible(c, c.Requester, now):
		return &refusal{RuleOnRequest, fmt.Sprintf("%s may on request, and it was %s who asked", id, c.Requester)}
	}
	if c.Witness == "" {
		return nil
	}
	if k.same(c.Witness, id) {
		return &refusal{RuleWitness, fmt.Sprintf("%s witnesses it", c.Witness)}
	}
	if k.level(id) == levelAssists && k.level(c.Witness) < levelApplies {
		return &refusal{RuleLevel, fmt.Sprintf("%s is of level 2 in %s, and the witness %s is not of level 3", id, k.cfg.Skill, c.Witness)}
	}
	return nil
}

func (k *Control) mayWitness(c watchbill.Change, id watchbill.PersonID, is watchbill.Permission, manager bool) *refusal {
	switch {
	case k.same(c.Performer, id):
		return &refusal{RuleWitness, fmt.Sprintf("%s performs it", c.Performer)}
	case !is.OK && !is.OnRequest && !manager:
		return &refusal{RuleMarked, is.Reason}
	case k.level(c.Performer) == levelAssists && k.level(id) < levelApplies:
		return &refusal{RuleLevel, fmt.Sprintf("%s is of level 2 in %s, and %s is not of level 3", c.Performer, k.cfg.Skill, id)}
	}
	return nil
}

// responsible reports whether a person's role is marked for the change, so that
// their request counts.
func (k *Control) responsible(c watchbill.Change, id watchbill.PersonID, now time.Time) bool {
	p, known := k.people[id]
	return known && !k.developer(id) && k.cfg.Matrix.May(p, c.Content.Kind.Activity(), c.Content.Place(), now).OK
}

// able returns who may take a part now, in the order of their names.
func (k *Control) able(p part, c watchbill.Change, now time.Time) []watchbill.PersonID {
	var out []watchbill.PersonID
	for _, id := range slices.Sorted(maps.Keys(k.people)) {
		if k.may(p, c, id, now) == nil {
			out = append(out, id)
		}
	}
	return out
}

// listed names who may take a part now, those on duty first.
func (k *Control) listed(p part, c watchbill.Change, now time.Time) string {
	var here, away []string
	for _, id := range k.able(p, c, now) {
		if k.duty(id, now) {
			here = append(here, string(id)+" (on duty)")
		} else {
			away = append(away, string(id))
		}
	}
	if all := append(here, away...); len(all) > 0 {
		return strings.Join(all, ", ")
	}
	return "nobody"
}

// Could says who could do what is next, by verb.
func (k *Control) Could(c watchbill.Change, now time.Time) map[Verb][]watchbill.PersonID {
	out := map[Verb][]watchbill.PersonID{}
	add := func(v Verb, p part) {
		if who := k.able(p, c, now); len(who) > 0 {
			out[v] = who
		}
	}
	switch c.State {
	case watchbill.ChangeRequested:
		add(Approve, approving)
	case watchbill.ChangeApproved:
		if c.Performer == "" {
			add(Perform, performing)
		} else {
			add(Witness, witnessing)
		}
	case watchbill.ChangePerforming:
		add(Done, finishing)
	case watchbill.ChangeRejected, watchbill.ChangeExpired:
		add(Edit, requesting)
	case watchbill.ChangeDone, watchbill.ChangeFailed, watchbill.ChangeRolledBack:
		if c.BreakGlass.Waits() {
			add(Review, reviewing)
		}
	}
	return out
}

// standing says why somebody may approve.
func (k *Control) standing(c watchbill.Change, id watchbill.PersonID, now time.Time) string {
	p := k.people[id]
	if is := k.cfg.Matrix.May(p, c.Content.Kind.Activity(), c.Content.Place(), now); is.OK && c.Content.Kind != watchbill.ChangeAccess {
		return is.Reason
	}
	return fmt.Sprintf("%s holds %s", id, k.cfg.Matrix.Manager)
}
