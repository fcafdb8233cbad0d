package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/time/rate"
)

// seenFor is how long a series counts after it was last written.
const seenFor = time.Hour

// writer is what is known of a source, under its present configuration.
type writer struct {
	now atomic.Pointer[sourceConfig]

	mu    sync.Mutex
	seen  map[uint64]int64 // by the hash of the labels: when it was last written, in Unix seconds
	swept time.Time
}

type sourceConfig struct {
	WriteSource

	limiter *rate.Limiter
	// foreign are the labels of other sources: a name and its values.
	foreign map[string]map[string]bool
}

func (s *writer) config() WriteSource { return s.now.Load().WriteSource }

// set puts a configuration in force, beside those of all sources.
func (s *writer) set(cfg WriteSource, all []WriteSource) {
	next := &sourceConfig{WriteSource: cfg, foreign: map[string]map[string]bool{}}
	for _, other := range all {
		for name, value := range other.Labels {
			if cfg.Labels[name] == value {
				continue
			}
			if next.foreign[name] == nil {
				next.foreign[name] = map[string]bool{}
			}
			next.foreign[name][value] = true
		}
	}
	burst := max(cfg.Samples, 10*cfg.Rate)
	if old := s.now.Load(); old != nil && old.Rate == cfg.Rate && old.Samples == cfg.Samples {
		next.limiter = old.limiter
	} else {
		next.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), burst)
	}
	s.now.Store(next)
}

// throttle takes samples off what the source may write now, and returns how long
// it must wait when they are too many.
func (s *writer) throttle(now time.Time, samples int) time.Duration {
	r := s.now.Load().limiter.ReserveN(now, samples)
	if !r.OK() {
		return time.Minute // a single request cannot be: its samples are bounded by less
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// admit reports whether a series is one that the source writes already, or may
// begin to.
func (s *writer) admit(hash uint64, most int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[hash]; !known && len(s.seen) >= most {
		if s.sweep(now); len(s.seen) >= most {
			return false
		}
	}
	s.seen[hash] = now.Unix()
	return true
}

// count returns how many series the source wrote within an hour.
func (s *writer) count(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	return len(s.seen)
}

// sweep forgets what was not written for an hour, at most once a minute.
func (s *writer) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	old := now.Add(-seenFor).Unix()
	maps.DeleteFunc(s.seen, func(_ uint64, at int64) bool { return at < old })
}

// batch is one request on its way through Prometheus' handler.
type batch struct {
	intake *intake
	source *writer
	cfg    WriteSource
	v1     bool
	now    time.Time

	stored  int
	refused map[string]int // samples by reason
	first   error          // why the first one was refused
}

type batchKey struct{}

// count tells the metrics what became of a request.
func (b *batch) count() {
	s := b.intake.stats
	s.samples.WithLabelValues(b.cfg.Name).Add(float64(b.stored))
	for reason, n := range b.refused {
		s.refused.WithLabelValues(b.cfg.Name, reason).Add(float64(n))
	}
	s.series.WithLabelValues(b.cfg.Name).Set(float64(b.source.count(b.now)))
}

// refusal is why a sample is not stored. To Prometheus' handler it is a sample out
// of bounds: an error of the sender, which is not tried again.
type refusal struct{ reason, text string }

func (r refusal) Error() string { return r.text }

// Unwrap implements errors.Unwrap.
func (r refusal) Unwrap() error { return storage.ErrOutOfBounds }

// filtered is the database as Prometheus' handler sees it.
type filtered struct{ storage.Appendable }

// Appender implements [storage.Appendable].
func (f filtered) Appender(ctx context.Context) storage.Appender {
	b, _ := ctx.Value(batchKey{}).(*batch) // serve, the only way in, puts it there
	return &filter{Appender: f.Appendable.Appender(ctx), batch: b}
}

// filter checks each series, adds the labels of its source, and sorts what is
// wrong with the sender from what is wrong with us.
type filter struct {
	storage.Appender

	*batch

	last labels.Labels // of the series whose samples follow each other
}

// Append implements [storage.Appender].
func (f *filter) Append(ref storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	if err := f.series(ref, l); err != nil {
		return f.refuse(err)
	}
	ref, err := f.Appender.Append(ref, f.last, t, v)
	return f.became(ref, err)
}

// AppendHistogram implements [storage.HistogramAppender].
func (f *filter) AppendHistogram(ref storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	if err := f.series(ref, l); err != nil {
		return f.refuse(err)
	}
	ref, err := f.Appender.AppendHistogram(ref, f.last, t, h, fh)
	return f.became(ref, err)
}

// AppendExemplar implements [storage.ExemplarAppender]: exemplars are not kept.
func (f *filter) AppendExemplar(ref storage.SeriesRef, _ labels.Labels, _ exemplar.Exemplar) (storage.SeriesRef, error) {
	return ref, nil
}

// series checks the labels of a series and makes those that are stored. With a
// reference it is the series of the last call, which the handler never mixes.
func (f *filter) series(ref storage.SeriesRef, l labels.Labels) error {
	if ref != 0 {
		return nil
	}
	cfg := f.source.now.Load()
	if name := l.Get(model.MetricNameLabel); strings.HasPrefix(name, "watchbill_") {
		return refusal{refusedReserved, fmt.Sprintf("%.100s: names that begin with watchbill_ are watchbill's own", name)}
	}
	count := l.Len()
	err := l.Validate(func(l labels.Label) error {
		own, fixed := cfg.Labels[l.Name]
		switch {
		case len(l.Name) > cfg.LabelBytes || len(l.Value) > cfg.LabelBytes:
			return refusal{refusedLabels, fmt.Sprintf("the label %.100s is longer than %d bytes", l.Name, cfg.LabelBytes)}
		case fixed && l.Value != own:
			return refusal{refusedForeign, fmt.Sprintf("the label %s is %q for the source %s, not %.100q", l.Name, own, cfg.Name, l.Value)}
		case cfg.foreign[l.Name][l.Value]:
			return refusal{refusedForeign, fmt.Sprintf("the label %s=%q is another source's", l.Name, l.Value)}
		case fixed:
			count--
		}
		return nil
	})
	if err != nil {
		return err
	}
	if count > cfg.SeriesLabels {
		return refusal{refusedLabels, fmt.Sprintf("%.100s has %d labels; %d are allowed", l.Get(model.MetricNameLabel), count, cfg.SeriesLabels)}
	}
	b := labels.NewBuilder(l)
	for name, value := range cfg.Labels {
		b.Set(name, value)
	}
	all := b.Labels()
	if !f.source.admit(all.Hash(), cfg.Series, f.now) {
		return refusal{refusedSeries, fmt.Sprintf("%s wrote %d series within an hour; no others are taken: drop some with write_relabel_configs, or raise limits.series", cfg.Name, cfg.Series)}
	}
	f.last = all
	return nil
}

// became takes note of what became of a sample.
func (f *filter) became(ref storage.SeriesRef, err error) (storage.SeriesRef, error) {
	if err == nil {
		f.stored++
		return ref, nil
	}
	_, shape := errors.AsType[histogram.Error](err)
	for _, bad := range []error{storage.ErrOutOfOrderSample, storage.ErrOutOfBounds, storage.ErrTooOldSample, storage.ErrDuplicateSampleForTimestamp, storage.ErrNativeHistogramsDisabled} {
		if shape || errors.Is(err, bad) {
			return f.refuse(refusal{refusedOrder, fmt.Sprintf("%v: %.300s", err, f.last)})
		}
	}
	return ref, err // ours: the sender tries again
}

// refuse takes note of a sample that is not stored. Version 2.0 goes on behind an
// error; for 1.0 the handler would stop and take all back, so it is told at the
// end.
func (f *filter) refuse(err error) (storage.SeriesRef, error) {
	if f.refused == nil {
		f.refused = map[string]int{}
	}
	if r, ok := errors.AsType[refusal](err); ok {
		f.refused[r.reason]++
	}
	if f.first == nil {
		f.first = err
	}
	if f.v1 {
		return 0, nil
	}
	return 0, err
}

// Commit implements [storage.AppenderTransaction].
func (f *filter) Commit() error {
	if err := f.Appender.Commit(); err != nil {
		f.stored = 0
		return err
	}
	if !f.v1 || f.first == nil {
		return nil
	}
	n := 0
	for _, of := range f.refused {
		n += of
	}
	return refusal{text: fmt.Sprintf("%d samples were refused and %d stored; the first: %v", n, f.stored, f.first)}
}

// Rollback implements [storage.AppenderTransaction].
func (f *filter) Rollback() error {
	f.stored = 0
	return f.Appender.Rollback()
}
