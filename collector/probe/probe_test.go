package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	bbconfig "github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

const peerModules = `
modules:
  http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}
  https_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, fail_if_not_ssl: true, tls_config: {insecure_skip_verify: true}}}
  http_regex: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, fail_if_body_matches_regexp: [fine]}}
  http_alone: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, follow_redirects: false}}
  tcp_connect: {prober: tcp, timeout: 5s, tcp: {preferred_ip_protocol: ip4}}
  tcp_tls: {prober: tcp, timeout: 5s, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {insecure_skip_verify: true}}}
  dns_a: {prober: dns, timeout: 5s, dns: {preferred_ip_protocol: ip4, query_name: watchbill.example., query_type: A}}
  dns_soa: {prober: dns, timeout: 5s, dns: {preferred_ip_protocol: ip4, query_name: watchbill.example., query_type: SOA, transport_protocol: tcp}}
`

func modulesOf(t testing.TB, text string) map[string]bbconfig.Module {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blackbox.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c := bbconfig.NewSafeConfig(prometheus.NewRegistry())
	require.NoError(t, c.ReloadConfig(path, nil))
	return c.C.Modules
}

func allow(t testing.TB, lines ...string) []Allow {
	t.Helper()
	var out []Allow
	for _, line := range lines {
		a, err := ParseAllow(line)
		require.NoError(t, err)
		out = append(out, a)
	}
	return out
}

func newProber(t testing.TB, c Config, look lookup) *Prober {
	t.Helper()
	p := New(Options{lookup: look})
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	p.Set(c)
	return p
}

func ask(p *Prober, module, target, more string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/probe?module="+module+"&target="+url.QueryEscape(target)+more, nil))
	return rec
}

func families(t testing.TB, text io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	out, err := parser.TextToMetricFamilies(text)
	require.NoError(t, err)
	return out
}

func value(t testing.TB, rec *httptest.ResponseRecorder, name string) float64 {
	t.Helper()
	require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
	f := families(t, strings.NewReader(rec.Body.String()))[name]
	require.NotNil(t, f, "%s is not in %s", name, rec.Body)
	return f.GetMetric()[0].GetGauge().GetValue()
}

// dnsServer answers every question, over UDP and TCP.
func dnsServer(t *testing.T) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", conn.LocalAddr().String())
	require.NoError(t, err)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		text := "watchbill.example. 60 IN A 192.0.2.1"
		if q.Question[0].Qtype == dns.TypeSOA {
			text = "watchbill.example. 60 IN SOA ns.example. me.example. 2026112301 1 1 1 1"
		}
		rr, err := dns.NewRR(text)
		if err == nil {
			m.Answer = append(m.Answer, rr)
			_ = w.WriteMsg(m)
		}
	})
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: h}, {Listener: l, Handler: h}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return conn.LocalAddr().String()
}

// Debian's blackbox_exporter (0.23) and this prober give the same metrics with
// the same values about the same servers, measured times and what later versions
// added aside.
func TestBesideBlackboxExporter(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("prometheus-blackbox-exporter")
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") == "" {
		t.Skip("prometheus-blackbox-exporter is not installed")
	}
	require.NoError(t, err)
	peer := startPeer(t, program)

	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/broken":
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, "all is fine")
		}
	})
	plain, secure := httptest.NewServer(page), httptest.NewTLSServer(page)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	jump := httptest.NewServer(http.RedirectHandler(secure.URL, http.StatusFound))
	t.Cleanup(jump.Close)
	names := dnsServer(t)
	dead, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, dead.Close())

	p := newProber(t, Config{Modules: modulesOf(t, peerModules), Allow: allow(t, "127.0.0.0/8", "*.invalid", "localhost")}, nil)
	host := func(u string) string { return strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "http://") }
	for _, x := range []struct {
		module, target string
		success        float64
	}{
		{"http_2xx", plain.URL, 1},
		{"http_2xx", host(plain.URL), 1},
		{"http_2xx", strings.Replace(plain.URL, "127.0.0.1", "localhost", 1), 1},
		{"http_2xx", plain.URL + "/moved", 1},
		{"http_2xx", plain.URL + "/broken", 0},
		{"http_2xx", "http://" + dead.Addr().String(), 0},
		{"http_2xx", "http://nowhere.invalid/", 0},
		{"http_alone", plain.URL + "/moved", 0},
		{"http_regex", plain.URL, 0},
		{"https_2xx", secure.URL, 1},
		{"https_2xx", jump.URL, 1},
		{"https_2xx", plain.URL, 0},
		{"http_2xx", secure.URL, 0}, // its certificate is not trusted
		{"tcp_connect", host(plain.URL), 1},
		{"tcp_connect", dead.Addr().String(), 0},
		{"tcp_tls", host(secure.URL), 1},
		{"tcp_tls", host(plain.URL), 0},
		{"dns_a", names, 1},
		{"dns_a", strings.Replace(names, "127.0.0.1", "localhost", 1), 1},
		{"dns_soa", names, 1},
	} {
		t.Run(x.module+" "+x.target, func(t *testing.T) {
			rec := ask(p, x.module, x.target, "")
			require.Equal(t, x.success, value(t, rec, "probe_success"), "%s", ask(p, x.module, x.target, "&debug=true").Body)
			resp, err := http.Get(peer + "/probe?module=" + x.module + "&target=" + url.QueryEscape(x.target))
			require.NoError(t, err)
			defer resp.Body.Close()
			theirs, ours := plainValues(families(t, resp.Body)), plainValues(families(t, rec.Body))
			if strings.HasPrefix(x.module, "tcp") && x.success == 0 {
				// Since 0.28 it is there only once there is a connection to read from.
				require.Equal(t, "0", theirs["probe_failed_due_to_regex{}"])
				delete(theirs, "probe_failed_due_to_regex{}")
			}
			require.Equal(t, theirs, ours)
		})
	}
}

// plainValues are the samples that two probes of the same thing must agree in.
// Of times the names alone are compared. Left out is what versions after Debian's
// added: two metrics, and a label of probe_ssl_last_chain_info.
func plainValues(all map[string]*dto.MetricFamily) map[string]string {
	out := map[string]string{}
	for name, f := range all {
		if name == "probe_tls_cipher_info" || name == "probe_failed_due_to_bytes" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "serialnumber" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			slices.Sort(labels)
			v := fmt.Sprint(m.GetGauge().GetValue())
			if strings.HasSuffix(name, "_seconds") && !strings.Contains(name, "timestamp") {
				v = "a time"
			}
			out[name+"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return out
}

// startPeer starts a blackbox_exporter and returns its address.
func startPeer(t *testing.T, program string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	file := filepath.Join(t.TempDir(), "blackbox.yml")
	require.NoError(t, os.WriteFile(file, []byte(peerModules), 0o600))
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+file, "--web.listen-address="+addr)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // killed by the test's context
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + addr + "/-/healthy")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond)
	return "http://" + addr
}

// Who may be probed, and which addresses a probe may dial.
func TestAccess(t *testing.T) {
	t.Parallel()
	named := Config{
		Modules: modulesOf(t, peerModules), Allow: allow(t, "shop.example.com", "*.corp.example.com:443", "db.corp:5432"),
		Targets: []Target{{Name: "own", Module: "http_2xx", Target: "http://127.0.0.1:8080/health"}},
	}
	networks := Config{Allow: allow(t, "10.1.0.0/16", "127.0.0.1:9115")}
	for name, x := range map[string]struct {
		cfg            Config
		prober, target string
		admitted       bool
		host, port     string // of the connection; "": the target's own
		addr           string
		reached        bool
	}{
		"nobody named it":                         {cfg: named, prober: "http", target: "http://evil.example.net"},
		"modules alone allow nothing":             {prober: "http", target: "http://shop.example.com"},
		"by name":                                 {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "203.0.113.7", reached: true},
		"by name, somewhere private":              {cfg: named, prober: "http", target: "shop.example.com", admitted: true, addr: "10.9.9.9", reached: true},
		"by name, on another port than allowed":   {cfg: named, prober: "tcp", target: "db.corp:22"},
		"by name, which leads to this machine":    {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "127.0.0.1"},
		"by name, which leads to metadata":        {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "169.254.169.254"},
		"metadata over IPv6":                      {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "fd00:ec2::254"},
		"metadata inside of NAT64":                {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "64:ff9b::a9fe:a9fe"},
		"loopback inside of IPv6":                 {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "::ffff:127.0.0.1"},
		"loopback inside of 6to4":                 {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "2002:7f00:1::1"},
		"link-local":                              {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "fe80::1"},
		"unspecified":                             {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, addr: "::"},
		"a star, https":                           {cfg: named, prober: "http", target: "https://a.b.corp.example.com", admitted: true, addr: "10.0.0.1", reached: true},
		"a star is no loopback":                   {cfg: named, prober: "http", target: "https://a.corp.example.com", admitted: true, addr: "::1"},
		"a star on the wrong port":                {cfg: named, prober: "http", target: "http://a.corp.example.com"},
		"the name's end is not the name":          {cfg: named, prober: "http", target: "http://eviltocorp.example.com:443"},
		"the configuration's own, spelled out":    {cfg: named, prober: "http", target: "http://127.0.0.1:8080/health", admitted: true, addr: "127.0.0.1", reached: true},
		"the configuration's own, another path":   {cfg: named, prober: "http", target: "http://127.0.0.1:8080/admin"},
		"a redirect to somewhere public":          {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, host: "www.example.com", port: "80", addr: "203.0.113.8", reached: true},
		"a redirect to somewhere private":         {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, host: "10.0.0.5", port: "80", addr: "10.0.0.5"},
		"a redirect to what is allowed":           {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, host: "sso.corp.example.com", port: "443", addr: "10.0.0.5", reached: true},
		"a redirect to this machine":              {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, host: "127.0.0.1", port: "80", addr: "127.0.0.1"},
		"a redirect to metadata":                  {cfg: named, prober: "http", target: "http://shop.example.com", admitted: true, host: "169.254.169.254", port: "80", addr: "169.254.169.254"},
		"by network":                              {cfg: networks, prober: "tcp", target: "10.1.2.3:5432", admitted: true, addr: "10.1.2.3", reached: true},
		"a name in a network":                     {cfg: networks, prober: "icmp", target: "db1", admitted: true, addr: "10.1.2.3", reached: true},
		"a name that is not":                      {cfg: networks, prober: "icmp", target: "db1", admitted: true, addr: "10.2.0.1"},
		"by network, a redirect out of it":        {cfg: networks, prober: "http", target: "http://10.1.2.3", admitted: true, host: "www.example.com", port: "80", addr: "203.0.113.8"},
		"loopback with its port":                  {cfg: networks, prober: "tcp", target: "127.0.0.1:9115", admitted: true, addr: "127.0.0.1", reached: true},
		"a socket that nobody named":              {cfg: networks, prober: "unix", target: "/run/docker.sock"},
		"a target that is no address":             {cfg: named, prober: "tcp", target: "shop.example.com"},
		"a target with a user that looks like it": {cfg: named, prober: "http", target: "http://shop.example.com@evil.example.net/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := x.cfg.admit(x.prober, x.target, false)
			require.Equal(t, x.admitted, err == nil, "%v", err)
			if err != nil {
				return
			}
			err = p.check(x.host, x.port, netip.MustParseAddr(x.addr))
			require.Equal(t, x.reached, err == nil, "%v", err)
		})
	}
}

// A name that resolves to something harmless when it is looked at, and to this
// machine when it is dialled, reaches nothing; nor does a redirect to it.
func TestRebinding(t *testing.T) {
	t.Parallel()
	hits := make(chan string, 10)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hits <- r.Host }))
	t.Cleanup(inside.Close)
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	require.NoError(t, err)
	outside := httptest.NewServer(http.RedirectHandler("http://rebound.example.com:"+port+"/latest/meta-data", http.StatusFound))
	t.Cleanup(outside.Close)
	calls := 0
	look := func(context.Context, string, string) ([]netip.Addr, error) {
		if calls++; calls == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil // at the first dial already
		}
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	p := newProber(t, Config{
		Modules: modulesOf(t, peerModules),
		Allow:   allow(t, "rebound.example.com"),
		Targets: []Target{{Name: "outside", Module: "http_2xx", Target: outside.URL}},
	}, look)
	for _, x := range []struct{ module, target string }{
		{"tcp_connect", "rebound.example.com:" + port},
		{"http_2xx", outside.URL}, // whose redirect leads there
	} {
		rec := ask(p, x.module, x.target, "")
		require.Zero(t, value(t, rec, "probe_success"), x.target)
		require.Contains(t, ask(p, x.module, x.target, "&debug=true").Body.String(), "is an address of this machine", x.target)
	}
	require.Empty(t, hits)
}

// The guard serves nobody but its probe.
func TestGuardWantsItsPassword(t *testing.T) {
	t.Parallel()
	p := newProber(t, Config{}, nil)
	g, err := newGuard(t.Context(), pass{named: true, allow: allow(t, "127.0.0.1")}, p.lookup, p.logger)
	require.NoError(t, err)
	defer g.close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	defer srv.Close()
	for password, ok := range map[string]bool{g.password: true, "guess": false} {
		u := g.url()
		u.User = url.UserPassword("probe", password)
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u), DisableKeepAlives: true}}
		resp, err := client.Get(srv.URL)
		require.Equal(t, ok, err == nil, "%v", err)
		if ok {
			require.NoError(t, resp.Body.Close())
		}
	}
}

// Statuses and texts are blackbox_exporter's.
func TestAnswers(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	t.Cleanup(srv.Close)
	p := newProber(t, Config{Modules: modulesOf(t, `
modules:
  http_2xx: {prober: http, http: {headers: {X-Api-Key: hunter2}}}
  named: {prober: http, http: {headers: {Host: a.example.com}}}
  vhost: {prober: http, http: {fail_if_body_not_matches_regexp: ["^b.example.com$"]}}
  odd: {prober: odd}
`), Allow: allow(t, "127.0.0.1")}, nil)
	for _, x := range []struct {
		query, header string
		code          int
		body          string
	}{
		{"?module=none&target=x", "", 400, `Unknown module "none"`},
		{"?module=http_2xx", "", 400, "Target parameter is missing"},
		{"?target=" + srv.URL, "", 200, "probe_success 1"},
		{"?module=odd&target=" + srv.URL, "", 400, `Unknown prober "odd"`},
		{"?target=" + srv.URL, "soon", 500, "Failed to parse timeout from Prometheus header"},
		{"?target=" + srv.URL, "5", 200, "probe_success 1"},
		{"?module=named&hostname=b.example.com&target=" + srv.URL, "", 400, "host header defined both"},
		{"?module=vhost&hostname=b.example.com&target=" + srv.URL, "", 200, "probe_success 1"},
		{"?module=vhost&target=" + srv.URL, "", 200, "probe_success 0"},
		{"?target=http://other.invalid", "", 200, "probe_success 0"},
		{"?target=http://192.0.2.1", "", 403, "may not be probed"},
	} {
		req := httptest.NewRequest(http.MethodGet, "/probe"+x.query, nil)
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", x.header)
		rec := httptest.NewRecorder()
		p.ServeHTTP(rec, req)
		require.Equal(t, x.code, rec.Code, "%s: %s", x.query, rec.Body)
		require.Contains(t, rec.Body.String(), x.body, x.query)
	}
	rec := ask(p, "http_2xx", srv.URL, "&debug=true")
	for _, part := range []string{"Logs for the probe:", "Metrics that would have been returned:", "probe_http_status_code 200", "Module configuration:", "prober: http"} {
		require.Contains(t, rec.Body.String(), part)
	}
	require.NotContains(t, rec.Body.String(), "hunter2")
	for range atOnce {
		p.slots <- struct{}{}
	}
	require.Equal(t, http.StatusServiceUnavailable, ask(p, "http_2xx", srv.URL, "").Code)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		header string
		module time.Duration
		want   time.Duration
	}{
		{"", 0, longest - Offset},
		{"", 5 * time.Second, 5 * time.Second},
		{"10", 0, 9500 * time.Millisecond},
		{"10", 5 * time.Second, 5 * time.Second},
		{"4", 5 * time.Second, 3500 * time.Millisecond},
		{"0.2", 5 * time.Second, 5 * time.Second},
		{"1e300", 0, longest - Offset},
	} {
		got, err := timeoutOf(x.header, bbconfig.Module{Timeout: x.module})
		require.NoError(t, err)
		require.Equal(t, x.want, got, "%+v", x)
	}
}

func FuzzAllow(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "*.example.com:443", "[::1]:80", "/run/x.sock", "a", "*", "1.2.3.4", "::1%eth0"} {
		f.Add(s, "http://"+s)
	}
	f.Fuzz(func(t *testing.T, line, target string) {
		a, err := ParseAllow(line)
		if err != nil {
			return
		}
		for _, prober := range []string{"http", "tcp", "dns", "icmp", "grpc", "unix"} {
			p, err := Config{Allow: []Allow{a}}.admit(prober, target, false)
			if err == nil && !a.net.IsValid() && strings.HasPrefix(line, "*") {
				require.Error(t, p.check("", p.port, netip.MustParseAddr("169.254.169.254")), "a pattern of names opens no metadata")
			}
		}
	})
}

func FuzzSocksRequest(f *testing.F) {
	f.Add([]byte{5, 1, 0, 1, 127, 0, 0, 1, 0, 80})
	f.Add([]byte{5, 1, 0, 3, 1, 'a', 0, 80})
	f.Fuzz(func(t *testing.T, b []byte) {
		host, port, err := request(strings.NewReader(string(b)))
		if err == nil {
			require.NotEmpty(t, port)
			require.LessOrEqual(t, len(host), 255)
		}
	})
}
