package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Due does what time brings: approvals and the change itself end, and whoever lets
// it wait is told.
func (k *Control) Due(now time.Time, c watchbill.Change) Effect {
	e := Effect{Change: clone(c)}
	n := &e.Change
	waits := n.State == watchbill.ChangeRequested || n.State == watchbill.ChangeApproved
	switch {
	case waits && !now.Before(n.Content.NotAfter):
		k.void(now, n, "the change expired")
		n.State, n.Performer, n.Witness, n.RemindAt = watchbill.ChangeExpired, "", "", time.Time{}
		e.self(now, "expired: nobody performed it until %s", n.Content.NotAfter.Format("2006-01-02 15:04 UTC"))
		e.Tell = append(e.Tell, Tell{
			To: n.Requester, Title: fmt.Sprintf("%s expired: %s", n.ID, n.Content.Title), Why: "you asked for it",
			Impact: "nobody performed it in its time", Action: "Edit it to ask anew",
		})
	case n.State == watchbill.ChangeApproved && len(k.valid(*n, now)) < k.Rule(n.Content.Environment).Approvals:
		names := k.end(now, n)
		n.Performer, n.Witness = "", ""
		e.self(now, "waits again: the approval of %s ended by itself", strings.Join(names, ", "))
		k.wait(now, &e)
	case !n.RemindAt.IsZero() && !now.Before(n.RemindAt):
		k.remind(now, &e)
	}
	if len(e.Events) > 0 {
		n.UpdatedAt = now
	}
	return e
}

// Next is when [Control.Due] has something to do, and zero if never.
func (k *Control) Next(c watchbill.Change) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(c.RemindAt)
	if c.State != watchbill.ChangeRequested && c.State != watchbill.ChangeApproved {
		return next
	}
	sooner(c.Content.NotAfter)
	if c.State == watchbill.ChangeApproved {
		for _, a := range c.Approvals {
			if a.Voided.IsZero() {
				sooner(a.Until)
			}
		}
	}
	return next
}

// remind tells those who let a change or a review wait: first who may act, later
// the manager too.
func (k *Control) remind(now time.Time, e *Effect) {
	c := &e.Change
	c.Reminders++
	if c.BreakGlass.Waits() {
		overdue := !now.Before(c.BreakGlass.ReviewDue)
		c.RemindAt = now.Add(reviewEvery)
		if !overdue && c.BreakGlass.ReviewDue.Before(c.RemindAt) {
			c.RemindAt = c.BreakGlass.ReviewDue
		}
		e.self(now, "the review of the broken glass is due %s", c.BreakGlass.ReviewDue.Format("2006-01-02 15:04 UTC"))
		k.tellRole(e, k.cfg.BreakGlassPages, Tell{
			Urgent: overdue, Title: fmt.Sprintf("The review of %s is due: %s", c.ID, c.Content.Title),
			Impact: fmt.Sprintf("%s broke the glass at %s: %s", c.BreakGlass.Person, c.BreakGlass.At.Format("2006-01-02 15:04 UTC"), c.BreakGlass.Reason),
			Action: "Review it, with a verdict", Why: "a change without its second person must be reviewed",
		})
		return
	}
	if c.State != watchbill.ChangeRequested {
		c.RemindAt = time.Time{}
		return
	}
	t := Tell{
		Title:  fmt.Sprintf("%s still waits for approval: %s", c.ID, c.Content.Title),
		Impact: fmt.Sprintf("%s asked for it on %s/%s at %s", c.Requester, c.Content.Service, c.Content.Environment, c.RequestedAt.UTC().Format("15:04 UTC")),
		Action: "Read it, then approve its hash or reject it", Why: "you may approve it",
	}
	to := k.asked(*c, now)
	escalated := c.Reminders > 1
	c.RemindAt = now.Add(k.cfg.Escalate)
	if !escalated {
		c.RemindAt = now.Add(max(k.cfg.Escalate-k.cfg.Remind, time.Minute))
	}
	for _, p := range to {
		t.To = p
		e.Tell = append(e.Tell, t)
	}
	who := "nobody else may"
	if len(to) > 0 {
		who = names(to)
	}
	if escalated || len(to) == 0 {
		t.Urgent, t.Why = true, "nobody approved it yet"
		k.tellRole(e, k.cfg.Matrix.Manager, t)
		who += ", and the manager"
	}
	e.self(now, "still waits for approval; told again: %s", who)
}

// reviewEvery is how often an overdue review is reminded of.
const reviewEvery = 24 * time.Hour

// tellRole tells everybody who holds a role; who is told already is told once.
func (k *Control) tellRole(e *Effect, role watchbill.RoleID, t Tell) {
	for _, id := range slices.Sorted(maps.Keys(k.people)) {
		if !k.people[id].Holds(role) {
			continue
		}
		e.Tell = slices.DeleteFunc(e.Tell, func(x Tell) bool { return x.To == id })
		t.To = id
		e.Tell = append(e.Tell, t)
	}
}

func names(people []watchbill.PersonID) string {
	s := make([]string, len(people))
	for i, p := range people {
		s[i] = string(p)
	}
	return strings.Join(s, ", ")
}
