package daemon

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"watchbill"
	"watchbill/internal/store"
)

// batch is how many due timers are read and fired at once.
const batch = 256

// idle is how long the timer loop sleeps when no row says when to wake. It is
// also the longest that a step of the wall clock can delay a timer.
const idle = 10 * time.Second

// retryStore is how long the timer loop waits after the store failed.
const retryStore = time.Second

// timers acts on due rows until ctx ends. The rows are the timers: nothing is
// kept in memory, so a restart loses none.
func (f *flow) timers(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		f.look.Store(0) // what is committed from now on wakes, whenever it is due
		next, err := f.runDue(ctx)
		if err != nil && ctx.Err() == nil {
			f.logger.ErrorContext(ctx, "cannot act on due timers; trying again", "err", err)
			f.stats.timerErrors.Inc()
		}
		f.look.Store(time.Now().Add(next).UnixNano())
		timer.Reset(next)
	}
}

// looksAfter reports whether the timers look only after an instant.
func (f *flow) looksAfter(at time.Time) bool {
	look := f.look.Load()
	return look == 0 || at.UnixNano() < look
}

// runDue acts on every timer and alert that is due, and returns how long to
// sleep.
func (f *flow) runDue(ctx context.Context) (time.Duration, error) {
	for {
		f.health.beat(loopTimers)
		due, err := f.readDue(ctx)
		if err != nil {
			return retryStore, err
		}
		if due.empty() {
			longest := cmp.Or(f.idle, idle)
			if due.next.IsZero() {
				return longest, nil
			}
			return min(longest, max(time.Until(due.next), 0)), nil
		}
		if err := f.actOn(ctx, due); err != nil {
			return retryStore, err
		}
	}
}

// actOn acts on due rows, all at once, so that they share commits: a thousand
// incidents that are due together must not wait for a thousand fsyncs one after
// the other. Those of one incident keep their order.
func (f *flow) actOn(ctx context.Context, d due) error {
	var all errgroup.Group
	all.SetLimit(batch)
	of := map[watchbill.IncidentID][]watchbill.Timer{}
	for _, tm := range d.timers {
		of[tm.Incident] = append(of[tm.Incident], tm)
	}
	for _, tm := range d.timers {
		mine := of[tm.Incident]
		if mine == nil { // they go with an earlier one
			continue
		}
		of[tm.Incident] = nil
		all.Go(func() error {
			for _, tm := range mine {
				f.health.beat(loopTimers)
				if err := f.fire(ctx, tm); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, row := range d.alerts {
		all.Go(func() error {
			f.health.beat(loopTimers)
			return f.update(ctx, func(w *work) error { return w.alertDue(row.Fingerprint()) })
		})
	}
	for _, s := range d.silences {
		all.Go(func() error { return f.update(ctx, func(w *work) error { return w.remind(s.ID) }) })
	}
	for _, m := range d.digests {
		all.Go(func() error { return f.digest(ctx, m) })
	}
	for _, c := range d.changes {
		all.Go(func() error { return f.update(ctx, func(w *work) error { return w.changeDue(c.ID) }) })
	}
	return all.Wait()
}

// due is what there is to act on now or, if there is nothing, when there will
// be.
type due struct {
	timers []watchbill.Timer
	alerts []store.AlertRow

	silences []watchbill.Silence // that end soon
	digests  []ended             // maintenance that is over
	changes  []watchbill.Change

	next time.Time
}

// empty reports whether nothing is due.
func (d due) empty() bool {
	return len(d.timers)+len(d.alerts)+len(d.silences)+len(d.digests)+len(d.changes) == 0
}

func (f *flow) readDue(ctx context.Context) (d due, err error) {
	now := time.Now()
	err = f.store.View(ctx, func(tx *store.Tx) error {
		if d.timers, err = tx.DueTimers(now, batch); err != nil {
			return err
		}
		if d.alerts, err = tx.DueAlerts(now, batch); err != nil {
			return err
		}
		if d.changes, err = tx.DueChanges(now, batch); err != nil {
			return err
		}
		silences, err := tx.Silences(now)
		if err != nil {
			return err
		}
		var soon time.Time
		d.silences, soon = f.rooms.Load().reminders(silences, now)
		digests, over := f.digests.due(f.rooms.Load().router.Maintenance(), now)
		if d.digests = digests; !d.empty() {
			return nil
		}
		if soon.IsZero() || !over.IsZero() && over.Before(soon) {
			soon = over
		}
		if d.next, err = tx.NextTimer(); err != nil {
			return err
		}
		change, err := tx.NextChange()
		if err != nil {
			return err
		}
		if d.next.IsZero() || !change.IsZero() && change.Before(d.next) {
			d.next = change
		}
		alert, err := tx.NextAlert()
		if d.next.IsZero() || !alert.IsZero() && alert.Before(d.next) {
			d.next = alert
		}
		if d.next.IsZero() || !soon.IsZero() && soon.Before(d.next) {
			d.next = soon
		}
		return err
	})
	return d, err
}

// fire takes a timer and acts on it, in one transaction.
func (f *flow) fire(ctx context.Context, tm watchbill.Timer) error {
	err := f.update(ctx, func(w *work) error {
		ours, err := w.tx.TakeTimer(tm)
		if err != nil || !ours {
			return err
		}
		return w.incidentTimer(tm)
	})
	if err == nil && tm.Incident != store.SelfTestID {
		f.stats.lateness.Observe(max(time.Since(tm.Due).Seconds(), 0))
	}
	return err
}

// alertDue looks at an alert again: it may have ended without a word, or what
// muted it may have.
func (w *work) alertDue(fp watchbill.Fingerprint) error {
	row, found, err := w.tx.Alert(fp)
	switch {
	case err != nil || !found || row.Ended || row.Due.After(w.now):
		return err
	case row.Resolved(w.now) && row.Flap.Clearing:
		return w.end(row)
	case row.Resolved(w.now):
		return w.ends(row)
	case row.Muted != "":
		return w.begin(row)
	}
	row.Due = row.EndsAt
	return w.put(row)
}

func (w *work) incidentTimer(tm watchbill.Timer) error {
	inc, err := w.incident(tm.Incident)
	if err != nil || inc.Generation != tm.Generation && !ageless(tm.Kind) {
		return err
	}
	if inc.ID == store.SelfTestID {
		return w.stepSelfTest(inc)
	}
	switch tm.Kind {
	case watchbill.TimerStep:
		if inc.State == watchbill.StateOpen {
			return w.step(inc, tm.Step, tm.Due, nil)
		}
	case watchbill.TimerAck:
		if inc.State == watchbill.StateAcknowledged {
			return w.apply(w.life.AckExpired(w.now, inc), nil, w.lapsed(inc, "your acknowledgement expired"))
		}
	case watchbill.TimerStatus, watchbill.TimerPlan:
		if inc.State == watchbill.StateAcknowledged {
			_, known := w.people[inc.AcknowledgedBy]
			return w.apply(w.life.Reminder(w.now, inc, tm, known), nil, w.lapsed(inc, "you had acknowledged it"))
		}
	case watchbill.TimerPlanStep:
		known := func(id watchbill.PersonID) bool { _, ok := w.people[id]; return ok }
		return w.apply(w.life.StepsDue(w.now, inc, known), nil, w.lapsed(inc, "you had acknowledged it"))
	case watchbill.TimerAction:
		return w.actionsDue(inc)
	case watchbill.TimerProof:
		if inc.State == watchbill.StateResolved {
			return w.proofOwed(inc)
		}
	case watchbill.TimerDrill:
		if inc.Drill != nil && inc.State.Live() {
			return w.apply(w.life.DrillOver(w.now, inc), nil, nil)
		}
	case watchbill.TimerQuiet:
		return w.quietEnded(inc)
	case watchbill.TimerClose:
		if inc.State == watchbill.StateResolved {
			return w.closes(inc)
		}
	}
	return nil
}

// ageless reports whether a timer belongs to its incident whatever its generation.
func ageless(k watchbill.TimerKind) bool {
	return k == watchbill.TimerDrill || k == watchbill.TimerPlanStep || k == watchbill.TimerAction
}

// lapsed is the person who had acknowledged: paged with step 0.
func (w *work) lapsed(inc watchbill.Incident, why string) []watchbill.Duty {
	person, ok := w.people[inc.AcknowledgedBy]
	if !ok {
		return nil
	}
	d := watchbill.Duty{Person: person.ID, Reason: why}
	if len(person.Roles) > 0 {
		d.Role = person.Roles[0]
	}
	return []watchbill.Duty{d}
}

func (w *work) quietEnded(inc watchbill.Incident) error {
	if inc.State != watchbill.StateResolved {
		return nil
	}
	firing, err := w.firing(inc.ID)
	if err != nil {
		return err
	}
	if len(firing) == 0 {
		return nil
	}
	return w.apply(w.life.QuietEnded(w.now, inc, len(firing)), nil, nil)
}
