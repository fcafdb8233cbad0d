package deploy

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/targets"
)

func noEnv(string) string { return "" }

// TestExamplesLoad loads every example without a problem or a doubt.
func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("examples/*/watchbill.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Load(path, noEnv)
			require.NoError(t, err)
			require.Empty(t, cfg.Warnings)
		})
	}
}

// TestSmall holds what the documentation says about the small example.
func TestSmall(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("examples/small/watchbill.yaml", noEnv)
	require.NoError(t, err)
	require.Len(t, cfg.People, 6)
	require.Len(t, cfg.Services, 3)
	for _, r := range cfg.Matrix.Roles {
		require.True(t, slices.ContainsFunc(cfg.People, func(p watchbill.Person) bool { return p.Holds(r.ID) }), r.ID)
	}
	require.Equal(t, []watchbill.RoleID{"support", "deployment", "infrastructure"}, cfg.Matrix.Responsible("performance"))
	require.Len(t, cfg.Escalation.Rosters, 2)
	require.Equal(t, "watchbill.yaml:"+line(t, cfg, "rosters.0"), cfg.Escalation.Rosters[0].Line)
	require.Len(t, cfg.Targets.Targets, 1)
	require.Equal(t, "checkout-requests", cfg.Targets.Targets[0].ID)
	require.GreaterOrEqual(t, cfg.Collector.Retention, 33*24*time.Hour)
	require.Len(t, cfg.Collector.Rules, 2, "the rule file and the target's rules")
	_, problems := targets.Rules(cfg.Targets)
	require.Empty(t, problems)
}

// TestTargets holds what the example of the targets says of maintenance.
func TestTargets(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("examples/targets/watchbill.yaml", noEnv)
	require.NoError(t, err)
	require.Len(t, cfg.Targets.Targets, 16)
	require.Len(t, cfg.Targets.Maintenance, 2)
	patching, reindex := cfg.Targets.Maintenance[0], cfg.Targets.Maintenance[1]
	require.Equal(t, "0 2 * * sun", patching.Cron)
	require.Equal(t, 2*time.Hour, patching.Duration)
	require.Equal(t, "Europe/Madrid", patching.Zone.String())
	require.True(t, patching.Mute)
	require.True(t, patching.Exclude)
	require.Equal(t, time.Date(2026, 12, 1, 21, 0, 0, 0, time.UTC), reindex.Start, "22:00 in Madrid")
	require.Equal(t, time.Date(2026, 12, 2, 3, 0, 0, 0, time.UTC), reindex.End)
	require.True(t, reindex.Concerns("search", ""))
	require.Len(t, cfg.Router.Maintenance, 2)
	require.Equal(t, "patching", cfg.Router.Maintenance[0].Name)
	until, running := cfg.Router.Maintenance[0].Running(time.Date(2026, 11, 29, 1, 30, 0, 0, time.UTC))
	require.True(t, running)
	require.Equal(t, time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC), until.UTC())
	require.Len(t, cfg.Targets.Exclusions(time.Now()), 3, "payments' target, and both of search")
}

// TestFollowTheSun holds what the documentation says about the example of rosters.
func TestFollowTheSun(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("examples/follow-the-sun/watchbill.yaml", noEnv)
	require.NoError(t, err)
	require.Len(t, cfg.People, 12)
	require.Len(t, cfg.Matrix.Roles, 5)
	locations := map[string]bool{}
	for _, p := range cfg.People {
		require.True(t, config.Reachable(p), p.ID)
		locations[p.Location] = true
	}
	require.Len(t, locations, 3)
	require.Equal(t, "warn", cfg.Coverage.OnGap)
	require.Len(t, cfg.Coverage.Needs.Locations, 2)
}

// line returns the number at the end of "watchbill.yaml:41".
func line(t *testing.T, cfg *config.Config, path string) string {
	t.Helper()
	at := cfg.Line(path)
	require.NotEmpty(t, at)
	return at[len("watchbill.yaml:"):]
}
