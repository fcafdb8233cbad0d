package daemon_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

// randomConfig writes a configuration with a matrix, rosters, rules and times of
// its own.
func randomConfig(t *rapid.T) string {
	roles := []string{"manager", "deployment", "infrastructure", "security", "support"}
	activities := []string{"performance", "security", "states", "first-line"}
	var b strings.Builder
	b.WriteString("external_url: http://w.test\nstore: sqlite:w.db\nself_monitoring: false\nroles: {preset: operations}\nmatrix:\n")
	for _, a := range activities {
		fmt.Fprintf(&b, "  %s: {", a)
		for _, r := range roles {
			fmt.Fprintf(&b, "%s: %s, ", r, rapid.SampledFrom([]string{"yes", "no", "first", "on-request"}).Draw(t, a+" "+r))
		}
		b.WriteString("}\n")
	}
	b.WriteString("people:\n")
	zones := rapid.SampledFrom([]string{"UTC", "Europe/Madrid", "America/New_York", "Asia/Kolkata"})
	var support []string
	for i, name := range []string{"ana", "ben", "carla", "dmitri", "eve"} {
		own := rapid.SliceOfNDistinct(rapid.SampledFrom(roles), 1, 3, rapid.ID).Draw(t, name)
		if i == 0 && !slices.Contains(own, "manager") {
			own = append(own, "manager")
		}
		if slices.Contains(own, "support") {
			support = append(support, name)
		}
		fmt.Fprintf(&b, "  - {name: %s, roles: [%s], tz: %s, contact: [{receiver: push}, {receiver: phone, after: %dm}]}\n",
			name, strings.Join(own, ", "), zones.Draw(t, "zone of "+name), rapid.IntRange(0, 20).Draw(t, "after"))
	}
	if len(support) > 0 {
		fmt.Fprintf(&b, "rosters:\n  - {role: support, people: [%s], start: 2026-11-16, handover: %q, tz: %s, hours: [{weekdays: [monday:friday], from: \"%02d:00\", to: \"19:00\"}]}\n",
			strings.Join(support, ", "), rapid.SampledFrom([]string{"monday 09:00", "sunday 03:00", "friday 17:30"}).Draw(t, "handover"),
			zones.Draw(t, "zone of the roster"), rapid.IntRange(6, 10).Draw(t, "from"))
	}
	fmt.Fprintf(&b, "services:\n  - {name: db, owner: %s, environments: [live], depends_on: [%s]}\n  - {name: web, environments: [live]}\n",
		rapid.SampledFrom(roles).Draw(t, "owner"), rapid.SampledFrom([]string{"web", ""}).Draw(t, "depends on"))
	fmt.Fprintf(&b, "overrides:\n  - {%s, %s}\n", rapid.SampledFrom([]string{"services: [db]", "environments: [preprod]", "environments: [live]"}).Draw(t, "where"),
		rapid.SampledFrom([]string{"roles: [deployment]", "max_severity: sev3", "mute_time_intervals: [mornings]", "active_time_intervals: [mornings]", "matrix: {security: {support: first}}"}).Draw(t, "override"))
	fmt.Fprintf(&b, "maintenance: [{name: m, services: [%s], environments: [live], cron: '0 %d * * *', duration: 2h, tz: Europe/Madrid}]\n",
		rapid.SampledFrom([]string{"db", "web"}).Draw(t, "maintenance"), rapid.IntRange(0, 23).Draw(t, "hour"))
	b.WriteString("storm: {pages_per_minute: 1000000} # what is put off is not at the second that explain says\n")
	fmt.Fprintf(&b, "activities:\n  - {match: ['alertname=\"A\"'], activity: %s}\n  - {match: ['severity=~\"warning|sev1\"'], activity: %s, mute_time_intervals: [%s]}\n",
		rapid.SampledFrom(activities).Draw(t, "A"), rapid.SampledFrom(activities).Draw(t, "warning"), rapid.SampledFrom([]string{"always", "never"}).Draw(t, "interval"))
	b.WriteString("time_intervals:\n  - {name: always, time_intervals: [{years: ['2000:2100']}]}\n  - {name: never, time_intervals: [{years: ['2001']}]}\n  - {name: mornings, time_intervals: [{times: [{start_time: '06:00', end_time: '12:00'}]}]}\n")
	b.WriteString("inhibit_rules:\n  - {source_matchers: ['alertname=\"B\"'], target_matchers: ['alertname=\"A\"'], equal: [service]}\n")
	second := rapid.IntRange(1, 8).Draw(t, "second")
	manager := second + rapid.IntRange(0, 8).Draw(t, "manager")
	everyone := manager + rapid.IntRange(0, 8).Draw(t, "everyone")
	fmt.Fprintf(&b, "escalation: {second: %dm, manager: %dm, everyone: %dm, repeat: %dm}\n", second, manager, everyone, rapid.IntRange(5, 30).Draw(t, "repeat"))
	b.WriteString("receivers:\n  - {name: push, webhook_configs: [{url: 'http://push.test'}]}\n  - {name: phone, webhook_configs: [{url: 'http://phone.test'}]}\n")
	return b.String()
}

// explainedPage is a page as explain says it and as it was sent.
type explainedPage struct {
	At, Person, Role, Method string
	Step                     int
}

// What explain says is what happens, for any configuration, any instant and any
// other alert beside it: the same activity, severity, group and mute, and page by
// page the same person, role, method and second.
func TestExplainIsWhatHappensWhateverIsConfigured(t *testing.T) {
	t.Parallel()
	limit := 20 // each costs a few dozen milliseconds
	if raced {
		limit = 3
	}
	runs, failing := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > limit && !failing { // a failure is still made smaller
			return
		}
		failing = true
		dir, err := os.MkdirTemp("", "rehearsal") //nolint:usetesting // one for each of many runs, removed at its end
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "watchbill.yaml")
		require.NoError(rt, os.WriteFile(file, []byte(randomConfig(rt)), 0o600))
		cfg, err := config.Load(file, nil)
		require.NoError(rt, err)

		label := func(who string) watchbill.Labels {
			l := watchbill.Labels{"alertname": rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, who), "severity": rapid.SampledFrom([]string{"sev1", "critical", "warning", "info"}).Draw(rt, "severity")}
			maps.Copy(l, rapid.SampledFrom([]watchbill.Labels{{"service": "db"}, {"service": "web"}, {"service": "db", "environment": "preprod"}, {"signal": "security"}}).Draw(rt, "about"))
			return l
		}
		asked, beside := label("asked"), label("beside")
		at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 10*24*60).Draw(rt, "minute")) * time.Minute)
		q := web.ExplainRequest{Labels: asked, At: at}
		if rapid.Bool().Draw(rt, "is there another?") && beside.Fingerprint() != asked.Fingerprint() {
			q.Firing = []watchbill.Labels{beside}
		}
		x, err := daemon.Explain(cfg, q)
		require.NoError(rt, err)

		var rec daemon.Record
		var got []explainedPage
		synctest.Test(t, func(t *testing.T) { rec, got, err = live(t.Context(), cfg, q, x, dir) })
		require.NoError(rt, err)
		require.Empty(rt, rec.Doubts)
		compare(rt, x, rec, got)
		failing = false
	})
}

// live is what happens when the alerts of a question fire.
func live(ctx context.Context, cfg *config.Config, q web.ExplainRequest, x daemon.Explanation, dir string) (rec daemon.Record, pages []explainedPage, err error) {
	time.Sleep(time.Until(q.At))
	var mu sync.Mutex
	r, err := daemon.Rehearse(ctx, daemon.RehearsalOptions{
		Config: cfg, Store: filepath.Join(dir, "rehearsal.db"),
		Deliver: func(_ context.Context, d watchbill.Delivery) (watchbill.Result, string) {
			mu.Lock()
			defer mu.Unlock()
			pages = append(pages, explainedPage{time.Now().UTC().Format(time.RFC3339), string(d.Page.Person), string(d.Page.Role), d.Page.Method, d.Page.Step})
			return watchbill.ResultDelivered, ""
		},
	})
	if err != nil {
		return rec, nil, err
	}
	defer func() { err = r.Stop() }()
	fire := func(l watchbill.Labels) error {
		return r.Receive(ctx, watchbill.Alert{Labels: l, StartsAt: q.At, EndsAt: q.At.Add(100 * 24 * time.Hour)})
	}
	for _, l := range q.Firing {
		if err := fire(l); err != nil {
			return rec, nil, err
		}
	}
	synctest.Wait()
	mu.Lock()
	pages = nil // those of the other alert
	mu.Unlock()
	if err := fire(q.Labels); err != nil {
		return rec, nil, err
	}
	if n := len(x.Pages); n > 0 && len(x.Mutes) == 0 {
		time.Sleep(time.Until(x.Pages[n-1].At))
	}
	synctest.Wait()
	rec, err = r.Record(ctx)
	return rec, pages, err
}

func compare(t *rapid.T, x daemon.Explanation, rec daemon.Record, got []explainedPage) {
	var mine *watchbill.Decision
	for _, d := range rec.Muted {
		if d.Alert == x.Labels.Fingerprint() {
			mine = &d
		}
	}
	id := watchbill.IncidentID(0)
	for _, inc := range rec.Incidents {
		for _, e := range inc.Events {
			if d, ok := inc.Decision(e); ok && d.Alert == x.Labels.Fingerprint() {
				mine, id = &d, inc.ID
			}
		}
	}
	require.NotNil(t, mine, "the decision about it is kept")
	require.Equal(t, x.Activity, mine.Activity)
	require.Equal(t, x.Severity, mine.Severity)
	require.Equal(t, x.Group, mine.Group)
	for i := range mine.Mutes { // an incident that is only supposed has no number
		mine.Mutes[i].Why = strings.Replace(mine.Mutes[i].Why, "incident INC-1 is", "incident is", 1)
	}
	require.Equal(t, x.Mutes, mine.Mutes)
	if len(x.Mutes) > 0 {
		return // what follows is for when the mute ends
	}
	require.NotZero(t, id)
	var want []explainedPage
	for _, p := range x.Pages {
		want = append(want, explainedPage{p.At.UTC().Format(time.RFC3339), string(p.Person), string(p.Role), p.Method, p.Step})
	}
	if x.Joins != "" && len(x.Pages) == 0 { // it pages by the incident's own path
		return
	}
	last := ""
	for _, p := range want {
		last = max(last, p.At)
	}
	// The other alert's incident pages too; and those of the last second that belong
	// to the step after the last one that explain shows.
	got = slices.DeleteFunc(got, func(p explainedPage) bool { return p.At > last })
	for _, p := range want {
		require.Contains(t, got, p)
	}
	if len(x.Firing) == 0 {
		lastStep := 0
		for _, p := range want {
			lastStep = max(lastStep, p.Step)
		}
		for _, p := range got {
			require.True(t, p.Step > lastStep || slices.Contains(want, p), "%v was sent, and explain did not say so", p)
		}
	}
}
