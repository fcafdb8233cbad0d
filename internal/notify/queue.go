package notify

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"watchbill"
)

// queue sends the pages of one receiver, a few at a time.
type queue struct {
	worker *Worker
	method string // empty: of receivers that do not exist
	stop   context.CancelFunc
	wake   chan struct{}

	mu sync.Mutex
	// failures are the attempts that failed since one worked.
	failures int
	// recorded are the deliveries whose result the store took since the queue
	// began or its receiver last failed often in a row.
	recorded int
	// unrecorded holds results that the store would not take. When their rows
	// come back after the lease, the result is recorded instead of paging again.
	unrecorded map[int64]watchbill.Outcome
}

// keep holds a result back until its row is claimed again.
func (q *queue) keep(o watchbill.Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unrecorded[o.Delivery.ID] = o
}

// kept returns the result that is held back for a page.
func (q *queue) kept(id int64) (watchbill.Outcome, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	o, ok := q.unrecorded[id]
	return o, ok
}

// settled forgets a result that the store has taken.
func (q *queue) settled(o watchbill.Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.unrecorded, o.Delivery.ID)
	if o.Result == watchbill.ResultDelivered {
		q.recorded++
	}
}

func (q *queue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// selects is what the queue asks the outbox for.
func (q *queue) selects(n *Notifier) Queue {
	if q.method == "" {
		return Queue{Except: append(n.Receivers(), LoopReceiver)}
	}
	return Queue{Method: q.method}
}

// run works until the context ends.
func (q *queue) run(ctx context.Context) {
	defer q.worker.Wake() // what a closing queue gave back is for another one
	defer q.stop()
	for ctx.Err() == nil {
		q.worker.beat()
		worked, err := q.round(ctx)
		if err != nil && ctx.Err() == nil {
			q.worker.log.ErrorContext(ctx, "outbox failed, pages wait", "receiver", q.label(), "err", err)
		}
		if err == nil && worked {
			continue
		}
		q.sleep(ctx, err != nil)
	}
}

// round claims as many pages as can be sent within one lease, sends them, and
// reports whether there were any.
func (q *queue) round(ctx context.Context) (bool, error) {
	n := q.worker.current()
	now := time.Now()
	width := q.width()
	limit := width * max(int((lease-leaseMargin)/n.Timeout()), 1)
	// A timeout beyond the usual one gets a longer lease rather than none.
	term := max(lease, n.Timeout()+leaseMargin)
	claimed, err := q.worker.outbox.Claim(ctx, Claim{Queue: q.selects(n), Now: now, Lease: term, Limit: limit})
	if err != nil {
		return false, err
	}
	slices.SortStableFunc(claimed, func(a, b watchbill.Delivery) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Page.Due.Compare(b.Page.Due), cmp.Compare(a.ID, b.ID))
	})
	// The most urgent ones are taken first. A round ends with its last page, so
	// that no lease is outlived by what waits behind a receiver that hangs.
	next := make(chan watchbill.Delivery, len(claimed))
	for _, d := range claimed {
		next <- d
	}
	close(next)
	var senders sync.WaitGroup
	for range min(width, len(claimed)) {
		senders.Go(func() {
			for d := range next {
				q.deliver(ctx, n, d, now.Add(term))
			}
		})
	}
	senders.Wait()
	return len(claimed) > 0, nil
}

// width is how many pages go out at a time: one while the receiver fails, so that
// the load on what is in trouble does not grow with what waits for it, and a few
// after a start. What is in hand when a process dies is sent again by the next,
// so one that dies again and again must not have a full hand each time.
func (q *queue) width() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failures >= circuitOpens {
		return 1
	}
	return min(parallel, parallelAtStart+q.recorded/widenAfter)
}

// note counts failures in a row.
func (q *queue) note(r watchbill.Result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch r {
	case watchbill.ResultDelivered:
		q.failures = 0
	case watchbill.ResultRetry, watchbill.ResultRefused:
		q.failures++
	case watchbill.ResultDropped: // says nothing about the receiver
	}
	open := 0.0
	if q.failures >= circuitOpens {
		open, q.recorded = 1, 0
	}
	q.worker.circuits.WithLabelValues(q.label()).Set(open)
}

// rank orders severities; a page without one goes last.
func rank(d watchbill.Delivery) int {
	if s := d.Page.Content.Severity; s != 0 {
		return int(s)
	}
	return int(watchbill.Sev4) + 1
}

// deliver makes one attempt and records how it ended. When the worker stops,
// pages in hand are finished and the others are given back at once.
func (q *queue) deliver(ctx context.Context, n *Notifier, d watchbill.Delivery, leaseEnd time.Time) {
	if o, ok := q.kept(d.ID); ok {
		o.Delivery.Attempt = d.Attempt
		q.finish(ctx, o, leaseEnd)
		return
	}
	if ctx.Err() != nil {
		now := time.Now()
		q.finish(ctx, watchbill.Outcome{Delivery: d, At: now, Result: watchbill.ResultRetry, Detail: "not sent: the queue is closing", Retry: now}, leaseEnd)
		return
	}
	needed, why, err := q.worker.outbox.Needed(ctx, d)
	if err != nil {
		// Sending now might page somebody after their acknowledgement. The lease
		// ends and the page comes back.
		q.worker.log.ErrorContext(ctx, "outbox failed, page waits for its lease to end", "receiver", q.label(), "page", d.Page.Key(), "err", err)
		return
	}
	o := watchbill.Outcome{Delivery: d, Result: watchbill.ResultDropped, Detail: why}
	if needed {
		sent := n.Deliver(context.WithoutCancel(ctx), d)
		o.Result, o.Detail, o.Sent = sent.Result, sent.Detail, sent.Sent
	}
	o.At = time.Now()
	if q.method == LoopReceiver { // no page to a person: it is not counted
		q.finish(ctx, o, leaseEnd)
		return
	}
	switch o.Result {
	case watchbill.ResultDelivered:
		q.worker.lateness.Observe(max(o.At.Sub(d.Page.Due), 0).Seconds())
	case watchbill.ResultRetry:
		o.Retry = o.At.Add(retryAfter(d.Attempt))
	case watchbill.ResultRefused:
		o.Retry = o.At.Add(refusedWait)
	case watchbill.ResultDropped:
	}
	q.worker.attempts.WithLabelValues(q.label(), string(o.Result)).Inc()
	q.note(o.Result)
	q.report(ctx, o)
	q.finish(ctx, o, leaseEnd)
}

func (q *queue) report(ctx context.Context, o watchbill.Outcome) {
	log := q.worker.log.With("receiver", q.label(), "page", o.Delivery.Page.Key(), "attempt", o.Delivery.Attempt, "detail", o.Detail)
	switch o.Result {
	case watchbill.ResultDelivered:
		log.InfoContext(ctx, "page delivered")
	case watchbill.ResultDropped:
		log.InfoContext(ctx, "page not needed any more")
	case watchbill.ResultRetry:
		log.WarnContext(ctx, "page failed, will be retried", "retry", o.Retry)
	case watchbill.ResultRefused:
		log.ErrorContext(ctx, "page refused by its receiver, the next method is used", "retry", o.Retry)
	}
}

// finish records a result, and tries again for as long as the lease lasts. What
// happened has happened, so it does not stop with the worker's context.
func (q *queue) finish(ctx context.Context, o watchbill.Outcome, leaseEnd time.Time) {
	storeCtx, cancel := context.WithDeadline(context.WithoutCancel(ctx), leaseEnd)
	defer cancel()
	for {
		err := q.worker.outbox.Finish(storeCtx, o)
		if err == nil {
			q.settled(o)
			return
		}
		q.worker.log.ErrorContext(ctx, "outbox failed, result is not recorded yet", "receiver", q.label(), "page", o.Delivery.Page.Key(), "err", err)
		if ctx.Err() != nil && time.Since(o.At) > closingTime || !wait(storeCtx, storeRetry) {
			break
		}
	}
	if o.Result == watchbill.ResultDelivered || o.Result == watchbill.ResultDropped {
		q.keep(o)
	}
}

// sleep waits for a wake-up, for the next due page, or for the next look.
func (q *queue) sleep(ctx context.Context, failing bool) {
	pause := pollEvery
	if q.method == LoopReceiver {
		pause = beatEvery
	}
	pause = cmp.Or(q.worker.poll, pause)
	if failing {
		pause = storeRetry
	} else if next, err := q.worker.outbox.NextDue(ctx, q.selects(q.worker.current())); err != nil {
		pause = storeRetry
	} else if !next.IsZero() {
		pause = min(pause, time.Until(next))
	}
	// If the store says that something is due, yet the claim found nothing, another
	// process has it or the store's clock is behind ours: do not spin.
	t := time.NewTimer(max(pause, shortestPause))
	defer t.Stop()
	select {
	case <-t.C:
	case <-q.wake:
	case <-ctx.Done():
	}
}

// label is the receiver's name as a label and in logs.
func (q *queue) label() string { return cmp.Or(q.method, unknownReceiver) }
