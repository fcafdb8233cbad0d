package change

import (
	"fmt"
	"strings"
	"time"

	"watchbill"
)

// perform names the performer. With a witness there, or when none is needed, the
// change begins. Somebody else's perform is a hand-over.
func (k *Control) perform(now time.Time, e *Effect, who Actor) error {
	c := &e.Change
	if err := k.ready(now, *c); err != nil {
		return err
	}
	if c.Performer == who.Person {
		return nil
	}
	if no := k.may(performing, *c, who.Person, now); no != nil {
		return k.refused(no, performing, *c, now)
	}
	was := c.Performer
	c.Performer = who.Person
	text := "performs it"
	if was != "" {
		text = fmt.Sprintf("performs it; took over from %s", was)
	}
	if c.Witness == "" && k.needsWitness(*c) && c.State == watchbill.ChangeApproved {
		e.record(now, who, "%s, as soon as there is a witness", text)
		return nil
	}
	e.record(now, who, "%s", text)
	k.begin(now, e)
	return nil
}

// witness names who looks on. The change begins with it.
func (k *Control) witness(now time.Time, e *Effect, who Actor) error {
	c := &e.Change
	if err := k.ready(now, *c); err != nil {
		return err
	}
	if c.Performer == "" {
		return k.order(*c, "nobody performs %s yet; who could: %s", c.ID, k.listed(performing, *c, now))
	}
	if c.Witness == who.Person {
		return nil
	}
	if no := k.may(witnessing, *c, who.Person, now); no != nil {
		return k.refused(no, witnessing, *c, now)
	}
	text := "witnesses it"
	if c.Witness != "" {
		text += "; took over from " + string(c.Witness)
	}
	c.Witness = who.Person
	e.record(now, who, "%s", text)
	k.begin(now, e)
	return nil
}

func (k *Control) begin(now time.Time, e *Effect) {
	c := &e.Change
	if c.State == watchbill.ChangePerforming {
		return
	}
	c.State, c.PerformingAt, c.PerformedHash, c.RemindAt = watchbill.ChangePerforming, now, c.Hash, time.Time{}
	text := fmt.Sprintf("performing %s: %s", Short(c.Hash), c.Performer)
	if c.Witness != "" {
		text += ", witnessed by " + string(c.Witness)
	}
	e.self(now, "%s", text)
}

// ready says whether a change may begin, or go on in other hands, at an instant.
func (k *Control) ready(now time.Time, c watchbill.Change) error {
	switch {
	case c.State != watchbill.ChangeRequested && c.State != watchbill.ChangeApproved && c.State != watchbill.ChangePerforming:
		return k.order(c, "%s is %s: there is nothing to perform", c.ID, c.State)
	case now.Before(c.Content.NotBefore) || !now.Before(c.Content.NotAfter):
		return k.outside(c, now)
	case c.Content.Sum() != c.Hash:
		return refuse(watchbill.CodeConflict, RuleHash, "ask for it anew", "the content of %s is not what its hash says", c.ID)
	}
	if c.State == watchbill.ChangePerforming && c.BreakGlass != nil {
		return nil
	}
	have, need := len(k.valid(c, now)), k.Rule(c.Content.Environment).Approvals
	if have >= need && c.State != watchbill.ChangeRequested {
		return nil
	}
	rule, what := RuleApproval, fmt.Sprintf("%s has %d of %d approvals of %s", c.ID, have, need, Short(c.Hash))
	for _, a := range c.Approvals {
		switch {
		case a.Hash != c.Hash:
			rule, what = RuleHash, what+fmt.Sprintf("; that of %s was for %s", a.Person, Short(a.Hash))
		case !now.Before(a.Until):
			rule, what = RuleExpires, what+fmt.Sprintf("; that of %s ended at %s", a.Person, a.Until.Format("15:04 UTC"))
		}
	}
	return refuse(watchbill.CodeConflict, rule, "who could approve it now: "+k.listed(approving, c, now), "%s", what)
}

// finish records how it went.
func (k *Control) finish(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	to, said, part := watchbill.ChangeDone, "done", finishing
	switch a.Verb { //nolint:exhaustive // the caller's three
	case Fail:
		to, said, part = watchbill.ChangeFailed, "failed", ending
	case Rollback:
		to, said, part = watchbill.ChangeRolledBack, "rolled back", ending
	}
	if c.State == to && (c.Performer == who.Person || c.Witness == who.Person) && c.Outcome == a.Text {
		return nil
	}
	if c.State != watchbill.ChangePerforming && (a.Verb != Rollback || c.State != watchbill.ChangeFailed) {
		return k.order(*c, "%s is %s, not performing", c.ID, c.State)
	}
	if no := k.may(part, *c, who.Person, now); no != nil {
		return k.refused(no, part, *c, now)
	}
	if strings.TrimSpace(a.Text) == "" {
		return watchbill.Invalidf("say what you saw: "+c.Content.Verification, "text: is empty")
	}
	c.State, c.EndedAt, c.Outcome = to, now, a.Text
	text := fmt.Sprintf("%s: %s", said, a.Text)
	if !now.Before(c.Content.NotAfter) {
		text += fmt.Sprintf("; it was to be made until %s", c.Content.NotAfter.Format("2006-01-02 15:04 UTC"))
	}
	e.record(now, who, "%s", text)
	return nil
}

// breakGlass begins a change without the people that it needs.
func (k *Control) breakGlass(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	switch {
	case c.State == watchbill.ChangePerforming && c.BreakGlass != nil && c.BreakGlass.Person == who.Person:
		return nil
	case c.State != watchbill.ChangeRequested && c.State != watchbill.ChangeApproved:
		return k.order(*c, "%s is %s: there is no glass to break", c.ID, c.State)
	case !k.cfg.Matrix.Production(c.Content.Environment):
		return k.order(*c, "%s is not production: perform it", c.Content.Environment)
	case !now.Before(c.Content.NotAfter):
		return k.outside(*c, now)
	case c.Content.Kind == watchbill.ChangeConfiguration || c.Content.Kind == watchbill.ChangeAccess:
		return refuse(watchbill.CodeDenied, RuleTwoPeople, "who could approve it now: "+k.listed(approving, *c, now),
			"no glass is broken for a change of the kind %s: the rules and the keys are not given to oneself", c.Content.Kind)
	}
	if no := k.may(breaking, *c, who.Person, now); no != nil {
		return k.refused(no, breaking, *c, now)
	}
	if strings.TrimSpace(a.Text) == "" {
		return watchbill.Invalidf("say why it cannot wait for a second person", "text: is empty")
	}
	have, need := len(k.valid(*c, now)), k.Rule(c.Content.Environment).Approvals
	c.Performer, c.Witness = who.Person, ""
	c.BreakGlass = &watchbill.ChangeBreakGlass{Person: who.Person, Reason: a.Text, At: now, ReviewDue: now.Add(k.cfg.ReviewIn).UTC()}
	e.record(now, who, "broke the glass, with %d of %d approvals and without a witness: %s; the review is due %s",
		have, need, a.Text, c.BreakGlass.ReviewDue.Format("2006-01-02 15:04 UTC"))
	k.begin(now, e)
	c.RemindAt = now.Add(k.cfg.ReviewIn / 2)
	k.tellRole(e, k.cfg.BreakGlassPages, Tell{
		Urgent: true, Title: fmt.Sprintf("%s broke the glass on %s/%s: %s", who.Person, c.Content.Service, c.Content.Environment, c.Content.Title),
		Impact: a.Text, Action: fmt.Sprintf("Join as the witness: watchbill change witness %s", c.ID),
		Why: "a change of production began without its second person",
	})
	return nil
}

// review ends what a broken glass began.
func (k *Control) review(now time.Time, e *Effect, who Actor, a Act) error {
	c := &e.Change
	switch {
	case c.BreakGlass == nil:
		return k.order(*c, "no glass was broken for %s: there is nothing to review", c.ID)
	case !c.BreakGlass.Waits() && c.BreakGlass.ReviewedBy == who.Person && c.BreakGlass.Review == a.Text:
		return nil
	case !c.BreakGlass.Waits():
		return k.order(*c, "%s reviewed %s already", c.BreakGlass.ReviewedBy, c.ID)
	case !c.State.Performed():
		return k.order(*c, "%s is still %s: review it when it has ended", c.ID, c.State)
	}
	if no := k.may(reviewing, *c, who.Person, now); no != nil {
		return k.refused(no, reviewing, *c, now)
	}
	if strings.TrimSpace(a.Text) == "" {
		return watchbill.Invalidf("say whether it was right, and what keeps it from being needed again", "text: is empty")
	}
	b := c.BreakGlass
	b.ReviewedBy, b.ReviewedAt, b.Review = who.Person, now, a.Text
	c.RemindAt = time.Time{}
	e.record(now, who, "reviewed the broken glass: %s", a.Text)
	return nil
}
