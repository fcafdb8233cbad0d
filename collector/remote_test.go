package collector_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
	"watchbill/internal/pipenet"
)

// mimir answers instant queries of one tenant with numbers that the test sets.
type mimir struct {
	mu     sync.Mutex
	values map[string]string // by expression
	broken int               // status of each answer, if not 0
	asked  map[string]int
}

func (m *mimir) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Header.Get("X-Scope-OrgID") != "shop" || r.URL.Path != "/prometheus/api/v1/query" || r.FormValue("time") == "" {
		http.Error(w, "no org id", http.StatusUnauthorized)
		return
	}
	if m.broken != 0 {
		http.Error(w, "ingesters are away", m.broken)
		return
	}
	expr := r.FormValue("query")
	m.asked[expr]++
	w.Header().Set("Content-Type", "application/json")
	result := ""
	if v := m.values[expr]; v != "" {
		result = fmt.Sprintf(`{"metric":{"service":"checkout","__name__":"x"},"value":[1,%q]}`, v)
	}
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, result)
}

func (m *mimir) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

const remoteRules = `
groups:
  - name: shop
    rules:
      - {record: errors:rate, expr: 'rate(errors_total[1m])'}
      - {alert: Many, expr: 'errors:rate > 5', labels: {severity: page}}
      - {alert: Lost, expr: lost == 1, labels: {severity: page}, annotations: {summary: 'lost is {{ $value }}'}}
      - {alert: Tells, expr: watchbill_thing > 0}
      - {alert: Always, expr: vector(1)}
`

func remoteConfig(t *testing.T) collector.Config {
	t.Helper()
	u, err := url.Parse("http://mimir:9009/prometheus")
	require.NoError(t, err)
	return collector.Config{
		Prometheus: []byte(scrape15), Rules: rule(remoteRules), Server: collector.Server{URL: u, Tenant: "shop", Timeout: 5 * time.Second},
	}
}

// Rules are evaluated where their series are: those of the server there, those
// that watchbill records, scrapes for itself or makes up here.
func TestRulesAreEvaluatedWhereTheirSeriesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mimir{values: map[string]string{"rate(errors_total[1m])": "7"}, asked: map[string]int{}}
		l := pipenet.Listen()
		srv := &http.Server{Handler: m}
		go srv.Serve(l)
		defer srv.Close()
		in, reg := newInbox(), prometheus.NewRegistry()
		cfg := remoteConfig(t)
		cfg.Rules = append(cfg.Rules,
			collector.RuleFile{Name: "here.yaml", Here: true, Content: []byte("groups: [{name: g, rules: [{record: both:here, expr: sum(up)}]}]")},
			collector.RuleFile{Name: collector.BuiltIn + "x", Content: []byte("groups: [{name: g, rules: [{record: built:in, expr: sum(up)}]}]")})
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: l.DialContext, Registerer: reg})
		defer stop()
		time.Sleep(time.Minute)
		require.InDelta(t, 7, valueOf(t, c, "errors:rate"), 0)
		require.Zero(t, valueOf(t, c, "both:here"), "the target answers 401")
		require.Zero(t, valueOf(t, c, "built:in"))
		require.ElementsMatch(t, []string{"Many", "Always"}, fired(in))
		m.set(func() {
			require.Len(t, m.asked, 2, "%v", m.asked)
			require.Positive(t, m.asked["lost == 1"])
		})
		m.set(func() { m.values["lost == 1"] = "1" })
		a := in.await(t, 20*time.Second, func(r received) bool { return r.Labels["alertname"] == "Lost" })
		require.Equal(t, "checkout", a.Labels["service"])
		require.Equal(t, "lost is 1", a.Annotations["summary"])

		// The server goes away: what fires keeps firing, and it is told.
		m.set(func() { m.broken = http.StatusBadGateway })
		time.Sleep(30 * time.Minute)
		require.Contains(t, fired(in), "Lost")
		require.Zero(t, gauge(t, reg, "watchbill_prometheus_reachable"))
		m.set(func() { m.broken = 0; delete(m.values, "lost == 1") })
		in.await(t, time.Minute, func(r received) bool { return r.Labels["alertname"] == "Lost" && resolved(r) })
		require.InDelta(t, 1, gauge(t, reg, "watchbill_prometheus_reachable"), 0)

		// A reload without the server evaluates all of it here.
		cfg.Server = collector.Server{}
		require.NoError(t, c.Reload(cfg))
		m.set(func() { clear(m.asked) })
		time.Sleep(time.Minute)
		m.set(func() { require.Empty(t, m.asked) })
	})
}

// fired are the names of the alerts that fire.
func fired(in *inbox) []string {
	var out []string
	for _, n := range names(in) {
		name, _, _ := strings.Cut(n, " ")
		out = append(out, name)
	}
	return out
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.FailNow(t, "no such metric", name)
	return 0
}

// A rule that reads series of both sides is found before it is evaluated.
func TestRulesThatReadBothSides(t *testing.T) {
	t.Parallel()
	cfg := remoteConfig(t)
	require.Empty(t, collector.CheckServer(cfg))
	mixed := []string{
		`errors:rate > 5 and on() lost`,
		`{__name__=~"errors:rate|other"} and lost`,
		`watchbill_thing + up`,
	}
	for _, expr := range append(mixed,
		`errors:rate and ALERTS{alertname="Many"}`,
		`lost and up`,
		`{job="x"} and lost`,
		`own_series and errors:rate`,
		`time() - max_over_time(timestamp(errors:rate)[1h:1m])`,
	) {
		c := cfg
		c.Server.Own = []string{"own_series"}
		c.Rules = append(rule(remoteRules), collector.RuleFile{Name: "more.yaml", Content: fmt.Appendf(nil, "groups: [{name: g, rules: [{alert: A, expr: %q}]}]", expr)})
		found := collector.CheckServer(c)
		require.Equal(t, slices.Contains(mixed, expr), len(found) == 1, "%s: %v", expr, found)
		if len(found) > 0 {
			require.Equal(t, "A", found[0].Rule)
			require.Contains(t, found[0].Message, "let a recording rule fetch the second")
		}
	}
}
