package targets_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill/targets"
)

const day = 24 * time.Hour

// target is a valid target of one objective.
func target(objective string) targets.Target {
	return targets.Target{
		ID: "shop-ok", Service: "shop", Name: "ok", Objective: objective,
		SLI: targets.SLI{
			Error: `sum(rate(http_requests_total{code="500"}[{{.window}}]))`,
			Total: `sum(rate(http_requests_total[{{.window}}]))`,
		},
		Alerting: targets.Alerting{Name: "Shop"},
		Pos:      targets.Pos{File: "shop.yaml", Line: 5, Col: 3},
	}
}

// groups parses a generated file as Prometheus would.
func groups(t require.TestingT, f targets.File) []rulefmt.RuleGroup {
	g, errs := rulefmt.Parse(f.Content, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	return g.Groups
}

// alerts are the alert rules of a file by tier.
func alerts(t require.TestingT, f targets.File) map[string]rulefmt.Rule {
	out := map[string]rulefmt.Rule{}
	for _, g := range groups(t, f) {
		for _, r := range g.Rules {
			if r.Alert != "" {
				out[r.Labels["st_tier"]] = r
			}
		}
	}
	return out
}

func TestRulesGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"checkout", "raw", "scaled"} {
		ts, ws := parse(t, name+".yaml")
		files, problems := targets.Rules(targets.Config{Targets: ts, Windows: ws, Retention: 40 * day})
		require.Empty(t, problems, name)
		require.Len(t, files, 1)
		require.Equal(t, "targets/"+ts[0].ID, files[0].Name)
		require.Len(t, groups(t, files[0]), 2)
		golden(t, name+".rules.golden", string(files[0].Content))
	}
}

// TestKindsGolden holds the rules of one target of each kind.
func TestKindsGolden(t *testing.T) {
	t.Parallel()
	ts, _ := parse(t, "example/kinds.yaml")
	require.Len(t, ts, 13)
	files, problems := targets.Rules(targets.Config{Targets: ts, Retention: 40 * day})
	require.Empty(t, problems)
	require.Len(t, files, len(ts))
	var b strings.Builder
	for _, f := range files {
		groups(t, f)
		b.WriteString("# " + f.Name + "\n")
		b.Write(f.Content)
	}
	golden(t, "kinds.rules.golden", b.String())
}

// limits reads the thresholds out of an alert's expression.
func limits(t require.TestingT, expr string) []float64 {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err)
	var out []float64
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.NumberLiteral); ok {
			out = append(out, v.Val)
		}
		return nil
	})
	return out
}

func TestFactorsOfTheBuiltInCatalogues(t *testing.T) {
	t.Parallel()
	for period, want := range map[time.Duration]map[string]float64{
		30 * day: {"page_fast": 14.4, "page_slow": 6, "ticket_fast": 3, "ticket_slow": 1},
		28 * day: {"page_fast": 13.44, "page_slow": 5.6, "ticket_fast": 2.8, "ticket_slow": 0.933333},
		7 * day:  {"page_fast": 13.44, "page_slow": 3.5, "ticket_fast": 1.4, "ticket_slow": 0.98},
	} {
		files, problems := targets.Rules(targets.Config{Targets: []targets.Target{target("99.9")}, DefaultPeriod: period})
		require.Empty(t, problems)
		all := alerts(t, files[0])
		require.Len(t, all, 6)
		for tier, k := range want {
			for _, limit := range limits(t, all[tier].Expr) {
				require.InDelta(t, k*0.001, limit, 1e-9, "%s of %s", tier, period)
			}
			require.Contains(t, all[tier].Annotations["target"], "burn "+strconv.FormatFloat(k, 'g', 4, 64))
		}
	}
}

func TestThresholdIsFactorTimesBudget(t *testing.T) {
	if raced {
		require.NoError(t, flag.Set("rapid.checks", "20"))
	}
	rapid.Check(t, func(t *rapid.T) {
		objective := fmt.Sprintf("%d.%0*d", rapid.IntRange(50, 99).Draw(t, "percent"), rapid.IntRange(1, 6).Draw(t, "digits"), rapid.IntRange(0, 9).Draw(t, "rest"))
		period := time.Duration(rapid.IntRange(60, 90*24*3600).Draw(t, "period")) * time.Second
		window := func(name string) targets.Window {
			long := rapid.IntRange(3, int(min(period/time.Second, 100000))).Draw(t, name+" long")
			return targets.Window{
				BudgetPercent: big.NewRat(int64(rapid.IntRange(1, 1000).Draw(t, name+" share")), 10),
				Short:         time.Duration(rapid.IntRange(2, long-1).Draw(t, name+" short")) * time.Second,
				Long:          time.Duration(long) * time.Second,
			}
		}
		w := targets.Windows{Period: period, PageFast: window("page_fast"), PageSlow: window("page_slow"), TicketFast: window("ticket_fast"), TicketSlow: window("ticket_slow")}
		files, problems := targets.Rules(targets.Config{Targets: []targets.Target{target(objective)}, Windows: []targets.Windows{w}})
		require.Len(t, files, 1, "%v", problems)
		all := alerts(t, files[0])
		b, err := strconv.ParseFloat(objective, 64)
		require.NoError(t, err)
		for tier, w := range map[string]targets.Window{"page_fast": w.PageFast, "page_slow": w.PageSlow, "ticket_fast": w.TicketFast, "ticket_slow": w.TicketSlow} {
			p, _ := w.BudgetPercent.Float64()
			want := p / 100 * period.Seconds() / w.Long.Seconds() * (1 - b/100)
			rule, ok := all[tier]
			if math.Abs(want-1) < 1e-9 {
				continue
			}
			require.Equal(t, want < 1, ok, "%s at %g", tier, want)
			if !ok {
				require.Contains(t, list(problems), tier+" can never fire")
				continue
			}
			got := limits(t, rule.Expr)
			require.Len(t, got, 2)
			require.InEpsilon(t, want, got[0], 1e-9)
			require.Equal(t, got[0], got[1])
		}
	})
}

func TestNumbersPrintClean(t *testing.T) {
	t.Parallel()
	for objective, want := range map[string]string{"99.9": "vector(0.001)", "99.95": "vector(0.0005)", "99.999": "vector(0.00001)", "90": "vector(0.1)"} {
		files, _ := targets.Rules(targets.Config{Targets: []targets.Target{target(objective)}})
		require.Contains(t, string(files[0].Content), want)
	}
}

func TestTierThatCannotFireIsDroppedWithAWarning(t *testing.T) {
	t.Parallel()
	files, problems := targets.Rules(targets.Config{Targets: []targets.Target{target("90")}})
	require.Equal(t, "shop.yaml:5:3: warning: shop-ok: page_fast can never fire for an objective of 90%: a burn of 14.4 needs 144% errors\n"+
		"\ta higher objective or a smaller share of the budget makes it fire\n", list(problems))
	all := alerts(t, files[0])
	require.NotContains(t, all, "page_fast")
	require.Contains(t, all, "page_slow")

	_, problems = targets.Rules(targets.Config{Targets: []targets.Target{func() targets.Target {
		x := target("80")
		x.Alerting.Ticket.Disable = true
		return x
	}()}})
	require.Contains(t, list(problems), "shop-ok has no alert that can fire")
}

func TestRulesRefuses(t *testing.T) {
	t.Parallel()
	_, ws := parse(t, "scaled.yaml")
	for name, c := range map[string]struct {
		cfg  targets.Config
		want string
	}{
		"a retention shorter than the period": {
			targets.Config{Targets: []targets.Target{target("99")}, Retention: 31 * day},
			"series are kept for 31d, too short to measure shop-ok over 30d\n\tset retention.series to 33d or more",
		},
		"a period without windows": {
			targets.Config{Targets: []targets.Target{target("99")}, DefaultPeriod: 90 * day},
			"there are no alert windows for a period of 90d\n\tadd an AlertWindows file with sloPeriod: 90d",
		},
		"two targets of one id": {
			targets.Config{Targets: []targets.Target{target("99"), target("98")}},
			`the target id "shop-ok" is already that of shop.yaml:5`,
		},
		"two catalogues of one period": {
			targets.Config{Windows: append(ws, ws...)},
			"the period 2h already has the catalogue scaled.yaml:2",
		},
		"a catalogue without numbers": {
			targets.Config{Windows: []targets.Windows{{Period: day}}},
			"page.quick.errorBudgetPercent: the share of the error budget is not a percentage",
		},
		"a template that cannot be read": {
			targets.Config{Targets: []targets.Target{func() targets.Target {
				x := target("99")
				x.Alerting.Annotations = map[string]string{"summary": "{{ $labels.nope"}
				return x
			}()}},
			"the rules of shop-ok are not valid",
		},
		"a query that was not checked": {
			targets.Config{Targets: []targets.Target{func() targets.Target {
				x := target("99")
				x.SLI.Total = "sum("
				return x
			}()}},
			"not valid PromQL",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, problems := targets.Rules(c.cfg)
			require.LessOrEqual(t, len(files), max(len(c.cfg.Targets)-1, 0))
			require.Contains(t, list(problems), c.want)
			require.NotEmpty(t, problems)
			require.False(t, problems[0].Warning)
		})
	}
}

func TestPeriodOfATarget(t *testing.T) {
	t.Parallel()
	_, ws := parse(t, "scaled.yaml")
	own := target("99.9")
	own.Period = 7 * day
	for _, c := range []struct {
		name string
		cfg  targets.Config
		want time.Duration
	}{
		{"nothing said", targets.Config{Targets: []targets.Target{target("99.9")}}, 33 * day},
		{"one catalogue", targets.Config{Targets: []targets.Target{target("99.9")}, Windows: ws}, 2*time.Hour + 12*time.Minute},
		{"a default", targets.Config{Targets: []targets.Target{target("99.9")}, Windows: ws, DefaultPeriod: 28 * day}, 28*day + 28*day/10},
		{"the target's own", targets.Config{Targets: []targets.Target{own}, Windows: ws, DefaultPeriod: 28 * day}, 7*day + 7*day/10},
		{"no targets", targets.Config{Windows: ws}, 0},
	} {
		require.Equal(t, c.want, c.cfg.NeededRetention(), c.name)
	}
}

func TestObjectiveOfHundred(t *testing.T) {
	t.Parallel()
	files, problems := targets.Rules(targets.Config{Targets: []targets.Target{target("100")}})
	require.Empty(t, problems)
	content := string(files[0].Content)
	require.NotContains(t, content, "burn_rate:ratio")
	require.Equal(t, []float64{0, 0}, limits(t, alerts(t, files[0])["page_fast"].Expr))
	require.Equal(t, "the objective is 100%: every failure breaks it", alerts(t, files[0])["page_fast"].Annotations["impact"])
}

func TestDisabledAlerts(t *testing.T) {
	t.Parallel()
	x := target("99.9")
	x.Alerting.Page.Disable = true
	files, _ := targets.Rules(targets.Config{Targets: []targets.Target{x}})
	all := alerts(t, files[0])
	require.Len(t, all, 4)
	require.Equal(t, "ticket", all["no_data"].Labels["severity"])

	x.Alerting.Ticket.Disable = true
	files, _ = targets.Rules(targets.Config{Targets: []targets.Target{x}})
	require.Empty(t, alerts(t, files[0]))
	require.Len(t, groups(t, files[0]), 2)
}

// TestAlertsFollowWhatTheyRead holds where alerts are evaluated: right after what
// they read was recorded, often if they read what was scraped, and apart from
// recordings that may wait for another server.
func TestAlertsFollowWhatTheyRead(t *testing.T) {
	t.Parallel()
	places := func(cfg targets.Config) (names []string) {
		files, problems := targets.Rules(cfg)
		require.Empty(t, problems)
		for _, g := range groups(t, files[0]) {
			recordsAfter := false
			for _, r := range slices.Backward(g.Rules) {
				if r.Alert == "" {
					recordsAfter = true
					continue
				}
				require.False(t, recordsAfter, "%s comes before what is recorded in %s", r.Labels["st_tier"], g.Name)
				names = append(names, strings.TrimPrefix(g.Name, "sloth-slo-")+" "+g.Interval.String()+" "+r.Labels["st_tier"])
			}
		}
		slices.Sort(names)
		return names
	}
	ts := []targets.Target{target("99.9")}
	require.Equal(t, []string{
		"rules-shop-ok 30s no_data", "rules-shop-ok 30s out_of_range", "rules-shop-ok 30s page_fast",
		"rules-shop-ok 30s page_slow", "rules-shop-ok 30s ticket_fast", "rules-shop-ok 30s ticket_slow",
	}, places(targets.Config{Targets: ts}))
	require.Equal(t, []string{
		"alerts-shop-ok 0s no_data", "alerts-shop-ok 0s out_of_range", "alerts-shop-ok 0s page_fast",
		"alerts-shop-ok 0s page_slow", "alerts-shop-ok 0s ticket_fast", "alerts-shop-ok 0s ticket_slow",
	}, places(targets.Config{Targets: ts, Remote: true}))
	kinds, _ := parse(t, "example/kinds.yaml")
	kinds = slices.DeleteFunc(kinds, func(x targets.Target) bool { return x.Name != "certificate" })
	require.Equal(t, []string{
		"alerts-" + kinds[0].ID + " 0s page", "alerts-" + kinds[0].ID + " 0s ticket", "rules-" + kinds[0].ID + " 30s no_data",
	}, places(targets.Config{Targets: kinds}))
}

func TestDescriptionIsNotATemplate(t *testing.T) {
	t.Parallel()
	x := target("99.9")
	x.Description = "uses {{ braces"
	files, problems := targets.Rules(targets.Config{Targets: []targets.Target{x}})
	require.Empty(t, problems)
	require.True(t, strings.Contains(alerts(t, files[0])["page_fast"].Annotations["description"], `{{"{{"}}`))
}
