package collector_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
)

// The process' own metrics are kept without a network, end when they are gone,
// and raise alerts as any target's do.
func TestOwnMetricsAreKept(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		level := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "level", Help: "A level."}, []string{"tank", "job"})
		times := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "times", Help: "Times.", Buckets: []float64{1}})
		reg.MustRegister(level, times)
		level.WithLabelValues("a", "forged").Set(7)
		level.WithLabelValues("b", "forged").Set(8)
		times.Observe(0.5)
		var broken atomic.Bool
		gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			all, err := reg.Gather()
			if broken.Load() {
				err = errors.Join(err, errors.New("the disk is gone"))
			}
			return all, err
		})
		alerts := newInbox()
		cfg := collector.Config{
			Self: true, Prometheus: []byte("global: {scrape_interval: 10s, evaluation_interval: 10s}\n"),
			Rules: []collector.RuleFile{{Name: "r", Content: []byte("groups: [{name: g, rules: [{alert: High, expr: 'level{tank=\"b\"} > 5'}]}]")}},
		}
		c, err := collector.New(cfg, collector.Options{Dir: dir, Notify: alerts.notify, Self: gather})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		values := func(expr string) map[string]float64 {
			t.Helper()
			all, err := c.Query(t.Context(), expr, time.Now())
			require.NoError(t, err)
			out := map[string]float64{}
			for _, s := range all {
				out[s.Labels["tank"]] = s.Value
				require.Equal(t, collector.SelfJob, s.Labels["job"])
				require.Equal(t, collector.SelfJob, s.Labels["instance"])
			}
			return out
		}
		time.Sleep(15 * time.Second)
		require.Equal(t, map[string]float64{"a": 7, "b": 8}, values("level"))
		require.Equal(t, map[string]float64{"": 1}, values("up"))
		require.Equal(t, map[string]float64{"": 1}, values(`times_bucket{le="1"}`))
		require.NotEmpty(t, alerts.all())

		level.DeleteLabelValues("a", "forged")
		time.Sleep(10 * time.Second)
		require.Equal(t, map[string]float64{"b": 8}, values("level"), "what is gone ends at once")

		broken.Store(true)
		time.Sleep(10 * time.Second)
		require.Empty(t, values("level"))
		require.Equal(t, map[string]float64{"": 0}, values("up"))

		broken.Store(false)
		cfg.Self = false
		require.NoError(t, c.Reload(cfg))
		time.Sleep(10 * time.Second)
		require.Empty(t, values("level"))
		require.Empty(t, values("up"), "switched off")
		cancel()
		require.NoError(t, <-done)
	})
}

// What is told about each group is kept of the rules that people wrote, and of
// generated ones only how often they failed.
func TestOwnMetricsOfGeneratedRulesAreThin(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		rule := []byte("groups: [{name: g, rules: [{record: one, expr: '1'}]}]")
		c, err := collector.New(collector.Config{
			Self: true, Prometheus: []byte("global: {scrape_interval: 10s, evaluation_interval: 10s}\n"),
			Rules: []collector.RuleFile{{Name: "written", Content: rule}, {Name: "made", Content: rule, Generated: true}},
		}, collector.Options{Dir: dir, Notify: newInbox().notify, Self: reg, Registerer: reg})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(25 * time.Second)
		names := func(file string) (out []string) {
			all, err := c.Query(t.Context(), `{rule_group="`+file+`;g"}`, time.Now())
			require.NoError(t, err)
			for _, s := range all {
				out = append(out, s.Labels["__name__"])
			}
			return out
		}
		require.Equal(t, []string{"prometheus_rule_evaluation_failures_total"}, names("made"))
		require.Subset(t, names("written"), []string{"prometheus_rule_evaluation_failures_total", "prometheus_rule_evaluations_total", "prometheus_rule_group_last_duration_seconds"})
		cancel()
		require.NoError(t, <-done)
	})
}
