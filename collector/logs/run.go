package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// Options are what a [Runner] needs.
type Options struct {
	Storage    storage.Appendable
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// HTTP are options of the clients.
	HTTP []config_util.HTTPClientOption
}

// Runner asks the queries of a configuration.
type Runner struct {
	o             Options
	total, failed *prometheus.CounterVec

	mu      sync.Mutex
	started bool
	closed  bool
	sources map[string]*source
}

// source is one that is being asked.
type source struct {
	Source
	client *client
	stop   context.CancelFunc
	loops  []*loop
	active sync.WaitGroup
}

// New makes a runner without queries.
func New(o Options) (*Runner, error) {
	r := &Runner{o: o, sources: map[string]*source{}}
	r.total = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_log_queries_total", Help: "Log queries that were asked, by their source."}, []string{SourceLabel})
	r.failed = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_log_queries_failed_total", Help: "Log queries that gave no result, by their source."}, []string{SourceLabel})
	for _, m := range []prometheus.Collector{r.total, r.failed} {
		if err := o.Registerer.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of log queries: %w", err)
		}
	}
	return r, nil
}

// Check reports whether a configuration can be put in force: whether the files of
// its clients can be read.
func Check(cfg Config, opts []config_util.HTTPClientOption) error {
	var errs []error
	for _, s := range cfg.Sources {
		c, err := newClient(s, opts)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.http.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// Set puts a configuration in force. A source that did not change goes on; of one
// that did or is gone, the series end.
func (r *Runner) Set(cfg Config) error {
	next := map[string]*source{}
	for _, s := range cfg.Sources {
		c, err := newClient(s, r.o.HTTP)
		if err != nil {
			return err
		}
		next[s.Name] = &source{Source: s, client: c}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, old := range r.sources {
		if s := next[name]; s != nil && reflect.DeepEqual(s.Source, old.Source) {
			s.client.http.CloseIdleConnections()
			next[name] = old
			continue
		}
		r.end(old)
		if next[name] == nil {
			r.total.DeleteLabelValues(name)
			r.failed.DeleteLabelValues(name)
		}
	}
	for name, s := range next {
		r.total.WithLabelValues(name)
		r.failed.WithLabelValues(name)
		if r.started && s.stop == nil {
			r.begin(s)
		}
	}
	r.sources = next
	return nil
}

// Start begins to ask.
func (r *Runner) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	for _, s := range r.sources {
		r.begin(s)
	}
}

// Close stops asking. The series are left as they are, as at the end of a scrape
// manager: after a restart they go on.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, s := range r.sources {
		r.end(s)
	}
	r.sources = nil
}

// begin starts the loops of a source, and end stops them. The caller holds mu.
func (r *Runner) begin(s *source) {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, q := range s.Queries {
		l := &loop{r: r, source: s, query: q}
		s.loops = append(s.loops, l)
		s.active.Go(func() { l.run(ctx) })
	}
}

func (r *Runner) end(s *source) {
	if s.stop == nil {
		return
	}
	s.stop()
	s.active.Wait()
	if !r.closed {
		r.outdate(s)
	}
	s.client.http.CloseIdleConnections()
}

// outdate ends the series of a source that is asked no more.
func (r *Runner) outdate(s *source) {
	now := time.Now()
	for _, l := range s.loops {
		if err := l.write(context.Background(), now, nil); err != nil {
			r.o.Logger.Error("cannot end the series of a log query", "logs", s.Name, "record", l.query.Record, "err", err)
		}
	}
}

// loop asks one query.
type loop struct {
	r      *Runner
	source *source
	query  Query
	last   map[uint64]labels.Labels // series of the last round
	failed bool                     // the last round was
}

func (l *loop) run(ctx context.Context) {
	at := l.query.next(l.source.Name, time.Now())
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		l.round(ctx, at)
		at = l.query.next(l.source.Name, time.Now())
		timer.Reset(time.Until(at))
	}
}

// round asks once and writes what came of it. at is when the round is due: on
// the query's grid, so that samples are evenly spaced.
func (l *loop) round(ctx context.Context, at time.Time) {
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, l.query.Timeout)
	points, err := l.source.client.ask(asking, l.query.Expr, at.Add(-l.query.Offset))
	cancel()
	if ctx.Err() != nil {
		return // it was ended, it did not fail
	}
	series, err := l.series(points, err)
	l.r.total.WithLabelValues(l.source.Name).Inc()
	up := 1.0
	if err != nil {
		up = 0
		l.r.failed.WithLabelValues(l.source.Name).Inc()
		l.r.o.Logger.WarnContext(ctx, "a log query failed; its series end until it works again",
			"logs", l.source.Name, "record", l.query.Record, "err", err)
	} else if l.failed {
		l.r.o.Logger.InfoContext(ctx, "a log query works again", "logs", l.source.Name, "record", l.query.Record)
	}
	l.failed = err != nil
	found := len(series)
	for name, v := range map[string]float64{UpMetric: up, SeriesMetric: float64(found), DurationMetric: time.Since(began).Seconds()} {
		series = append(series, sample{l.own(name), v})
	}
	if err := l.write(ctx, at, series); err != nil {
		l.r.o.Logger.ErrorContext(ctx, "cannot write the result of a log query", "logs", l.source.Name, "record", l.query.Record, "err", err)
	}
}

// sample is what is written.
type sample struct {
	labels labels.Labels
	value  float64
}

// series are the series of a result. The labels of the query win over those of
// the result.
func (l *loop) series(points []point, err error) ([]sample, error) {
	if err != nil {
		return nil, err
	}
	out := make([]sample, 0, len(points))
	seen := map[uint64]bool{}
	for _, p := range points {
		m := p.labels
		if m == nil {
			m = map[string]string{}
		}
		maps.Copy(m, l.query.Labels)
		m[model.MetricNameLabel] = l.query.Record
		maps.DeleteFunc(m, func(_, v string) bool { return v == "" }) // the same as no label
		s := sample{labels.FromMap(m), p.value}
		h := s.labels.Hash()
		if seen[h] {
			return nil, fmt.Errorf("the result has two series %s: the labels of the query hide what tells them apart", s.labels)
		}
		seen[h] = true
		out = append(out, s)
	}
	return out, nil
}

// own are the labels of a series about the query.
func (l *loop) own(name string) labels.Labels {
	m := l.query.own(l.source.Name)
	m[model.MetricNameLabel] = name
	return labels.FromMap(m)
}

// write appends samples, and staleness markers for the series that are gone.
func (l *loop) write(ctx context.Context, at time.Time, samples []sample) error {
	app := l.r.o.Storage.Appender(ctx)
	seen := make(map[uint64]labels.Labels, len(samples))
	put := func(s labels.Labels, v float64) error {
		if _, err := app.Append(0, s, timestamp.FromTime(at), v); err != nil {
			return errors.Join(fmt.Errorf("append %s: %w", s, err), app.Rollback())
		}
		return nil
	}
	for _, s := range samples {
		seen[s.labels.Hash()] = s.labels
		if err := put(s.labels, s.value); err != nil {
			return err
		}
	}
	for hash, s := range l.last {
		if _, ok := seen[hash]; ok {
			continue
		}
		if err := put(s, math.Float64frombits(value.StaleNaN)); err != nil {
			return err
		}
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	l.last = seen
	return nil
}
