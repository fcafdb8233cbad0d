package probe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

// The rules fire when they should and not otherwise; ProbeMissing has the labels
// of the target although there is no series.
func TestRules(t *testing.T) {
	t.Parallel()
	text, err := Rules([]Target{{Name: "home", Module: "http_2xx", Target: "https://a/", Interval: time.Minute, Severity: "page", Labels: map[string]string{"service": "shop"}}})
	require.NoError(t, err)
	var f ruleFile
	require.NoError(t, json.Unmarshal(text, &f))
	exprs := map[string]string{}
	for _, r := range f.Groups[0].Rules {
		exprs[r.Alert] = r.Expr
		_, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		require.NoError(t, err)
	}
	const labels = `{instance="https://a/",job="probe/http_2xx",probe="home",service="shop"}`
	for name, x := range map[string]struct{ alert, series, at, want string }{
		"one failure":              {"ProbeFailed", "probe_success 1 1 1 1 0", "4m", ""},
		"two failures":             {"ProbeFailed", "probe_success 1 1 1 0 0", "4m", ""},
		"three in a row":           {"ProbeFailed", "probe_success 1 1 0 0 0", "4m", labels + " 0.4"},
		"three of five":            {"ProbeFailed", "probe_success 0 1 0 1 0", "4m", labels + " 0.4"},
		"failing since the start":  {"ProbeFailed", "probe_success 0 0", "1m", ""},
		"and once more":            {"ProbeFailed", "probe_success 0 0 0", "2m", labels + " 0"},
		"well again":               {"ProbeFailed", "probe_success 0 0 1 1 1", "4m", ""},
		"there":                    {"ProbeMissing", "probe_success 1", "4m", ""},
		"gone":                     {"ProbeMissing", "probe_success 1", "6m", labels + " 1"},
		"never there":              {"ProbeMissing", "other 1", "4m", labels + " 1"},
		"90 days, 19 left":         {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 1641600\n " + lifetimeMetric + labels + " 7776000", "0", ""},
		"90 days, 17 left":         {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 1468800\n " + lifetimeMetric + labels + " 7776000", "0", "probe_ssl_earliest_cert_expiry" + labels + " 1468800"}, // an alert has no name
		"a year, 31 left":          {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 2678400\n " + lifetimeMetric + labels + " 31536000", "0", ""},
		"a day, 6 hours left":      {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 21600\n " + lifetimeMetric + labels + " 86400", "0", ""},
		"unknown life, 13 d left":  {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 1123200", "0", labels + " 1123200"},
		"unknown life, 15 d left":  {"ProbeCertificateExpires", "probe_ssl_earliest_cert_expiry 1296000", "0", ""},
		"what is not tls ends not": {"ProbeCertificateExpires", "probe_success 1", "0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			metric, values, _ := strings.Cut(x.series, " ")
			script := "load 1m\n  " + metric + labels + " " + values + "\n\neval instant at " + x.at + " " + exprs[x.alert] + "\n"
			if x.want != "" {
				script += "  " + x.want + "\n"
			}
			promqltest.RunTest(t, script, promqltest.NewTestEngine(t, false, 0, 1_000_000))
		})
	}
}
