// Package change is the life of a change to production: who may ask for it, agree,
// do it and look on, and what each of these acts does to it.
//
// # States
//
//	requested ──approve──▶ approved ──perform, witness──▶ performing ──▶ done
//	    ▲ ▲                   │ │                             │     └──▶ failed ──▶ rolled_back
//	    │ └─ approvals expire ┘ │                             └────────▶ rolled_back
//	    └───────── edit ────────┘      rejected, expired: an edit asks anew
//
// # Rules
//
// Two people make a change of production. Who approves wrote none of it and does not
// perform it; who witnesses does not perform it; whoever approved may witness, and
// the requester may perform. Two accounts of one person are one person. The
// performer's role is marked in the matrix; an on-request mark takes a requester
// whose role is. A developer takes no part. Somebody of level 2 performs only with a
// witness of level 3 or more.
//
// An approval is bound to the hash of what was approved
// ([watchbill.ChangeContent.Sum]) and ends by itself. Any edit voids it. Without
// approval or witness a change can be made only by breaking the glass, with a
// reason: that pages the manager at once, and somebody else must review it.
//
// Every refusal names its rule and who could act instead, now.
//
// # Shape
//
// Every method of [Control] is pure: it takes a change and an instant and returns
// an [Effect], which the caller stores in one transaction.
package change

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Control applies the rules of a configuration to changes. It is immutable.
type Control struct {
	cfg    Config
	people map[watchbill.PersonID]watchbill.Person
	onDuty func(watchbill.PersonID, time.Time) bool
}

// New returns the control of changes under a configuration; zero fields take their
// defaults. onDuty says who is on duty, so that they are named first; nil for nobody.
func New(cfg Config, onDuty func(watchbill.PersonID, time.Time) bool) *Control {
	k := &Control{cfg: cfg.WithDefaults(), people: map[watchbill.PersonID]watchbill.Person{}, onDuty: onDuty}
	k.cfg.Matrix.NotProduction = k.cfg.NotProduction
	for _, p := range cfg.People {
		k.people[p.ID] = p
	}
	return k
}

// Effect is what an act does to a change. The caller stores all of it in one
// transaction.
type Effect struct {
	Change watchbill.Change
	Events []watchbill.Event // not yet numbered and chained
	Tell   []Tell
}

// Tell is somebody who has to know of a change.
type Tell struct {
	To     watchbill.PersonID
	Urgent bool // a page by all their methods, rather than a notice by the first
	Title  string
	Impact string
	Action string
	Why    string
}

// Actor is who did something, and by which means.
type Actor struct {
	Person watchbill.PersonID
	Via    string // "api", "cli", "console"
}

// Verb is an act on a change.
type Verb string

// The acts on a change.
const (
	Edit       Verb = "edit"
	Approve    Verb = "approve"
	Reject     Verb = "reject"
	Perform    Verb = "perform"
	Witness    Verb = "witness"
	Done       Verb = "done"
	Fail       Verb = "fail"
	Rollback   Verb = "rollback"
	BreakGlass Verb = "break-glass"
	Review     Verb = "review"
)

// Verbs returns every act.
func Verbs() []Verb {
	return []Verb{Edit, Approve, Reject, Perform, Witness, Done, Fail, Rollback, BreakGlass, Review}
}

// Act is one act with what it takes.
type Act struct {
	Verb    Verb
	Hash    string                   // of what is approved; its first digits suffice
	Text    string                   // a reason, evidence, a verdict
	Content *watchbill.ChangeContent // of an edit
}

// Request is what a change begins with.
type Request struct {
	Key      string
	Incident watchbill.IncidentID
	Content  watchbill.ChangeContent
}

// Request returns a new change. Its id is given when it is stored.
func (k *Control) Request(now time.Time, who Actor, r Request) (Effect, error) {
	content, err := k.complete(now, r.Content)
	if err != nil {
		return Effect{}, err
	}
	c := watchbill.Change{
		Key: r.Key, Incident: r.Incident, State: watchbill.ChangeRequested, Content: content, Version: 1, Hash: content.Sum(),
		Requester: who.Person, RequestedAt: now, Authors: []watchbill.PersonID{who.Person}, UpdatedAt: now,
	}
	if no := k.may(requesting, c, who.Person, now); no != nil {
		return Effect{}, k.refused(no, requesting, c, now)
	}
	e := Effect{Change: c}
	e.record(now, who, "requested: %s", describe(c))
	k.wait(now, &e)
	return e, nil
}

// Act does one act to a change. An act that was done already changes nothing.
func (k *Control) Act(now time.Time, c watchbill.Change, who Actor, a Act) (Effect, error) {
	e := Effect{Change: clone(c)}
	e.Change.UpdatedAt = now
	var err error
	switch a.Verb {
	case Edit:
		err = k.edit(now, &e, who, a)
	case Approve:
		err = k.approve(now, &e, who, a)
	case Reject:
		err = k.reject(now, &e, who, a)
	case Perform:
		err = k.perform(now, &e, who)
	case Witness:
		err = k.witness(now, &e, who)
	case Done, Fail, Rollback:
		err = k.finish(now, &e, who, a)
	case BreakGlass:
		err = k.breakGlass(now, &e, who, a)
	case Review:
		err = k.review(now, &e, who, a)
	default:
		err = watchbill.Invalidf("use one of edit, approve, reject, perform, witness, done, fail, rollback, break-glass, review", "%q is no act on a change", a.Verb)
	}
	if err != nil {
		return Effect{}, err
	}
	if len(e.Events) == 0 {
		return Effect{Change: c}, nil
	}
	return e, nil
}

// clone keeps what an act changes from being shared with the change before it.
func clone(c watchbill.Change) watchbill.Change {
	c.Approvals, c.Authors = slices.Clone(c.Approvals), slices.Clone(c.Authors)
	if c.BreakGlass != nil {
		b := *c.BreakGlass
		c.BreakGlass = &b
	}
	return c
}

func (e *Effect) record(now time.Time, who Actor, format string, args ...any) {
	e.Events = append(e.Events, watchbill.Event{
		At: now, Kind: watchbill.EventChange, Actor: string(who.Person), Via: who.Via, Text: fmt.Sprintf(format, args...),
	})
}

func (e *Effect) self(now time.Time, format string, args ...any) {
	e.record(now, Actor{Person: watchbill.ActorSelf}, format, args...)
}

func describe(c watchbill.Change) string {
	return fmt.Sprintf("%s (%s on %s/%s, hash %s)", c.Content.Title, c.Content.Kind, c.Content.Service, c.Content.Environment, Short(c.Hash))
}

// Short is the beginning of a hash, as people compare it.
func Short(hash string) string { return hash[:min(12, len(hash))] }

// MinHash is how many digits of a hash an approval must name.
const MinHash = 8

// complete checks what is asked for and fills in its end.
func (k *Control) complete(now time.Time, c watchbill.ChangeContent) (watchbill.ChangeContent, error) {
	for _, f := range []struct{ name, value, hint string }{
		{"title", c.Title, "say in one line what is changed"},
		{"service", c.Service, "name the service that is changed"},
		{"environment", c.Environment, "name the environment, such as prod"},
		{"target", c.Target, "name what is touched: a host, a cluster, a repository"},
		{"risk", c.Risk, "say what may go wrong"},
		{"rollback", c.Rollback, "say how it is taken back"},
		{"verification", c.Verification, "say how one sees that it worked"},
	} {
		if strings.TrimSpace(f.value) == "" {
			return c, watchbill.Invalidf(f.hint, "%s: is empty", f.name)
		}
	}
	if !slices.Contains(watchbill.ChangeKinds(), c.Kind) {
		return c, watchbill.Invalidf("use change, deploy, rollback, access or configuration", "kind: %q is no kind of change", c.Kind)
	}
	if (strings.TrimSpace(c.Command) == "") == (strings.TrimSpace(c.Diff) == "") {
		return c, watchbill.Invalidf("give the exact command or the exact diff", "command, diff: one of the two is needed")
	}
	c.NotBefore, c.NotAfter = c.NotBefore.UTC(), c.NotAfter.UTC()
	if c.NotAfter.IsZero() {
		c.NotAfter = later(now, c.NotBefore).Add(k.cfg.Validity).UTC().Truncate(time.Second)
	}
	switch {
	case !c.NotAfter.After(now):
		return c, watchbill.Invalidf("name a time in the future", "not_after: %s has passed", c.NotAfter.Format(time.RFC3339))
	case !c.NotAfter.After(c.NotBefore):
		return c, watchbill.Invalidf("name a time after it", "not_after: is not after not_before, %s", c.NotBefore.Format(time.RFC3339))
	case c.NotAfter.Sub(now) > maxValidity:
		return c, watchbill.Invalidf("ask for it again nearer to its time", "not_after: is more than %d days ahead", int(maxValidity.Hours()/24))
	}
	return c, nil
}

// maxValidity is how far ahead a change can be asked for.
const maxValidity = 90 * 24 * time.Hour

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wait puts a change where its approvals leave it, and tells who can give those
// that lack.
func (k *Control) wait(now time.Time, e *Effect) {
	c := &e.Change
	need := k.Rule(c.Content.Environment).Approvals
	if len(k.valid(*c, now)) >= need {
		c.State, c.RemindAt, c.Reminders = watchbill.ChangeApproved, time.Time{}, 0
		if need == 0 {
			e.self(now, "approved: %s is not production", c.Content.Environment)
		}
		return
	}
	c.State, c.Reminders, c.RemindAt = watchbill.ChangeRequested, 0, now.Add(k.cfg.Remind)
	for _, p := range k.asked(*c, now) {
		e.Tell = append(e.Tell, Tell{
			To: p, Title: "A change waits for your approval: " + c.Content.Title,
			Impact: fmt.Sprintf("%s asks for it on %s/%s, until %s", c.Requester, c.Content.Service, c.Content.Environment, c.Content.NotAfter.Format("2006-01-02 15:04 UTC")),
			Why:    "you may approve it", Action: "Read it, then approve its hash or reject it",
		})
	}
}

// asked are the people who are told of a change that waits: those on duty who may
// approve it, else all who may.
func (k *Control) asked(c watchbill.Change, now time.Time) []watchbill.PersonID {
	all := k.able(approving, c, now)
	var here []watchbill.PersonID
	for _, p := range all {
		if k.duty(p, now) {
			here = append(here, p)
		}
	}
	if len(here) > 0 {
		return here
	}
	return all
}

func (k *Control) duty(p watchbill.PersonID, now time.Time) bool {
	return k.onDuty != nil && k.onDuty(p, now)
}

// valid returns the approvals of the present content that count at an instant, one
// a person.
func (k *Control) valid(c watchbill.Change, now time.Time) []watchbill.ChangeApproval {
	var out []watchbill.ChangeApproval
	for _, a := range c.Approvals {
		if !a.Voided.IsZero() || a.Hash != c.Hash || !now.Before(a.Until) || k.author(c, a.Person) {
			continue
		}
		if !slices.ContainsFunc(out, func(b watchbill.ChangeApproval) bool { return k.same(a.Person, b.Person) }) {
			out = append(out, a)
		}
	}
	return out
}

func (k *Control) edit(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	switch {
	case a.Content == nil:
		return watchbill.Invalidf("send what it is to be", "content: is missing")
	case c.State == watchbill.ChangePerforming || c.State.Performed():
		return k.order(*c, "a change that is %s cannot be edited; ask for another one", c.State)
	}
	content, err := k.complete(now, *a.Content)
	if err != nil {
		return err
	}
	for _, place := range []watchbill.ChangeContent{c.Content, content} { // neither out of production nor into it
		at := *c
		at.Content = place
		if no := k.may(requesting, at, who.Person, now); no != nil {
			return k.refused(no, requesting, at, now)
		}
	}
	if content.Sum() == c.Hash && c.State.Live() {
		return nil
	}
	was := c.Hash
	c.Content, c.Hash = content, content.Sum()
	c.Version++
	c.Performer, c.Witness = "", ""
	voided := k.void(now, c, "it was edited by "+string(who.Person))
	if !slices.Contains(c.Authors, who.Person) {
		c.Authors = append(c.Authors, who.Person)
	}
	text := fmt.Sprintf("edited to version %d: %s; before it was %s", c.Version, describe(*c), Short(was))
	if len(voided) > 0 {
		text += "; this voids the approval of " + strings.Join(voided, ", ")
	}
	e.record(now, who, "%s", text)
	k.wait(now, e)
	return nil
}

// void ends all approvals that still count and names whose they were.
func (k *Control) void(now time.Time, c *watchbill.Change, why string) []string {
	var names []string
	for i := range c.Approvals {
		if c.Approvals[i].Voided.IsZero() {
			c.Approvals[i].Voided, c.Approvals[i].VoidWhy = now, why
			names = append(names, string(c.Approvals[i].Person))
		}
	}
	return names
}

// end ends the approvals whose time is over and names whose they were.
func (k *Control) end(now time.Time, c *watchbill.Change) []string {
	var names []string
	for i := range c.Approvals {
		if a := &c.Approvals[i]; a.Voided.IsZero() && !now.Before(a.Until) {
			a.Voided, a.VoidWhy = now, "it ended by itself"
			names = append(names, string(a.Person))
		}
	}
	return names
}

func (k *Control) approve(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	switch {
	case c.State != watchbill.ChangeRequested && c.State != watchbill.ChangeApproved:
		return k.order(*c, "%s is %s: there is nothing to approve", c.ID, c.State)
	case !now.Before(c.Content.NotAfter):
		return k.outside(*c, now)
	case len(a.Hash) < MinHash:
		return watchbill.Invalidf("read it with: watchbill change show "+c.ID.String(),
			"hash: name at least the first %d digits of the hash of what you approve", MinHash)
	}
	if no := k.may(approving, *c, who.Person, now); no != nil {
		return k.refused(no, approving, *c, now)
	}
	if !strings.HasPrefix(c.Hash, strings.ToLower(a.Hash)) {
		return refuse(watchbill.CodeConflict, RuleHash, "read it again with: watchbill change show "+c.ID.String(),
			"%s is not what you read: its hash is %s, not %s", c.ID, Short(c.Hash), a.Hash)
	}
	for _, b := range k.valid(*c, now) {
		if b.Person == who.Person {
			return nil // a repetition
		}
		if k.same(b.Person, who.Person) {
			return k.refused(&refusal{RuleOnePerson, fmt.Sprintf("%s and %s are one person, who approved already", who.Person, b.Person)}, approving, *c, now)
		}
	}
	until := now.Add(k.Rule(c.Content.Environment).Expires)
	if until.After(c.Content.NotAfter) {
		until = c.Content.NotAfter
	}
	c.Approvals = append(c.Approvals, watchbill.ChangeApproval{
		Person: who.Person, Hash: c.Hash, At: now, Until: until.UTC(), Note: a.Text, Why: k.standing(*c, who.Person, now),
	})
	text := fmt.Sprintf("approved %s until %s", Short(c.Hash), until.UTC().Format("2006-01-02 15:04 UTC"))
	if a.Text != "" {
		text += ": " + a.Text
	}
	e.record(now, who, "%s", text)
	if have, need := len(k.valid(*c, now)), k.Rule(c.Content.Environment).Approvals; have >= need && c.State == watchbill.ChangeRequested {
		c.State, c.RemindAt, c.Reminders = watchbill.ChangeApproved, time.Time{}, 0
		if c.Requester != who.Person {
			e.Tell = append(e.Tell, Tell{
				To: c.Requester, Title: fmt.Sprintf("%s is approved: %s", c.ID, c.Content.Title), Why: "you asked for it",
				Impact: "it may be performed until " + until.UTC().Format("2006-01-02 15:04 UTC"), Action: "Perform it with a witness",
			})
		}
	}
	return nil
}

func (k *Control) reject(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	if c.State != watchbill.ChangeRequested && c.State != watchbill.ChangeApproved {
		return k.order(*c, "%s is %s: there is nothing to reject", c.ID, c.State)
	}
	if no := k.may(approving, *c, who.Person, now); no != nil && (!k.author(*c, who.Person) || no.rule == RuleDeveloper) {
		return k.refused(no, approving, *c, now)
	}
	if strings.TrimSpace(a.Text) == "" {
		return watchbill.Invalidf("say why, so that it can be asked for better", "text: is empty")
	}
	k.void(now, c, "it was rejected by "+string(who.Person))
	c.State, c.Performer, c.Witness, c.RemindAt, c.Outcome = watchbill.ChangeRejected, "", "", time.Time{}, a.Text
	e.record(now, who, "rejected: %s", a.Text)
	if c.Requester != who.Person {
		e.Tell = append(e.Tell, Tell{
			To: c.Requester, Title: fmt.Sprintf("%s is rejected: %s", c.ID, c.Content.Title), Impact: a.Text,
			Action: "Edit it to ask anew", Why: "you asked for it",
		})
	}
	return nil
}

// Permit says whether a pipeline may do what was approved: the hash and the
// environment that it names, now, while performer and witness are there.
func (k *Control) Permit(now time.Time, c watchbill.Change, hash, environment string) watchbill.ChangePermit {
	p := watchbill.ChangePermit{Change: c.ID, State: c.State, Hash: c.Hash}
	no := func(rule Rule, format string, args ...any) watchbill.ChangePermit {
		p.Rule, p.Reason = string(rule), fmt.Sprintf(format, args...)
		return p
	}
	switch {
	case hash != c.Hash || c.Content.Sum() != c.Hash:
		return no(RuleHash, "what you are about to do is not what %s is: its hash is %s", c.ID, c.Hash)
	case environment != c.Content.Environment:
		return no(RuleHash, "%s is for %s, not for %q", c.ID, c.Content.Environment, environment)
	case c.State != watchbill.ChangePerforming:
		return no(RuleOrder, "%s is %s, not performing: it needs its performer and witness", c.ID, c.State)
	case c.PerformedHash != c.Hash:
		return no(RuleHash, "%s began with another content", c.ID)
	case now.Before(c.Content.NotBefore):
		return no(RuleWindow, "%s may not be made before %s", c.ID, c.Content.NotBefore.Format(time.RFC3339))
	case !now.Before(c.Content.NotAfter):
		return no(RuleWindow, "%s was to be made until %s", c.ID, c.Content.NotAfter.Format(time.RFC3339))
	}
	p.Until = c.Content.NotAfter
	if c.BreakGlass != nil {
		p.OK, p.Reason = true, fmt.Sprintf("%s broke the glass: %s", c.BreakGlass.Person, c.BreakGlass.Reason)
		return p
	}
	valid := k.valid(c, now)
	need := k.Rule(c.Content.Environment).Approvals
	if len(valid) < need {
		return no(RuleExpires, "the approval of %s has ended", c.ID)
	}
	slices.SortFunc(valid, func(a, b watchbill.ChangeApproval) int { return b.Until.Compare(a.Until) })
	var by []string
	for _, a := range valid {
		by = append(by, string(a.Person))
	}
	if need > 0 && valid[need-1].Until.Before(p.Until) {
		p.Until = valid[need-1].Until
	}
	p.OK, p.Reason = true, fmt.Sprintf("approved by %s, performed by %s, witnessed by %s",
		cmp.Or(strings.Join(by, ", "), "nobody, as it is not production"), c.Performer, cmp.Or(string(c.Witness), "nobody, as none is needed"))
	return p
}
