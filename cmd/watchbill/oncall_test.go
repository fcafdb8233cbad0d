package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command of docs/oncall.md that is shown with its answer is answered so.
func TestOncallAnswers(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("docs/oncall.md")
	require.NoError(t, err)
	duty, pages := 0, 0
	for _, block := range strings.Split(string(text), "```\n$ watchbill ")[1:] {
		block, _, found := strings.Cut(block, "\n```")
		require.True(t, found)
		command, want, _ := strings.Cut(block, "\n")
		var stdout, stderr bytes.Buffer
		command, rows, filtered := strings.Cut(command, " | grep ")
		status := run(inQuotes(t, command), &stdout, &stderr, func(string) string { return "" })
		require.Empty(t, stderr.String(), command)
		got := strings.TrimRight(stdout.String(), "\n")
		if filtered {
			only := regexp.MustCompile(strings.Trim(rows, "'"))
			lines := slices.DeleteFunc(strings.Split(got, "\n"), func(l string) bool { return !only.MatchString(l) })
			got = strings.Join(lines, "\n")
			pages++
		} else {
			duty++
		}
		require.Equal(t, want, got, command)
		if strings.HasPrefix(command, "coverage") {
			require.Equal(t, exitFailed, status, "it has gaps")
			require.Equal(t, 3, strings.Count(want, "\n")+1)
			continue
		}
		require.Zero(t, status)
	}
	require.Equal(t, 21, duty, "the coverage, and who is on duty at 20 instants")
	require.Equal(t, 20, pages, "what explain says then")
}
