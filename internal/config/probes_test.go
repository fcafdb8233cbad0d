package config

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/collector"
	"watchbill/collector/probe"
)

const exampleModules = `modules:
  http_2xx_example:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      valid_status_codes: []
      method: GET
      headers:
        Host: vhost.example.com
        Accept-Language: en-US
        Upgrade-Insecure-Requests: 1
      follow_redirects: true
      fail_if_ssl: false
      fail_if_not_ssl: false
      fail_if_body_matches_regexp: ["Could not connect to database"]
      fail_if_body_not_matches_regexp: ['[\w]+ and "quotes"']
      fail_if_header_matches: [{header: Set-Cookie, allow_missing: true, regexp: '.*'}]
      fail_if_header_not_matches: [{header: Access-Control-Allow-Origin, regexp: '(\*|example\.com)'}]
      fail_if_body_json_matches_cel: body.status == "down"
      tls_config: {insecure_skip_verify: false}
      preferred_ip_protocol: "ip4"
      ip_protocol_fallback: false
      body_size_limit: 1MB
  http_with_proxy: {prober: http, http: {proxy_url: "http://127.0.0.1:3128", skip_resolve_phase_with_proxy: true}}
  http_post_2xx: {prober: http, timeout: 5s, http: {method: POST, headers: {Content-Type: application/json}, body: '{}'}}
  http_basic_auth: {prober: http, http: {basic_auth: {username: a, password: mysecret}}}
  http_oauth2: {prober: http, http: {oauth2: {client_id: c, client_secret: s, token_url: "https://api.example.com/token"}}}
  http_gzip: {prober: http, http: {compression: gzip, headers: {Accept-Encoding: "gzip"}}}
  http_3: {prober: http, http: {enable_http2: false, enable_http3: true, valid_http_versions: ["HTTP/3.0"]}}
  tls_connect: {prober: tcp, timeout: 5s, tcp: {tls: true}}
  tcp_connect: {prober: tcp}
  imap_starttls:
    prober: tcp
    tcp: {query_response: [{expect: "OK.*STARTTLS"}, {send: ". STARTTLS"}, {expect: OK}, {starttls: true}, {send: ". capability"}, {expect: "CAPABILITY IMAP4rev1"}]}
  pop3s_banner: {prober: tcp, tcp: {query_response: [{expect: "^+OK"}], tls: true, tls_config: {insecure_skip_verify: false}}}
  ssh_banner: {prober: tcp, tcp: {query_response: [{expect: "^SSH-2.0-([^ -]+)(?: (.*))?$", labels: [{name: version, value: "${1}"}]}, {send: "SSH-2.0-check"}]}}
  irc_banner: {prober: tcp, tcp: {query_response: [{send: "NICK prober"}, {expect: "PING :([^ ]+)", send: "PONG ${1}"}, {expect_bytes: "001"}]}}
  icmp: {prober: icmp, timeout: 5s, icmp: {preferred_ip_protocol: "ip4", source_ip_address: "127.0.0.1", ttl: 5, payload_size: 64}}
  dns_udp:
    prober: dns
    dns:
      query_name: www.example.com
      query_type: A
      valid_rcodes: [NOERROR]
      validate_answer_rrs: {fail_if_matches_regexp: [".*127.0.0.1"], fail_if_not_matches_regexp: ["www.example.com.\t300\tIN\tA\t127.0.0.1"]}
  dns_tls: {prober: dns, dns: {query_name: example.com, transport_protocol: tcp, dns_over_tls: true}}
  grpc: {prober: grpc, grpc: {tls: true, preferred_ip_protocol: ip4, service: s, metadata: {a: [b]}}}
  unix: {prober: unix, unix: {query_response: [{expect: "^ok"}]}}
`

// Module files load as they are: one with the keys of the documentation, and that
// of Debian's package.
func TestModuleFilesLoadUnchanged(t *testing.T) {
	t.Parallel()
	debian, err := os.ReadFile("/etc/prometheus/blackbox.yml")
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") != "" {
		require.NoError(t, err)
	}
	for name, x := range map[string]struct {
		text    string
		modules int
	}{"example": {exampleModules, 18}, "debian": {string(debian), 10}} {
		if x.text == "" {
			continue
		}
		cfg := load(t, map[string]string{"watchbill.yaml": crew + "probes: blackbox.yml\n", "blackbox.yml": x.text})
		require.Len(t, cfg.Collector.Probes.Modules, x.modules, name)
		require.Len(t, cfg.Warnings, 1, "nothing may be probed: %v", cfg.Warnings)
	}
	m := load(t, map[string]string{"watchbill.yaml": crew + "probes: b.yml\n", "b.yml": exampleModules}).Collector.Probes.Modules
	require.Equal(t, "1", m["http_2xx_example"].HTTP.Headers["Upgrade-Insecure-Requests"])
	require.Equal(t, `[\w]+ and "quotes"`, m["http_2xx_example"].HTTP.FailIfBodyNotMatchesRegexp[0].String())
	require.Equal(t, "mysecret", string(m["http_basic_auth"].HTTP.HTTPClientConfig.BasicAuth.Password))
	require.Contains(t, m["dns_udp"].DNS.ValidateAnswer.FailIfNotMatchesRegexp[0], "\t300\t")
}

func TestProbes(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{
		"watchbill.yaml": crew + `global: {scrape_interval: 20s}
services: [{name: shop}]
probes:
  modules: b.yml
  allow: [10.0.0.0/8, "*.example.com:443"]
  targets:
    - {name: home, module: tls_connect, target: "shop.example.com:443", hostname: x.example.com, interval: 30s, timeout: 4s, labels: {service: shop}}
    - {name: away, module: tcp_connect, target: "http://user:pw@shop.example.com/", severity: warning}
`, "b.yml": exampleModules,
	})
	require.Empty(t, cfg.Warnings)
	p := cfg.Collector.Probes
	require.Len(t, p.Allow, 2)
	require.Equal(t, probe.Target{
		Name: "home", Module: "tls_connect", Target: "shop.example.com:443", Hostname: "x.example.com", Severity: "page",
		Interval: 30 * time.Second, Timeout: 4 * time.Second, Labels: map[string]string{"service": "shop"},
	}, p.Targets[0])
	require.Equal(t, 20*time.Second, p.Targets[1].Interval)
	text := string(cfg.Collector.Prometheus)
	require.Contains(t, text, "probe of home")
	require.NotContains(t, text, "user:pw")
	rules := cfg.Collector.Rules[slices.IndexFunc(cfg.Collector.Rules, func(f collector.RuleFile) bool { return f.Name == probe.RulesName })]
	require.Contains(t, string(rules.Content), `{instance=\"shop.example.com:443\",job=\"probe/tls_connect\",probe=\"home\",service=\"shop\"}`)

	cfg = load(t, map[string]string{"watchbill.yaml": crew + "probes: {modules: b.yml, alerts: false, targets: [{name: a, module: icmp, target: a}]}\n", "b.yml": exampleModules})
	require.Empty(t, cfg.Collector.Rules)
}

func TestMistakesInProbes(t *testing.T) {
	t.Parallel()
	const module = "modules:\n  ok: {prober: http}\n"
	for name, x := range map[string]struct{ probes, modules, want string }{
		"unknown key":         {"b.yml", "modules:\n  a:\n    prober: http\n    http:\n      metod: GET\n", `b.yml:5:7: module: unknown key "metod"; did you mean "method"?`},
		"wrong value":         {"b.yml", "modules:\n  a:\n    prober: dns\n    dns:\n      query_type: A\n", "b.yml:5:7: module: query name must be set for DNS module"},
		"bad expression":      {"b.yml", "modules:\n  a:\n    prober: http\n    http:\n      fail_if_body_matches_regexp: ['(']\n", "Could not compile regular expression"},
		"unknown prober":      {"b.yml", "modules:\n  a: {prober: htp}\n", `b.yml:2:15: there is no prober "htp"; did you mean "http"?`},
		"not a module file":   {"b.yml", "module: {}\n", `b.yml:1:1: unknown key "module" in a module file; did you mean "modules"?`},
		"not YAML":            {"b.yml", "modules: [\n", "this is not YAML"},
		"no file":             {"gone.yml", module, "gone.yml cannot be read"},
		"no modules":          {"{allow: [a]}", module, "probes without modules"},
		"unknown module":      {"{modules: b.yml, targets: [{name: a, module: oc, target: x}]}", module, `there is no module "oc"; did you mean "ok"?`},
		"a name twice":        {"{modules: b.yml, targets: [{name: a, module: ok, target: x}, {name: a, module: ok, target: y}]}", module, `a second target "a"`},
		"no target":           {"{modules: b.yml, targets: [{name: a, module: ok}]}", module, "a target to probe without target"},
		"too seldom":          {"{modules: b.yml, targets: [{name: a, module: ok, target: x, interval: 1h}]}", module, "between 1s and 5m"},
		"timeout":             {"{modules: b.yml, targets: [{name: a, module: ok, target: x, interval: 10s, timeout: 20s}]}", module, "longer than the interval"},
		"label of our own":    {"{modules: b.yml, targets: [{name: a, module: ok, target: x, labels: {severity: page}}]}", module, "write severity: beside labels"},
		"label that is none":  {"{modules: b.yml, targets: [{name: a, module: ok, target: x, labels: {a-b: c}}]}", module, "is not the name of a label"},
		"what is not allowed": {"{modules: b.yml, allow: ['a*b']}", module, `"a*b" cannot be allowed`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := mistakes(t, map[string]string{"watchbill.yaml": crew + "probes: " + x.probes + "\n", "b.yml": x.modules})
			require.Contains(t, problems.Error(), x.want)
		})
	}
}

// Secrets of a module file are not shown.
func TestProblemsOfModulesHideSecrets(t *testing.T) {
	t.Parallel()
	problems := mistakes(t, map[string]string{
		"watchbill.yaml": crew + "probes: b.yml\n",
		"b.yml":          "modules:\n  a: {prober: http, http: {basic_auth: {username: a, password: hunter2, pass: hunter2}}}\n",
	})
	var b strings.Builder
	problems.Print(&b)
	require.NotContains(t, b.String()+problems.Error(), "hunter2")
}
