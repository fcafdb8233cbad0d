package daemon_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"watchbill/internal/daemon"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// shown is what one query of a dashboard asks.
type shown struct{ at, expr string }

// dashboardQueries are the queries of all panels and variables that are
// exported, with Grafana's variables filled in.
func dashboardQueries(t *testing.T) (all []shown) {
	t.Helper()
	dir := t.TempDir()
	names, err := daemon.ExportDashboards(dir, false)
	require.NoError(t, err)
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		require.NoError(t, err)
		var d struct {
			Templating struct {
				List []struct{ Name, Definition string }
			}
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(content, &d))
		fill := []string{"$__rate_interval", "10m", "$__range", "1h"}
		for _, v := range d.Templating.List[1:] {
			fill = append(fill, "$"+v.Name, ".*")
		}
		put := strings.NewReplacer(fill...)
		add := func(at, expr string) {
			expr = put.Replace(expr)
			require.NotContains(t, expr, "$", at)
			all = append(all, shown{filepath.Base(name) + ": " + at, expr})
		}
		for _, v := range d.Templating.List[1:] {
			m := values.FindStringSubmatch(v.Definition)
			require.NotNil(t, m, v.Definition)
			add("$"+v.Name, "group by ("+m[2]+") ("+strings.TrimSuffix(m[1], "}")+map[bool]string{true: "," + m[2] + `!=""})`, false: "{" + m[2] + `!=""})`}[strings.HasSuffix(m[1], "}")])
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				add(p.Title, q.Expr)
			}
		}
	}
	require.Greater(t, len(all), 60)
	return all
}

// Each query of the dashboards gives a number on a daemon with an incident that
// was acknowledged and resolved, one that fires, and a target that burns; and each
// metric that one names is there, so that none hides behind "or vector(0)".
func TestDashboardsShowSomething(t *testing.T) {
	t.Parallel()
	queries := dashboardQueries(t)
	p := parser.NewParser(parser.Options{})
	names := map[string]string{}
	for _, q := range queries {
		expr, err := p.ParseExpr(q.expr)
		require.NoError(t, err, q.at)
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok && v.Name != "" {
				names[v.Name] = q.at
			}
			return nil
		})
	}
	require.Greater(t, len(names), 50)
	guard(t, nil, func(t *testing.T, g *guarded) {
		checkout := testkit.NewService()
		checkout.Fail(0.02)
		g.Host("checkout.test", checkout)
		g.edit("windows.yaml]", "windows.yaml, response.yaml]")
		g.Write("response.yaml", "{apiVersion: watchbill/v1, kind: Target, service: checkout, name: taken, objective: 95, indicator: {response: {act: ack, within: 15m}}}\n")
		g.edit("\ndeadman:", "\nrule_files: [rules.yaml]\ndeadman:")
		g.Write("rules.yaml", "groups: [{name: g, rules: [{alert: AlwaysBroken, expr: vector(1), labels: {service: checkout, severity: sev4}}]}]\n")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		g.sleep(2 * time.Minute)
		g.post(disk(), time.Hour)
		g.sleep(6 * time.Minute) // a step of the path fires
		for _, inc := range g.incidents() {
			_, err := g.frank.Acknowledge(t.Context(), inc.ID, "")
			require.NoError(t, err)
		}
		g.sleep(90 * time.Second)
		for _, inc := range g.incidents() {
			_, err := g.frank.Resolve(t.Context(), inc.ID, web.ResolveRequest{Reason: "replaced"})
			require.NoError(t, err)
		}
		other := disk()
		other["service"] = "other"
		g.post(other, time.Hour)
		g.sleep(45 * time.Second)
		for name, at := range names {
			require.NotEmpty(t, ask(t, g.frank, "group("+name+")"), "%s: there is no metric %s", at, name)
		}
		var empty []string
		for _, q := range queries {
			got := ask(t, g.frank, q.expr)
			maps.DeleteFunc(got, func(_, v string) bool { return v == "NaN" })
			if len(got) == 0 {
				empty = append(empty, q.at+": "+q.expr)
			}
		}
		require.Empty(t, empty, "these show nothing")
	})
}
