package runbooks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
)

// Every runbook of the binary lints clean, and every answer to every question
// is given once: each leads to an end, to another runbook that is there, or to
// a question that was not asked yet on this way or was reached by another one.
func TestLibraryRunsThroughEveryBranch(t *testing.T) {
	t.Parallel()
	l, _, err := New(Config{})
	require.NoError(t, err)
	known := func(name string) bool { _, ok := l.Get(name); return ok }
	for _, r := range l.All() {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			content, err := library.ReadFile("library/" + r.Name + ".md")
			require.NoError(t, err)
			problems := Lint(r.Name, content, known, r.Reviewed)
			require.Empty(t, problems)

			given, ways := map[string]bool{}, 0
			steps, _ := r.Section(Steps)
			visited := map[string]bool{}
			var walk func(w Walk, path []string)
			walk = func(w Walk, path []string) {
				for !w.Done() && w.Prompt().Answers == nil {
					p := w.Prompt()
					require.NotEmpty(t, p.Text, path)
					visited[p.At] = true
					require.NotContains(t, path[max(0, len(path)-1):], p.At)
					_, err := w.Answer(p.At, AnswerDone)
					require.NoError(t, err)
				}
				if w.Done() {
					ways++
					require.NotEmpty(t, path)
					if w.Leads != "" {
						require.True(t, known(w.Leads), w.Leads)
					}
					return
				}
				p := w.Prompt()
				require.GreaterOrEqual(t, len(p.Answers), 3, "%s: yes, no and can't tell", p.At)
				for _, answer := range p.Answers {
					key := p.At + ": " + answer
					if given[key] {
						continue
					}
					given[key] = true
					next := Walk{book: w.book, queue: append([]spot(nil), w.queue...)}
					got, err := next.Answer(p.At, answer)
					require.NoError(t, err)
					require.Equal(t, answer, got)
					walk(next, append(slices.Clip(path), key))
				}
			}
			walk(*r.Begin(), nil)
			branches := 0
			for _, q := range r.Questions {
				branches += len(q.Branches)
				for _, b := range q.Branches {
					require.True(t, given[spot{Decision, q.Number}.String()+": "+b.Answer], "question %d: %s", q.Number, b.Answer)
				}
				_, ok := cantTell(q)
				require.True(t, ok, "question %d does not say what to do when nobody can tell", q.Number)
			}
			require.GreaterOrEqual(t, len(r.Questions), 4)
			require.GreaterOrEqual(t, ways, len(r.Questions))
			for i := range steps.Items {
				require.True(t, visited[fmt.Sprintf("step %d", i+1)], "no answer leads to step %d", i+1)
			}
			require.GreaterOrEqual(t, branches, 3*len(r.Questions))
			text := strings.ToLower(string(r.Source))
			require.True(t, strings.Contains(text, "good:") || strings.Contains(text, "must be") || strings.Contains(text, "good if"), "it does not say what good looks like")
			require.True(t, strings.Contains(text, "stop") || strings.Contains(text, "do not"), "it does not say when to stop")
		})
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	r, _ := Parse("x", []byte(head+`## Decision
1. Are users hurt?
   - Yes, many: → steps 2, then question 2
   - Yes, few: → done
   - No: → runbook disk-full
2. Is it back?
   - Yes: → Communicate
   - No: → question 1
## Steps
- One.
- **Two people.** Two.
## Escalate
- Call.
## Rollback
- Undo.
## Communicate
- Say so.
`))
	w := r.Begin()
	require.Equal(t, Prompt{At: "question 1", Text: "Are users hurt?", Answers: []string{"Yes, many", "Yes, few", "No", "can't tell"}}, w.Prompt())
	_, err := w.Answer("question 1", "y")
	require.ErrorContains(t, err, `"y" fits more than one answer to question 1`)
	_, err = w.Answer("question 1", "maybe")
	require.ErrorContains(t, err, `"maybe" is no answer to question 1`)
	_, err = w.Answer("step 1", "done")
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok)
	require.Equal(t, watchbill.CodeConflict, e.Code)
	got, err := w.Answer("question 1", "stuck")
	require.NoError(t, err)
	require.Equal(t, AnswerStuck, got)
	got, err = w.Answer("question 1", "yes many")
	require.NoError(t, err)
	require.Equal(t, "Yes, many", got)
	require.True(t, w.Prompt().Change)
	_, err = w.Answer("step 2", "yes")
	require.ErrorContains(t, err, "is no answer to step 2")
	_, err = w.Answer("step 2", "Done")
	require.NoError(t, err)
	_, err = w.Answer("question 2", "?")
	require.NoError(t, err)
	require.Equal(t, "escalate 1", w.Prompt().At, "whoever cannot tell escalates")
	_, err = w.Answer("escalate 1", "skip")
	require.NoError(t, err)
	require.True(t, w.Done())
	_, err = w.Answer("", "done")
	require.ErrorContains(t, err, "the run has ended")

	w = Frozen("x", r.Source).Begin()
	_, err = w.Answer("question 1", "3")
	require.NoError(t, err)
	require.True(t, w.Done())
	require.Equal(t, "disk-full", w.Leads)
	require.Equal(t, "step 1", Runbook{Sections: r.Sections}.Begin().Prompt().At, "without a decision the steps are gone through")
}

// Whatever is answered, a run is at one place that takes an answer, or at its end.
func TestWalkNeverLosesItsPlace(t *testing.T) {
	t.Parallel()
	l, _, err := New(Config{})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SampledFrom(l.All()).Draw(t, "runbook").Begin()
		for range 60 {
			if w.Done() {
				return
			}
			p := w.Prompt()
			answers := append([]string{AnswerStuck, "nonsense"}, p.Answers...)
			if p.Answers == nil {
				answers = append(answers, AnswerDone, AnswerSkip)
			}
			answer := rapid.SampledFrom(answers).Draw(t, "answer")
			_, err := w.Answer(p.At, answer)
			if (err != nil) != (answer == "nonsense") {
				t.Fatalf("%s: %s: %v", p.At, answer, err)
			}
			if answer == "nonsense" || answer == AnswerStuck {
				if w.Prompt().At != p.At {
					t.Fatal("it moved")
				}
			}
		}
	})
}
