package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The questions of docs/routing.md are answered as the document says: each block
// that begins with a command is run, and its output must have the lines that
// follow, in order, with anything where … stands.
func TestQuestions(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("docs/routing.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## Ten questions\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	asked := 0
	for _, question := range strings.Split(section, "\n### ")[1:] {
		title, rest, _ := strings.Cut(question, "\n")
		_, block, found := strings.Cut(rest, "```\n$ watchbill ")
		require.True(t, found, "%s asks nothing", title)
		block, _, _ = strings.Cut(block, "\n```")
		lines := strings.Split(block, "\n")
		require.Greater(t, len(lines), 1, "%s has no answer", title)
		var stdout, stderr bytes.Buffer
		require.Zero(t, run(inQuotes(t, lines[0]), &stdout, &stderr, func(string) string { return "" }), "%s: %s", title, &stderr)
		answer := strings.Split(strings.TrimRight(stdout.String(), "\n"), "\n")
		require.True(t, answers(answer, lines[1:]), "%s\nthe document says:\n%s\nthe answer is:\n%s", title, strings.Join(lines[1:], "\n"), &stdout)
		asked++
	}
	require.Equal(t, 10, asked)
	require.False(t, answers([]string{"a", "b"}, []string{"a"}))
	require.False(t, answers([]string{"a", "b"}, []string{"…", "a"}))
	require.True(t, answers([]string{"a", "b", "c"}, []string{"…", "b", "…"}))
}

// answers reports whether lines are as a document shows them.
func answers(got, want []string) bool {
	for i, line := range want {
		if line == "…" {
			rest := want[i+1:]
			return len(rest) == 0 || slices.ContainsFunc(indexes(len(got)), func(n int) bool { return answers(got[n:], rest) })
		}
		if len(got) == 0 || got[0] != line {
			return false
		}
		got = got[1:]
	}
	return len(got) == 0
}

func indexes(n int) []int {
	all := make([]int, n+1)
	for i := range all {
		all[i] = i
	}
	return all
}

// inQuotes cuts a command line into words; double quotes keep one together.
func inQuotes(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
