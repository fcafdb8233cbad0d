package targets_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

// Debian's promtool accepts the rules of all examples, as one file.
func TestPromtoolAcceptsTheRules(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") == "" {
		t.Skip("promtool is not there: apt-get install prometheus")
	}
	require.NoError(t, err)
	cfg, ids := examplesByID(t)
	files, problems := targets.Rules(cfg)
	require.Empty(t, problems)
	require.Len(t, files, len(ids))
	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, targets.Join(files), 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "--lint-fatal", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `SUCCESS: \d+ rules found`, string(out))
}
