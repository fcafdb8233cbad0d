package notify

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"watchbill"
)

// Times of the worker.
const (
	lease       = 30 * time.Second // of a claim; longer than a send and its result take
	leaseMargin = 10 * time.Second // of the lease, for writing down results
	pollEvery   = 30 * time.Second // without a wake-up: another process may have written
	beatEvery   = 10 * time.Second // of the loop's queue, which shows that the worker lives
	storeRetry  = time.Second      // between attempts while the store fails
	closingTime = 3 * time.Second  // for results that the store does not take while the worker stops
	refusedWait = 5 * time.Minute  // until a receiver that said no is asked again

	shortestPause = 50 * time.Millisecond

	// parallel is how many pages one receiver gets at a time at most. In a storm their
	// results then share a commit, instead of waiting for one each.
	parallel = 32
	// parallelAtStart is how many it gets at a time at first, and widenAfter how
	// many more deliveries allow one more.
	parallelAtStart = 4
	widenAfter      = 16
	// circuitOpens is after how many failures in a row it gets one at a time.
	circuitOpens = 3
)

// unknownReceiver is the value of the label receiver for pages whose receiver
// the configuration does not have: their names are not bounded.
const unknownReceiver = "unknown"

// Queue selects the rows of one receiver.
type Queue struct {
	// Method is the receiver's name. Empty selects the rows whose method is not
	// in Except.
	Method string
	// Except are the names of all receivers, set when Method is empty.
	Except []string
}

// Claim asks for rows.
type Claim struct {
	Queue
	Now   time.Time
	Lease time.Duration
	Limit int
}

// Outbox is where pages wait.
type Outbox interface {
	// Claim leases up to Limit pages of a queue that are due at Now and not
	// leased beyond it, the highest severity first and then by due time. The
	// attempt number of each is increased, and that is committed, before Claim
	// returns.
	Claim(ctx context.Context, c Claim) ([]watchbill.Delivery, error)
	// Needed reads the incident again and says whether the page must still go
	// out, and if not, why.
	Needed(ctx context.Context, d watchbill.Delivery) (bool, string, error)
	// Finish records how an attempt ended and ends its lease. With Retry set the
	// page is due again then.
	Finish(ctx context.Context, o watchbill.Outcome) error
	// NextDue returns when Claim would next find something in a queue: the
	// earliest time at which a pending page is both due and not leased. Zero:
	// nothing is pending.
	NextDue(ctx context.Context, q Queue) (time.Time, error)
}

// WorkerOptions is what a [Worker] works with.
type WorkerOptions struct {
	Outbox   Outbox
	Notifier *Notifier
	Logger   *slog.Logger // nil: silent
	// Registerer takes the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
	// Beat is called whenever a queue goes round, and at least every ten seconds
	// while any does. Nil: nobody listens.
	Beat func()
}

// Worker works off the outbox, one queue for each receiver. It gives up no page:
// a row leaves the outbox by delivery, or because it is not needed any more.
type Worker struct {
	outbox   Outbox
	log      *slog.Logger
	attempts *prometheus.CounterVec
	circuits *prometheus.GaugeVec
	lateness prometheus.Histogram
	changed  chan struct{} // a reload waits to be taken up
	beat     func()

	mu       sync.Mutex
	notifier *Notifier
	queues   map[string]*queue // by method, as they run
}

// NewWorker makes a worker. Nothing happens before Run.
func NewWorker(o WorkerOptions) *Worker {
	w := &Worker{
		outbox:   o.Outbox,
		log:      cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		notifier: o.Notifier,
		changed:  make(chan struct{}, 1),
		queues:   map[string]*queue{},
		beat:     func() {},
	}
	if o.Beat != nil {
		w.beat = o.Beat
	}
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "watchbill_page_attempts_total",
		Help: "Attempts to deliver a page, by how they ended.",
	}, []string{"receiver", "result"})
	lateness := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "watchbill_page_delivery_lateness_seconds",
		Help:    "Time from when a page was due to its delivery.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
	})
	circuits := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "watchbill_receiver_circuit_open",
		Help: "1 while a receiver gets its pages one at a time, because it failed several times in a row.",
	}, []string{"receiver"})
	var err error
	if w.circuits, err = registered(o.Registerer, circuits); err != nil {
		w.log.Error("metric is not exposed", "err", err)
	}
	if w.attempts, err = registered(o.Registerer, attempts); err != nil {
		w.log.Error("metric is not exposed", "err", err)
	}
	if w.lateness, err = registered[prometheus.Histogram](o.Registerer, lateness); err != nil {
		w.log.Error("metric is not exposed", "err", err)
	}
	return w
}

// Wake makes every queue look for due pages now. It does not block; call it
// after each commit that may have written pages.
func (w *Worker) Wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.queues {
		q.wakeUp()
	}
}

// WakeLoop makes the queue of the loop look for due pages now, and no other.
func (w *Worker) WakeLoop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.queues[LoopReceiver]; q != nil {
		q.wakeUp()
	}
}

// Reload makes the worker send through another notifier from the next page on.
// Queues of receivers that are gone finish the page in hand; what they leave is
// refused, so that the next method is used.
func (w *Worker) Reload(n *Notifier) {
	w.mu.Lock()
	w.notifier = n
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Run works until the context ends, then lets each queue finish the page in
// hand, which takes at most the send timeout.
func (w *Worker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for {
		w.reconcile(ctx, &wg)
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case <-w.changed:
		}
	}
}

// reconcile starts queues for new receivers and stops those of removed ones. The
// queue of pages without a receiver has the empty name.
func (w *Worker) reconcile(ctx context.Context, wg *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := append(w.notifier.Receivers(), LoopReceiver)
	for method, q := range w.queues {
		if method != "" && !slices.Contains(known, method) {
			q.stop()
			delete(w.queues, method)
		}
	}
	for _, method := range append([]string{""}, known...) {
		if w.queues[method] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		q := &queue{worker: w, method: method, stop: stop, wake: make(chan struct{}, 1), unrecorded: map[int64]watchbill.Outcome{}}
		w.queues[method] = q
		if method != LoopReceiver { // counters begin at 0, so that their first increase is seen
			for _, r := range []watchbill.Result{watchbill.ResultDelivered, watchbill.ResultRetry, watchbill.ResultRefused, watchbill.ResultDropped} {
				w.attempts.WithLabelValues(q.label(), string(r))
			}
			w.circuits.WithLabelValues(q.label()).Set(0)
		}
		wg.Go(func() { q.run(ctx) })
	}
	w.queues[""].wakeUp() // what it selects has changed
}

func (w *Worker) current() *Notifier {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notifier
}

// retryAfter is how long a page waits after its nth attempt failed: quickly at
// first, because most failures are short, then ever more rarely, and never more
// than five minutes, because the page is still needed.
func retryAfter(attempt int) time.Duration {
	waits := [...]time.Duration{
		2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	}
	return waits[min(max(attempt, 1), len(waits))-1]
}
