package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands of docs/oncall-drills.md are run by drill.txtar, in their order
// and exactly as they are written.
func TestTheDrillOfTheDocsIsRun(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "oncall-drills.md"))
	require.NoError(t, err)
	script, err := os.ReadFile(filepath.Join("testdata", "script", "drill.txtar"))
	require.NoError(t, err)
	rest, commands := string(script), 0
	for i, block := range strings.Split(string(page), "```\n") {
		if i%2 == 0 {
			continue
		}
		for line := range strings.Lines(block) {
			_, after, found := strings.Cut(rest, "\nexec "+line)
			require.True(t, found, "%q is not run, or not in this order", line)
			rest, commands = "\n"+after, commands+1
		}
	}
	require.Equal(t, 4, commands)
}
