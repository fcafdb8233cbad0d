package collector_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
)

// answer is a body of Prometheus' API.
type answer struct {
	Status    string          `json:"status"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
	Data      json.RawMessage `json:"data"`
}

// ask sends a request to the API of a collector, as a form.
func ask(t testing.TB, h http.Handler, path string, form url.Values) (int, answer) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/api/v1/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(path, "label/") || path == "rules" || path == "targets" || path == "status/buildinfo" {
		req = httptest.NewRequest(http.MethodGet, "/api/v1/"+path+"?"+form.Encode(), nil)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	var a answer
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &a), "%s", rec.Body)
	return rec.Code, a
}

func query(expr string) url.Values { return url.Values{"query": {expr}} }

// The version that the API tells is that of the library.
func TestEngineVersion(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	m := regexp.MustCompile(`github\.com/prometheus/prometheus v0\.(\d)(\d+)\.(\d+)`).FindSubmatch(mod)
	require.NotNil(t, m)
	require.Equal(t, fmt.Sprintf("%s.%s.%s", m[1], m[2], m[3]), collector.EngineVersion)
}

// filled is a collector with a rule that runs every second over what a target
// exposes: many series, so that a query can be made as dear as wanted.
func filled(t *testing.T, cfg collector.QueryConfig, series int) (*collector.Collector, *prometheus.Registry) {
	t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range series {
			fmt.Fprintf(w, "dear{n=\"%d\"} %d\n", i, i)
		}
	}))
	t.Cleanup(target.Close)
	reg := prometheus.NewRegistry()
	c, stop := start(t, collector.Config{
		Prometheus: []byte(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: dear
    static_configs: [{targets: ["` + strings.TrimPrefix(target.URL, "http://") + `"]}]
`),
		Rules: rule("groups: [{name: on time, rules: [{record: tick, expr: time()}]}]"),
		Query: cfg,
	}, collector.Options{Notify: newInbox().notify, Registerer: reg})
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		got, err := c.Query(t.Context(), "count(dear) and on() tick", time.Now())
		return err == nil && len(got) == 1 && int(got[0].Value) == series
	}, 15*time.Second, 50*time.Millisecond)
	return c, reg
}

// What is over a limit gets Prometheus' status, and is counted.
func TestQueryLimits(t *testing.T) {
	t.Parallel()
	c, reg := filled(t, collector.QueryConfig{Timeout: time.Second, MaxSamples: 80_000}, 200)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	deep := strings.Repeat("(", 30000) + "1" + strings.Repeat(")", 30000)
	for _, q := range []struct {
		name, path  string
		form        url.Values
		status      int
		kind, limit string
		message     string
	}{
		{"fine", "query", query("count(dear)"), 200, "", "", ""},
		{"everything", "query_range", url.Values{"query": {`{__name__=~".+"}`}, "start": {"0"}, "end": {"100000"}, "step": {"10"}}, 200, "", "", ""},
		{"samples", "query", query("count_over_time(vector(1)[1d:1s])"), 422, "execution", "samples", "too many samples"},
		{"time", "query_range", url.Values{
			"query": {strings.Repeat("sum(dear * on(n) dear) + ", 2000) + "1"}, "start": {now}, "end": {now + ".080"}, "step": {"0.001"},
		}, 503, "timeout", "timeout", "timed out"},
		{"points", "query_range", url.Values{"query": {"dear"}, "start": {"0"}, "end": {"12000"}, "step": {"1"}}, 400, "bad_data", "points", "11,000 points"},
		{"points, as times", "query_range", url.Values{
			"query": {"dear"}, "start": {"2026-01-01T00:00:00Z"}, "end": {"2026-01-02T00:00:00Z"}, "step": {"1s"},
		}, 400, "bad_data", "points", "11,000 points"},
		{"long", "query", query(strings.Repeat("1+", 40000) + "1"), 400, "bad_data", "size", "longer than 65536 bytes"},
		{"deep", "query", query(deep), 400, "bad_data", "size", "nest deeper than 100"},
		{"deep matcher", "series", url.Values{"match[]": {"{a=\"" + strings.Repeat("{", 101) + "\"}"}}, 400, "bad_data", "size", ""},
		{"long to format", "format_query", query(strings.Repeat("1+", 2100) + "1"), 400, "bad_data", "size", "longer than 4096 bytes"},
		{"format", "format_query", query("sum( dear)"), 200, "", "", ""},
		{"mistake", "query", query("sum("), 400, "bad_data", "", "parse error"},
	} {
		count := func() (sum float64) {
			families, err := reg.Gather()
			require.NoError(t, err)
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if f.GetName() == "watchbill_queries_refused_total" && (q.limit == "" || m.GetLabel()[0].GetValue() == q.limit) {
						sum += m.GetCounter().GetValue()
					}
				}
			}
			return sum
		}
		before, began := count(), time.Now()
		status, a := ask(t, c.API(), q.path, q.form)
		require.Equal(t, q.status, status, "%s: %s", q.name, a.Error)
		require.Equal(t, q.kind, a.ErrorType, q.name)
		require.Contains(t, a.Error, q.message, q.name)
		require.Less(t, time.Since(began), 5*time.Second, q.name)
		want := before
		if q.limit != "" {
			want++
		}
		require.InDelta(t, want, count(), 0, "%s: counted", q.name)
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP watchbill_queries_running Queries of the API that run now.
# TYPE watchbill_queries_running gauge
watchbill_queries_running 0
`), "watchbill_queries_running"))
}

// Lists are bounded even when nobody asks for a bound, and what waits for a slot
// in vain is told so.
func TestListsWaitTheirTurn(t *testing.T) {
	t.Parallel()
	c, _ := filled(t, collector.QueryConfig{}, 300)
	status, a := ask(t, c.API(), "series", url.Values{"match[]": {"dear"}, "limit": {"10"}})
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, a.Warnings)
	status, a = ask(t, c.API(), "label/n/values", nil)
	require.Equal(t, http.StatusOK, status)
	var values []string
	require.NoError(t, json.Unmarshal(a.Data, &values))
	require.Len(t, values, 300)
	for _, path := range []string{"labels", "rules", "targets", "status/buildinfo"} {
		status, _ := ask(t, c.API(), path, nil)
		require.Equal(t, http.StatusOK, status, path)
	}
}

// Whatever dashboards ask, rules are evaluated on time.
func TestQueriesDoNotDelayRules(t *testing.T) {
	t.Parallel()
	c, reg := filled(t, collector.QueryConfig{Timeout: 2 * time.Second, MaxConcurrency: 4}, 2000)
	const asking, during = 12, 8 * time.Second
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]int{}
	for range asking {
		all.Go(func() {
			for time.Since(began) < during {
				status, _ := ask(t, c.API(), "query_range", url.Values{
					"query": {`sum(label_replace(dear, "n", "$1", "n", "(.*)") * on(n) max by (n) (dear) + on(n) min by (n) ({__name__=~"dea.+"}))`},
					// A series is seen for five minutes after its last sample.
					"start": {fmt.Sprint(began.Unix())}, "end": {fmt.Sprint(began.Unix() + 290)}, "step": {"0.25"},
				})
				mu.Lock()
				seen[status]++
				mu.Unlock()
			}
		})
	}
	most := 0.0
	for time.Since(began) < during {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "watchbill_queries_running" {
				most = max(most, f.GetMetric()[0].GetGauge().GetValue())
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	all.Wait()
	require.InDelta(t, 4, most, 0, "as many run at once as may")
	require.Positive(t, seen[http.StatusServiceUnavailable], "%v", seen)

	// tick is the instant of each evaluation, on a grid of a second.
	got, err := c.Query(t.Context(), fmt.Sprintf("count_over_time(tick[%ds])", int(during.Seconds())), began.Add(during))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.GreaterOrEqual(t, got[0].Value, during.Seconds()-1, "no evaluation was left out")
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "prometheus_rule_group_iterations_missed_total" {
			for _, m := range f.GetMetric() {
				require.Zero(t, m.GetCounter().GetValue())
			}
		}
	}
	t.Logf("answers by status: %v", seen)
}
