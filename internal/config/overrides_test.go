package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/router"
)

const overridden = `external_url: https://watchbill.example.com
roles: {preset: operations, merge: {platform: [deployment, infrastructure]}}
services:
  - {name: checkout, owner: platform, environments: [prod, preprod]}
people:
  - {name: ana, roles: [manager, platform, security, support], contact: [{receiver: terminal}]}
time_intervals:
  - {name: office, time_intervals: [{times: [{start_time: "08:00", end_time: "18:00"}]}]}
overrides:
  - {environments: [preprod], roles: [platform], max_severity: sev3, active_time_intervals: [office]}
  - {services: [checkout], matrix: {security: {support: first}}}
`

func TestOverridesAndMergedRoles(t *testing.T) {
	t.Parallel()
	cfg, err := Load(filepath.Join(write(t, map[string]string{"watchbill.yaml": overridden}), "watchbill.yaml"), noEnv)
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings)
	m := cfg.Matrix
	require.True(t, m.HasRole("platform"))
	require.False(t, m.HasRole("deployment"))
	require.Equal(t, watchbill.First, m.Mark(watchbill.ActivityChangeProduction, "platform"), "the strongest of the cells")

	pre, prod := watchbill.Place{Service: "checkout", Environment: "preprod"}, watchbill.Place{Service: "checkout", Environment: "prod"}
	require.Equal(t, []watchbill.RoleID{"platform"}, m.At(pre).Responsible(watchbill.ActivityFirstLine))
	require.Equal(t, []watchbill.RoleID{"support"}, m.At(prod).Responsible(watchbill.ActivityFirstLine))
	require.Equal(t, []watchbill.RoleID{"platform"}, m.At(pre).Responsible(watchbill.ActivitySecurity), "the first that has the row")
	require.Equal(t, []watchbill.RoleID{"security", "support"}, m.At(prod).Responsible(watchbill.ActivitySecurity))
	require.Equal(t, watchbill.OnRequest, m.At(pre).Mark(watchbill.ActivityChangeProduction, "support"), "who may act stays")
	require.Equal(t, []watchbill.RoleID{"security", "support"}, m.At(watchbill.Place{}).Responsible(watchbill.ActivitySecurity))
	require.Equal(t, []router.Exception{{
		Environments: []string{"preprod"}, MaxSeverity: watchbill.Sev3, ActiveTimeIntervals: []string{"office"}, Line: "watchbill.yaml:10",
	}}, cfg.Router.Exceptions)
}

func TestOverridesThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, message string }{
		"no place":          {"environments: [preprod], ", "", "watchbill.yaml:10:5: an override for no place in particular"},
		"no change":         {", roles: [platform], max_severity: sev3, active_time_intervals: [office]", "", "an override that changes nothing"},
		"unknown service":   {"services: [checkout], matrix", "services: [chekout], matrix", `there is no service "chekout"; did you mean "checkout"?`},
		"unknown interval":  {"intervals: [office]", "intervals: [offic]", `there is no time interval "offic"`},
		"a merged role":     {"roles: [platform], max", "roles: [deployment], max", "the role deployment is merged into platform; write platform"},
		"no such severity":  {"max_severity: sev3", "max_severity: sev9", `"sev9" is not a severity`},
		"no such activity":  {"matrix: {security:", "matrix: {securty:", `there is no activity "securty"`},
		"merged of one":     {"[deployment, infrastructure]}", "[deployment]}", "platform is not made of two roles or more"},
		"a part twice":      {"merge: {", "merge: {x: [support, deployment], ", "deployment is a part of x already"},
		"name of another":   {"{platform: [dep", "{support: [dep", "support is another role already"},
		"no such manager":   {"preset: operations,", "preset: operations, manager: boss,", `there is no role "boss"`},
		"an unknown preset": {"preset: operations,", "preset: disciplined,", `"disciplined"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, overridden, c.old)
			text := strings.Replace(overridden, c.old, c.new, 1)
			_, err := Load(filepath.Join(write(t, map[string]string{"watchbill.yaml": text}), "watchbill.yaml"), noEnv)
			require.ErrorContains(t, err, c.message)
		})
	}
}

// Whatever the configuration can alert about and that would land on a role that
// nobody holds is named, with its place.
func TestOrphansAreNamed(t *testing.T) {
	t.Parallel()
	target, err := starter.ReadFile("starter/targets/example.yaml")
	require.NoError(t, err)
	dir := write(t, map[string]string{
		"watchbill.yaml": `external_url: https://watchbill.example.com
roles: {preset: operations}
matrix: {backup: {infrastructure: yes}, lost: {}}
services:
  - {name: example, environments: [prod, preprod]}
people:
  - {name: ana, roles: [manager, security, deployment], contact: [{receiver: terminal}]}
rule_files: [rules.yaml]
targets: [target.yaml]
heartbeats:
  - {name: nightly, key: 0b5a54f2-6f57-4e5a-8a55-0c3b3d4b9d0e, period: 1h, labels: {kind: backup}}
activities:
  - {match: ['kind="backup"'], activity: backup}
  - {match: ['kind="lost"'], activity: lost}
overrides:
  - {environments: [preprod], roles: [deployment]}
`,
		"rules.yaml":  "groups:\n  - name: g\n    rules:\n      - alert: BackupOld\n        expr: vector(1)\n        labels: {kind: backup}\n      - alert: Shell\n        expr: vector(1)\n        labels: {signal: security}\n",
		"target.yaml": string(target),
	})
	cfg, err := Load(filepath.Join(dir, "watchbill.yaml"), noEnv)
	require.NoError(t, err)
	var got []string
	for _, w := range cfg.Warnings {
		if place, _ := filepath.Rel(dir, w.Position()); strings.Contains(w.Message, "belong to nobody") {
			got = append(got, place+": "+w.Message)
		}
	}
	require.ElementsMatch(t, []string{
		"watchbill.yaml:13:5: the alerts of the rule of activities for backup belong to nobody: nobody holds infrastructure, which is first for backup",
		"watchbill.yaml:14:5: the alerts of the rule of activities for lost belong to nobody: no role is marked for lost",
		"watchbill.yaml:5:12: the alerts of the service example in prod belong to nobody: nobody holds support, which is first for first-line",
		"watchbill.yaml:11:5: the alerts of the heartbeat nightly belong to nobody: nobody holds infrastructure, which is first for backup",
		"rules.yaml:4:7: the alerts of the rule BackupOld belong to nobody: nobody holds infrastructure, which is first for backup",
		"target.yaml:8:3: the alerts of the target example-reachable belong to nobody: nobody holds support, which is first for performance",
	}, got)
}

// Every preset is a whole matrix: each row is somebody's, somebody is paged first
// in it, every role is good for something, and one role answers for the rest.
func TestPresetsAreWhole(t *testing.T) {
	t.Parallel()
	for _, name := range router.Presets() {
		m, ok := router.Preset(name)
		require.True(t, ok)
		require.True(t, m.HasRole(m.Manager), name)
		for _, a := range []watchbill.ActivityID{
			watchbill.ActivityChangeProduction, watchbill.ActivityDeployPlatform, watchbill.ActivityRaiseAlerts,
			watchbill.ActivityPerformance, watchbill.ActivitySecurity, watchbill.ActivityStates, watchbill.ActivityFirstLine,
		} {
			require.True(t, m.HasActivity(a), "%s: %s", name, a)
		}
		for _, a := range m.Activities {
			require.NotEmpty(t, m.Responsible(a.ID), "%s: %s", name, a.ID)
			second, _ := m.Second(a.ID)
			require.True(t, second == "" || m.HasRole(second), "%s: %s", name, a.ID)
			for role := range m.Marks[a.ID] {
				require.True(t, m.HasRole(role), "%s: %s", name, role)
			}
		}
		for a := range m.Marks {
			require.True(t, m.HasActivity(a), "%s: %s", name, a)
		}
	}
}

func TestMaintenanceInAnEnvironmentCannotExclude(t *testing.T) {
	t.Parallel()
	text := strings.Replace(overridden, "overrides:", "maintenance: [{name: m, environments: [preprod], cron: \"0 2 * * sun\", duration: 1h, exclude: true}]\noverrides:", 1)
	_, err := Load(filepath.Join(write(t, map[string]string{"watchbill.yaml": text}), "watchbill.yaml"), noEnv)
	require.ErrorContains(t, err, "an error budget is that of all environments")
}
