package collector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/collector"
)

// peer returns the path of a program of another project. Without it the test is
// skipped, unless the environment says that it must be there.
func peer(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") == "" {
		t.Skipf("%s is not installed", name)
	}
	require.NoError(t, err)
	return path
}

// runPrometheus starts Debian's Prometheus with a configuration and returns its
// address once it answers.
func runPrometheus(t *testing.T, config string, args ...string) string {
	t.Helper()
	program, dir := peer(t, "prometheus"), t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(program, append([]string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr,
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", &log)
		}
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond)
	return "http://" + addr
}

// history is what the target of the comparison exposes: 45 minutes of samples
// with their times, every 15 s, so that two servers have
// the very same samples whenever they scrape.
func history(base time.Time) string {
	var b strings.Builder
	b.WriteString("# TYPE fix_whole histogram\n") // bounds of nothing else are rewritten
	put := func(i int, series string, v float64) {
		fmt.Fprintf(&b, "%s %s %d\n", series, strconv.FormatFloat(v, 'g', -1, 64), base.Add(time.Duration(i)*15*time.Second).UnixMilli())
	}
	for i := range 180 {
		x := float64(i)
		for j, code := range []string{"200", "404", "500"} {
			n := float64(j + 1)
			put(i, `fix_requests_total{code="`+code+`",instance="a"}`, math.Floor(x*n*7.5))
			put(i, `fix_requests_total{code="`+code+`",instance="b"}`, math.Floor(x*n*3.25)+x)
			put(i, `fix_gauge{code="`+code+`"}`, math.Sin(x/9)*n*100)
		}
		put(i, `fix_restarts_total`, float64(i%50)*4)
		put(i, `fix_limit{code="200",team="shop"}`, 42)
		put(i, `fix_limit{code="500",team="core"}`, 17)
		for j, le := range []string{"0.1", "0.5", "2.5", "+Inf"} {
			put(i, `fix_seconds_bucket{le="`+le+`"}`, x*float64(j+1)*3)
		}
		if i < 60 || i > 90 { // a gap of more than five minutes
			put(i, `fix_gap`, x)
		}
		put(i, `fix_text{text="one\ntwo"}`, x)
		put(i, `fix_whole_bucket{le="1"}`, x)
	}
	return b.String()
}

// same are expressions whose meaning did not change between Prometheus 2.42 and
// the engine here, a family or two a line. The metrics' prefix is left out.
var same = strings.Split(strings.TrimSpace(`
gauge | gauge{code="200"} | gauge{code!~"2.."} | {__name__=~"fix_g.+"} | -gauge | gap | nothing
1 + 2 * 3 ^ 2 % 5 / 4 - 1 | "text" | time() | pi() | vector(1) | scalar(restarts_total) | 1 atan2 2 | 1 > bool 2
gauge + 1 | gauge * gauge | gauge / limit | gauge > 10 | gauge > bool 10 | gauge == gauge | gauge % 7 | gauge ^ 2 | 2 * gauge != bool 4
gauge and limit | gauge or limit | gauge unless limit | gauge * on(code) group_left(team) limit | limit * on(code) group_right(team) gauge | gauge * ignoring(team) group_left limit
sum(gauge) | sum by (code) (requests_total) | sum without (code) (requests_total) | avg(gauge) | min(gauge) | max(gauge) | count(gauge) | group(gauge)
stddev(gauge) | stdvar(gauge) | topk(2, gauge) | bottomk(1, gauge) | quantile(0.9, gauge) | count_values("v", limit)
rate(requests_total[5m]) | irate(requests_total[5m]) | increase(requests_total[10m]) | delta(gauge[5m]) | idelta(gauge[5m]) | deriv(gauge[5m]) | predict_linear(gauge[5m], 600)
rate(restarts_total[20m]) | resets(restarts_total[30m]) | changes(gauge[5m]) | increase(gap[10m]) | sum(rate(requests_total{code="500"}[5m])) / sum(rate(requests_total[5m]))
avg_over_time(gauge[5m]) | min_over_time(gauge[5m]) | max_over_time(gauge[5m]) | sum_over_time(gauge[5m]) | count_over_time(gap[20m]) | quantile_over_time(0.5, gauge[5m])
stddev_over_time(gauge[5m]) | stdvar_over_time(gauge[5m]) | last_over_time(gap[9m]) | present_over_time(gap[9m]) | absent_over_time(gap[3m]) | absent(gap) | absent(nothing{a="b"})
histogram_quantile(0.9, seconds_bucket) | histogram_quantile(0.5, sum by (le) (rate(seconds_bucket[5m]))) | histogram_quantile(2, seconds_bucket)
abs(gauge) | ceil(gauge) | floor(gauge) | round(gauge) | round(gauge, 5) | sgn(gauge) | sqrt(limit) | exp(limit) | ln(limit) | log2(limit) | log10(limit)
clamp(gauge, -1, 50) | clamp_min(gauge, 0) | clamp_max(gauge, 0)
sin(gauge) | cos(gauge) | tan(gauge) | asin(gauge / 300) | acos(gauge / 300) | atan(gauge) | sinh(gauge / 300) | cosh(gauge / 300) | tanh(gauge) | asinh(gauge) | acosh(limit) | atanh(gauge / 301) | deg(gauge) | rad(gauge)
timestamp(gauge) | minute() | hour() | day_of_month() | day_of_week() | day_of_year() | days_in_month() | month() | year() | minute(vector(1e9))
label_replace(gauge, "class", "$1xx", "code", "(.)..") | label_join(limit, "both", "/", "team", "code") | sort(gauge) | sort_desc(gauge)
gauge offset 5m | gauge offset -1m | rate(requests_total[5m] offset 7m) | gauge @ end() | rate(requests_total[5m] @ start())
max_over_time(rate(requests_total[2m])[10m:1m]) | avg_over_time(sum(gauge)[7m:]) | sum_over_time(gauge[5m:30s] offset 1m) | min_over_time((gauge > 0)[10m:1m])
{__name__="fix_text",text=~"one\ntwo"} | count by (__name__) ({__name__=~"fix_.*_total"}) | sum(gauge) by (code) > 10 or vector(0) | 1 / 0 | gauge / 0
`), "\n")

// qualify puts the prefix before the names of the metrics.
func qualify(expr string) string {
	for _, name := range []string{"gauge", "gap", "nothing", "limit", "requests_total", "restarts_total", "seconds_bucket"} {
		for i := 0; i < len(expr); {
			j := strings.Index(expr[i:], name)
			if j < 0 {
				break
			}
			j += i
			i = j + len(name)
			word := func(c byte) bool {
				return c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
			}
			if (j > 0 && word(expr[j-1])) || (i < len(expr) && word(expr[i])) {
				continue
			}
			expr = expr[:j] + "fix_" + expr[j:]
			i += len("fix_")
		}
	}
	return expr
}

// changed are expressions that give something else there, each with the reason.
// docs/signals.md lists the same.
var changed = []struct{ expr, reason string }{
	{"count_over_time(fix_gauge[5m])", "since 3.0 a range leaves its left end out"},
	{"increase(fix_requests_total[1m])", "since 3.0 a range leaves its left end out"},
	{"count_over_time(fix_gauge[5m:1m])", "since 3.0 a subquery leaves its left end out"},
	{"fix_gap offset 5m15s", "a sample exactly five minutes old is not found any more since 3.0"},
	{`fix_text{text=~"one.two"}`, "a dot matches a line break too since 3.0"},
	{`fix_whole_bucket{le="1"}`, "a bound is written 1.0 since 3.0"},
	{"fix_gauge atan2 fix_gauge", "the name of the metric is dropped, as by the other operators, since 3.0"},
	{"holt_winters(fix_gauge[5m], 0.5, 0.5)", "is called double_exponential_smoothing since 3.0"},
}

// Over the same samples the API gives what Debian's Prometheus gives.
func TestQueriesAgreeWithPrometheus(t *testing.T) {
	t.Parallel()
	peer(t, "prometheus")
	minute := time.Now().Add(-50 * time.Minute).Truncate(time.Minute)
	base := minute.Add(7003 * time.Millisecond) // subqueries are evaluated on a grid of their own
	text := history(base)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	t.Cleanup(target.Close)
	config := `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 15s}
scrape_configs:
  - job_name: fix
    static_configs: [{targets: ["` + strings.TrimPrefix(target.URL, "http://") + `"], labels: {instance: x}}]
    honor_labels: true
`
	c, stop := start(t, collector.Config{Prometheus: []byte(config)}, collector.Options{Notify: newInbox().notify})
	t.Cleanup(stop)
	ours := httptest.NewServer(c.API())
	t.Cleanup(ours.Close)
	theirs := runPrometheus(t, config)
	get := func(server, path string, form url.Values) answer {
		resp, err := http.PostForm(server+"/api/v1/"+path, form)
		require.NoError(t, err)
		defer resp.Body.Close()
		var a answer
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&a))
		return a
	}
	unix := func(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1e3, 'f', 3, 64) }
	end := base.Add(179 * 15 * time.Second)
	for _, server := range []string{ours.URL, theirs} {
		require.Eventually(t, func() bool {
			a := get(server, "query", url.Values{"query": {"count({__name__=~'fix_.+'}) == 19"}, "time": {unix(end.Add(time.Second))}})
			return strings.Contains(string(a.Data), `"19"`)
		}, 20*time.Second, 100*time.Millisecond)
	}

	// Between two samples, so that no range has its end at one.
	var forms []url.Values
	for _, at := range []time.Duration{1000500 * time.Millisecond, 1300700 * time.Millisecond, 2600100 * time.Millisecond} {
		forms = append(forms, url.Values{"time": {unix(base.Add(at))}})
	}
	forms = append(forms, url.Values{"start": {unix(base.Add(100500 * time.Millisecond))}, "end": {unix(end)}, "step": {"41"}})
	compared, valued := 0, 0
	for _, line := range same {
		for expr := range strings.SplitSeq(line, " | ") {
			expr = qualify(strings.TrimSpace(expr))
			for _, form := range forms {
				path := "query"
				if form.Has("step") {
					if path = "query_range"; expr[0] == '"' {
						continue // a text has no range
					}
				}
				form.Set("query", expr)
				mine, other := get(ours.URL, path, form), get(theirs, path, form)
				require.Equal(t, "success", mine.Status, "%s: %s", expr, mine.Error)
				require.Equal(t, "success", other.Status, "%s: %s", expr, other.Error)
				a, b := readResult(t, mine.Data, strings.HasPrefix(expr, "sort")), readResult(t, other.Data, strings.HasPrefix(expr, "sort"))
				requireClose(t, b, a, fmt.Sprintf("%s %s", path, form.Encode()))
				compared++
				if len(a) > 0 {
					valued++
				}
			}
		}
	}
	t.Logf("%d results compared, %d of them not empty", compared, valued)
	require.Greater(t, valued, 450)

	doc, err := os.ReadFile("../docs/signals.md")
	require.NoError(t, err)
	for _, c := range changed {
		form := url.Values{"query": {c.expr}, "time": {unix(base.Add(20 * time.Minute))}}
		switch {
		case strings.Contains(c.expr, ":1m]"):
			form.Set("time", unix(minute.Add(20*time.Minute)))
		case strings.Contains(c.expr, "gap"):
			form.Set("time", unix(base.Add(59*15*time.Second+10*time.Minute+15*time.Second)))
		}
		mine, other := get(ours.URL, "query", form), get(theirs, "query", form)
		require.Equal(t, "success", other.Status, c.expr)
		require.NotEqual(t, fmt.Sprint(readResult(t, other.Data, false)), fmt.Sprint(readResult(t, mine.Data, false)), "%s does not differ any more: %s", c.expr, c.reason)
	}
	for _, word := range []string{"leaves its left end out", "holt_winters", "line break", "exactly five minutes", "atan2", "`1.0`"} {
		require.Contains(t, string(doc), word)
	}

	for path, form := range map[string]url.Values{
		"series": {"match[]": {"fix_requests_total"}}, "labels": {"match[]": {"fix_limit"}}, "format_query": {"query": {"sum( fix_gauge )by(code)"}},
	} {
		form.Set("start", unix(base))
		require.ElementsMatch(t, list(t, get(theirs, path, form).Data), list(t, get(ours.URL, path, form).Data), path)
	}
}

// list are the parts of an answer in some order.
func list(t *testing.T, data json.RawMessage) []string {
	t.Helper()
	var parts []json.RawMessage
	if json.Unmarshal(data, &parts) != nil {
		return []string{string(data)}
	}
	var out []string
	for _, p := range parts {
		var v any
		require.NoError(t, json.Unmarshal(p, &v))
		text, err := json.Marshal(v) // with sorted keys
		require.NoError(t, err)
		out = append(out, string(text))
	}
	return out
}

// point is a value of a result: of which series, when, and which.
type point struct {
	series string
	at     float64
	value  string
}

// readResult reads a result's points, sorted unless their order counts.
func readResult(t *testing.T, data json.RawMessage, ordered bool) []point {
	t.Helper()
	if len(data) == 0 {
		return nil
	}
	var r struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	}
	require.NoError(t, json.Unmarshal(data, &r))
	var out []point
	add := func(series string, v [2]any) {
		out = append(out, point{r.ResultType + series, v[0].(float64), v[1].(string)})
	}
	if r.ResultType == "scalar" || r.ResultType == "string" {
		var v [2]any
		require.NoError(t, json.Unmarshal(r.Result, &v))
		add("", v)
		return out
	}
	var all []struct {
		Metric map[string]string `json:"metric"`
		Value  *[2]any           `json:"value"`
		Values [][2]any          `json:"values"`
	}
	require.NoError(t, json.Unmarshal(r.Result, &all))
	for _, s := range all {
		name := fmt.Sprint(s.Metric) // maps print sorted
		if s.Value != nil {
			add(name, *s.Value)
		}
		for _, v := range s.Values {
			add(name, v)
		}
	}
	if !ordered || r.ResultType == "matrix" {
		slices.SortFunc(out, func(a, b point) int {
			return strings.Compare(fmt.Sprintf("%s %f", a.series, a.at), fmt.Sprintf("%s %f", b.series, b.at))
		})
	}
	return out
}

// requireClose compares results: the same series and times, and values that
// differ by rounding at most, since sums are compensated for it since 3.0.
func requireClose(t *testing.T, want, got []point, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	for i := range want {
		require.Equal(t, want[i].series, got[i].series, what)
		require.InDelta(t, want[i].at, got[i].at, 0, what)
		if want[i].value == got[i].value {
			continue
		}
		a, err := strconv.ParseFloat(want[i].value, 64)
		require.NoError(t, err, what)
		b, err := strconv.ParseFloat(got[i].value, 64)
		require.NoError(t, err, what)
		require.LessOrEqual(t, math.Abs(a-b), 1e-9*max(1, math.Abs(a)), "%s: %s: %s here, %s there", what, want[i].series, got[i].value, want[i].value)
	}
}
