package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	bbconfig "github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	promconfig "github.com/prometheus/common/config"
	"golang.org/x/net/icmp"
)

// atOnce is how many probes of /probe run at a time; those of the configuration
// do not count.
const atOnce = 64

// Options are what probes need of the process they run in.
type Options struct {
	Logger     *slog.Logger          // silent if nil
	Registerer prometheus.Registerer // a registry of its own if nil

	// lookup resolves names; nil is the system's resolver.
	lookup lookup
}

// Prober probes. It is safe for concurrent use.
type Prober struct {
	logger  *slog.Logger
	lookup  lookup
	current atomic.Pointer[Config]
	slots   chan struct{}
	memory  *memory

	probes  *prometheus.CounterVec
	refused *prometheus.CounterVec
}

// New returns a prober that probes nothing until [Prober.Set].
func New(o Options) *Prober {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.lookup == nil {
		o.lookup = net.DefaultResolver.LookupNetIP
	}
	f := promauto.With(o.Registerer)
	p := &Prober{
		logger: o.Logger, lookup: o.lookup, slots: make(chan struct{}, atOnce),
		probes:  f.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_probes_total", Help: "Probes that were made, by result."}, []string{"result"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_probes_refused_total", Help: "Probes that were not allowed: their target, or an address that it led to."}, []string{"what"}),
	}
	for _, result := range []string{"success", "failure"} {
		p.probes.WithLabelValues(result)
	}
	for _, what := range []string{"target", "address"} {
		p.refused.WithLabelValues(what)
	}
	p.current.Store(&Config{})
	p.memory = newMemory(http.HandlerFunc(p.serveOwn))
	return p
}

// Set puts a configuration in force. It logs what the configuration asks for and
// this process cannot do.
func (p *Prober) Set(c Config) {
	p.current.Store(&c)
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		m := c.Modules[name]
		used := len(c.Allow) > 0 || slices.ContainsFunc(c.Targets, func(t Target) bool { return t.Module == name })
		if m.Prober != "icmp" || !used {
			continue
		}
		if err := icmpAllowed(m.ICMP); err != nil {
			p.logger.Warn("icmp probes cannot be made: "+icmpAdvice, "module", name, "err", err)
		}
	}
}

// Close ends what runs.
func (p *Prober) Close() error { return p.memory.close() }

// DialContext connects to the host at which the targets of the configuration are
// scraped.
func (p *Prober) DialContext(ctx context.Context) (net.Conn, error) { return p.memory.dial(ctx) }

const icmpAdvice = "give the daemon CAP_NET_RAW, or its group a place in net.ipv4.ping_group_range"

// icmpAllowed reports whether the sockets that a module needs can be opened.
func icmpAllowed(m bbconfig.ICMPProbe) error {
	raw, rawErr := (&net.ListenConfig{}).ListenPacket(context.Background(), "ip4:icmp", "0.0.0.0")
	if rawErr == nil {
		return raw.Close()
	}
	if m.DontFragment {
		return rawErr
	}
	plain, err := icmp.ListenPacket("udp4", "0.0.0.0")
	if err != nil {
		return errors.Join(rawErr, err)
	}
	return plain.Close()
}

// job is one probe to make.
type job struct {
	module   bbconfig.Module
	name     string // of the module
	target   string
	hostname string
	pass     pass
	timeout  time.Duration
}

// result is what a probe gave.
type result struct {
	metrics prometheus.Gatherer
	log     bytes.Buffer
	module  bbconfig.Module
	success bool
}

// probe makes one probe. It fails only for what the caller wrote.
func (p *Prober) probe(ctx context.Context, j job) (*result, error) {
	ask, ok := prober.Probers[j.module.Prober]
	if !ok {
		return nil, fmt.Errorf("Unknown prober %q", j.module.Prober) //nolint:staticcheck // blackbox_exporter's text
	}
	if err := withHostname(&j); err != nil {
		return nil, err
	}
	r := &result{module: j.module}
	logger := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("module", j.name, "target", j.target)
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
	defer cancel()
	registry := prometheus.NewRegistry()
	f := promauto.With(registry)
	success := f.NewGauge(prometheus.GaugeOpts{Name: "probe_success", Help: "Displays whether or not the probe was a success"})
	duration := f.NewGauge(prometheus.GaugeOpts{Name: "probe_duration_seconds", Help: "Returns how long the probe took to complete in seconds"})

	logger.DebugContext(ctx, "Beginning probe", "probe", j.module.Prober, "timeout_seconds", j.timeout.Seconds())
	begun := time.Now()
	fence := p.enclose(ctx, &j, logger)
	r.success = ask(fence.ctx, j.target, j.module, registry, logger)
	took := time.Since(begun)
	fixed := fence.done(registry)
	duration.Set(took.Seconds())
	outcome := "failure"
	if r.success {
		outcome = "success"
		success.Set(1)
		logger.DebugContext(ctx, "Probe succeeded", "duration_seconds", took.Seconds())
	} else {
		logger.ErrorContext(ctx, "Probe failed", "duration_seconds", took.Seconds())
	}
	p.probes.WithLabelValues(outcome).Inc()
	if fixed.refused {
		p.refused.WithLabelValues("address").Inc()
		p.logger.WarnContext(ctx, "a probe led to an address that may not be reached", "module", j.name, "host", j.pass.host)
	}
	r.metrics = fixed
	return r, nil
}

// withHostname sets the name that a probe asks for, as ?hostname= does.
func withHostname(j *job) error {
	if j.hostname == "" {
		return nil
	}
	switch j.module.Prober {
	case "http":
		for name, value := range j.module.HTTP.Headers {
			if textproto.CanonicalMIMEHeaderKey(name) == "Host" && value != j.hostname {
				return fmt.Errorf("host header defined both in module configuration (%s) and with URL-parameter 'hostname' (%s)", value, j.hostname)
			}
		}
		setHost(&j.module, j.hostname)
	case "tcp":
		tls := &j.module.TCP.TLSConfig
		tls.ServerName = cmp.Or(tls.ServerName, j.hostname)
	}
	return nil
}

// setHost sets the Host header of a module that is not shared yet.
func setHost(m *bbconfig.Module, host string) {
	headers := maps.Clone(m.HTTP.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	headers["Host"] = host
	m.HTTP.Headers = headers
}

// nowhere is a host that no resolver is asked about, since it is no name.
const nowhere = "refused..invalid"

// enclosed is a probe that can reach only what it may.
type enclosed struct {
	ctx   context.Context
	guard *guard
	fixed corrected
}

func (e *enclosed) done(registry *prometheus.Registry) *corrected {
	if e.guard != nil {
		e.fixed.times, e.fixed.refused = e.guard.close()
	}
	e.fixed.from = registry
	return &e.fixed
}

// enclose changes a job so that it reaches nothing but what its pass allows: with
// an address in place of the name, or through a guard. What cannot be reached is
// handed on as a host that does not exist, so that the prober fails with all of
// its metrics.
func (p *Prober) enclose(ctx context.Context, j *job, logger *slog.Logger) *enclosed {
	e := &enclosed{ctx: ctx}
	m := &j.module
	fail := func(err error) *enclosed {
		logger.ErrorContext(ctx, "The target cannot be reached", "err", err)
		e.fixed.refused = e.fixed.refused || errors.Is(err, errRefused)
		j.target = withHost(m.Prober, j.target, nowhere)
		return e
	}
	if m.Prober == "unix" {
		return e
	}
	if m.Prober == "icmp" {
		if err := icmpAllowed(m.ICMP); err != nil {
			logger.ErrorContext(ctx, "This process may not send icmp: "+icmpAdvice, "err", err)
		}
	}
	if m.Prober == "http" && !m.HTTP.UseHTTP3 {
		proxy := &m.HTTP.HTTPClientConfig.ProxyConfig
		own := proxy.ProxyURL.URL != nil || proxy.ProxyFromEnvironment
		if !own {
			g, err := newGuard(ctx, j.pass, p.lookup, logger)
			if err != nil {
				return fail(err)
			}
			e.guard = g
			e.fixed.phases = "probe_http_duration_seconds"
			proxy.ProxyURL, m.HTTP.SkipResolvePhaseWithProxy = promconfig.URL{URL: g.url()}, false
			return e
		}
		if m.HTTP.SkipResolvePhaseWithProxy {
			if addr, err := netip.ParseAddr(j.pass.host); err == nil {
				if err := j.pass.check("", j.pass.port, addr); err != nil {
					return fail(fmt.Errorf("%w: %w", errRefused, err))
				}
			}
			return e
		}
	}
	begun := time.Now()
	addr, err := p.resolve(ctx, j)
	if err != nil {
		return fail(err)
	}
	e.fixed.times.resolve = time.Since(begun)
	e.fixed.lookups, e.fixed.phases = true, phases(m.Prober)
	logger.DebugContext(ctx, "Resolved target address", "target", j.pass.host, "ip", addr.String())
	keepName(j)
	j.target = withHost(m.Prober, j.target, addr.String())
	return e
}

// phases is the metric in which a prober counts the time of resolving.
func phases(prober string) string {
	switch prober {
	case "tcp":
		return ""
	default:
		return "probe_" + prober + "_duration_seconds"
	}
}

// keepName leaves the target's name where it is more than what is resolved.
func keepName(j *job) {
	m := &j.module
	switch m.Prober {
	case "tcp":
		m.TCP.TLSConfig.ServerName = cmp.Or(m.TCP.TLSConfig.ServerName, j.pass.host)
	case "dns":
		m.DNS.TLSConfig.ServerName = cmp.Or(m.DNS.TLSConfig.ServerName, j.pass.host)
	case "grpc":
		m.GRPC.TLSConfig.ServerName = cmp.Or(m.GRPC.TLSConfig.ServerName, j.pass.host)
	case "http":
		tls := &m.HTTP.HTTPClientConfig.TLSConfig
		host := ""
		for name, value := range m.HTTP.Headers {
			if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
				host = value
			}
		}
		tls.ServerName = cmp.Or(tls.ServerName, host, j.pass.host)
		if host == "" {
			setHost(m, authority(j.target))
		}
		if m.HTTP.UseHTTP3 {
			m.HTTP.HTTPClientConfig.FollowRedirects = false // nothing looks where they lead
		}
	}
}

// authority is the host and port of a target as its Host header.
func authority(target string) string {
	if u, err := url.Parse(withScheme(target)); err == nil {
		return u.Host
	}
	return ""
}

func withScheme(target string) string {
	if u, err := url.Parse(target); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return target
	}
	return "http://" + target
}

// withHost replaces the host of a target.
func withHost(prober, target, host string) string {
	switch prober {
	case "icmp":
		return host
	case "tcp", "dns":
		if _, port, err := net.SplitHostPort(target); err == nil {
			return net.JoinHostPort(host, port)
		}
		return host
	}
	u, err := url.Parse(withScheme(target))
	if err != nil {
		return target
	}
	if port := u.Port(); port != "" {
		u.Host = net.JoinHostPort(host, port)
	} else if u.Host = host; strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	return u.String()
}

// resolve returns the address that a probe is going to use: of the preferred
// protocol if there is one, and allowed.
func (p *Prober) resolve(ctx context.Context, j *job) (netip.Addr, error) {
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(j.pass.host); err == nil {
		addrs = []netip.Addr{addr}
	} else if addrs, err = p.lookup(ctx, "ip", j.pass.host); err != nil {
		return netip.Addr{}, err
	}
	preferred, fallback := protocol(j.module)
	var refusal error
	var second netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap()
		if err := j.pass.check("", j.pass.port, addr); err != nil {
			refusal = fmt.Errorf("%w: %w", errRefused, err)
			continue
		}
		if addr.Is4() == (preferred == "ip4") {
			return addr, nil
		}
		if !second.IsValid() {
			second = addr
		}
	}
	switch {
	case second.IsValid() && fallback:
		return second, nil
	case second.IsValid():
		return second, fmt.Errorf("%s has no address of the protocol %s, and ip_protocol_fallback is off", j.pass.host, preferred)
	case refusal != nil:
		return second, refusal
	}
	return second, fmt.Errorf("%s has no address", j.pass.host)
}

// protocol is the preferred IP protocol of a module, and whether the other will
// do.
func protocol(m bbconfig.Module) (preferred string, fallback bool) {
	switch m.Prober {
	case "tcp":
		preferred, fallback = m.TCP.IPProtocol, m.TCP.IPProtocolFallback
	case "dns":
		preferred, fallback = m.DNS.IPProtocol, m.DNS.IPProtocolFallback
	case "icmp":
		preferred, fallback = m.ICMP.IPProtocol, m.ICMP.IPProtocolFallback
	case "grpc":
		// The prober dials whichever address answers, and cannot write an IPv6
		// address with a port.
		preferred, fallback = "ip4", m.GRPC.IPProtocolFallback || m.GRPC.PreferredIPProtocol != "ip4"
	default:
		preferred, fallback = m.HTTP.IPProtocol, m.HTTP.IPProtocolFallback
	}
	return cmp.Or(preferred, "ip6"), fallback
}
