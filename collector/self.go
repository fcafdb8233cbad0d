package collector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// SelfJob is the value of the labels job and instance of the process' own
// metrics.
const SelfJob = "watchbill"

// ruleFailures counts the evaluations of each rule group that failed.
const ruleFailures = "prometheus_rule_evaluation_failures_total"

// self appends the process' own metrics to the series, as a scrape of itself
// would, without a network and without a token.
type self struct {
	c      *Collector
	from   prometheus.Gatherer
	series map[uint64]labels.Labels // of the last round
}

// run appends at the scrape interval until ctx ends.
func (s *self) run(ctx context.Context) {
	timer := time.NewTimer(s.c.scrapeInterval())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			timer.Reset(s.c.scrapeInterval())
			if err := s.round(ctx, now); err != nil {
				s.c.logger.ErrorContext(ctx, "cannot keep watchbill's own metrics", "err", err)
			}
		}
	}
}

// round appends what is gathered now. A series that is gone gets a staleness
// marker, and up says whether gathering worked: both as after a scrape.
func (s *self) round(ctx context.Context, now time.Time) error {
	ts := model.TimeFromUnixNano(now.UnixNano())
	samples, err := s.gather(ts)
	app := s.c.db.Appender(ctx)
	seen := make(map[uint64]labels.Labels, len(samples))
	put := func(l labels.Labels, v float64) error {
		_, err := app.Append(0, l, int64(ts), v)
		return err
	}
	for _, sample := range samples {
		l := selfLabels(sample.Metric)
		seen[l.Hash()] = l
		if perr := put(l, float64(sample.Value)); perr != nil {
			return errors.Join(fmt.Errorf("append %s: %w", l, perr), err, app.Rollback())
		}
	}
	for hash, l := range s.series {
		if _, ok := seen[hash]; ok {
			continue
		}
		if perr := put(l, math.Float64frombits(value.StaleNaN)); perr != nil {
			return errors.Join(fmt.Errorf("append the end of %s: %w", l, perr), err, app.Rollback())
		}
	}
	s.series = seen
	return errors.Join(err, app.Commit())
}

// gather returns the samples of this moment; none while they are not wanted.
func (s *self) gather(ts model.Time) (model.Vector, error) {
	if !s.c.selfOn.Load() {
		return nil, nil
	}
	families, err := s.from.Gather()
	s.thin(families)
	samples, xerr := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: ts}, families...)
	up := model.SampleValue(1)
	if err = errors.Join(err, xerr); err != nil {
		samples, up = nil, 0
	}
	return append(samples, &model.Sample{Metric: model.Metric{model.MetricNameLabel: "up"}, Value: up}), err
}

// thin leaves out what is told about each group of generated rules, but for how
// often evaluating failed.
func (s *self) thin(families []*dto.MetricFamily) {
	generated := *s.c.generated.Load()
	if len(generated) == 0 {
		return
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "prometheus_rule_") || f.GetName() == ruleFailures {
			continue
		}
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			for _, l := range m.GetLabel() {
				if l.GetName() == "rule_group" {
					file, _, _ := strings.Cut(l.GetValue(), ";")
					return generated[file]
				}
			}
			return false
		})
	}
}

// selfLabels are the labels of a series, with the job and the instance of a
// scrape.
func selfLabels(m model.Metric) labels.Labels {
	b := labels.NewScratchBuilder(len(m) + 2)
	for name, v := range m {
		if name != model.JobLabel && name != model.InstanceLabel {
			b.Add(string(name), string(v))
		}
	}
	b.Add(model.JobLabel, SelfJob)
	b.Add(model.InstanceLabel, SelfJob)
	b.Sort()
	return b.Labels()
}

// scrapeInterval is that of the present configuration.
func (c *Collector) scrapeInterval() time.Duration { return time.Duration(c.selfEvery.Load()) }
