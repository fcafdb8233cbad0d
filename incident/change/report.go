package change

import (
	"fmt"
	"slices"
	"time"

	"watchbill"
)

// Report returns the changes of production that something happened to between two
// instants: the exceptions first, then the newest.
func (k *Control) Report(all []watchbill.Change, since, until time.Time) watchbill.ChangeReport {
	r := watchbill.ChangeReport{Since: since, Until: until, Entries: []watchbill.ChangeReported{}}
	for _, c := range all {
		if c.UpdatedAt.Before(since) || c.RequestedAt.After(until) || !k.Production(c.Content.Environment) {
			continue
		}
		entry := watchbill.ChangeReported{Change: c, Exceptions: k.exceptions(c, until)}
		if len(entry.Exceptions) > 0 {
			r.Exceptions++
		}
		r.Entries = append(r.Entries, entry)
	}
	r.Changes = len(r.Entries)
	slices.SortStableFunc(r.Entries, func(a, b watchbill.ChangeReported) int {
		if x, y := len(a.Exceptions) > 0, len(b.Exceptions) > 0; x != y {
			if x {
				return -1
			}
			return 1
		}
		return int(b.ID - a.ID)
	})
	return r
}

// exceptions says what an auditor asks about first.
func (k *Control) exceptions(c watchbill.Change, at time.Time) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if b := c.BreakGlass; b != nil {
		say("%s broke the glass: %s", b.Person, b.Reason)
		switch {
		case !b.Waits():
		case b.ReviewDue.Before(at):
			say("its review is overdue since %s", b.ReviewDue.Format(time.RFC3339))
		default:
			say("its review is due %s", b.ReviewDue.Format(time.RFC3339))
		}
	}
	if c.State == watchbill.ChangeFailed {
		say("it failed: %s", c.Outcome)
	}
	if c.State == watchbill.ChangeRolledBack {
		say("it was rolled back: %s", c.Outcome)
	}
	if c.State.Performed() && c.EndedAt.After(c.Content.NotAfter) {
		say("it ended after its time, %s", c.Content.NotAfter.Format(time.RFC3339))
	}
	if c.State == watchbill.ChangePerforming && c.Content.NotAfter.Before(at) {
		say("it is still performing after its time, %s", c.Content.NotAfter.Format(time.RFC3339))
	}
	if c.State.Performed() && c.BreakGlass == nil && c.Witness == "" {
		say("nobody witnessed it")
	}
	if c.Content.Kind == watchbill.ChangeConfiguration && (c.State.Performed() || c.State == watchbill.ChangePerforming) {
		say("it loosened the rules of changes")
	}
	if c.State.Performed() && (c.PerformedHash != c.Hash || c.Content.Sum() != c.Hash) {
		say("what is recorded is not what was approved")
	}
	return out
}
