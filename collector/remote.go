package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"watchbill"
)

// DefaultServerTimeout ends a query to an existing server.
const DefaultServerTimeout = 30 * time.Second

const (
	// maxAnswer bounds an existing server's answer, in bytes.
	maxAnswer = 64 << 20
	// maxAsked is how many queries it is asked at once.
	maxAsked = 16
)

// Server is an existing Prometheus server, or one that speaks its HTTP API, such
// as Mimir and Thanos. See docs/design/0004-existing-engine.md.
type Server struct {
	URL     *url.URL // nil for none
	Tenant  string   // header X-Scope-OrgID; empty for none
	HTTP    config_util.HTTPClientConfig
	Timeout time.Duration // default 30 s
	// Own are names of series that the daemon writes itself, beside those that
	// rules record and those that begin with "watchbill".
	Own []string
}

// remote is a server that is asked.
type remote struct {
	cfg  Server
	api  v1.API
	free chan struct{}
	// own are the names of series that are here and not there.
	own map[string]bool
}

// newRemote prepares the server of a configuration; nil if it has none.
func newRemote(cfg Config, opts []config_util.HTTPClientOption) (*remote, error) {
	s := cfg.Server
	if s.URL == nil {
		return nil, nil //nolint:nilnil // no server is no error
	}
	if s.Timeout <= 0 {
		s.Timeout = DefaultServerTimeout
	}
	rt, err := config_util.NewRoundTripperFromConfig(s.HTTP, "prometheus", opts...)
	if err != nil {
		return nil, watchbill.Invalidf("check the files of its http_config", "prepare the queries to prometheus: %v", err)
	}
	client, err := api.NewClient(api.Config{Address: s.URL.String(), RoundTripper: tenantTripper{next: rt, tenant: s.Tenant}})
	if err != nil {
		return nil, watchbill.Invalidf("write prometheus: {url: https://…}", "prepare the queries to prometheus: %v", err)
	}
	return &remote{cfg: s, api: v1.NewAPI(client), free: make(chan struct{}, maxAsked), own: ownSeries(cfg)}, nil
}

// ownSeries are the names of the series that are written here.
func ownSeries(cfg Config) map[string]bool {
	own := map[string]bool{"ALERTS": true, "ALERTS_FOR_STATE": true}
	for _, name := range cfg.Server.Own {
		own[name] = true
	}
	for _, s := range cfg.Logs.Sources {
		for _, q := range s.Queries {
			own[q.Record] = true
		}
	}
	for _, f := range cfg.Rules {
		groups, _ := parseRules(f)
		if groups == nil {
			continue
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					own[r.Record] = true
				}
			}
		}
	}
	return own
}

// tenantTripper names the tenant and bounds the answer.
type tenantTripper struct {
	next   http.RoundTripper
	tenant string
}

// RoundTrip sends a request.
func (t tenantTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.tenant != "" {
		req = req.Clone(req.Context())
		req.Header.Set("X-Scope-OrgID", t.tenant)
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// CloseIdleConnections closes what is kept open.
func (t tenantTripper) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// side is where the series of an expression are.
type side int

const (
	anywhere side = iota
	here
	there
)

// side tells where an expression can be evaluated: here, if it reads only series
// that are written here, or none; there, if it reads none of them. An expression
// that reads both can be evaluated nowhere.
func (r *remote) side(expr parser.Expr) (side, error) {
	at, first := anywhere, ""
	var mixed error
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s, name := r.selects(v)
		switch {
		case at == anywhere:
			at, first = s, name
		case at != s && mixed == nil:
			mixed = fmt.Errorf("it reads %s and %s, of which watchbill records one and the Prometheus server has the other: "+
				"let a recording rule fetch the second, and read what that records", first, name)
		}
		return nil
	})
	return at, mixed
}

// selects tells where the series of a selector are. One that names no metric
// selects what the server has, unless it fits one of ours.
func (r *remote) selects(v *parser.VectorSelector) (side, string) {
	is := func(name string) bool { return r.own[name] || strings.HasPrefix(name, "watchbill") }
	for _, m := range v.LabelMatchers {
		if m.Name != model.MetricNameLabel {
			continue
		}
		if m.Type == labels.MatchEqual && is(m.Value) {
			return here, m.Value
		}
		if m.Type == labels.MatchRegexp && slices.ContainsFunc(m.SetMatches(), is) {
			return here, m.String()
		}
	}
	return there, v.String()
}

// ForeignRule is a rule that cannot be evaluated, by its place.
type ForeignRule struct{ File, Group, Rule, Message string }

// CheckServer reports the rules that can be evaluated neither here nor on the
// server of the configuration.
func CheckServer(cfg Config) []ForeignRule {
	if cfg.Server.URL == nil {
		return nil
	}
	r := &remote{own: ownSeries(cfg)}
	var out []ForeignRule
	for _, f := range cfg.Rules {
		groups, _ := parseRules(f)
		if groups == nil || f.here() {
			continue
		}
		for _, g := range groups.Groups {
			for _, rule := range g.Rules {
				expr, err := promParser().ParseExpr(rule.Expr)
				if err == nil {
					_, err = r.side(expr)
				}
				if err != nil {
					out = append(out, ForeignRule{f.Name, g.Name, rule.Alert + rule.Record, err.Error()})
				}
			}
		}
	}
	return out
}

// here reports whether the rules of a file are always evaluated here: those that
// watchbill brings are about series that it writes.
func (f RuleFile) here() bool { return f.Here || strings.HasPrefix(f.Name, BuiltIn) }

// remotes is the server of the configuration that is in force.
type remotes struct {
	now       atomic.Pointer[remote]
	logger    *slog.Logger
	reachable prometheus.Gauge
	asked     *prometheus.CounterVec
	failing   atomic.Bool
}

func newRemotes(reg prometheus.Registerer, logger *slog.Logger) (*remotes, error) {
	r := &remotes{
		logger: logger.With("component", "prometheus"),
		reachable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "watchbill_prometheus_reachable",
			Help: "Whether the Prometheus server on which rules are evaluated answered the last query; 1 without one.",
		}),
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_prometheus_queries_total",
			Help: "Queries to the Prometheus server on which rules are evaluated, by result: ok, refused (the query's fault), unreachable.",
		}, []string{"result"}),
	}
	r.reachable.Set(1)
	for _, result := range []string{"ok", "refused", "unreachable"} {
		r.asked.WithLabelValues(result)
	}
	for _, m := range []prometheus.Collector{r.reachable, r.asked} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of queries to prometheus: %w", err)
		}
	}
	return r, nil
}

func (r *remotes) set(next *remote) {
	r.now.Store(next)
	if next == nil {
		r.reachable.Set(1)
	}
}

// evaluating marks the evaluation of rules that may be asked elsewhere.
type evaluating struct{}

// queryFunc evaluates expressions where their series are.
func (r *remotes) queryFunc(embedded rules.QueryFunc) rules.QueryFunc {
	return func(ctx context.Context, text string, at time.Time) (promql.Vector, error) {
		server := r.now.Load()
		if server == nil || ctx.Value(evaluating{}) == nil {
			return embedded(ctx, text, at)
		}
		expr, err := promParser().ParseExpr(text)
		if err != nil {
			return nil, fmt.Errorf("read the expression: %w", err)
		}
		switch s, err := server.side(expr); {
		case err != nil:
			return nil, err
		case s == there:
			return r.ask(ctx, server, text, at)
		}
		return embedded(ctx, text, at)
	}
}

// ask asks the server and keeps count of how that goes.
func (r *remotes) ask(ctx context.Context, server *remote, expr string, at time.Time) (promql.Vector, error) {
	v, err := server.query(ctx, expr, at)
	var refused *v1.Error
	switch {
	case err == nil:
		r.asked.WithLabelValues("ok").Inc()
	case errors.As(err, &refused) && (refused.Type == v1.ErrBadData || refused.Type == v1.ErrExec), errors.Is(err, errResult):
		r.asked.WithLabelValues("refused").Inc()
	case ctx.Err() != nil:
		return nil, err // we are stopping
	default:
		r.asked.WithLabelValues("unreachable").Inc()
		r.reachable.Set(0)
		if !r.failing.Swap(true) {
			r.logger.ErrorContext(ctx, "the Prometheus server does not answer: its rules cannot be evaluated", "err", err)
		}
		return nil, fmt.Errorf("ask the Prometheus server: %w", err)
	}
	r.reachable.Set(1)
	if r.failing.Swap(false) {
		r.logger.InfoContext(ctx, "the Prometheus server answers again")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the Prometheus server: %w", err)
	}
	return v, nil
}

var errResult = errors.New("the result cannot be used")

// query asks for an expression at an instant. Samples have the time of the
// evaluation, as from the embedded engine.
func (r *remote) query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	select {
	case r.free <- struct{}{}:
		defer func() { <-r.free }()
	case <-ctx.Done():
		return nil, fmt.Errorf("other queries take all the time there is: %w", ctx.Err())
	}
	value, _, _, err := r.api.Query(ctx, expr, at, v1.WithTimeout(r.cfg.Timeout))
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, in which a secret may stand
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the answer ended early: %w", err)
		}
		return nil, err
	}
	t := timestamp.FromTime(at)
	switch v := value.(type) {
	case *model.Scalar:
		return promql.Vector{{T: t, F: float64(v.Value)}}, nil
	case model.Vector:
		out := make(promql.Vector, 0, len(v))
		for _, sample := range v {
			if sample.Histogram != nil {
				return nil, fmt.Errorf("%w: it is a native histogram; take a number out of it, as with histogram_quantile", errResult)
			}
			b := labels.NewScratchBuilder(len(sample.Metric))
			for name, value := range sample.Metric {
				b.Add(string(name), string(value))
			}
			b.Sort()
			out = append(out, promql.Sample{T: t, F: float64(sample.Value), Metric: b.Labels()})
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: it is a %s, not a vector or a scalar", errResult, value.Type())
}

// evaluate evaluates a group once. What fires and cannot be evaluated keeps
// firing: without this its alerts would end by themselves after some minutes,
// though nobody knows that all is well.
func (c *Collector) evaluate(ctx context.Context, g *rules.Group, at time.Time) {
	local := c.loader.here(g.File())
	if !local {
		ctx = context.WithValue(ctx, evaluating{}, true)
	}
	// What waits for another server takes no turn from what is evaluated here.
	if local || c.remote.now.Load() == nil {
		if !c.turns.take(ctx) {
			return // we are stopping
		}
		defer c.turns.done()
	}
	rules.DefaultEvalIterationFunc(ctx, g, at)
	for _, r := range g.AlertingRules() {
		if r.Health() != rules.HealthBad {
			continue
		}
		var held []*rules.Alert
		r.ForEachActiveAlert(func(a *rules.Alert) {
			if a.State != rules.StateFiring || at.Sub(a.LastSentAt) < resendDelay {
				return
			}
			a.LastSentAt = at
			a.ValidUntil = at.Add(4 * max(g.Interval(), resendDelay))
			copied := *a
			copied.Labels = a.Labels.Copy()
			held = append(held, &copied)
		})
		c.sender.take(ctx, r.Query().String(), held...)
	}
}
