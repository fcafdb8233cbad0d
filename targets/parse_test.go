package targets_test

import (
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// parse reads a file of testdata that must have no problems.
func parse(t testing.TB, name string) ([]targets.Target, []targets.Windows) {
	t.Helper()
	content, err := os.ReadFile(file(name))
	require.NoError(t, err)
	ts, ws, problems := targets.Parse(name, content)
	require.Empty(t, problems)
	return ts, ws
}

// examples are the targets that the documentation shows, one of each kind and
// format.
const examples = "../deploy/examples/targets/targets"

func file(name string) string {
	if strings.HasPrefix(name, "example/") {
		return filepath.Join(examples, filepath.Base(name))
	}
	return filepath.Join("testdata", name)
}

func list(problems []targets.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		kind := "error"
		if p.Warning {
			kind = "warning"
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s\n\t%s\n", p.File, p.Line, p.Col, kind, p.Message, p.Advice)
	}
	return b.String()
}

func TestParseReadsASpecification(t *testing.T) {
	t.Parallel()
	ts, ws := parse(t, "checkout.yaml")
	require.Empty(t, ws)
	require.Len(t, ts, 1)
	require.Equal(t, targets.Target{
		ID:          "checkout-requests-availability",
		Service:     "checkout",
		Name:        "requests-availability",
		Description: "Shoppers can pay.",
		Objective:   "99.9",
		Labels:      map[string]string{"owner": "payments"},
		Format:      "prometheus/v1",
		SLI: targets.SLI{
			Kind:  targets.KindEvents,
			Error: `sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))`,
			Total: "sum(\n  rate(http_requests_total{job=\"checkout\"}[{{.window}}])\n)",
		},
		Alerting: targets.Alerting{
			Name:        "CheckoutErrors",
			Labels:      map[string]string{"team": "payments"},
			Annotations: map[string]string{"runbook_url": "https://runbooks.example.com/checkout"},
			Page: targets.AlertMeta{
				Labels:      map[string]string{"severity": "critical"},
				Annotations: map[string]string{"summary": "Shoppers cannot pay"},
			},
			Ticket: targets.AlertMeta{
				Annotations: map[string]string{"dashboard": "https://grafana.example.com/d/checkout"},
			},
		},
		Pos: targets.Pos{File: "checkout.yaml", Line: 6, Col: 5},
	}, ts[0])
}

func TestParseReadsWindows(t *testing.T) {
	t.Parallel()
	ts, ws := parse(t, "scaled.yaml")
	require.Len(t, ts, 1)
	require.Equal(t, []targets.Windows{{
		Name:       "scaled.yaml:2",
		Period:     2 * time.Hour,
		PageFast:   targets.Window{BudgetPercent: big.NewRat(2, 1), Short: 5 * time.Second, Long: 10 * time.Second},
		PageSlow:   targets.Window{BudgetPercent: big.NewRat(5, 1), Short: 5 * time.Second, Long: time.Minute},
		TicketFast: targets.Window{BudgetPercent: big.NewRat(10, 1), Short: 20 * time.Second, Long: 4 * time.Minute},
		TicketSlow: targets.Window{BudgetPercent: big.NewRat(10, 1), Short: time.Minute, Long: 12 * time.Minute},
		Pos:        targets.Pos{File: "scaled.yaml", Line: 2, Col: 1},
	}}, ws)
}

func TestParseReportsEveryMistakeAtItsPlace(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/mistakes.yaml")
	require.NoError(t, err)
	ts, ws, problems := targets.Parse("mistakes.yaml", content)
	require.Empty(t, ts)
	require.Empty(t, ws)
	golden(t, "mistakes.golden", list(problems))
}

func TestParseAcceptsWhatYAMLWritersDo(t *testing.T) {
	t.Parallel()
	content := strings.ReplaceAll(`---
# nothing here
---
version: prometheus/v1
service: a
slos:
  - &first
    name: one
    objective: 99.50
    sli: &sli {events: {error_query: 'rate(e[{{ .window }}])', total_query: 'rate(t[{{.window}}])'}}
    alerting: {name: A, page_alert: {disable: true}, ticket_alert: {disable: true}}
  - <<: *first
    name: two
    objective: "95"
    sli: *sli
`, "\n", "\r\n")
	ts, _, problems := targets.Parse("x.yaml", []byte(content))
	require.Empty(t, problems)
	require.Len(t, ts, 2)
	require.Equal(t, "99.5", ts[0].Objective)
	require.Equal(t, "a-two", ts[1].ID)
	require.Equal(t, "95", ts[1].Objective)
	require.Equal(t, ts[0].SLI, ts[1].SLI)
	require.Equal(t, "A", ts[1].Alerting.Name)
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"checkout.yaml", "raw.yaml", "scaled.yaml", "mistakes.yaml", "example/kinds.yaml", "openslo.yaml", "openslo_mistakes.yaml"} {
		content, err := os.ReadFile(file(name))
		require.NoError(f, err)
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		ts, ws, problems := targets.Parse("f", content)
		for _, p := range problems {
			require.Positive(t, p.Line)
			require.Positive(t, p.Col)
			require.NotEmpty(t, p.Message)
			require.NotEmpty(t, p.Advice)
		}
		// What was accepted gives rules, or a problem that says why not.
		files, more := targets.Rules(targets.Config{Targets: ts, Windows: ws, DefaultPeriod: 30 * 24 * time.Hour})
		if len(files) < len(ts) {
			require.NotEmpty(t, more)
		}
	})
}
