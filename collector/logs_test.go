package collector_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/collector"
	"watchbill/collector/logs"
	"watchbill/internal/pipenet"
)

// loki answers as Loki's documentation says, and complains about everything
// that is not as documented.
type loki struct {
	t        *testing.T
	listener *pipenet.Listener

	mu     sync.Mutex
	answer func(query string, n int) (status int, body string) // n counts the requests
	n      int
	asked  []time.Time
	retry  string
}

func newLoki(t *testing.T) *loki {
	l := &loki{t: t, listener: pipenet.Listen()}
	srv := &http.Server{Handler: l}
	go srv.Serve(l.listener)
	t.Cleanup(func() { srv.Close() })
	return l
}

func (l *loki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	user, password, _ := r.BasicAuth()
	q := r.URL.Query()
	ns, err := strconv.ParseInt(q.Get("time"), 10, 64)
	if r.Method != http.MethodGet || r.URL.Path != "/prefix/loki/api/v1/query" || err != nil || len(q) != 2 {
		l.t.Errorf("loki is asked %s %s", r.Method, r.URL)
	}
	if r.Header.Get("X-Scope-OrgID") != "shop" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "no org id\n")
		return
	}
	if user != "wb" || password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	l.n++
	l.asked = append(l.asked, time.Unix(0, ns))
	status, body := l.answer(q.Get("query"), l.n)
	if status == http.StatusTooManyRequests && l.retry != "" {
		w.Header().Set("Retry-After", l.retry)
	}
	if strings.HasPrefix(body, "{") {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	}
	if r.Header.Get("Accept-Encoding") != "gzip" {
		l.t.Errorf("Accept-Encoding is %q", r.Header.Get("Accept-Encoding"))
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := gzip.NewWriter(w)
	io.WriteString(z, body)
	z.Close()
}

func (l *loki) say(answer func(query string, n int) (int, string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer, l.n, l.asked = answer, 0, nil
}

func (l *loki) requests() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Time(nil), l.asked...)
}

func counts(series ...string) func(string, int) (int, string) {
	var out []string
	for _, s := range series {
		level, n, _ := strings.Cut(s, "=")
		out = append(out, fmt.Sprintf(`{"metric":{"level":%q},"value":[1588889221,%q]}`, level, n))
	}
	body := `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(out, ",") + `],"stats":{}}}`
	return func(string, int) (int, string) { return http.StatusOK, body }
}

func fails(status int, body string) func(string, int) (int, string) {
	return func(string, int) (int, string) { return status, body }
}

// logging is a configuration with one log query each minute.
func logging(t *testing.T) collector.Config {
	t.Helper()
	u, err := logs.ParseURL("http://loki:3100/prefix")
	require.NoError(t, err)
	client := config_util.DefaultHTTPClientConfig
	client.BasicAuth = &config_util.BasicAuth{Username: "wb", Password: "secret"}
	sources := []logs.Source{{Name: "auth", URL: u, Tenant: "shop", HTTP: client, Queries: []logs.Query{{
		Record: "auth_failures", Expr: `sum by (level) (count_over_time({app="auth"} |= "failed" [1m]))`,
		Interval: time.Minute, Offset: 30 * time.Second, Timeout: 20 * time.Second,
		Labels: map[string]string{"service": "checkout"}, Severity: "page",
	}}}}
	rules, err := logs.Rules(sources)
	require.NoError(t, err)
	return collector.Config{
		Prometheus: []byte("global: {scrape_interval: 15s, evaluation_interval: 15s}\n"),
		Logs:       logs.Config{Sources: sources, Alerts: true},
		Rules:      []collector.RuleFile{{Name: logs.RulesName, Content: rules}},
	}
}

// seen are the values of a series by level.
func seen(t *testing.T, c *collector.Collector, name string) map[string]float64 {
	t.Helper()
	got, err := c.Query(t.Context(), name, time.Now())
	require.NoError(t, err)
	out := map[string]float64{}
	for _, s := range got {
		require.Equal(t, "checkout", s.Labels["service"])
		out[s.Labels["level"]] = s.Value
	}
	return out
}

func inLoki(t *testing.T, script func(*testing.T, *loki, *collector.Collector, *inbox, *prometheus.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l, in, reg := newLoki(t), newInbox(), prometheus.NewRegistry()
		l.say(counts("error=3", "warn=5"))
		c, stop := start(t, logging(t), collector.Options{Notify: in.notify, Registerer: reg, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr != "loki:3100" {
				return nil, fmt.Errorf("there is no %s", addr)
			}
			return l.listener.DialContext(ctx, network, addr)
		}})
		defer stop()
		script(t, l, c, in, reg)
	})
}

// Results become series; what is not in the next result ends at once.
func TestLogQueriesBecomeSeries(t *testing.T) {
	inLoki(t, func(t *testing.T, l *loki, c *collector.Collector, in *inbox, _ *prometheus.Registry) {
		time.Sleep(10*time.Minute + time.Second)
		require.Equal(t, map[string]float64{"error": 3, "warn": 5}, seen(t, c, "auth_failures"))
		asked := l.requests()
		require.Len(t, asked, 10)
		for i, at := range asked[1:] {
			require.Equal(t, time.Minute, at.Sub(asked[i]), "on a grid")
		}
		ago := time.Since(asked[9])
		require.True(t, ago >= 30*time.Second && ago <= 91*time.Second, "asked about half a minute ago: %s", ago)
		require.InDelta(t, 10, valueOf(t, c, `count_over_time(auth_failures{level="warn"}[10m])`), 1)

		l.say(counts("warn=6"))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]float64{"warn": 6}, seen(t, c, "auth_failures"), "no last value is kept")
		l.say(counts())
		time.Sleep(30 * time.Minute)
		require.Empty(t, seen(t, c, "auth_failures"))
		require.Equal(t, map[string]float64{"": 1}, seen(t, c, "watchbill_log_query_up"), "an empty result is a result")
		require.Equal(t, map[string]float64{"": 0}, seen(t, c, "watchbill_log_query_series"))
		l.say(fails(http.StatusOK, `{"status":"success","data":{"resultType":"scalar","result":[1588889221,"7"]}}`))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]float64{"": 7}, seen(t, c, "auth_failures"))
		require.Empty(t, in.all())
	})
}

// A query that fails has no series, is counted, and is told after three rounds.
func TestLogQueriesThatFail(t *testing.T) {
	for _, c := range []struct {
		name, want string
		answer     func(string, int) (int, string)
		requests   int // a round, at least
	}{
		{"a mistake", "", fails(http.StatusBadRequest, "parse error at line 1, col 5: syntax error: unexpected IDENTIFIER\n"), 1},
		{"log lines", "", fails(http.StatusOK, `{"status":"success","data":{"resultType":"streams","result":[]}}`), 1},
		{"too much", "", fails(http.StatusOK, `{"status":"success","data":"`+strings.Repeat("x", 4<<20)+`"}`), 1},
		{"limits of the server", "", fails(http.StatusTooManyRequests, "Maximum active stream limit exceeded"), 3},
		{"an ill server", "", fails(http.StatusInternalServerError, `{"code":500,"status":"error","message":"context canceled"}`), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLoki(t, func(t *testing.T, l *loki, col *collector.Collector, in *inbox, reg *prometheus.Registry) {
				time.Sleep(5 * time.Minute)
				l.say(c.answer)
				time.Sleep(81 * time.Second)
				require.Empty(t, seen(t, col, "auth_failures"))
				require.Equal(t, map[string]float64{"": 0}, seen(t, col, "watchbill_log_query_up"))
				require.GreaterOrEqual(t, len(l.requests()), c.requests)
				require.Empty(t, in.all(), "one failure is told to nobody")
				a := in.await(t, 3*time.Minute, firing)
				require.Equal(t, watchbill.Labels{
					"alertname": "LogQueryFails", "severity": "page", "service": "checkout", "logs": "auth", "record": "auth_failures",
				}, a.Labels)
				require.Equal(t, "The log query auth_failures of auth fails", a.Annotations["summary"])
				require.GreaterOrEqual(t, counter(t, reg, "watchbill_log_queries_failed_total"), 3.0)
				l.say(counts("error=1"))
				in.await(t, 2*time.Minute, resolved)
				require.Equal(t, map[string]float64{"error": 1}, seen(t, col, "auth_failures"))
			})
		})
	}
}

// A server that is busy is asked again, when it says.
func TestLogQueriesAreAskedAgain(t *testing.T) {
	inLoki(t, func(t *testing.T, l *loki, c *collector.Collector, in *inbox, reg *prometheus.Registry) {
		l.mu.Lock()
		l.retry = "5"
		l.mu.Unlock()
		good := counts("error=3")
		l.say(func(query string, n int) (int, string) {
			switch n % 3 {
			case 1:
				return http.StatusTooManyRequests, "too many outstanding requests"
			case 2:
				return http.StatusServiceUnavailable, ""
			}
			return good(query, n)
		})
		time.Sleep(10 * time.Minute)
		require.Len(t, l.requests(), 30)
		require.Zero(t, counter(t, reg, "watchbill_log_queries_failed_total"))
		require.Equal(t, map[string]float64{"error": 3}, seen(t, c, "auth_failures"))
		require.Greater(t, valueOf(t, c, "watchbill_log_query_duration_seconds"), 5.0)
		require.Empty(t, in.all())
	})
}

// A reload ends the series of a query that is taken out, and leaves the others
// alone; what does not change goes on.
func TestLogQueriesFollowTheConfiguration(t *testing.T) {
	inLoki(t, func(t *testing.T, l *loki, c *collector.Collector, in *inbox, _ *prometheus.Registry) {
		time.Sleep(5 * time.Minute)
		require.NoError(t, c.Reload(logging(t)))
		require.Len(t, seen(t, c, "auth_failures"), 2)
		time.Sleep(5 * time.Minute)
		require.Len(t, l.requests(), 10)
		cfg := logging(t)
		cfg.Logs.Sources[0].Queries[0].Record = "renamed"
		cfg.Rules = nil
		require.NoError(t, c.Reload(cfg))
		require.Empty(t, seen(t, c, "auth_failures"))
		time.Sleep(time.Minute)
		require.Len(t, seen(t, c, "renamed"), 2)
		bad := logging(t)
		bad.Logs.Sources[0].HTTP.TLSConfig.CAFile = "/nowhere"
		require.ErrorContains(t, c.Reload(bad), "http_config")
		time.Sleep(time.Minute)
		require.Len(t, seen(t, c, "renamed"), 2)
		require.Empty(t, in.all())
	})
}
