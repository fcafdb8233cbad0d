package daemon_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

// routed is play on the story's configuration with changes: pairs of what is
// replaced, or of nothing and what is added. Nothing is scraped, so that time
// passes fast.
func routed(t *testing.T, script func(*testing.T, *scene), changes ...string) {
	t.Helper()
	play(t, func(t *testing.T, s *scene) {
		s.change(changes...)
		script(t, s)
	})
}

// change reloads the story's configuration with changes.
func (s *scene) change(changes ...string) {
	s.t.Helper()
	text := replace(read(s.t, "testdata/story/watchbill.yaml"), "_interval: 15s", "_interval: 10m", "targets: [targets.yaml, windows.yaml]\n", "",
		"scrape_configs:\n  - job_name: checkout\n    static_configs: [{targets: ['checkout.test:80'], labels: {service: checkout, environment: prod}}]\n", "")
	for i := 0; i < len(changes); i += 2 {
		if changes[i] == "" {
			text += changes[i+1]
			continue
		}
		require.Contains(s.t, text, changes[i])
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	s.Write("watchbill.yaml", text)
	require.NoError(s.t, s.frank.Reload(s.t.Context()))
}

// explained asks the daemon.
func (s *scene) explained(labels watchbill.Labels) daemon.Explanation {
	s.t.Helper()
	var x daemon.Explanation
	require.NoError(s.t, s.frank.Explain(s.t.Context(), labels, time.Now(), &x))
	return x
}

// Before production an alert is deployment's, and waits for the morning; in
// production the same alert wakes support.
func TestPreproductionWaitsForDeploymentsMorning(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		labels := watchbill.Labels{"alertname": "Slow", "service": "checkout", "severity": "critical", "st": "checkout-requests", "environment": "preprod"}
		x := s.explained(labels)
		require.Equal(t, []daemon.ExplainedRole{{Role: "deployment", Mark: "first"}}, x.Row)
		require.Contains(t, x.RowReason, "watchbill.yaml:")
		require.Equal(t, watchbill.Sev3, x.Severity)
		require.Contains(t, x.SeverityReason, "at most sev3 here (watchbill.yaml:")
		morning := s.began.Add(time.Hour) // 05:00 in Madrid
		require.Equal(t, morning, x.Pages[0].At.UTC())
		require.EqualValues(t, "carla", x.Pages[0].Person)

		s.post(labels, 100*time.Hour)
		s.sleep(time.Until(morning) - time.Second)
		require.Empty(t, s.phone.Pages(), "nobody is woken")
		s.sleep(time.Second)
		require.Equal(t, []string{"carla"}, people(s.phone.Pages()))
		require.Equal(t, watchbill.Sev3, s.incidents()[0].Severity)
		require.Contains(t, show(t, s.frank, 1).Text(), "the roles are those of watchbill.yaml:")

		labels["environment"] = "prod"
		s.post(labels, time.Hour)
		require.Equal(t, watchbill.Sev2, s.incidents()[0].Severity)
		require.Equal(t, []string{"carla", "ana"}, people(s.phone.Pages()))
	},
		"rosters:\n", "rosters:\n  - {role: deployment, people: [carla], start: 2026-11-16, tz: Europe/Madrid, hours: [{weekdays: [sunday], from: \"05:00\", to: \"18:00\"}]}\n",
		"", "overrides: [{environments: [preprod], roles: [deployment], max_severity: sev3}]\n")
}

// A catalogue of other roles pages by its own matrix, and check names what would
// be nobody's.
func TestAnotherCatalogue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := world(t, "testdata/story")
	w.Dir = dir
	w.Write("watchbill.yaml", `external_url: http://watchbill.test
roles: {preset: operations-professional, manager: support-engineer}
activities: [{match: ['kind="database"'], activity: database}]
people:
  - {name: dora, roles: [database-administrator], contact: [{receiver: terminal}]}
  - {name: sam, roles: [system-administrator, support-engineer, network-administrator], contact: [{receiver: terminal}]}
`)
	cfg, err := config.Load(filepath.Join(dir, "watchbill.yaml"), nil)
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings)
	x, err := daemon.Explain(cfg, watchbill.Labels{"alertname": "Replica", "kind": "database", "severity": "page"}, time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.EqualValues(t, "dora", x.Pages[0].Person)
	require.EqualValues(t, "database-administrator", x.Pages[0].Role)
	require.EqualValues(t, "sam", x.Pages[1].Person)
}
