package config

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLogsAndServer(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": crew + `
logs:
  - name: auth
    url: http://loki:3100
    tenant: shop
    http_config: {authorization: {credentials_file: secrets/loki}}
    queries:
      - {record: failures, expr: 'sum(count_over_time({app="auth"}[1m]))', interval: 2m, offset: 30s, labels: {environment: prod}}
      - {record: failures, expr: 'sum(count_over_time({app="auth"}[1m]))', labels: {environment: test}, severity: warning}
prometheus: {url: "http://mimir:9009/prometheus", tenant: shop, timeout: 5s, http_config: {basic_auth: {username: u, password_file: secrets/loki}}, local_rule_files: [local.yaml]}
limits: {series_per_job: 7}
vanishing: {alerts: false}
`, "secrets/loki": canary, "local.yaml": "groups: []\n"})
	require.Empty(t, cfg.Warnings)
	c := cfg.Collector
	require.Equal(t, 7, c.Limits.SeriesPerJob)
	require.False(t, c.Vanishing.Alerts)
	require.Len(t, c.Logs.Sources, 1)
	s := c.Logs.Sources[0]
	require.Equal(t, []string{"auth", "http://loki:3100", "shop"}, []string{s.Name, s.URL.String(), s.Tenant})
	require.True(t, filepath.IsAbs(s.HTTP.Authorization.CredentialsFile))
	require.True(t, s.HTTP.FollowRedirects, "Prometheus' default")
	q := s.Queries[0]
	require.Equal(t, []time.Duration{2 * time.Minute, 30 * time.Second, 30 * time.Second}, []time.Duration{q.Interval, q.Offset, q.Timeout})
	require.Equal(t, "page", q.Severity)
	require.Equal(t, time.Minute, s.Queries[1].Interval)
	require.Equal(t, []string{"http://mimir:9009/prometheus", "shop"}, []string{c.Server.URL.String(), c.Server.Tenant})
	require.Equal(t, 5*time.Second, c.Server.Timeout)
	require.Len(t, c.Rules, 2)
	for _, f := range c.Rules {
		require.Equal(t, filepath.Base(f.Name) == "local.yaml", f.Here)
	}
}

func TestLogsAndServerMistakes(t *testing.T) {
	t.Parallel()
	query := func(q string) string { return "logs: [{name: a, url: 'http://loki', queries: [" + q + "]}]" }
	for text, want := range map[string]string{
		"logs: [{url: 'http://loki'}]":                                                     "a source of logs without a name",
		"logs: [{name: a}]":                                                                "have no url",
		"logs: [{name: a, url: 'ftp://loki'}]":                                             "cannot be used",
		"logs: [{name: a, url: 'http://loki', http_config: {basic: x}}]":                   `unknown key "basic"`,
		"logs: [{name: a, url: 'http://loki'}, {name: a, url: 'http://loki'}]":             "a second source of logs",
		query("{expr: x}"):                                                                 "without record",
		query("{record: a b, expr: x}"):                                                    "cannot be the name",
		query("{record: watchbill_x, expr: x}"):                                            "cannot be the name",
		query("{record: a}"):                                                               "without expr",
		query("{record: a, expr: x}, {record: a, expr: y}"):                                "a is also recorded at",
		query("{record: a, expr: x, interval: 1h}"):                                        "between 5s and 4m, not 1h",
		query("{record: a, expr: x, interval: 10s, timeout: 11s}"):                         "longer than the interval",
		query("{record: a, expr: x, labels: {logs: x}}"):                                   `the label "logs" is set by watchbill`,
		"prometheus: {tenant: x}":                                                          "prometheus without url",
		"prometheus: {url: mimir}":                                                         "the address of prometheus cannot be used",
		"prometheus: {url: 'http://mimir', timeout: 5m}":                                   "longer than two minutes",
		"limits: {series_per_job: 0}":                                                      "series_per_job must be above 0",
		"prometheus: {url: 'http://mimir'}\nrule_files: [mixed.yaml]":                      "the rule Both in the group g cannot be evaluated",
		"prometheus: {url: 'http://mimir'}\nvanishing: {alert: true}":                      `unknown key "alert"`,
		"prometheus: {url: 'http://mimir', http_config: {tls_config: {ca_file: 1, x: 2}}}": `unknown key "x"`,
	} {
		path := filepath.Join(write(t, map[string]string{
			"watchbill.yaml": crew + text + "\n",
			"mixed.yaml":     "groups: [{name: g, rules: [{record: r, expr: foreign}, {alert: Both, expr: r and foreign}]}]\n",
		}), "watchbill.yaml")
		_, err := Load(path, nil)
		require.ErrorContains(t, err, want, text)
	}
}
