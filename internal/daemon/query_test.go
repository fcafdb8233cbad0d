package daemon_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/testkit"
)

// onNetwork runs a daemon on the real network, with a configuration to which the
// crew is added, and returns it with the host and port of its API.
func onNetwork(t *testing.T, yaml string) (*daemon.Daemon, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "watchbill.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
external_url: http://watchbill.test
store: sqlite:watchbill.db
self_monitoring: false
roles: {preset: operations}
people: [{name: frank, roles: [manager, deployment, infrastructure, security, support], contact: [{receiver: terminal}]}]
`+yaml), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	d, err := daemon.New(ctx, daemon.Options{
		Load:   func() (*config.Config, error) { return config.Load(file, nil) },
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Listener: l,
	})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return d, l.Addr().String()
}

func scopedToken(t *testing.T, d *daemon.Daemon, scope auth.Scope) string {
	t.Helper()
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Name: "test", Scopes: []auth.Scope{scope}, CreatedBy: "test"})
	require.NoError(t, err)
	return secret.Reveal()
}

// scraped is a configuration that scrapes a service every second and records and
// alerts on it.
func scraped(t *testing.T) string {
	t.Helper()
	shop := httptest.NewServer(testkit.NewService())
	t.Cleanup(shop.Close)
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(`
groups:
  - name: shop
    rules:
      - {record: shop:up, expr: sum(up)}
      - {alert: ShopIsThere, expr: 'up == 1', for: 1h, labels: {severity: info}}
`), 0o600))
	return fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: shop
    static_configs: [{targets: [%q], labels: {service: shop}}]
rule_files: [%q]
`, strings.TrimPrefix(shop.URL, "http://"), rules)
}

// The client that Go programs use for Prometheus works, with a token.
func TestClientOfPrometheus(t *testing.T) {
	t.Parallel()
	d, addr := onNetwork(t, scraped(t))
	token := scopedToken(t, d, auth.ScopeRead)
	ask := func(rt http.RoundTripper) v1.API {
		client, err := api.NewClient(api.Config{Address: "http://" + addr, RoundTripper: rt})
		require.NoError(t, err)
		return v1.NewAPI(client)
	}
	prom := ask(promconfig.NewAuthorizationCredentialsRoundTripper("Bearer", promconfig.NewInlineSecret(token), http.DefaultTransport))
	ctx := t.Context()
	require.Eventually(t, func() bool {
		v, _, _, err := prom.Query(ctx, `shop:up == 1 and on() ALERTS{alertname="ShopIsThere"}`, time.Now())
		return err == nil && len(v.(model.Vector)) == 1
	}, 20*time.Second, 50*time.Millisecond)
	now := time.Now()
	hour := v1.Range{Start: now.Add(-time.Minute), End: now, Step: time.Second}
	matrix, _, _, err := prom.QueryRange(ctx, `up{service="shop"}`, hour)
	require.NoError(t, err)
	require.Len(t, matrix.(model.Matrix), 1)
	series, _, _, err := prom.Series(ctx, []string{"http_requests_total"}, hour.Start, hour.End)
	require.NoError(t, err)
	require.Len(t, series, 2)
	names, _, _, err := prom.LabelNames(ctx, nil, hour.Start, hour.End)
	require.NoError(t, err)
	require.Subset(t, names, model.LabelNames{"__name__", "code", "instance", "job", "service"})
	values, _, _, err := prom.LabelValues(ctx, "code", nil, hour.Start, hour.End)
	require.NoError(t, err)
	require.Equal(t, model.LabelValues{"200", "500"}, values)
	targets, err := prom.Targets(ctx)
	require.NoError(t, err)
	require.Len(t, targets.Active, 1)
	require.Equal(t, v1.HealthGood, targets.Active[0].Health)
	meta, err := prom.Metadata(ctx, "http_requests_total", "")
	require.NoError(t, err)
	require.Equal(t, "Requests by code.", meta["http_requests_total"][0].Help)
	ofTargets, err := prom.TargetsMetadata(ctx, `{job="shop"}`, "http_requests_total", "")
	require.NoError(t, err)
	require.Len(t, ofTargets, 1)
	rules, err := prom.Rules(ctx, nil)
	require.NoError(t, err)
	require.Len(t, rules.Groups, 3, "recording and alert rules are evaluated apart, and the job is watched")
	alerts, err := prom.Alerts(ctx)
	require.NoError(t, err)
	require.Equal(t, v1.AlertStatePending, alerts.Alerts[0].State)
	info, err := prom.Buildinfo(ctx)
	require.NoError(t, err)
	require.Regexp(t, `^3\.`, info.Version)
	exemplars, err := prom.QueryExemplars(ctx, "http_requests_total", hour.Start, hour.End)
	require.NoError(t, err)
	require.Empty(t, exemplars)

	_, _, _, err = prom.Query(ctx, "sum(", now)
	require.ErrorContains(t, err, "bad_data: ")
	_, err = prom.Config(ctx)
	require.ErrorContains(t, err, "404")
	require.ErrorContains(t, prom.CleanTombstones(ctx), "404")
	_, _, _, err = ask(http.DefaultTransport).Query(ctx, "up", now)
	require.ErrorContains(t, err, "401")
	alertsOnly := promconfig.NewInlineSecret(scopedToken(t, d, auth.ScopeAlerts))
	_, _, _, err = ask(promconfig.NewAuthorizationCredentialsRoundTripper("Bearer", alertsOnly, http.DefaultTransport)).Query(ctx, "up", now)
	require.ErrorContains(t, err, "403")
}

// promtool's query commands work, with the token as the address' password.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := peer(t, "promtool")
	d, addr := onNetwork(t, scraped(t))
	server := "http://me:" + scopedToken(t, d, auth.ScopeRead) + "@" + addr
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), promtool, append([]string{"query"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Eventually(t, func() bool { return strings.Contains(run("instant", server, "shop:up"), "=> 1 @") }, 20*time.Second, 200*time.Millisecond)
	require.Contains(t, run("range", server, `up{job="shop"}`), `up{instance="`)
	require.Contains(t, run("series", "--match=http_requests_total", server), `code="500"`)
	require.Equal(t, "200\n500\n", run("labels", server, "code"))
	out, err := exec.CommandContext(t.Context(), promtool, "query", "instant", "http://me:wrong@"+addr, "up").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "401")
}
