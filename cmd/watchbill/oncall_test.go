package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command of docs/oncall.md that is shown with its answer is answered so.
func TestOncallAnswers(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("docs/oncall.md")
	require.NoError(t, err)
	instants := 0
	for _, block := range strings.Split(string(text), "```\n$ watchbill ")[1:] {
		block, _, found := strings.Cut(block, "\n```")
		require.True(t, found)
		command, want, _ := strings.Cut(block, "\n")
		var stdout, stderr bytes.Buffer
		status := run(inQuotes(t, command), &stdout, &stderr, func(string) string { return "" })
		require.Empty(t, stderr.String(), command)
		require.Equal(t, want, strings.TrimRight(stdout.String(), "\n"), command)
		if strings.HasPrefix(command, "coverage") {
			require.Equal(t, exitFailed, status, "it has gaps")
			require.Equal(t, 3, strings.Count(want, "\n")+1)
			continue
		}
		require.Zero(t, status)
		instants++
	}
	require.Equal(t, 20, instants)
}
