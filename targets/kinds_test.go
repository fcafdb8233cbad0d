package targets_test

import (
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

// kind returns the rules of one target of the examples' kinds.yaml.
func kind(t *testing.T, name string, ws ...targets.Windows) targets.File {
	t.Helper()
	ts, _ := parse(t, "example/kinds.yaml")
	return only(t, name, targets.Config{Targets: ts, Windows: ws})
}

// only returns the rules of one target of a configuration.
func only(t *testing.T, name string, cfg targets.Config) targets.File {
	t.Helper()
	ts := cfg.Targets
	i := slices.IndexFunc(ts, func(x targets.Target) bool { return x.Name == name })
	require.GreaterOrEqual(t, i, 0)
	cfg.Targets = ts[i : i+1]
	files, problems := targets.Rules(cfg)
	require.Empty(t, problems)
	return files[0]
}

// phase is a service from one instant on.
type phase struct {
	length time.Duration
	bad    bool
}

// story feeds a world phase by phase and notes when a tier begins and ends to
// fire, counted from the beginnings of the second and the third phase.
//
// Everything is evaluated near the instants at which the tier is due to change,
// and otherwise as often as the answer at those instants needs: slices every
// time, all else every few minutes.
type story struct {
	*world
	tier  string
	step  time.Duration
	every time.Duration // between two slices; zero is every step
	feed  func(s *story, bad bool)
	n     map[string]float64 // counters, for feed
	began time.Time
	since time.Duration // of the story
	// fire and end are when the tier is due to change, if that is known.
	fire, end time.Duration
}

// coarse is how often everything is evaluated when nothing is due to happen.
// Before anything is broken half as often will do.
const coarse = 4 * time.Minute

// due reports whether everything is to be evaluated at an instant of a phase.
func (s *story) due(i int, at time.Duration) bool {
	expected := map[int]time.Duration{1: s.fire, 2: s.end}[i]
	if i == 0 && s.fire > 0 {
		return s.since%(2*coarse) == 0
	}
	return s.fire == 0 || (at-expected).Abs() <= time.Minute+2*s.step || s.since%coarse == 0
}

func (s *story) play(phases ...phase) (fired, ended time.Duration) {
	s.t.Helper()
	fired, ended = -1, -1
	s.n, s.began = map[string]float64{}, s.now
	for i, p := range phases {
		begin := s.now
		for ; s.now.Before(begin.Add(p.length)); s.now = s.now.Add(s.step) {
			s.since = s.now.Sub(s.began)
			s.feed(s, p.bad)
			due := s.due(i, s.now.Sub(begin))
			s.evaluate(s.every > 0 && s.since%s.every == 0, due)
			if !due {
				continue
			}
			_, firing := s.value(fmt.Sprintf("ALERTS{st_tier=%q,alertstate=%q}", s.tier, "firing"))
			require.False(s.t, firing && i == 0, "%s fires before anything broke", s.tier)
			switch {
			case firing && fired < 0:
				fired = s.now.Sub(begin)
			case !firing && fired >= 0 && ended < 0:
				require.Equal(s.t, 2, i, "it ended while it was broken")
				ended = s.now.Sub(begin)
			}
		}
	}
	return fired, ended
}

// evaluate evaluates the group that records slices, and the others, which a story
// without slices of its own does not tell apart.
func (s *story) evaluate(slices, all bool) {
	records := "sloth-slo-slices"
	if s.groups[0].Name()[:len(records)] != records { // they are recorded with the ratios
		records = "sloth-slo-rules"
	}
	for _, g := range s.groups {
		if of := s.every > 0 && strings.HasPrefix(g.Name(), records); of && slices || !of && all {
			g.Eval(s.t.Context(), s.now)
		}
	}
}

// count adds to counters and writes them.
func (s *story) count(add map[string]float64) {
	for series, v := range add {
		s.n[series] += v
	}
	s.put(s.n)
}

// events feeds a counter of good events and one of all.
func events(good, all string) func(*story, bool) {
	return func(s *story, bad bool) {
		n := 10 * s.step.Seconds()
		if s.since == 0 {
			n = 0
		}
		if bad {
			s.count(map[string]float64{all: n, good: 0})
		} else {
			s.count(map[string]float64{all: n, good: n})
		}
	}
}

// evaluation is the time between two evaluations of a target's rules with the
// built-in windows.
const evaluation = 30 * time.Second

// bool1 is 1 for what is so.
func bool1(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

// examplesByID are all targets of the examples' folder.
func examplesByID(t *testing.T) (cfg targets.Config, ids []string) {
	t.Helper()
	files, err := filepath.Glob(examples + "/*.yaml")
	require.NoError(t, err)
	for _, f := range files {
		ts, ws := parse(t, "example/"+filepath.Base(f))
		cfg.Targets, cfg.Windows = append(cfg.Targets, ts...), append(cfg.Windows, ws...)
	}
	for _, x := range cfg.Targets {
		ids = append(ids, x.ID)
	}
	return cfg, ids
}

// TestEachExampleFiresAndRecovers breaks each target of the examples completely
// and mends it: it fires and recovers at the computed time, plus or minus one
// evaluation. With the formula of the package's comment a tier of factor k fires
// after L*k*B, and ends once the short window holds less: S*(1-k*B) after the end.
// Targets that alert on a state, or on spent budget, have tests of their own.
func TestEachExampleFiresAndRecovers(t *testing.T) {
	t.Parallel()
	burn := func(k, budget float64) (fire, end time.Duration) {
		return time.Duration(3600 * k * budget * 1e9), time.Duration(300 * (1 - k*budget) * 1e9)
	}
	type want struct{ fire, end time.Duration }
	w := func(k, budget float64) want {
		f, e := burn(k, budget)
		return want{f, e}
	}
	counters := func(good, bad string) func(*story, bool) {
		return func(s *story, broken bool) {
			s.count(map[string]float64{good: 150 * bool1(!broken), bad: 150 * bool1(broken)})
		}
	}
	const step = 15 * time.Second
	cases := []struct {
		id, tier string
		want     want
		every    time.Duration
		feed     func(*story, bool)
	}{
		{"shop-orders", "page_fast", w(13.44, 0.001), 0, counters(`orders_total{result="ok"}`, `orders_total{result="failed"}`)},
		{"shop-latency", "page_fast", w(14.4, 0.01), 0, events(`http_request_duration_seconds_bucket{job="shop",le="1.0"}`, `http_request_duration_seconds_count{job="shop"}`)},
		{"shop-native-latency", "page_fast", w(14.4, 0.01), 0, native},
		{"shop-ratio", "page_fast", w(14.4, 0.001), 0, func(s *story, bad bool) {
			s.put(map[string]float64{"checkout_failed_ratio": bool1(bad)})
		}},
		{"shop-tests", "page_fast", w(14.4, 0.02), 0, counters(
			`st_signal_events_total{service="shop",signal="e2e",result="passed"}`, `st_signal_events_total{service="shop",signal="e2e",result="failed"}`)},
		{"payments-requests", "page_fast", w(14.4, 0.001), 0, counters(`http_requests_total{job="payments",code="200"}`, `http_requests_total{job="payments",code="503"}`)},
		{"search-searches", "page_fast", w(13.44, 0.01), 0, counters(`search_total{outcome="answered"}`, `search_total{outcome="lost"}`)},
		// Half of an hour, and two minutes that the policy waits.
		{"search-index", "page_1h", want{32 * time.Minute, 150 * time.Second}, 0, counters(`index_updates_total{outcome="done"}`, `index_updates_total{outcome="failed"}`)},
		// Nine of 120 slices are more than 7.2 %; the first is that of the instant at
		// which it broke. Ten good ones are all of the short window.
		{"shop-up", "page_fast", want{4 * time.Minute, 270 * time.Second}, 30 * time.Second, func(s *story, bad bool) {
			s.put(map[string]float64{`up{job="shop",instance="a"}`: bool1(!bad), `up{job="shop",instance="b"}`: 0})
		}},
		// Of sixty slices nine are more than 14.4 %; the first is over after a minute,
		// and five good ones are all of the short window. One in ten is enough for a
		// bad minute.
		{"shop-minutes", "page_fast", want{9 * time.Minute, 5 * time.Minute}, time.Minute, func(s *story, bad bool) {
			s.count(map[string]float64{`orders_total{result="failed"}`: 15 * bool1(bad), `orders_total{result="ok"}`: 150 - 15*bool1(bad)})
		}},
		// Of twelve slices of five minutes two are more than 14.4 %, and the first is
		// that of the instant. The last bad one looks back over five minutes, and both
		// slices of the short window must be good: it is mended a minute after a slice.
		{"shop-queue", "page_fast", want{5 * time.Minute, 14 * time.Minute}, 5 * time.Minute, func(s *story, bad bool) {
			s.put(map[string]float64{`queue_length`: 10 + 200*bool1(bad)})
		}},
	}
	cfg, ids := examplesByID(t)
	elsewhere := []string{"shop-certificate", "shop-issued-certificate", "shop-disk", "shop-spend", "shop-taken"}
	for _, c := range cases {
		elsewhere = append(elsewhere, c.id)
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			s := &story{world: newWorld(t, only(t, strings.SplitN(c.id, "-", 2)[1], cfg)), tier: c.tier, step: step, feed: c.feed}
			s.every, s.fire, s.end = c.every, c.want.fire, c.want.end
			broken := (c.want.fire + 2*time.Minute).Truncate(time.Minute)
			if c.every > time.Minute {
				broken = 11 * time.Minute
			}
			fired, ended := s.play(phase{65 * time.Minute, false}, phase{broken, true}, phase{c.want.end + 2*time.Minute, false})
			require.InDelta(t, c.want.fire.Seconds(), fired.Seconds(), evaluation.Seconds(), "fired")
			require.InDelta(t, c.want.end.Seconds(), ended.Seconds(), evaluation.Seconds(), "ended")
		})
	}
	require.ElementsMatch(t, elsewhere, ids, "every example is tested")
}

// native feeds an exponential histogram of schema 0: fast requests in the bucket
// (0.125, 0.25], slow ones in (0.25, 0.5].
func native(s *story, bad bool) {
	n := 10 * s.step.Seconds()
	if s.since == 0 {
		n = 0
	}
	if bad {
		s.n["slow"] += n
	} else {
		s.n["fast"] += n
	}
	app := s.db.Appender(s.t.Context())
	h := &histogram.FloatHistogram{
		Schema: 0, Count: s.n["fast"] + s.n["slow"], Sum: s.n["fast"]*0.2 + s.n["slow"]*0.4,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}}, PositiveBuckets: []float64{s.n["fast"], s.n["slow"]},
	}
	_, err := app.AppendHistogram(0, labels.FromStrings("__name__", "rpc_duration_seconds", "job", "shop"), s.now.UnixMilli(), nil, h)
	require.NoError(s.t, err)
	require.NoError(s.t, app.Commit())
}

func TestCertificateIsDueByItsLifetime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target, tier string
		left         time.Duration // when the alert is due
		lifetime     time.Duration
	}{
		{"certificate", "ticket", 30 * day, 90 * day},
		{"certificate", "page", 2 * day, 90 * day},
		{"issued-certificate", "ticket", 7*day + 12*time.Hour, 30 * day}, // a quarter of 30 d
		{"issued-certificate", "ticket", 7 * day, 8 * day},               // never less than 7 d
	} {
		t.Run(fmt.Sprint(c.target, c.tier, c.left), func(t *testing.T) {
			t.Parallel()
			var expiry time.Time
			s := &story{world: newWorld(t, kind(t, c.target)), tier: c.tier, step: evaluation, feed: func(s *story, _ bool) {
				if s.since == 0 || s.since >= 20*time.Minute {
					expiry = s.began.Add(c.left + 10*time.Minute)
				}
				if s.since >= 20*time.Minute { // renewed
					expiry = s.now.Add(c.lifetime)
				}
				s.put(map[string]float64{
					`probe_ssl_earliest_cert_expiry{job="shop",instance="a"}`:        float64(expiry.Unix()),
					`probe_ssl_earliest_cert_expiry{job="shop",instance="b"}`:        float64(s.now.Add(80 * day).Unix()),
					`certmanager_certificate_expiration_timestamp_seconds{name="a"}`: float64(expiry.Unix()),
					`certmanager_certificate_not_before_timestamp_seconds{name="a"}`: float64(expiry.Add(-c.lifetime).Unix()),
				})
			}}
			fired, ended := s.play(phase{5 * time.Minute, false}, phase{15 * time.Minute, true}, phase{2 * time.Minute, false})
			require.InDelta(t, (5 * time.Minute).Seconds(), fired.Seconds(), evaluation.Seconds())
			require.LessOrEqual(t, ended, evaluation)
		})
	}
}

// TestCapacityIsForecast fills a disk: the alert comes when a least-squares line
// through the last hour reaches nothing within half a day.
func TestCapacityIsForecast(t *testing.T) {
	t.Parallel()
	const step = 30 * time.Second
	content, err := os.ReadFile(examples + "/kinds.yaml")
	require.NoError(t, err)
	ts, _, _ := targets.Parse("x", []byte(strings.ReplaceAll(string(content), "within: 4d, page_within: 12h, history: 6h", "within: 12h, history: 1h")))
	file := only(t, "disk", targets.Config{Targets: ts})
	var xs, ys []float64
	line := func(within time.Duration) float64 { // at within from now
		n := min(len(xs), int(time.Hour/step))
		x, y := xs[len(xs)-n:], ys[len(ys)-n:]
		var sx, sy, sxx, sxy float64
		last := x[n-1]
		for i := range x {
			d := x[i] - last
			sx, sy, sxx, sxy = sx+d, sy+y[i], sxx+d*d, sxy+d*y[i]
		}
		slope := (float64(n)*sxy - sx*sy) / (float64(n)*sxx - sx*sx)
		return (sy-slope*sx)/float64(n) + slope*within.Seconds()
	}
	free, due, over := 100e9, time.Duration(-1), time.Duration(-1)
	s := &story{world: newWorld(t, file), tier: "ticket", step: step, feed: func(s *story, bad bool) {
		if bad {
			free -= 800e6 * step.Minutes()
		}
		xs, ys = append(xs, s.since.Seconds()), append(ys, free)
		s.put(map[string]float64{`node_filesystem_avail_bytes{job="shop",mountpoint="/"}`: free, `node_filesystem_avail_bytes{job="shop",mountpoint="/boot"}`: 5e9})
		switch l := line(12 * time.Hour); {
		case bad && l <= 0 && due < 0:
			due = s.since - 70*time.Minute
		case !bad && due >= 0 && l > 0 && over < 0:
			over = s.since - 90*time.Minute
		}
	}}
	// About when the line is due to cross nothing; below it is computed.
	s.every, s.fire, s.end = step, 15*time.Minute, 45*time.Minute
	fired, ended := s.play(phase{70 * time.Minute, false}, phase{20 * time.Minute, true}, phase{50 * time.Minute, false})
	require.Positive(t, due)
	require.InDelta(t, due.Seconds(), fired.Seconds(), step.Seconds())
	require.InDelta(t, over.Seconds(), ended.Seconds(), step.Seconds())
	v, ok := s.value(`count(slo:capacity_free:value{mountpoint="/"})`)
	require.True(t, ok, "the alert says which disk")
	require.Equal(t, 1.0, v)
}

// TestCostBurns spends ten times the budgeted rate: the average over a day
// passes three times the budget once 6+10x > 3(6+x) hours' worth are spent.
func TestCostBurns(t *testing.T) {
	t.Parallel()
	s := &story{world: newWorld(t, kind(t, "spend")), tier: "ticket_fast", step: 2 * time.Minute, feed: func(s *story, bad bool) {
		perHour := 5000.0 / 720
		if bad {
			perHour *= 10
		}
		s.put(map[string]float64{`node_total_hourly_cost{node="a"}`: perHour / 4, `node_total_hourly_cost{node="b"}`: perHour * 3 / 4})
	}}
	s.every, s.fire, s.end = 2*time.Minute, 12*time.Hour/7, time.Hour
	fired, ended := s.play(phase{6 * time.Hour, false}, phase{2 * time.Hour, true}, phase{70 * time.Minute, false})
	require.InDelta(t, 12.0/7, fired.Hours(), 4.0/60)
	// The average over what there is of a day is the first below three: 6+20+y = 3(8+y).
	require.InDelta(t, 1, ended.Hours(), 4.0/60)
}

// half is a catalogue for a period of half a day.
func half() targets.Windows {
	w := func(percent int64, short, long time.Duration) targets.Window {
		return targets.Window{BudgetPercent: big.NewRat(percent, 1), Short: short, Long: long}
	}
	return targets.Windows{
		Name: "half", Period: 12 * time.Hour,
		PageFast: w(20, 5*time.Minute, time.Hour), PageSlow: w(30, 10*time.Minute, 2*time.Hour),
		TicketFast: w(40, 15*time.Minute, 3*time.Hour), TicketSlow: w(50, 30*time.Minute, 6*time.Hour),
	}
}

// TestResponseSpendsItsBudget has one of two incidents taken too late: after the
// share of the period that its 5 % are of one half, a tenth, nothing is left.
func TestResponseSpendsItsBudget(t *testing.T) {
	t.Parallel()
	const name = "watchbill_incident_time_to_ack_seconds"
	s := &story{world: newWorld(t, kind(t, "taken", half())), tier: "budget_0", step: time.Minute, feed: func(s *story, bad bool) {
		s.put(map[string]float64{})
		add := map[string]float64{name + `_count{service="shop",severity="sev1"}`: 0, name + `_bucket{service="shop",severity="sev1",le="900"}`: 0}
		if int(s.since.Minutes())%10 == 5 {
			add[name+`_count{service="shop",severity="sev1"}`] = 2
			add[name+`_bucket{service="shop",severity="sev1",le="900"}`] = 1
			if !bad {
				add[name+`_bucket{service="shop",severity="sev1",le="900"}`] = 2
			}
		}
		s.count(add)
	}}
	s.every, s.fire, s.end = time.Minute, 72*time.Minute, 648*time.Minute
	fired, ended := s.play(phase{30 * time.Minute, false}, phase{2 * time.Hour, true}, phase{11 * time.Hour, false})
	// bad/total/0.05 * age/12h = 1, with x hours of half of them late after half
	// an hour of none: (x/2)/(x+0.5)/0.05*(x+0.5)/12 = 1.
	require.InDelta(t, 1.2, fired.Hours(), 0.2)
	// Something is left again once 0.8 of the two hours are older than the period:
	// 12h + 0.8h after they began, which is two hours before the third phase.
	require.InDelta(t, 10.8, ended.Hours(), 0.2)
}

func TestLatencyTraps(t *testing.T) {
	t.Parallel()
	t.Run("a bound that no bucket has gives no data, not a perfect service", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, kind(t, "latency"))
		for i := range 60 {
			w.put(map[string]float64{
				`http_request_duration_seconds_bucket{job="shop",le="2.5"}`: float64(i), `http_request_duration_seconds_count{job="shop"}`: float64(i),
			})
			if i%2 == 1 {
				w.evaluate()
			}
			w.now = w.now.Add(15 * time.Second)
		}
		_, ok := w.value("slo:sli_error:ratio_rate5m")
		require.False(t, ok)
	})
	t.Run("a bound written as a whole number", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, kind(t, "latency"))
		for i := range 60 {
			w.put(map[string]float64{
				`http_request_duration_seconds_bucket{job="shop",le="1"}`: float64(i) * 3, `http_request_duration_seconds_count{job="shop"}`: float64(i) * 4,
			})
			if i%2 == 1 {
				w.evaluate()
			}
			w.now = w.now.Add(15 * time.Second)
		}
		v, ok := w.value("slo:sli_error:ratio_rate5m")
		require.True(t, ok)
		require.InDelta(t, 0.25, v, 1e-9)
	})
	t.Run("an idle native histogram gives no NaN", func(t *testing.T) {
		t.Parallel()
		s := &story{world: newWorld(t, kind(t, "native-latency")), tier: "page_fast", step: evaluation}
		s.feed = func(s *story, _ bool) {
			was := s.since
			if s.since > 10*time.Minute {
				s.since = 0 // no requests
			}
			native(s, false)
			s.since = was
		}
		s.play(phase{30 * time.Minute, false})
		_, ok := s.value("slo:sli_error:ratio_rate5m")
		require.False(t, ok)
		v, ok := s.value("slo:sli_total:rate5m")
		require.True(t, ok)
		require.Zero(t, v)
		v, ok = s.value("slo:sli_error:ratio_rate30d")
		require.True(t, ok)
		require.False(t, math.IsNaN(v))
	})
}

// TestMissingSlicesAreSkipped holds that the share of good slices is of those
// that were measured, without any filled in from the one before.
func TestMissingSlicesAreSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kind(t, "queue"))
	for i := range 20 { // of 5 minutes: good, bad, missing, good, …
		if i%4 != 2 {
			w.put(map[string]float64{"queue_length": map[bool]float64{true: 500, false: 1}[i%4 == 1]})
		}
		w.evaluate()
		w.now = w.now.Add(5 * time.Minute)
	}
	w.now = w.now.Add(-5 * time.Minute)
	v, ok := w.value("slo:sli_error:ratio_rate1d")
	require.True(t, ok)
	require.InDelta(t, 1.0/3, v, 1e-9)
	v, ok = w.value("slo:period_coverage:ratio")
	require.True(t, ok)
	require.InDelta(t, 15.0/(30*24*12), v, 1e-9)
}
