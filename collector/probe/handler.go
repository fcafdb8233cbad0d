package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	bbconfig "github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// longest bounds a probe whose scraper announces no timeout and whose module has
// none; blackbox_exporter's default.
const longest = 120 * time.Second

// ServeHTTP answers GET /probe as blackbox_exporter does.
func (p *Prober) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	params := r.URL.Query()
	name := params.Get("module")
	if name == "" {
		name = "http_2xx"
	}
	cfg := p.current.Load()
	module, ok := cfg.Modules[name]
	if !ok {
		http.Error(w, fmt.Sprintf("Unknown module %q", name), http.StatusBadRequest)
		return
	}
	timeout, err := timeoutOf(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), module)
	if err != nil {
		http.Error(w, fmt.Sprintf("Failed to parse timeout from Prometheus header: %s", err), http.StatusInternalServerError)
		return
	}
	j := job{module: module, name: name, target: params.Get("target"), hostname: params.Get("hostname"), timeout: timeout}
	if j.target == "" {
		http.Error(w, "Target parameter is missing", http.StatusBadRequest)
		return
	}
	if j.pass, err = p.admit(r.Context(), cfg, j); err != nil {
		p.refused.WithLabelValues("target").Inc()
		http.Error(w, fmt.Sprintf("%v: name it under probes.targets in the configuration, or allow it under probes.allow", err), http.StatusForbidden)
		return
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		http.Error(w, fmt.Sprintf("%d probes run already; ask again later", atOnce), http.StatusServiceUnavailable)
		return
	}
	res, err := p.probe(r.Context(), j)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if params.Get("debug") == "true" {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, res.debug()) // a caller who went away
		return
	}
	promhttp.HandlerFor(res.metrics, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// admit says what a probe may reach. A name that only networks could allow is
// resolved, so that one outside of them is refused rather than probed in vain.
func (p *Prober) admit(ctx context.Context, cfg *Config, j job) (pass, error) {
	admitted, err := cfg.admit(j.module.Prober, j.target, false)
	if err != nil || admitted.named {
		return admitted, err
	}
	if j.module.Prober == "http" && j.module.HTTP.SkipResolvePhaseWithProxy {
		return admitted, errNotAllowed // its address is never seen here
	}
	j.pass = admitted
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	if _, err := p.resolve(ctx, &j); errors.Is(err, errRefused) {
		return admitted, errNotAllowed
	}
	return admitted, nil
}

// timeoutOf is how long a probe may take: the module's timeout, or what the
// scraper announces less the offset if that is shorter.
func timeoutOf(header string, m bbconfig.Module) (time.Duration, error) {
	timeout := longest
	if header != "" {
		seconds, err := strconv.ParseFloat(header, 64)
		if err != nil {
			return 0, err
		}
		if seconds > 0 && seconds < longest.Seconds() {
			timeout = time.Duration(seconds * float64(time.Second))
		}
	}
	timeout -= Offset
	if m.Timeout > 0 && (m.Timeout < timeout || timeout < 0) {
		timeout = m.Timeout
	}
	return max(timeout, 0), nil
}

// serveOwn answers the scrape of a target of the configuration.
func (p *Prober) serveOwn(w http.ResponseWriter, r *http.Request) {
	cfg := p.current.Load()
	for _, t := range cfg.Targets {
		if t.Name != r.URL.Query().Get("name") {
			continue
		}
		j := job{module: cfg.Modules[t.Module], name: t.Module, target: t.Target, hostname: t.Hostname, timeout: max(t.scrapeTimeout()-Offset, t.scrapeTimeout()/2)}
		seen := &certificate{}
		var err error
		if j.pass, err = cfg.admit(j.module.Prober, j.target, true); err == nil {
			var res *result
			if res, err = p.probe(seen.watch(r.Context()), j); err == nil {
				if !res.success {
					p.logger.DebugContext(r.Context(), "probe failed", "probe", t.Name, "log", res.log.String())
				}
				// Nothing is gained by compressing what never leaves the process.
				promhttp.HandlerFor(prometheus.Gatherers{res.metrics, seen}, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, r)
				return
			}
		}
		p.logger.WarnContext(r.Context(), "a target cannot be probed", "probe", t.Name, "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.NotFound(w, r)
}

// debug is the answer to debug=true: the log, the metrics, and the module without
// what may be a secret.
func (r *result) debug() string {
	var b bytes.Buffer
	b.WriteString("Logs for the probe:\n")
	b.Write(r.log.Bytes())
	b.WriteString("\n\n\nMetrics that would have been returned:\n")
	families, err := r.metrics.Gather()
	if err != nil {
		fmt.Fprintf(&b, "Error gathering metrics: %s\n", err)
	}
	for _, f := range families {
		_, _ = expfmt.MetricFamilyToText(&b, f) // a buffer takes everything
	}
	shown := redacted(r.module)
	const section = "Module configuration:\n"
	_, module, _ := strings.Cut(prober.DebugOutput(&shown, &bytes.Buffer{}, prometheus.NewRegistry()), section)
	b.WriteString("\n\n\n" + section + module)
	return b.String()
}

// redacted blanks what a module may hold of secrets and its own encoding shows.
func redacted(m bbconfig.Module) bbconfig.Module {
	const blank = "<secret>"
	m.HTTP.Headers = maps.Clone(m.HTTP.Headers)
	for name := range m.HTTP.Headers {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Host", "Accept", "Accept-Language", "Accept-Encoding", "Content-Type", "User-Agent", "Origin":
		default:
			m.HTTP.Headers[name] = blank
		}
	}
	if m.HTTP.Body != "" {
		m.HTTP.Body = blank
	}
	m.GRPC.Metadata = maps.Clone(m.GRPC.Metadata)
	for name := range m.GRPC.Metadata {
		m.GRPC.Metadata[name] = []string{blank}
	}
	return m
}

// corrected is the metrics of a probe with the time moved to where it belongs:
// what was spent before the prober began, or in its guard.
type corrected struct {
	from    prometheus.Gatherer
	times   times
	lookups bool   // a name was resolved in place of the prober
	phases  string // metric of the durations by phase; "" if it has none
	refused bool
}

// Gather implements [prometheus.Gatherer].
func (c *corrected) Gather() ([]*dto.MetricFamily, error) {
	families, err := c.from.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.Gauge == nil {
				continue
			}
			switch {
			case c.lookups && f.GetName() == "probe_dns_lookup_time_seconds", c.phases == f.GetName() && phase(m) == "resolve":
				add(m, c.times.resolve)
			case c.phases == f.GetName() && phase(m) == "connect" && !c.lookups:
				add(m, c.times.connect-c.times.within)
			}
		}
	}
	return families, err
}

func phase(m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == "phase" {
			return l.GetValue()
		}
	}
	return ""
}

func add(m *dto.Metric, d time.Duration) {
	v := max(m.GetGauge().GetValue()+d.Seconds(), 0)
	m.Gauge.Value = &v
}

// memory serves HTTP to whoever holds it, without a network.
type memory struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	serve  sync.Once
	ended  sync.WaitGroup
}

func newMemory(h http.Handler) *memory {
	return &memory{
		server: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute},
		conns:  make(chan net.Conn), done: make(chan struct{}),
	}
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	m.serve.Do(func() {
		m.ended.Go(func() { _ = m.server.Serve(m) }) // ends with ErrServerClosed
	})
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) close() error {
	err := m.Close()
	m.serve.Do(func() {}) // no dial starts it any more
	err = errors.Join(err, m.server.Close())
	m.ended.Wait()
	return err
}

// Accept implements [net.Listener].
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

// Addr implements [net.Listener].
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: Host, Net: "memory"} }
