package collector

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/strutil"

	"watchbill"
)

const (
	// source is the source of alerts that rules make.
	source = "rules"
	// retryEvery is how long alerts wait after a failure if nothing else happens.
	retryEvery = time.Second
	// notifyTimeout ends a call of Notify that hangs, flushTimeout the last one.
	notifyTimeout = 10 * time.Second
	flushTimeout  = 2 * time.Second
	// maxBatch keeps a storm from becoming one enormous transaction.
	maxBatch = 1000
	// giveUp is how many alerts may fail in a row, sent one by one, before the
	// round ends: then it is not the alerts that are at fault.
	giveUp = 3
)

// sender hands alerts to Notify. The rule manager marks an alert as sent before
// it hands it over and would repeat it only after a minute; so what Notify did
// not take is kept here.
type sender struct {
	notify func(ctx context.Context, alerts []watchbill.Alert) error
	logger *slog.Logger
	kick   chan struct{}
	done   chan struct{}

	// origin is what the present configuration adds to alerts.
	origin atomic.Pointer[origin]

	sent, failed prometheus.Counter
	waiting      prometheus.Gauge

	// mu guards pending: the latest state of each alert that was not taken.
	mu      sync.Mutex
	pending map[watchbill.Fingerprint]item
}

// origin is added to every alert: the address for its link, and the external
// labels, which never replace a label that the alert has.
type origin struct {
	externalURL string
	labels      map[string]string
}

// item is an alert that waits. Version tells states of one alert apart.
type item struct {
	alert   watchbill.Alert
	fp      watchbill.Fingerprint
	tries   int
	version uint64
}

func newSender(notify func(context.Context, []watchbill.Alert) error, logger *slog.Logger, reg prometheus.Registerer) *sender {
	s := &sender{
		notify:  notify,
		logger:  logger.With("component", "alerts"),
		kick:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		pending: map[watchbill.Fingerprint]item{},
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "watchbill_collector_alerts_sent_total",
			Help: "Alert states that the rules handed over.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "watchbill_collector_alert_failures_total",
			Help: "Failed attempts to hand alerts over.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "watchbill_collector_alerts_waiting",
			Help: "Alerts that wait to be handed over.",
		}),
	}
	s.origin.Store(&origin{})
	for _, m := range []prometheus.Collector{s.sent, s.failed, s.waiting} {
		if err := reg.Register(m); err != nil {
			s.logger.Warn("metric is not registered", "error", err)
		}
	}
	return s
}

// take is what the rule manager calls after each evaluation of an alert rule,
// with the alerts to send, often none.
func (s *sender) take(_ context.Context, expr string, alerts ...*rules.Alert) {
	from := s.origin.Load()
	s.mu.Lock()
	for _, a := range alerts {
		s.put(from.convert(a, expr))
	}
	n := len(s.pending)
	s.mu.Unlock()
	if n > 0 {
		s.wake()
	}
}

func (s *sender) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// put replaces what waits for an alert. The caller holds mu.
func (s *sender) put(a watchbill.Alert) {
	fp := a.Fingerprint()
	old := s.pending[fp]
	s.pending[fp] = item{alert: a, fp: fp, tries: old.tries, version: old.version + 1}
	s.waiting.Set(float64(len(s.pending)))
}

// convert makes an alert of a rule's.
func (o *origin) convert(a *rules.Alert, expr string) watchbill.Alert {
	labels := a.Labels.Map()
	for name, value := range o.labels {
		if labels[name] == "" {
			labels[name] = value
		}
	}
	ends := a.ValidUntil
	if !a.ResolvedAt.IsZero() {
		ends = a.ResolvedAt
	}
	return watchbill.Alert{
		Labels:       labels,
		Annotations:  a.Annotations.Map(),
		StartsAt:     a.FiredAt,
		EndsAt:       ends,
		UpdatedAt:    a.LastSentAt,
		GeneratorURL: o.externalURL + strutil.TableLinkForExpression(expr),
		Source:       source,
	}
}

// run sends until stop, and then once more.
func (s *sender) run() {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	single := false
	for {
		select {
		case <-s.done:
			ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
			defer cancel()
			s.round(ctx, single)
			if n := len(s.items()); n > 0 {
				s.logger.Warn("alerts were not handed over; they fire again after the start", "alerts", n)
			}
			return
		case <-s.kick:
		case <-timer.C:
		}
		single = !s.round(context.Background(), single)
		if single {
			timer.Reset(retryEvery)
		} else {
			timer.Stop()
		}
	}
}

func (s *sender) stop() { close(s.done) }

// round tries everything that waits: in batches, or one by one after a failure
// so that an alert which can never be taken holds up no other. It reports
// whether all went.
func (s *sender) round(ctx context.Context, single bool) bool {
	size := maxBatch
	if single {
		size = 1
	}
	ok, inRow := true, 0
	for batch := range slices.Chunk(s.items(), size) {
		if s.send(ctx, batch) {
			inRow = 0
			continue
		}
		ok = false
		if inRow++; !single || inRow == giveUp {
			break
		}
	}
	return ok
}

// items are the alerts that wait, those that failed least first.
func (s *sender) items() []item {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]item, 0, len(s.pending))
	for _, it := range s.pending {
		out = append(out, it)
	}
	slices.SortFunc(out, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.tries, b.tries), a.alert.StartsAt.Compare(b.alert.StartsAt), cmp.Compare(a.fp, b.fp))
	})
	return out
}

// send makes one call of Notify and keeps what it did not take.
func (s *sender) send(ctx context.Context, batch []item) bool {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	alerts := make([]watchbill.Alert, len(batch))
	for i, it := range batch {
		alerts[i] = it.alert
	}
	err := s.notify(ctx, alerts)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range batch {
		now := s.pending[it.fp]
		switch {
		case err != nil:
			now.tries++
			s.pending[it.fp] = now
		case now.version == it.version:
			delete(s.pending, it.fp)
		}
	}
	s.waiting.Set(float64(len(s.pending)))
	if err != nil {
		s.failed.Inc()
		s.logger.WarnContext(ctx, "alerts were not taken, trying again", "alerts", len(alerts), "error", err)
		return false
	}
	s.sent.Add(float64(len(alerts)))
	return true
}
