package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill/internal/config"
)

// What a reload changed is told key by key, and no secret is.
func TestChangesOfAConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load := func(text string) config.Written {
		path := filepath.Join(dir, "watchbill.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		cfg, err := config.Load(path, nil)
		require.NoError(t, err)
		return cfg.Written
	}
	const before = `external_url: http://w.test
roles: {preset: operations}
include: [more.yaml]
people:
  - {name: ana, roles: [support], contact: [{receiver: push, after: 2m}]}
  - {name: frank, roles: [manager], contact: [{receiver: push}]}
receivers:
  - {name: push, webhook_configs: [{url: 'http://push.test/canary-1'}]}
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more.yaml"), []byte("services: [{name: db, tier: 1}]\n"), 0o600))
	old := load(before)
	require.Len(t, old.Sum(), 64)
	require.Empty(t, old.Changes(load(before+"# a comment\n"), 10))
	require.Equal(t, old.Sum(), load(before+"# a comment\n").Sum())

	require.NoError(t, os.WriteFile(filepath.Join(dir, "more.yaml"), []byte("services: [{name: db, tier: 2}, {name: web}]\n"), 0o600))
	later := load(`external_url: http://w.test
roles: {preset: operations}
include: [more.yaml]
people:
  - {name: ana, roles: [support, manager], contact: [{receiver: push, after: 5m}]}
receivers:
  - {name: push, webhook_configs: [{url: 'http://push.test/canary-2'}]}
`)
	require.NotEqual(t, old.Sum(), later.Sum())
	changes := old.Changes(later, 100)
	require.Equal(t, []string{
		`~ people.ana.contact.0.after: "2m" -> "5m"`,
		`+ people.ana.roles.1: "manager"`,
		`- people.frank.contact.0.receiver: "push"`,
		`- people.frank.name: "frank"`,
		`- people.frank.roles.0: "manager"`,
		`~ receivers.push.webhook_configs.0.url: (changed)`,
		`~ services.db.tier: "1" -> "2"`,
		`+ services.web.name: "web"`,
	}, changes)
	for _, line := range changes {
		require.NotContains(t, line, "canary")
	}
	require.Equal(t, "and 6 more", old.Changes(later, 2)[2])
}
