package collector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
)

func TestCheckRulesNamesThePlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []collector.Problem
	}{
		"nothing wrong": {broken, nil},
		"empty":         {"", nil},
		"bad expression": {"groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: sum(\n", []collector.Problem{
			{Line: 5, Col: 15, Message: `group "g", rule 1, "A": could not parse expression: 1:5: parse error: unclosed left parenthesis`},
		}},
		"both kinds": {"groups:\n  - name: g\n    rules:\n      - record: b\n        alert: A\n        expr: up\n", []collector.Problem{
			{Line: 4, Col: 17, Message: `group "g", rule 1, "A": only one of 'record' and 'alert' must be set`},
		}},
		"unknown keys": {"groups:\n  - name: g\n    rule: []\n    limits: 3\n", []collector.Problem{
			{Line: 3, Col: 1, Message: "field rule not found in type rulefmt.RuleGroup"},
			{Line: 4, Col: 1, Message: "field limits not found in type rulefmt.RuleGroup"},
		}},
		"same group": {"groups:\n  - {name: g, rules: []}\n  - {name: g, rules: []}\n", []collector.Problem{
			{Line: 1, Col: 1, Message: `groupname: "g" is repeated in the same file`},
		}},
		"syntax": {"groups:\n  - name: g\n    rules:\n      - alert: A\n       expr: up\n", []collector.Problem{
			{Line: 3, Col: 1, Message: "did not find expected '-' indicator"},
		}},
		"template": {"groups:\n  - name: g\n    rules:\n      - {alert: A, expr: up, labels: {x: '{{ .nope'}}\n", []collector.Problem{
			{Line: 1, Col: 1, Message: `group "g", rule 1, "A": label "x": template: __alert_A:1: unclosed action`},
		}},
	} {
		got := collector.CheckRules(collector.RuleFile{Name: "x", Content: []byte(c.text)})
		require.Equal(t, c.want, got, name)
	}
}

func TestCheckPrometheus(t *testing.T) {
	t.Parallel()
	require.NoError(t, collector.CheckPrometheus([]byte(scrape15)))
	require.NoError(t, collector.CheckPrometheus(nil))
	require.ErrorContains(t, collector.CheckPrometheus([]byte("scrape_configs: [{}]")), "job_name")
	require.ErrorContains(t, collector.CheckPrometheus([]byte("remote_write: [{url: 'http://x'}]")), "remote_write has no meaning here")
}

func FuzzCheckRules(f *testing.F) {
	f.Add([]byte(broken))
	f.Add([]byte("groups: [{name: g, rules: [{alert: A, expr: 'sum(', for: 1d}]}]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, p := range collector.CheckRules(collector.RuleFile{Name: "f", Content: content}) {
			require.Positive(t, p.Line)
			require.NotEmpty(t, p.Message)
		}
	})
}

// BenchmarkReload measures a reload in which nothing changed, with a thousand
// rules.
func BenchmarkReload(b *testing.B) {
	var text strings.Builder
	text.WriteString("groups:\n")
	for g := range 100 {
		fmt.Fprintf(&text, "  - name: g%d\n    rules:\n", g)
		for r := range 10 {
			fmt.Fprintf(&text, "      - {alert: A%d, expr: 'sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) > %d', for: 5m}\n", r, r)
		}
	}
	cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(text.String())}
	c, err := collector.New(cfg, collector.Options{Dir: b.TempDir(), Notify: newInbox().notify, Registerer: prometheus.NewRegistry()})
	require.NoError(b, err)
	defer c.Close()
	for b.Loop() {
		require.NoError(b, c.Reload(cfg))
	}
}
