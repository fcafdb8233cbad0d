package intake_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/intake"
	"watchbill/internal/golden"
)

func night() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

// What each program really sends becomes the alerts that stand beside it.
func TestPayloads(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 17)
	for _, file := range files {
		kind, name := filepath.Base(filepath.Dir(file)), filepath.Base(file)
		t.Run(kind+"/"+name, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(file)
			require.NoError(t, err)
			events, err := intake.Decode(intake.Source{Name: "src", Kind: intake.Kind(kind), Labels: watchbill.Labels{"site": "madrid"}}, body, night())
			require.NoError(t, err)
			got, err := json.MarshalIndent(events, "", "  ")
			require.NoError(t, err)
			golden.Compare(t, kind+"/"+strings.TrimSuffix(name, ".json")+".golden", string(got)+"\n")
		})
	}
}

// A source sets no label that tells sources apart, keeps within its allow-list, and
// what it may not set is still there to read.
func TestASourceSpeaksOnlyForItself(t *testing.T) {
	t.Parallel()
	body := `{"summary": "a", "dedup": "k", "labels": {
		"watchbill_source": "other", "watchbill_dedup": "x", "watchbill_case": "y",
		"service": "payments", "environment": "preprod", "proc_cmdline": "rm -r /", "severity": "info"}}`
	s := intake.Source{
		Name: "ci", Kind: intake.Generic, Labels: watchbill.Labels{"service": "checkout"}, Allow: []string{"severity", "service", "watchbill_source"},
	}
	events, err := intake.Decode(s, []byte(body), night())
	require.NoError(t, err)
	require.Equal(t, watchbill.Labels{
		"alertname": "ci", "service": "checkout", "severity": "info", "watchbill_source": "ci", "watchbill_dedup": "k",
	}, events[0].Alert.Labels)
	require.Equal(t, "rm -r /", events[0].Alert.Annotations["proc_cmdline"])
	require.Equal(t, "preprod", events[0].Alert.Annotations["environment"])

	s.Allow = []string{}
	events, err = intake.Decode(s, []byte(body), night())
	require.NoError(t, err)
	require.Equal(t, watchbill.Labels{"alertname": "ci", "service": "checkout", "watchbill_source": "ci", "watchbill_dedup": "k"}, events[0].Alert.Labels)
}

// Each body is refused with the field that is wrong and what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3<<10)
	many := make([]string, 63)
	for i := range many {
		many[i] = fmt.Sprintf(`"l%d": "x"`, i)
	}
	for _, c := range []struct {
		kind       intake.Kind
		body, want string
	}{
		{intake.Generic, ``, "the body is not valid"},
		{intake.Generic, `[]`, "the body is not valid"},
		{intake.Generic, `{"summary": "a"} {}`, "the body is not valid"},
		{intake.Generic, `{}`, "summary: is missing"},
		{intake.Generic, `{"action": "explode"}`, `action: "explode" is not known; use trigger or resolve`},
		{intake.Generic, `{"action": "resolve"}`, "dedup: is missing"},
		{intake.Generic, `{"summary": "a", "dedup": "` + long + `"}`, "dedup: the key is over 255 bytes"},
		{intake.Generic, `{"summary": "a", "labels": {"a": "` + long + `"}}`, "labels.a: the value is over 2 KB"},
		{intake.Generic, `{"summary": "a", "labels": {` + strings.Join(many, ", ") + `}}`, "are over the limit of 62"},
		{intake.Generic, strings.Repeat("[", 17), "nests deeper than 16 levels"},
		{intake.Alertmanager, `{"version": "4"}`, "alerts: is missing"},
		{intake.Alertmanager, `{"alerts": [{"status": "suppressed", "labels": {"a": "b"}}]}`, `alerts[0].status: "suppressed" is not known`},
		{intake.Alertmanager, `{"alerts": [{"status": "firing", "labels": {}}]}`, "alerts[0].labels: at least one is needed"},
		{intake.Alertmanager, `{"alerts": [{"status": "firing", "labels": {"a": "b"}, "startsAt": "2300-01-01T00:00:00Z"}]}`, "startsAt: is not within the years"},
		{intake.Alertmanager, `{"alerts": [` + strings.Repeat(`{"status": "firing", "labels": {"a": "b"}},`, 10_000) + `{"status": "firing", "labels": {"a": "b"}}]}`, "10001 alerts are over the limit"},
		{intake.PagerDuty, `{"event_action": "resolve"}`, "dedup_key: is missing"},
		{intake.PagerDuty, `{"event_action": "snooze"}`, `event_action: "snooze" is not known`},
		{intake.PagerDuty, `{"event_action": "trigger"}`, "payload.summary: is missing"},
		{intake.PagerDuty, `{"event_action": "trigger", "payload": {"summary": "` + long + `"}}`, "payload.summary: is over 1024 characters"},
		{intake.PagerDuty, `{"event_action": "trigger", "payload": {"summary": "a"}}`, "payload.source: is missing"},
		{intake.PagerDuty, `{"event_action": "trigger", "payload": {"summary": "a", "source": "b", "severity": "fatal"}}`, `payload.severity: "fatal" is not known`},
		{intake.Falco, `{"output": "a"}`, "rule: is missing; set json_output: true"},
		{intake.CloudEvents, `{"specversion": "0.3"}`, `specversion: "0.3" is not known`},
		{intake.CloudEvents, `{"specversion": "1.0", "id": "1"}`, "id, source and type are needed"},
		{intake.CloudEvents, `{"specversion": "1.0", "id": "1", "source": "a", "type": "b", "data": {"action": "x"}}`, `data.action: "x" is not known`},
		{intake.AlertmanagerAPI, `{}`, "push to /api/v2/alerts"},
		{intake.Mail, `{}`, "send a mail"},
		{"carrier-pigeon", `{}`, "there is no kind of source"},
	} {
		_, err := intake.Decode(intake.Source{Name: "src", Kind: c.kind}, []byte(c.body), night())
		require.ErrorContains(t, err, c.want, "%s %.80s", c.kind, c.body)
		var e *watchbill.Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Hint)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	r := intake.Report{
		Kind: intake.Anomaly, Summary: "Memory doubles each hour", Environment: "preprod", Service: "checkout", Reporter: "QA",
		Evidence: []string{"build 812", "https://grafana.example.com/d/heap"}, Labels: watchbill.Labels{"signal": "security"},
	}
	e, err := r.Event("k")
	require.NoError(t, err)
	require.Equal(t, watchbill.Labels{
		"alertname": "Anomaly", "report": "anomaly", "environment": "preprod", "service": "checkout", "severity": "sev3", "signal": "security",
	}, e.Alert.Labels)
	require.True(t, e.Case)
	require.Equal(t, "raised as anomaly for QA: Memory doubles each hour\nevidence: build 812\nevidence: https://grafana.example.com/d/heap", r.Note())
	for want, change := range map[string]func(*intake.Report){
		"kind":        func(r *intake.Report) { r.Kind = "rumour" },
		"summary":     func(r *intake.Report) { r.Summary = " " },
		"environment": func(r *intake.Report) { r.Environment = "" },
		"severity":    func(r *intake.Report) { r.Severity = "urgent" },
		"evidence[1]": func(r *intake.Report) { r.Evidence = []string{"a", " "} },
		"labels.severity": func(r *intake.Report) {
			r.Labels = watchbill.Labels{"severity": "sev1"}
		},
	} {
		bad := r
		change(&bad)
		_, err := bad.Event("k")
		require.ErrorContains(t, err, want+":")
	}
}

// A source may send at once what it may send in a minute, and then as fast as that.
func TestLimits(t *testing.T) {
	t.Parallel()
	var l intake.Limiter
	s, now := intake.Source{Name: "a", PerMinute: 60}, night()
	require.Zero(t, l.Take(s, 60, now))
	require.Equal(t, 10*time.Second, l.Take(s, 10, now))
	require.Zero(t, l.Take(intake.Source{Name: "b", PerMinute: 60}, 60, now), "another source")
	require.Zero(t, l.Take(intake.Source{Name: "c"}, 1_000_000, now), "none is set")
	now = now.Add(10 * time.Second)
	require.Zero(t, l.Take(s, 10, now), "what was refused was not counted")
	require.Equal(t, time.Second, l.Take(s, 0, now), "what says nothing counts as one")
	now = now.Add(time.Minute)
	require.Zero(t, l.Take(s, 1000, now), "more than it could ever send")
	s.PerMinute = 120
	require.Equal(t, 30*time.Second, l.Take(s, 60, now), "a reload changes it")
}

// Whatever a body is, a decoder refuses it or returns alerts that can be stored and
// are the source's own.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	require.NoError(f, err)
	kinds := intake.Kinds()
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(f, err)
		for i, kind := range kinds {
			if string(kind) == filepath.Base(filepath.Dir(file)) {
				f.Add(uint8(i), body)
			}
		}
	}
	f.Add(uint8(0), []byte(`{"summary": "\ud800", "labels": {"\u0000": "\\"}}`))
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		s := intake.Source{Name: "src", Kind: kinds[int(kind)%len(kinds)], Labels: watchbill.Labels{"site": "madrid"}}
		events, err := intake.Decode(s, body, night())
		again, err2 := intake.Decode(s, body, night())
		require.Equal(t, events, again, "the same each time")
		if err != nil {
			require.EqualError(t, err2, err.Error())
			var e *watchbill.Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Hint)
			return
		}
		for _, e := range events {
			l := e.Alert.Labels
			require.Equal(t, "src", l[watchbill.LabelSource])
			require.Equal(t, e.Dedup, l[watchbill.LabelDedup])
			require.Empty(t, l[watchbill.LabelCase])
			require.Equal(t, "madrid", l["site"])
			require.LessOrEqual(t, len(l), 64)
			require.NotEmpty(t, e.Alert.Name())
			require.Equal(t, e.Action == intake.Resolve, e.Alert.Resolved(night()))
			require.False(t, e.Alert.StartsAt.After(e.Alert.EndsAt))
			_, err := json.Marshal(e.Alert)
			require.NoError(t, err)
		}
	})
}
