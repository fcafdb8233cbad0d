package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const reference = "../../docs/configuration.md"

// keys returns the path of every key that the decoder knows under a type.
func keys(t reflect.Type, path string) []string {
	join := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	switch {
	case t == reflect.TypeFor[rolesSection]():
		return append(keys(reflect.TypeFor[rolesPreset](), path), keys(reflect.TypeFor[[]roleEntry](), path)...)
	case t == reflect.TypeFor[probesSection]():
		return keys(reflect.TypeFor[probesKeys](), path)
	case t.Kind() == reflect.Slice && strings.HasPrefix(t.Name(), "table["):
		value, _ := t.Elem().FieldByName("Value")
		return append([]string{join("*")}, keys(value.Type, join("*"))...)
	case t.Kind() == reflect.Slice:
		return keys(t.Elem(), path+"[]")
	case t.Kind() != reflect.Struct:
		return nil
	}
	var out []string
	for _, f := range structFields(t) {
		inner := t.Field(f.index).Type
		under := keys(inner, join(f.name))
		if len(under) == 0 || inner.Kind() == reflect.Slice || inner == reflect.TypeFor[rolesSection]() || inner == reflect.TypeFor[probesSection]() {
			out = append(out, join(f.name))
		}
		out = append(out, under...)
	}
	return out
}

// TestReferenceDescribesEveryKey holds docs/configuration.md to the decoder, in
// both directions.
func TestReferenceDescribesEveryKey(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(reference)
	require.NoError(t, err)
	var described []string
	for line := range strings.Lines(string(content)) {
		if key, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ = strings.Cut(key, "`")
			described = append(described, key)
		}
	}
	known := keys(reflect.TypeFor[sections](), "")
	require.Greater(t, len(known), 50)
	for _, key := range known {
		require.Contains(t, described, key, "docs/configuration.md does not describe it")
	}
	for _, key := range described {
		require.True(t, slices.Contains(known, key), "docs/configuration.md describes %s, which nothing reads", key)
	}
}

// TestExamplesOfTheReferenceWork loads all examples of docs/configuration.md as
// one configuration.
func TestExamplesOfTheReferenceWork(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(reference)
	require.NoError(t, err)
	files := map[string]string{
		"watchbill.yaml": "include: [examples/*.yaml]\n",
		"examples/rest.yaml": `people:
  - {name: ben, roles: [support], tz: Europe/Madrid, contact: [{receiver: terminal}]}
  - {name: me, roles: [manager, deployment, infrastructure, security], contact: [{receiver: terminal}]}
`,
		"examples/rules/a.yaml": "groups: []\n", "examples/blackbox.yml": "modules: {http_2xx: {prober: http}, tcp_connect: {prober: tcp}}\n", "examples/templates/a.tmpl": `{{ define "a" }}{{ end }}`,
		"examples/runbooks/a.md": runbook, "examples/secrets/smtp": "x", "examples/secrets/loki": "x", "examples/secrets/mimir": "x",
		"examples/rules/probes.yaml": "groups: []\n", "examples/secrets/ana-push": "https://push.example.com", "examples/secrets/sms": "x", "examples/secrets/oidc": "x",
		"examples/secrets/backup-key": "0b5a54f2-6f57-4e5a-8a55-0c3b3d4b9d0e\n",
		"examples/secrets/alarm":      "https://alarm.example.com/x\n", "examples/secrets/deadman-1": "https://deadman.example.com/x", "examples/secrets/audit": "https://audit.example.com/x",
	}
	blocks := strings.Split(string(content), "```yaml\n")[1:]
	require.GreaterOrEqual(t, len(blocks), 9)
	for i, block := range blocks {
		text, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		text = strings.Replace(text, "include: [conf.d/*.yaml]\n", "", 1)
		files["examples/"+string(rune('a'+i))+".yaml"] = text
	}
	target, err := os.ReadFile("starter/targets/example.yaml")
	require.NoError(t, err)
	files["examples/targets/a.yaml"] = strings.Replace(string(target), "service: example", "service: checkout", 1)
	path := filepath.Join(write(t, files), "watchbill.yaml")
	cfg, err := Load(path, func(string) string { return "here" })
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings)
	require.Len(t, cfg.People, 3)
	require.Len(t, cfg.Services, 2)
	require.True(t, cfg.Matrix.HasActivity("backup"))
}
