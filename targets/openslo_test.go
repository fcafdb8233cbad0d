package targets_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

func TestParseReadsOpenSLO(t *testing.T) {
	t.Parallel()
	ts, _ := parse(t, "openslo.yaml")
	byID := map[string]targets.Target{}
	for _, x := range ts {
		byID[x.ID] = x
	}
	require.Len(t, byID, 5)

	a := byID["checkout-availability"]
	require.Equal(t, map[string]string{"owner": "payments", "team": "payments,shop", "tier": "1"}, a.Labels)
	require.Equal(t, "99.9", a.Objective)
	require.Equal(t, 30*day, a.Period)
	require.Equal(t, 3, a.MinBad)
	require.Equal(t, `sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))`, a.SLI.Error)
	require.Equal(t, map[string]string{"runbook_url": "https://runbooks.example/checkout"}, a.Alerting.Annotations)
	require.Empty(t, a.OnNoData, "one of the policies wants to know")
	require.Equal(t, []targets.Burn{
		{Name: "page-fast", Severity: "page", Factor: "14.4", Short: 5 * time.Minute, Long: time.Hour, Labels: map[string]string{"notify_target": "checkout-primary"}, Annotations: map[string]string{}},
		{Name: "slow", Severity: "ticket", Factor: "1", Short: 6 * time.Hour, Long: 3 * day, For: 10 * time.Minute, Annotations: map[string]string{}},
	}, a.Alerting.Burns)

	s := byID["checkout-speed-nearly-always"]
	require.Equal(t, targets.Month, s.Calendar.Unit)
	require.Equal(t, "Europe/Madrid", s.Calendar.Zone.String())
	require.Equal(t, time.Minute, s.SLI.Every)
	require.Contains(t, s.SLI.Slice, `http_request_duration_seconds_bucket{job="checkout",le="0.5"}[{{.window}}]`)
	require.Contains(t, s.SLI.Slice, ">= bool 0.8")
	require.Equal(t, "min((max(temperature_celsius)) <= bool 60)", byID["checkout-temperature"].SLI.Slice)
	require.Equal(t, 28*day, byID["checkout-temperature"].Period)
	require.Equal(t, "1 - (avg_over_time((checkout_success_ratio)[{{.window}}:]))", byID["checkout-ratio"].SLI.ErrorRatio)
}

func TestOpenSLOGolden(t *testing.T) {
	t.Parallel()
	ts, _ := parse(t, "openslo.yaml")
	files, problems := targets.Rules(targets.Config{Targets: ts})
	require.Empty(t, problems)
	var b strings.Builder
	for _, f := range files {
		groups(t, f)
		b.WriteString("# " + f.Name + "\n")
		b.Write(f.Content)
	}
	golden(t, "openslo.rules.golden", b.String())
}

func TestOpenSLOMistakes(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/openslo_mistakes.yaml")
	require.NoError(t, err)
	ts, _, problems := targets.Parse("openslo_mistakes.yaml", content)
	require.Empty(t, ts)
	golden(t, "openslo_mistakes.golden", list(problems))
}

// TestOpenSLOQueries holds how a window is put into what people write.
func TestOpenSLOQueries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ counter, query, want string }{
		{"true", `sum(rate(x{a="b"}[{{.window}}]))`, `sum(rate(x{a="b"}[{{.window}}]))`},
		{"true", `sum(rate(x[{{ .Window }}]))`, `sum(rate(x[{{.window}}]))`},
		{"true", `sum(rate(x[$window]))`, `sum(rate(x[{{.window}}]))`},
		{"true", `sum(rate(x[window]))`, `sum(rate(x[{{.window}}]))`},
		{"true", `sum(rate(x[5m] offset 1m)) - sum(rate(y[10m]))`, `sum(rate(x[{{.window}}] offset 1m)) - sum(rate(y[{{.window}}]))`},
		{"true", `x`, `sum(rate(x[{{.window}}]))`},
		{"true", `sum(x{a="1"}) - sum(y)`, `sum(rate(x{a="1"}[{{.window}}])) - sum(rate(y[{{.window}}]))`},
		{"true", `sum by (a) (x offset 5m)`, `sum by (a) (rate(x[{{.window}}] offset 5m))`},
		{"false", `sum(queue)`, `avg_over_time((sum(queue))[{{.window}}:])`},
	} {
		content := `apiVersion: openslo/v1
kind: SLO
metadata: {name: a}
spec:
  service: s
  timeWindow: [{duration: 30d, isRolling: true}]
  indicator: {metadata: {name: i}, spec: {ratioMetric: {counter: ` + c.counter + `, bad: {metricSource: {spec: {query: '` + c.query + `'}}}, total: {metricSource: {spec: {query: '` + c.query + `'}}}}}}
  objectives: [{target: 0.99}]
`
		ts, _, problems := targets.Parse("q.yaml", []byte(content))
		require.Empty(t, problems, c.query)
		require.Equal(t, c.want, ts[0].SLI.Error, c.query)
	}
}

// TestAlertPolicyFiresAtItsFactor burns at 10 times the budget: a policy for
// 14.4 stays silent, at 1 it fires.
func TestAlertPolicyFiresAtItsFactor(t *testing.T) {
	t.Parallel()
	ts, _ := parse(t, "openslo.yaml")
	s := &story{world: newWorld(t, only(t, "availability", targets.Config{Targets: ts})), tier: "page_1h", step: 30 * time.Second, feed: func(s *story, bad bool) {
		n := map[string]float64{`http_requests_total{job="checkout",code="200"}`: 3000, `http_requests_total{job="checkout",code="500"}`: 0}
		if bad {
			n = map[string]float64{`http_requests_total{job="checkout",code="200"}`: 2970, `http_requests_total{job="checkout",code="500"}`: 30}
			if s.since >= 80*time.Minute {
				n = map[string]float64{`http_requests_total{job="checkout",code="200"}`: 0, `http_requests_total{job="checkout",code="500"}`: 3000}
			}
		}
		s.count(n)
	}}
	s.fire = 645 * time.Second
	fired, _ := s.play(phase{70 * time.Minute, false}, phase{15 * time.Minute, true})
	// Of 3600 s 600 at 1 % are 6 s; the outage adds the rest of 51.84 s.
	require.InDelta(t, 600+51.84-6, fired.Seconds(), 31)
}
