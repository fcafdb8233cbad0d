package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/router"
)

// selfSource is where the self-test's alert comes from. No token can have this
// name.
const selfSource = "\x00selftest"

// selfLabel marks the self-test's alert.
const selfLabel = "__watchbill_selftest__"

// selfTest is the one that runs.
type selfTest struct {
	mu         sync.Mutex
	generation int
	recorded   chan struct{} // closed when its page was delivered and that is on disk
}

func (s *selfTest) begin(generation int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation, s.recorded = generation, make(chan struct{})
	return s.recorded
}

func (s *selfTest) finished(generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation == generation && s.recorded != nil {
		close(s.recorded)
		s.recorded = nil
	}
}

// selfTest sends an alert of our own the whole way: it is taken in and decided,
// opens an incident, a timer fires its first step, the path is planned, the page
// worker sends a page to the built-in loop, and the result is recorded. It pages
// nobody. Its incident has no number of people's and is removed at the end, so
// that the store does not grow.
func (f *flow) selfTest(ctx context.Context) error {
	now := time.Now()
	generation := int(now.UnixMilli())
	recorded := f.self.begin(generation)
	a := watchbill.Alert{
		Labels:      watchbill.Labels{"alertname": "WatchbillSelfTest", "service": "watchbill", "severity": "info", selfLabel: "true"},
		Annotations: watchbill.Labels{"summary": "Watchbill tests itself"},
		EndsAt:      now.Add(5 * time.Minute), Source: selfSource,
	}
	if err := f.store.Room(); err != nil {
		return err
	}
	err := f.update(ctx, func(w *work) error {
		if err := w.tx.DropSelfTest(); err != nil {
			return err
		}
		w.selfGeneration = generation
		return w.receive(arriving(a))
	})
	if err != nil {
		return fmt.Errorf("take it in: %w", err)
	}
	select {
	case <-recorded:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %s", context.Cause(ctx), f.selfTestStopped())
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	dropped := f.store.Update(clean, func(tx *store.Tx) error { return tx.DropSelfTest() })
	if dropped != nil {
		dropped = fmt.Errorf("remove it: %w", dropped)
	}
	return errors.Join(err, dropped)
}

// selfTestStopped says how far a self-test came.
func (f *flow) selfTestStopped() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var timers []watchbill.Timer
	var pages []store.PageRow
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		if timers, err = tx.TimersOf(store.SelfTestID); err != nil {
			return err
		}
		pages, err = tx.PagesOf(store.SelfTestID)
		return err
	})
	switch {
	case err != nil:
		return "the store could not be read"
	case len(timers) > 0:
		return "its timer was not fired"
	case len(pages) == 0:
		return "nobody was found who would be paged"
	case pages[0].Attempt == 0:
		return "its page was not sent"
	}
	return "its page was not recorded as delivered"
}

// openSelfTest opens the incident of the self-test. Its first step is left to the
// timers: they must be tested too.
func (w *work) openSelfTest(row store.AlertRow, v router.Verdict) error {
	e := w.life.Open(w.now, w.opening(row.Alert, v))
	inc := e.Incident
	inc.Key, inc.Generation = selfLabel, w.selfGeneration
	inc.Severity = 0 // it counts nowhere
	if err := w.tx.OpenSelfTest(&inc, e.Events...); err != nil {
		return err
	}
	row.Incident, row.Ended = inc.ID, true // it inhibits nothing
	row.Due = row.EndsAt
	if err := w.tx.PutAlert(row); err != nil {
		return err
	}
	return w.tx.SetTimer(stepTimer(inc, 0, w.now))
}

// stepSelfTest decides as if it were the most urgent incident, and pages the loop
// in place of people.
func (w *work) stepSelfTest(inc watchbill.Incident) error {
	urgent := inc
	urgent.Severity = watchbill.Sev1
	s := w.plan(urgent, 0, w.now)
	pages := w.compose(urgent, s)
	w.selfGeneration = inc.Generation
	if !s.ok || len(pages) == 0 {
		return nil // the test fails for want of a page
	}
	p := pages[0].Page
	p.Person, p.Role, p.Method, p.Due = watchbill.ActorSelf, "", notify.LoopReceiver, w.now
	if err := w.tx.PutPage(p); err != nil {
		return err
	}
	return w.save(&inc, w.event(watchbill.EventStepFired, "paged the loop; people would have been: %s", summary(pages)))
}

// finishSelfTest records the result of the loop. The test may be over already.
func (o outbox) finishSelfTest(ctx context.Context, out watchbill.Outcome) error {
	err := o.update(ctx, func(w *work) error {
		if _, found, err := w.tx.Page(out.Delivery.ID); err != nil || !found {
			return err
		}
		w.selfGeneration = out.Delivery.Page.Generation
		return w.tx.FinishAttempt(out)
	})
	if err == nil && out.Result == watchbill.ResultDelivered {
		o.self.finished(out.Delivery.Page.Generation)
	}
	return err
}
