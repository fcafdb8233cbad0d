package daemon

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"watchbill"
	"watchbill/collector"
	"watchbill/targets"
)

// How often the daemon appends what rules cannot know. An exclusion must have a
// sample within each slice of 15 s; a calendar period's budget is asked for over
// weeks, and moves slowly.
const (
	seriesEvery   = 10 * time.Second
	calendarEvery = time.Minute
)

// collect runs the collector, and beside it the loop that appends series of the
// daemon's own, which ends before the series are closed.
func (d *Daemon) collect(ctx context.Context) error {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var loop sync.WaitGroup
	loop.Go(func() { d.appendSeries(ctx) })
	end := context.AfterFunc(ctx, func() {
		loop.Wait()
		stop()
	})
	defer end()
	return d.collector.Run(inner)
}

// appendSeries appends until ctx ends. A failure is logged and tried again.
func (d *Daemon) appendSeries(ctx context.Context) {
	tick := time.NewTicker(seriesEvery)
	defer tick.Stop()
	var calendar time.Time
	for {
		now := time.Now()
		due := now.Sub(calendar) >= calendarEvery
		if due {
			calendar = now
		}
		if err := d.appendRound(ctx, now, due); err != nil && ctx.Err() == nil {
			d.o.Logger.ErrorContext(ctx, "cannot append what the targets need", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// appendRound appends what holds at an instant.
func (d *Daemon) appendRound(ctx context.Context, now time.Time, calendar bool) error {
	cfg := d.rooms.Load().targets
	points := cfg.Exclusions(now)
	if calendar {
		more, err := cfg.CalendarBudgets(ctx, now, d.query)
		if err != nil {
			return err
		}
		points = append(points, more...)
	}
	samples := make([]collector.Sample, len(points))
	for i, p := range points {
		samples[i] = collector.Sample{Labels: p.Labels, Value: p.Value, At: now}
	}
	if len(samples) > 0 {
		if err := d.collector.Append(ctx, samples); err != nil {
			return err
		}
	}
	return d.signals.keep(ctx, now)
}

// query asks for series as the targets do.
func (d *Daemon) query(ctx context.Context, expr string, at time.Time) ([]targets.Point, error) {
	samples, err := d.collector.Query(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	out := make([]targets.Point, len(samples))
	for i, s := range samples {
		out[i] = targets.Point{Labels: s.Labels, Value: s.Value}
	}
	return out, nil
}

// Names of what is posted about services.
const (
	signalEvents = "st_signal_events_total"
	signalKept   = 30 * 24 * time.Hour // how long a counter goes on without being posted
	maxSignals   = 1000                // counters
)

// signals are what others post about services. Counts become counters, which go
// on while nothing is posted, as those of a scraped process would: rates need
// samples. A value is one sample, as nobody knows how long it holds.
type signals struct {
	d  *Daemon
	mu sync.Mutex
	// counters by their labels.
	counters map[string]*signalCounter
	restored bool
	last     time.Time // of a sample: they must not be at the same instant
}

type signalCounter struct {
	labels watchbill.Labels
	value  float64
	posted time.Time
}

// restore takes up the counters that a daemon before this one kept.
func (s *signals) restore(ctx context.Context, now time.Time) error {
	if s.restored {
		return nil
	}
	samples, err := s.d.collector.Query(ctx, "last_over_time("+signalEvents+"[1h])", now)
	if err != nil {
		return err
	}
	s.counters, s.restored = map[string]*signalCounter{}, true
	for _, x := range samples {
		l := maps.Clone(x.Labels)
		l["__name__"] = signalEvents
		s.counters[signalKey(l)] = &signalCounter{labels: l, value: x.Value, posted: now}
	}
	return nil
}

func signalKey(l watchbill.Labels) string { return string((watchbill.Alert{Labels: l}).Fingerprint()) }

// next is an instant after that of the last sample.
func (s *signals) next(now time.Time) time.Time {
	if !now.After(s.last.Add(time.Millisecond)) {
		now = s.last.Add(2 * time.Millisecond)
	}
	s.last = now
	return now
}

// keep appends every counter again.
func (s *signals) keep(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restore(ctx, now); err != nil || len(s.counters) == 0 {
		return err
	}
	rooms, at := s.d.rooms.Load(), s.next(now)
	var samples []collector.Sample
	for key, c := range s.counters {
		if !rooms.hasService(c.labels["service"]) || now.Sub(c.posted) > signalKept {
			delete(s.counters, key)
			continue
		}
		samples = append(samples, collector.Sample{Labels: c.labels, Value: c.value, At: at})
	}
	return s.d.collector.Append(ctx, samples)
}

// post takes signals of a service in. They are in the log of the series when it
// returns.
func (s *signals) post(ctx context.Context, service string, posts []watchbill.SignalPost) error {
	rooms, now := s.d.rooms.Load(), time.Now()
	if !rooms.hasService(service) {
		return unknownService(service)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restore(ctx, now); err != nil {
		return err
	}
	at := s.next(now)
	samples, changed := s.count(rooms, service, posts, at)
	fresh := 0
	for key := range changed {
		if s.counters[key] == nil {
			fresh++
		}
	}
	if fresh > 0 && len(s.counters)+fresh > maxSignals {
		return watchbill.Errorf(watchbill.CodeTooLarge, "use fewer names and labels; a counter ends 30 days after it was last posted",
			"there would be more than %d different counts of signals", maxSignals)
	}
	for _, c := range changed {
		samples = append(samples, collector.Sample{Labels: c.labels, Value: c.value, At: at})
	}
	if err := s.d.collector.Append(ctx, samples); err != nil {
		return err
	}
	maps.Copy(s.counters, changed)
	return nil
}

// count turns posts into samples of values, and into the counters that they
// change.
func (s *signals) count(rooms *rooms, service string, posts []watchbill.SignalPost, at time.Time) (samples []collector.Sample, changed map[string]*signalCounter) {
	changed = map[string]*signalCounter{}
	values := map[string]collector.Sample{} // of two the last
	for _, p := range posts {
		l := watchbill.Labels{}
		maps.Copy(l, p.Labels)
		l["service"], l["signal"], l["environment"] = service, p.Name, rooms.environment(service, p.Environment)
		if p.Value != nil {
			v := maps.Clone(l)
			v["__name__"] = targets.SignalSeries
			values[signalKey(v)] = collector.Sample{Labels: v, Value: *p.Value, At: at}
		}
		for result, n := range map[string]*int64{"passed": p.Passed, "failed": p.Failed} {
			if n == nil {
				continue
			}
			v := maps.Clone(l)
			v["__name__"], v["result"] = signalEvents, result
			key := signalKey(v)
			c := changed[key]
			if c == nil {
				c = &signalCounter{labels: v}
				if old := s.counters[key]; old != nil {
					c.value = old.value
				}
				// It was so until now, and at nothing before the first post: a rate
				// needs to see the step whole.
				samples = append(samples, collector.Sample{Labels: v, Value: c.value, At: at.Add(-time.Millisecond)})
				changed[key] = c
			}
			c.value, c.posted = c.value+float64(*n), at
		}
	}
	return append(samples, slices.Collect(maps.Values(values))...), changed
}
