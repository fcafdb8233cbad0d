package runbooks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const head = "---\nowner: a\nreviewed: 2026-11-01\n---\n# T\n## Quick reference\n- Look.\n"

func lintDay() time.Time { return time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC) }

func TestDecision(t *testing.T) {
	t.Parallel()
	r, problems := Parse("x", []byte(head+`## Decision
1. Are users hurt,
   more than a few?

   - Yes: find what changed. → next
   - Can't tell -> steps 1, 2-3 and 5, then Rollback, then question 2
2. Is it one host?
   - Yes: → runbook disk-full
   - No: it is over → done.
   - Old style: next question.
## Steps
- [ ] **Two people.** Restart it:

  `+"```\n  systemctl restart x\n  ```"+`
- [ ] Watch.
`))
	require.Empty(t, problems)
	require.Equal(t, []Question{
		{Number: 1, Text: "Are users hurt, more than a few?", Line: 9, Branches: []Branch{
			{Answer: "Yes", Text: "find what changed.", Line: 12, Moves: []Move{{Question: 2}}},
			{Answer: "Can't tell", Line: 13, Moves: []Move{{Steps: []int{1, 2, 3, 5}}, {Section: Rollback}, {Question: 2}}},
		}},
		{Number: 2, Text: "Is it one host?", Line: 14, Branches: []Branch{
			{Answer: "Yes", Line: 15, Moves: []Move{{Runbook: "disk-full"}}},
			{Answer: "No", Text: "it is over", Line: 16, Moves: []Move{{}}},
			{Answer: "Old style", Text: "next question.", Line: 17},
		}},
	}, r.Questions)
	steps, _ := r.Section(Steps)
	require.Equal(t, []Item{
		{Text: "Two people. Restart it:", More: []string{"  systemctl restart x"}, Line: 19, Change: true},
		{Text: "Watch.", More: []string{}, Line: 24},
	}, steps.Items)
}

func TestLint(t *testing.T) {
	t.Parallel()
	known := func(name string) bool { return name == "other" }
	require.Empty(t, Lint("x", []byte(head+"See [other](other.md#steps) and [below](#quick-reference).\n## Decision\n1. A?\n   - Yes: → steps 1\n   - No: → runbook other\n## Steps\n- **Two people.** Do it.\n## Rollback\n- Undo it.\n"), known, lintDay()))

	for name, tc := range map[string]struct{ content, want string }{
		"leads nowhere": {"## Decision\n1. A?\n   - Yes: wait.\n", `x.md:10:6: the answer "Yes" leads nowhere; end it with an arrow`},
		"no place":      {"## Decision\n1. A?\n   - Yes: → home\n", `x.md:10:6: "home" is not a place in a runbook; `},
		"no step":       {"## Decision\n1. A?\n   - Yes: → step 2\n## Steps\n- One.\n", `x.md:10:1: the answer "Yes" leads to step 2, which is not there; `},
		"backwards":     {"## Decision\n1. A?\n   - Yes: → steps 3-2\n", `"steps 3-2" is not a place`},
		"huge span":     {"## Decision\n1. A?\n   - Yes: → steps 1-99999999\n", `is not a place`},
		"no question":   {"## Decision\n1. A?\n   - Yes: → next\n", `leads to question 2, which is not there`},
		"no section":    {"## Decision\n1. A?\n   - Yes: → Rollback\n", `leads to the section Rollback, which is not there`},
		"no runbook":    {"## Decision\n1. A?\n   - Yes: → runbook nope\n", `leads to the runbook nope, which is not there`},
		"after the end": {"## Decision\n1. A?\n   - Yes: → done, then question 1\n", `"question 1" can never be reached; `},
		"never asked":   {"## Decision\n1. A?\n   - Yes: → done\n2. B?\n   - Yes: → done\n", `x.md:11:1: question 2 can never be asked: no answer leads to it; `},
		"endless":       {"## Decision\n1. A?\n   - Yes: → next\n2. B?\n   - Yes: → question 1\n", `x.md:9:1: question 1 is endless: `},
		"no answers":    {"## Decision\n1. A?\n", `x.md:9:1: question 1 has no answers; `},
		"twice":         {"## Decision\n1. A?\n   - Yes: → done\n\nwords\n\n1. B?\n   - Yes: → done\n", `question 1 is there twice`},
		"no questions":  {"## Decision\n- Think.\n", `x.md:8:1: the decision has no numbered question`},
		"no way back":   {"## Steps\n- Look.\n- **Change.** Do it.\n", `x.md:10:1: step 2 changes production, and nothing says how to take that back; `},
		"dead anchor":   {"See [it](#nope).\n", `x.md:8:8: the link "#nope" is dead; `},
		"dead runbook":  {"See [it](nope.md).\n", `x.md:8:8: the link "nope.md" is dead; `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []string
			for _, p := range Lint("x", []byte(head+tc.content), known, lintDay()) {
				require.NotEmpty(t, p.Hint)
				all = append(all, p.String())
			}
			require.Contains(t, strings.Join(all, "\n"), tc.want)
		})
	}
	stale := Lint("x", []byte(head), known, lintDay().AddDate(1, 0, 0))
	require.Len(t, stale, 1)
	require.True(t, stale[0].Warning)
	require.Contains(t, stale[0].Message, "STALE")
}

func TestLintFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "here", "")
	file := filepath.Join(dir, "a.md")
	require.NoError(t, os.WriteFile(file, []byte(head+"[a](here.md) [b](disk-full.md) [c](gone.md) [d](a.md)\n"), 0o600))
	problems, content, err := LintFile(file, lintDay())
	require.NoError(t, err)
	require.Len(t, problems, 1)
	require.Equal(t, `the link "gone.md" is dead`, problems[0].Message)
	require.Contains(t, string(content), "gone.md")

	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out.md")))
	_, _, err = LintFile(filepath.Join(dir, "out.md"), lintDay())
	require.ErrorContains(t, err, "escapes")
	_, _, err = LintFile(filepath.Join(dir, "none.md"), lintDay())
	require.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a b.md"), []byte(head), 0o600))
	problems, _, err = LintFile(filepath.Join(dir, "a b.md"), lintDay())
	require.NoError(t, err)
	require.Contains(t, problems[0].Message, "cannot be the file of a runbook")
}
