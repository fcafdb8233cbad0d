package collector_test

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
	"watchbill/internal/pipenet"
)

// many writes a number of series.
func many(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := range n {
			fmt.Fprintf(w, "thing{n=\"%d\"} 1\n", i)
		}
	}
}

// counter reads a counter without labels.
func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.FailNow(t, "no such metric", name)
	return 0
}

// scraping runs a collector in a bubble over one target and hands it over after
// a minute.
func scraping(t *testing.T, h http.Handler, cfg collector.Config, check func(*testing.T, *collector.Collector, *prometheus.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		srv := &http.Server{Handler: h}
		go srv.Serve(l)
		defer srv.Close()
		reg := prometheus.NewRegistry()
		c, stop := start(t, cfg, collector.Options{Notify: newInbox().notify, DialContext: l.DialContext, Registerer: reg})
		defer stop()
		time.Sleep(time.Minute)
		check(t, c, reg)
	})
}

func valueOf(t *testing.T, c *collector.Collector, expr string) float64 {
	t.Helper()
	got, err := c.Query(t.Context(), expr, time.Now())
	require.NoError(t, err)
	require.Len(t, got, 1, expr)
	return got[0].Value
}

// A target that brings more than it may is down and is counted: with limits of
// the configuration and with ours.
func TestATargetOverALimitIsDown(t *testing.T) {
	zipped := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		line := []byte("# " + strings.Repeat("a", 1<<20-3) + "\n")
		for range 2 {
			if _, err := z.Write(line); err != nil {
				return
			}
		}
	})
	long := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) }
	}
	var labels strings.Builder
	labels.WriteString("thing{")
	for i := range 70 {
		fmt.Fprintf(&labels, `l%d="x",`, i)
	}
	for _, c := range []struct {
		name, keys string
		handler    http.Handler
		metric     string
	}{
		{"body, unpacked", "body_size_limit: 1MB", zipped, "prometheus_target_scrapes_exceeded_body_size_limit_total"},
		{"samples", "sample_limit: 10", many(11), "prometheus_target_scrapes_exceeded_sample_limit_total"},
		{"labels", "", long(labels.String() + "} 1"), "prometheus_target_scrape_pool_exceeded_label_limits_total"},
		{"length of a name", "", long(`thing{` + strings.Repeat("n", 257) + `="x"} 1`), "prometheus_target_scrape_pool_exceeded_label_limits_total"},
		{"length of a value", "", long(`thing{n="` + strings.Repeat("v", 4097) + `"} 1`), "prometheus_target_scrape_pool_exceeded_label_limits_total"},
		{"series of the job", "", many(101), "watchbill_scrapes_exceeded_series_limit_total"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := collector.Config{Prometheus: []byte(`
global: {scrape_interval: 30s, scrape_timeout: 10s}
scrape_configs: [{job_name: shop, static_configs: [{targets: ["shop:80"]}], ` + c.keys + `}]`)}
			if strings.HasPrefix(c.name, "series") {
				cfg.Limits.SeriesPerJob = 100
			}
			scraping(t, c.handler, cfg, func(t *testing.T, col *collector.Collector, reg *prometheus.Registry) {
				require.Zero(t, valueOf(t, col, "up"))
				require.Positive(t, counter(t, reg, c.metric))
				got, err := col.Query(t.Context(), "thing", time.Now())
				require.NoError(t, err)
				require.Empty(t, got)
			})
		})
	}
}

// What is within the limits, to the last series, is taken; and the series of a
// job are those of all of its targets.
func TestSeriesOfAJobAreCountedOverItsTargets(t *testing.T) {
	for _, c := range []struct {
		most int
		up   float64
	}{{205, 2}, {204, 1}} { // 100 each, and the five that the first scrape reports
		scraping(t, many(100), collector.Config{Limits: collector.Limits{SeriesPerJob: c.most}, Prometheus: []byte(`
global: {scrape_interval: 5s, scrape_timeout: 5s}
scrape_configs:
  - {job_name: shop, static_configs: [{targets: ["a:80", "b:80"]}]}
  - {job_name: other, static_configs: [{targets: ["a:80", "b:80"]}]}
`)}, func(t *testing.T, col *collector.Collector, _ *prometheus.Registry) {
			require.InDelta(t, c.up, valueOf(t, col, `sum(up{job="shop"})`), 0)
			require.InDelta(t, c.up, valueOf(t, col, `sum(up{job="other"})`), 0, "each job on its own")
		})
	}
}

// A target that is gone makes room again.
func TestSeriesOfATargetThatIsGoneMakeRoom(t *testing.T) {
	job := func(target string) collector.Config {
		return collector.Config{Limits: collector.Limits{SeriesPerJob: 150}, Prometheus: fmt.Appendf(nil, `
global: {scrape_interval: 5s, scrape_timeout: 5s}
scrape_configs: [{job_name: shop, static_configs: [{targets: [%q]}]}]`, target)}
	}
	scraping(t, many(100), job("a:80"), func(t *testing.T, col *collector.Collector, _ *prometheus.Registry) {
		require.NoError(t, col.Reload(job("b:80")))
		time.Sleep(7 * time.Second)
		require.Zero(t, valueOf(t, col, `up{instance="b:80"}`), "those of the old target are still seen")
		time.Sleep(time.Minute)
		require.InDelta(t, 1, valueOf(t, col, `up{instance="b:80"}`), 0)
	})
}
