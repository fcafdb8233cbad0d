package incident

import (
	"fmt"
	"time"

	"watchbill"
)

// Flapped takes a resolved incident up again because of an alert that flaps.
// Nobody is paged anew for it: whoever had acknowledged it still has it, with a
// new deadline; if nobody had, the path goes on with its second step, because
// those of the first were paged for the same thing a short time ago.
func (l *Life) Flapped(now time.Time, inc watchbill.Incident, a watchbill.Alert, times int) Effect {
	e := Effect{Incident: inc, Cancel: []watchbill.TimerKind{watchbill.TimerClose, watchbill.TimerQuiet}}
	reason := fmt.Sprintf("reopened: %s flaps, it ended %d times in a short time", differing(a, inc), times)
	next := &e.Incident
	next.ResolvedAt, next.ResolvedBy, next.QuietUntil = time.Time{}, "", time.Time{}
	if !inc.AckDeadline.IsZero() {
		next.State = watchbill.StateAcknowledged
		e.Events = append(e.Events, self(now, watchbill.EventReopened, "%s; %s still has it and nobody is paged again", reason, inc.AcknowledgedBy))
		l.promise(now, &e, inc.AcknowledgedBy)
		l.remind(now, &e)
		return e
	}
	next.Acks = nil
	next.State, next.Generation, next.PageReason, next.PathBegan = watchbill.StateOpen, inc.Generation+1, reason, now
	_, after := inc.Path.Step(1)
	e.Stop = true
	e.Later = &watchbill.Timer{Kind: watchbill.TimerStep, Generation: next.Generation, Step: 1, Due: now.Add(after)}
	e.Events = append(e.Events, self(now, watchbill.EventReopened, "%s; the first step is not paged again, the next is due at %s", reason, e.Later.Due.UTC().Format("15:04:05 UTC")))
	return e
}
