package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// What happened is played against another configuration, alert by alert: who is
// on duty, what people did, and what is muted.
func TestReplay(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	labels := func(name, service, severity string) watchbill.Labels {
		return watchbill.Labels{"alertname": name, "service": service, "severity": severity}
	}
	instance := labels("Errors", "search", "critical")
	instance["instance"] = "b"
	past := Past{
		Since: began.Add(-time.Hour), Until: began.Add(5 * time.Hour),
		Alerts: []PastAlert{
			{Labels: labels("Errors", "search", "critical"), From: began, Until: began.Add(20 * time.Minute), Incident: 7, Paged: []watchbill.PersonID{"ben", "ben"}},
			{Labels: instance, From: began.Add(time.Minute), Until: began.Add(30 * time.Minute), Incident: 7, Paged: []watchbill.PersonID{"ben"}},
			{Labels: labels("Errors", "search", "critical"), From: began.Add(2 * time.Hour), Until: began.Add(2*time.Hour + time.Minute), Paged: nil},
			{Labels: labels("Slow", "db", "warning"), From: began.Add(3 * time.Hour), Incident: 9, Paged: []watchbill.PersonID{"ben", "dmitri", "frank"}},
		},
		Acts: []Step{
			{At: began.Add(2 * time.Minute), Verb: Ack, Person: "ben", Incident: 7},
			{At: began.Add(4 * time.Minute), Verb: Ack, Person: "ben", Incident: 70}, // nothing is known of it
			{At: began.Add(110 * time.Minute), Verb: Silence, Person: "ben", For: time.Hour, Words: "known", Matchers: []watchbill.Matcher{{Name: "service", Value: "search", IsEqual: true}}},
			{At: began.Add(3*time.Hour + 11*time.Minute), Verb: Ack, Person: "ben", Incident: 9},
		},
	}
	try := func(config string) []Difference {
		script, err := past.script(config)
		require.NoError(t, err)
		entries, err := Play(t, script, t.TempDir(), func(string) string { return "" })
		require.NoError(t, err)
		return past.differences(entries)
	}
	const small = "../../deploy/examples/small/watchbill.yaml"
	require.Empty(t, try(small), "the configuration that it happened under")

	text, err := os.ReadFile(small)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(small))))
	other := strings.Replace(string(text), "people: [ben, ana]", "people: [ana]", 1) + "\nmaintenance: [{name: m, services: [db], start: '2026-12-01 12:00', end: '2026-12-02 00:00'}]\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "watchbill.yaml"), []byte(other), 0o600))
	differ := try(filepath.Join(dir, "watchbill.yaml"))
	require.Len(t, differ, 3)
	require.Equal(t, []watchbill.PersonID{"ben"}, differ[0].Was)
	require.Equal(t, []watchbill.PersonID{"ana"}, differ[0].Would)
	require.Contains(t, differ[0].Because, "opened as sev2: service search")
	require.EqualValues(t, 7, differ[0].Incident)
	require.Equal(t, instance, differ[1].Labels)
	require.Equal(t, []watchbill.PersonID{}, differ[2].Would)
	require.Contains(t, differ[2].Because, "is muted: maintenance m")

	none, err := Replay(t.Context(), Past{}, small, nil)
	require.NoError(t, err)
	require.Zero(t, none.Alerts)
	_, err = Replay(t.Context(), Past{Alerts: make([]PastAlert, maxPast+1)}, small, nil)
	require.ErrorContains(t, err, "ask for less time")
}
