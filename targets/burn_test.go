package targets_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

// world is a time series store with the rules of one target, evaluated at
// instants that the test chooses.
type world struct {
	t      *testing.T
	db     *tsdb.DB
	engine *promql.Engine
	groups []*rules.Group
	fired  map[string]time.Time // tier to the instant at which it was first sent
	texts  map[string]map[string]string
	now    time.Time
}

func newWorld(t *testing.T, f targets.File) *world {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = int64(90 * day / time.Millisecond)
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, opts, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w := &world{
		t: t, db: db, fired: map[string]time.Time{}, texts: map[string]map[string]string{},
		engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute}),
		now:    time.Unix(1_800_000_000, 0).UTC(),
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, f.Content, 0o600))
	m := rules.NewManager(&rules.ManagerOptions{
		Context: t.Context(), Appendable: db, Queryable: db,
		QueryFunc:   rules.EngineQueryFunc(w.engine, db),
		Registerer:  prometheus.NewRegistry(),
		ResendDelay: time.Minute,
		NotifyFunc: func(_ context.Context, _ string, as ...*rules.Alert) {
			for _, a := range as {
				tier := a.Labels.Get("st_tier")
				if _, ok := w.fired[tier]; !ok {
					w.fired[tier] = w.now
					w.texts[tier] = a.Annotations.Map()
				}
			}
		},
	})
	groups, errs := m.LoadGroups(time.Second, labels.EmptyLabels(), "", nil, false, file)
	require.Empty(t, errs)
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		w.groups = append(w.groups, groups[key])
		for _, r := range groups[key].AlertingRules() {
			r.SetRestored(true) // else ALERTS is not written
		}
	}
	// Recordings before alerts, as their groups run at the same instants here.
	order := []string{"sloth-slo-slic", "sloth-slo-rule", "sloth-slo-peri", "sloth-slo-aler"}
	slices.SortStableFunc(w.groups, func(a, b *rules.Group) int {
		return slices.Index(order, a.Name()[:14]) - slices.Index(order, b.Name()[:14])
	})
	return w
}

// scrape writes counters at the present instant.
func (w *world) scrape(counters map[string]float64) {
	w.t.Helper()
	samples := map[string]float64{}
	for code, v := range counters {
		samples[fmt.Sprintf("http_requests_total{code=%q}", code)] = v
	}
	w.put(samples)
}

// put writes samples of any series at the present instant.
func (w *world) put(samples map[string]float64) {
	w.t.Helper()
	app := w.db.Appender(w.t.Context())
	for series, v := range samples {
		l, err := parser.NewParser(parser.Options{}).ParseMetric(series)
		require.NoError(w.t, err)
		_, err = app.Append(0, l, w.now.UnixMilli(), v)
		require.NoError(w.t, err)
	}
	require.NoError(w.t, app.Commit())
}

func (w *world) evaluate() {
	for _, g := range w.groups {
		g.Eval(w.t.Context(), w.now)
	}
}

// value returns the only sample of an expression, and false if there is none.
func (w *world) value(expr string) (float64, bool) {
	w.t.Helper()
	q, err := w.engine.NewInstantQuery(w.t.Context(), w.db, nil, expr, w.now)
	require.NoError(w.t, err)
	defer q.Close()
	v, err := q.Exec(w.t.Context()).Vector()
	require.NoError(w.t, err)
	if len(v) == 0 {
		return 0, false
	}
	require.Len(w.t, v, 1)
	return v[0].F, true
}

func shop(t *testing.T, ws ...targets.Windows) targets.File {
	t.Helper()
	files, problems := targets.Rules(targets.Config{Targets: []targets.Target{target("99.9")}, Windows: ws})
	require.Empty(t, problems)
	return files[0]
}

func TestErrorsThatNeverHappenedCountAsZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop(t))
	for i := range 40 {
		w.scrape(map[string]float64{"200": float64(i) * 100})
		w.evaluate()
		w.now = w.now.Add(15 * time.Second)
	}
	for _, series := range []string{"5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"} {
		v, ok := w.value("slo:sli_error:ratio_rate" + series)
		require.True(t, ok, series)
		require.Zero(t, v, series)
	}
	v, ok := w.value("slo:period_error_budget_remaining:ratio")
	require.True(t, ok)
	require.InDelta(t, 1, v, 1e-12)
	require.Empty(t, w.fired)
}

func TestNoTrafficGivesNoSampleAndNoAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop(t))
	for i := range 100 {
		w.scrape(map[string]float64{"200": 7, "500": 7})
		if i%3 == 0 {
			w.evaluate()
		}
		w.now = w.now.Add(15 * time.Second)
	}
	_, ok := w.value("slo:sli_error:ratio_rate5m")
	require.False(t, ok)
	_, ok = w.value("slo:sli_error:ratio_rate30d")
	require.False(t, ok)
	v, ok := w.value("slo:sli_total:rate5m")
	require.True(t, ok, "idle is not the same as gone")
	require.Zero(t, v)
	require.Empty(t, w.fired)
}

func TestPeriodIsARatioOfSums(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop(t))
	good, failed := 0.0, 0.0
	for i := range 240 {
		switch {
		case i == 10: // one of two in a quiet time
			good, failed = good+1, failed+1
		case i >= 120: // a busy hour without a failure
			good += 1000
		}
		w.scrape(map[string]float64{"200": good, "500": failed})
		if i%4 == 3 {
			w.evaluate()
		}
		w.now = w.now.Add(15 * time.Second)
	}
	v, ok := w.value("slo:sli_error:ratio_rate30d")
	require.True(t, ok)
	require.InDelta(t, failed/(good+failed), v, 2e-6)
	v, _ = w.value("avg_over_time(slo:sli_error:ratio_rate5m[1h])")
	require.Greater(t, v, 0.05, "the average of ratios is far off")
}

// TestBurnFiresAtItsSecond lets a service of 99.9 % fail from one instant on.
// From clean, an error ratio e passes 14.4 times the budget over one hour after
// 3600*0.0144/e seconds; the first evaluation after that sends the page.
func TestBurnFiresAtItsSecond(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{1, 0.2} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, shop(t))
			good, failed := 0.0, 0.0
			broken := w.now.Add(70 * time.Minute)
			want := 3600 * 0.0144 / share
			near := broken.Add(time.Duration(want-5) * time.Second)
			for n := 0; w.now.Before(near.Add(10 * time.Second)); n++ {
				w.scrape(map[string]float64{"200": good, "500": failed})
				// Evaluating every second all the time would only take longer.
				if n%10 == 0 || w.now.After(near) {
					w.evaluate()
				}
				step := time.Second
				if w.now.Before(broken) {
					step = 15 * time.Second
					good += 1500
				} else {
					good, failed = good+100*(1-share), failed+100*share
				}
				w.now = w.now.Add(step)
			}
			got := w.fired["page_fast"].Sub(broken).Seconds()
			require.InDelta(t, want, got, 1.5, "page_fast after %v s, wanted %v s", got, want)
			require.Regexp(t, `^\d+(\.\d+)?% of requests failed over 5m$`, w.texts["page_fast"]["value"])
		})
	}
}

func TestScaledWindowsFireWithinSeconds(t *testing.T) {
	t.Parallel()
	ts, ws := parse(t, "scaled.yaml")
	files, _ := targets.Rules(targets.Config{Targets: ts, Windows: ws})
	w := newWorld(t, files[0])
	good, failed := 0.0, 0.0
	broken := w.now.Add(30 * time.Second)
	for ; w.now.Before(broken.Add(20 * time.Second)); w.now = w.now.Add(time.Second) {
		w.scrape(map[string]float64{"200": good, "500": failed})
		w.evaluate()
		if w.now.Before(broken) {
			good += 20
		} else {
			failed += 20
		}
	}
	require.LessOrEqual(t, w.fired["page_fast"].Sub(broken), 3*time.Second)
	require.True(t, w.fired["page_fast"].After(broken))
	require.Contains(t, w.fired, "page_slow")
}

func TestNoDataIsAnAlert(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shop(t))
	for i := range 60 { // fifteen minutes of health
		w.scrape(map[string]float64{"200": float64(i) * 100})
		if i%2 == 0 {
			w.evaluate()
		}
		w.now = w.now.Add(15 * time.Second)
	}
	require.Empty(t, w.fired)
	gone := w.now
	for range 30 { // the service is gone
		w.evaluate()
		w.now = w.now.Add(evaluation)
	}
	require.Equal(t, []string{"no_data"}, slices.Sorted(maps.Keys(w.fired)))
	// The last rate needs two samples within 5m; then the alert waits 5m.
	require.InDelta(t, (10 * time.Minute).Seconds(), w.fired["no_data"].Sub(gone).Seconds(), 31)
	require.Equal(t, "shop: no data, nobody can tell whether it works (ok)", w.texts["no_data"]["summary"])
}
