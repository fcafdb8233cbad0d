package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Defaults and bounds of the query API.
const (
	DefaultQueryTimeout        = 10 * time.Second
	DefaultQueryMaxSamples     = 5_000_000
	DefaultQueryMaxConcurrency = 4

	// maxExpr bounds an expression, in bytes, and maxFormatted one that is to be
	// formatted, whose cost grows with the cube of its length. maxNesting is how
	// deep its brackets may nest.
	maxExpr      = 64 << 10
	maxFormatted = 4 << 10
	maxNesting   = 100
	// maxPoints is Prometheus' own bound on the points of a series.
	maxPoints = 11_000
	// maxFound bounds how many series, names or values one answer lists.
	maxFound = "100000"
)

// EngineVersion is the version of Prometheus whose engine and API this is.
const EngineVersion = "3.15.0"

// queryStats are the metrics of the query API.
type queryStats struct {
	refused *prometheus.CounterVec
	running prometheus.Gauge
	waiting prometheus.Gauge
}

func newQueryStats(reg prometheus.Registerer) (*queryStats, error) {
	s := &queryStats{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_queries_refused_total",
			Help: "Queries of the API that were over a limit: timeout, samples, points, size (of the expression).",
		}, []string{"limit"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "watchbill_queries_running", Help: "Queries of the API that run now."}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "watchbill_queries_waiting", Help: "Queries of the API that wait for others to end."}),
	}
	for _, limit := range []string{"timeout", "samples", "points", "size"} {
		s.refused.WithLabelValues(limit)
	}
	for _, m := range []prometheus.Collector{s.refused, s.running, s.waiting} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of the query API: %w", err)
		}
	}
	return s, nil
}

// slots bounds how many queries run at once. It is the engine's query tracker, so
// that the time in the queue counts against the query's timeout.
type slots struct {
	free  chan struct{}
	stats *queryStats
}

// GetMaxConcurrent returns how many queries may run at once.
func (s *slots) GetMaxConcurrent() int { return cap(s.free) }

// Insert waits until the query may run, or ctx ends.
func (s *slots) Insert(ctx context.Context, _ string) (int, error) {
	s.stats.waiting.Inc()
	defer s.stats.waiting.Dec()
	select {
	case s.free <- struct{}{}:
		s.stats.running.Inc()
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Delete lets the next query run.
func (s *slots) Delete(int) {
	s.stats.running.Dec()
	<-s.free
}

// Close has nothing to close.
func (s *slots) Close() error { return nil }

// queryAPI is Prometheus' HTTP API over the collector's series, rules and
// targets, with an engine of its own: what it may use is bounded, and the rules
// never wait for it.
type queryAPI struct {
	cfg   QueryConfig
	slots *slots
	stats *queryStats
	next  http.Handler
}

// withDefaults fills in what was not given.
func (q QueryConfig) withDefaults() QueryConfig {
	if q.Timeout <= 0 {
		q.Timeout = DefaultQueryTimeout
	}
	if q.MaxSamples <= 0 {
		q.MaxSamples = DefaultQueryMaxSamples
	}
	if q.MaxConcurrency <= 0 {
		q.MaxConcurrency = DefaultQueryMaxConcurrency
	}
	return q
}

// newQueryAPI makes the API for a configuration.
func (c *Collector) newQueryAPI(cfg QueryConfig, external *url.URL) *queryAPI {
	a := &queryAPI{cfg: cfg, stats: c.queryStats, slots: &slots{free: make(chan struct{}, cfg.MaxConcurrency), stats: c.queryStats}}
	opts := c.engineOptions("query API")
	opts.MaxSamples, opts.Timeout, opts.ActiveQueryTracker = cfg.MaxSamples, cfg.Timeout, a.slots
	router := route.New()
	prometheusAPI(c, counted{promql.NewEngine(opts), c.queryStats}, external).Register(router)
	a.next = http.StripPrefix("/api/v1", router)
	return a
}

// prometheusAPI is Prometheus' own API. Writing, administration and remote read
// are switched off where it has a switch; the routes themselves are chosen by
// whoever mounts it.
func prometheusAPI(c *Collector, engine promql.QueryEngine, external *url.URL) *v1.API {
	return v1.NewAPI(
		engine,
		c.db,
		nil, nil, // no remote write, no OTLP
		c.db, // exemplars
		func(context.Context) v1.ScrapePoolsRetriever { return c.scrape },
		func(context.Context) v1.TargetRetriever { return c.scrape },
		func(context.Context) v1.AlertmanagerRetriever { return noAlertmanagers{} },
		func() config.Config { return config.Config{} },
		map[string]string{},
		v1.GlobalURLOptions{ListenAddress: "127.0.0.1:0", Host: external.Host, Scheme: external.Scheme},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		nil, "", false, // the database's statistics and administration
		false, 0, // search
		c.logger.With("component", "query API"),
		func(context.Context) v1.RulesRetriever { return c.rules },
		0, 0, 0, false, // remote read, agent
		nil, // no CORS
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, errors.New("not served") },
		&v1.PrometheusVersion{Version: EngineVersion, GoVersion: runtime.Version()},
		func() []notifications.Notification { return nil },
		func() (<-chan notifications.Notification, func(), bool) { return nil, func() {}, false },
		prometheus.NewRegistry(),
		prometheus.NewRegistry(), // for remote read, which nobody reaches
		nil, false, nil,
		false, false, false,
		false,
		lookback,
		false, false,
		nil, // Prometheus' own status codes
		nil,
		v1.OpenAPIOptions{},
		promParser(),
	)
}

// noAlertmanagers says that alerts go to no Alertmanager.
type noAlertmanagers struct{}

func (noAlertmanagers) Alertmanagers() []*url.URL        { return nil }
func (noAlertmanagers) DroppedAlertmanagers() []*url.URL { return nil }

// counted is an engine that counts what was over a limit.
type counted struct {
	promql.QueryEngine
	stats *queryStats
}

// NewInstantQuery makes a query at an instant.
func (e counted) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	query, err := e.QueryEngine.NewInstantQuery(ctx, q, opts, qs, ts)
	if err != nil {
		return nil, err
	}
	return countedQuery{query, e.stats}, nil
}

// NewRangeQuery makes a query over a range.
//
//nolint:revive // the arguments are those of Prometheus' interface
func (e counted) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	query, err := e.QueryEngine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	if err != nil {
		return nil, err
	}
	return countedQuery{query, e.stats}, nil
}

type countedQuery struct {
	promql.Query
	stats *queryStats
}

// Exec evaluates the query.
func (q countedQuery) Exec(ctx context.Context) *promql.Result {
	res := q.Query.Exec(ctx)
	var timeout promql.ErrQueryTimeout
	var samples promql.ErrTooManySamples
	if errors.Is(res.Err, context.DeadlineExceeded) {
		// The engine calls it an execution error when the time ends while it reads
		// series; for the caller it is the same limit.
		res.Err = promql.ErrQueryTimeout("reading series")
	}
	switch {
	case errors.As(res.Err, &timeout):
		q.stats.refused.WithLabelValues("timeout").Inc()
	case errors.As(res.Err, &samples):
		q.stats.refused.WithLabelValues("samples").Inc()
	}
	return res
}

// tooFine reports whether a range query asks for more points than Prometheus'
// API allows a series, which then refuses it. What cannot be read is none.
func tooFine(form url.Values) bool {
	at := func(name string) float64 {
		text := form.Get(name)
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return math.NaN()
		}
		return float64(t.UnixNano()) / 1e9
	}
	step, err := strconv.ParseFloat(form.Get("step"), 64)
	if d, derr := model.ParseDuration(form.Get("step")); err != nil && derr == nil {
		step = time.Duration(d).Seconds()
	}
	return step > 0 && (at("end")-at("start"))/step > maxPoints
}

// ServeHTTP serves a path below /api/v1. Only expressions of a bounded size get
// to the parser, and what does not go through the engine waits for a slot here.
func (a *queryAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		a.refuse(w, http.StatusBadRequest, "bad_data", fmt.Sprintf("read the parameters: %v", err))
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/v1")
	limit := maxExpr
	if path == "/format_query" {
		limit = maxFormatted
	}
	for _, expr := range append(r.Form["query"], r.Form["match[]"]...) {
		if len(expr) > limit || nesting(expr) > maxNesting {
			a.stats.refused.WithLabelValues("size").Inc()
			a.refuse(w, http.StatusBadRequest, "bad_data",
				fmt.Sprintf("the expression is longer than %d bytes, or its brackets nest deeper than %d", limit, maxNesting))
			return
		}
	}
	if path == "/query_range" && tooFine(r.Form) {
		a.stats.refused.WithLabelValues("points").Inc()
	}
	if path == "/query" || path == "/query_range" {
		a.next.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
	defer cancel()
	if _, err := a.slots.Insert(ctx, ""); err != nil {
		a.stats.refused.WithLabelValues("timeout").Inc()
		a.refuse(w, http.StatusServiceUnavailable, "timeout", "the request timed out in the queue: other queries take all the time there is")
		return
	}
	defer a.slots.Delete(0)
	if n := r.Form.Get("limit"); n == "" || n == "0" {
		r.Form.Set("limit", maxFound)
	}
	a.next.ServeHTTP(w, r.WithContext(ctx))
}

// refuse answers in the form of Prometheus' API.
func (a *queryAPI) refuse(w http.ResponseWriter, code int, kind, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	body := map[string]string{"status": "error", "errorType": kind, "error": text}
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}

// nesting is how deep the brackets of an expression nest. Brackets in strings
// count too: it is a bound, not a parser.
func nesting(expr string) int {
	depth, deepest := 0, 0
	for i := range len(expr) {
		switch expr[i] {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth--
		}
	}
	return deepest
}

// API serves Prometheus' HTTP API at /api/v1/… for the configuration that is in
// force: queries, series, labels, metadata, rules, alerts, targets and
// status/buildinfo. Whoever mounts it chooses the paths.
func (c *Collector) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.api.Load().ServeHTTP(w, r)
	})
}
