package scenario_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/scenario"
)

func noEnv(string) string { return "" }

const head = "What is promised,\nin two lines.\n\nAnd more.\n-- watchbill.yaml --\nexternal_url: http://w.test\nroles: {preset: operations}\npeople: [{name: ana, roles: [support, manager]}]\n-- script --\n"

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := scenario.Parse("dir/night.txtar", []byte(head+`
# a comment
2026-11-29T04:15:00+01:00 fire DiskFull service=db with summary="The disk is full" runbook='a "b"'
+1h30m silence ana 2d service="a b" 'x!~"c.*"' because it   is known
+2h resolve DiskFull
+2h resolve INC-1 ana it is over
2026-11-29T06:00:00Z kill 5m
+3h expire ana 1
-- timeline --
x
`))
	require.NoError(t, err)
	require.Equal(t, "What is promised, in two lines.", s.Promise)
	require.Equal(t, "x\n", s.Want)
	start := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	require.Equal(t, "night", s.Script.Name)
	require.Equal(t, start, s.Script.Start)
	require.Equal(t, start.Add(3*time.Hour+30*time.Minute), s.Script.End)
	steps := s.Script.Steps
	require.Len(t, steps, 6)
	require.Equal(t, watchbill.Labels{"alertname": "DiskFull", "service": "db"}, steps[0].Labels)
	require.Equal(t, watchbill.Labels{"summary": "The disk is full", "runbook": `a "b"`}, steps[0].Annotations)
	require.Equal(t, 12, steps[0].Line)
	require.Equal(t, start.Add(90*time.Minute), steps[1].At)
	require.Equal(t, 48*time.Hour, steps[1].For)
	require.Equal(t, "it is known", steps[1].Words)
	require.Equal(t, []watchbill.Matcher{{Name: "service", Value: "a b", IsEqual: true}, {Name: "x", Value: "c.*", IsRegex: true}}, steps[1].Matchers)
	require.Equal(t, watchbill.PersonID("ana"), steps[3].Person)
	require.Equal(t, "it is over", steps[3].Words)
	require.Equal(t, 5*time.Minute, steps[4].For)
	require.Equal(t, 1, steps[5].Silence)
}

// Each mistake is shown where it is.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const first = "2026-11-29T03:15:00Z fire A\n"
	for script, want := range map[string]string{
		"+5m fire A": "10:1: the first line has no time of its own",
		"2026-11-29T03:15:00Z fire A\n2026-11-29T03:14:00Z end": "11:1: this is before the line above",
		"1999-11-29T03:15:00Z fire A":                           "10:1: 1999-11-29T03:15:00Z cannot be played",
		"tomorrow fire A":                                       `10:1: "tomorrow" is not a time`,
		first + "+1m":                                           "11:4: nothing happens at this time",
		first + "+1m end\n+2m end":                              "12:1: this comes after the end",
		first + "+1m fire":                                      "11:9: an alert without labels",
		first + "+1m fire A a=b a=c":                            "11:16: the label a is given twice",
		first + "+1m fire A a=~b":                               `11:12: "a=~b" is not a label`,
		first + "+1m ack INC-x ana":                             `11:9: "INC-x" is not an incident`,
		first + "+1m note INC-1 ana":                            "11:19: nothing is said",
		first + "+1m silence ana soon a=b because x":            `11:17: "soon" is not a duration`,
		first + "+1m silence ana 1h a=b because":                "11:12: a silence needs",
		first + "+1m silence ana 1h a=~( because x":             `11:20: "a=~(" is not a matcher`,
		first + "+1m expire ana 1":                              "11:16: there is no silence 1 before this line",
		first + "+1m kill now":                                  `11:9: "now" is not a duration`,
		first + "+1m reload":                                    "11:11: reload names one configuration",
		first + "+1m down":                                      "11:9: down names one receiver",
		first + "config x.yaml":                                 "11:1: config stands after the first act",
		first + "2030-01-01T00:00:00Z end":                      "it lasts",
		"# nothing":                                             "nothing happens in the script",
	} {
		_, err := scenario.Parse("x.txtar", []byte(head+script+"\n"))
		problems, ok := errors.AsType[config.Problems](err)
		require.True(t, ok, script)
		require.Contains(t, problems.Error(), want, script)
		for _, p := range problems {
			require.NotEmpty(t, p.Advice, script)
		}
	}
	for text, want := range map[string]string{
		"-- watchbill.yaml --\n":                            "there is no script",
		"-- script --\n" + first + "-- script --\n" + first: "the file script is there twice",
		"-- script --\n" + first + "-- ../x --\n":           "outside of the scenario's own folder",
	} {
		_, err := scenario.Parse("x.txtar", []byte(text))
		require.ErrorContains(t, err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head + "2026-11-29T03:15:00Z fire A service=\"x\" with b=c\n+1m silence ana 2h a=b because x\n+2m resolve A\n")
	f.Add("--  script  --\n+1m end")
	f.Add("-- script --\r\n2026-11-29T03:15:00Z fire 'a\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scenario.Parse("x.txtar", []byte(text))
		if err != nil {
			problems, ok := errors.AsType[config.Problems](err)
			require.True(t, ok)
			var b bytes.Buffer
			problems.Print(&b)
			require.NotEmpty(t, b.String())
			return
		}
		require.NotEmpty(t, s.Script.Steps)
		require.True(t, slices.IsSortedFunc(s.Script.Steps, func(a, b scenario.Step) int { return a.At.Compare(b.At) }))
		require.False(t, s.Script.End.Before(s.Script.Steps[len(s.Script.Steps)-1].At))
	})
}

// The same script gives the same timeline, each time that it is played.
func TestPlayIsRepeatable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"killed", "burning"} {
		s, err := scenario.ReadFile("../../deploy/examples/small/scenarios/" + name + ".txtar")
		require.NoError(t, err)
		script, err := s.Unpack(t.TempDir(), "")
		require.NoError(t, err)
		for range 3 {
			entries, err := scenario.Play(t, script, t.TempDir(), noEnv)
			require.NoError(t, err)
			require.Equal(t, s.Want, scenario.Text(script.Start, entries))
		}
	}
}

// A configuration can be replaced in the middle, and what cannot be done is named
// with its line.
func TestReloadAndWhatCannotBeDone(t *testing.T) {
	t.Parallel()
	play := func(script string) (string, error) {
		s, err := scenario.Parse("x.txtar", []byte(head+script+"-- other.yaml --\nexternal_url: http://w.test\nroles: {preset: operations}\npeople: [{name: ben, roles: [support, manager]}]\n"))
		require.NoError(t, err)
		unpacked, err := s.Unpack(t.TempDir(), "")
		require.NoError(t, err)
		entries, err := scenario.Play(t, unpacked, t.TempDir(), noEnv)
		return scenario.Text(unpacked.Start, entries), err
	}
	got, err := play("2026-11-29T03:15:00Z fire A severity=page\n+1m reload other.yaml\n+2m fire B severity=page service=x\n+3m end\n")
	require.NoError(t, err)
	require.Contains(t, got, "INC-1 pages ana (support)")
	require.Contains(t, got, "INC-2 pages ben (support)")
	_, err = play("2026-11-29T03:15:00Z fire A severity=page\n+1m down nothing\n")
	require.ErrorContains(t, err, `line 11, down nothing: nobody is reached by a receiver "nothing"`)
	got, err = play("2026-11-29T03:15:00Z fire A severity=page\n+1m ack INC-7 ana\n+2m end\n")
	require.NoError(t, err)
	require.Contains(t, got, "refused: there is no incident INC-7")
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	require.NoError(t, scenario.WriteJUnit(&b, []scenario.Result{
		{Path: "a/x.txtar", Name: "a/x", OK: true, Took: 1500 * time.Millisecond},
		{Path: "a/y.txtar", Name: "a/y", Diff: "-<wanted>\n+got\n"},
		{Path: "z.txtar", Name: "z", Error: "cannot be read"},
	}))
	require.Equal(t, `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="1" time="1.500">
  <testsuite name="a" tests="2" failures="1" errors="0" time="1.500">
    <testcase name="x" classname="a" file="a/x.txtar" time="1.500"></testcase>
    <testcase name="y" classname="a" file="a/y.txtar" time="0.000">
      <failure message="the timeline is another one">-&lt;wanted&gt;&#xA;+got&#xA;</failure>
    </testcase>
  </testsuite>
  <testsuite name="." tests="1" failures="0" errors="1" time="0.000">
    <testcase name="z" classname="." file="z.txtar" time="0.000">
      <error message="it could not be played">cannot be read</error>
    </testcase>
  </testsuite>
</testsuites>
`, b.String())
}
