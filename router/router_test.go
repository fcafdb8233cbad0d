package router_test

import (
	"testing"
	"time"

	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/router"
)

func at() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

func matchers(t require.TestingT, s ...string) labels.Matchers {
	var ms labels.Matchers
	for _, x := range s {
		m, err := parse.Matcher(x)
		require.NoError(t, err)
		ms = append(ms, m)
	}
	return ms
}

func newRouter(t require.TestingT, change func(*router.Config)) *router.Router {
	m, ok := router.Preset("operations")
	require.True(t, ok)
	cfg := router.Config{
		Matrix:     m,
		Services:   []watchbill.Service{{Name: "checkout", Environments: []string{"live", "preprod"}}},
		Severities: map[string]watchbill.Severity{"page": watchbill.Sev2, "warning": watchbill.Sev3},
		Activities: []router.Rule{
			{Match: matchers(t, `signal="security"`), Activity: watchbill.ActivitySecurity, Line: "w.yaml:5"},
			{Match: matchers(t, `st!=""`), Activity: watchbill.ActivityPerformance, Line: "w.yaml:6"},
		},
	}
	if change != nil {
		change(&cfg)
	}
	r, err := router.New(cfg)
	require.NoError(t, err)
	return r
}

func firing(l watchbill.Labels) watchbill.Alert {
	return watchbill.Alert{Labels: l, StartsAt: at(), EndsAt: at().Add(time.Hour)}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	r := newRouter(t, nil)
	cases := map[string]struct {
		labels   watchbill.Labels
		activity watchbill.ActivityID
		why      string
		roles    []watchbill.RoleID
		sev      watchbill.Severity
		key      string
	}{
		"a target burns": {
			watchbill.Labels{"service": "checkout", "st": "checkout-requests", "severity": "page"},
			watchbill.ActivityPerformance, `w.yaml:6 matches st!=""`,
			[]watchbill.RoleID{"support", "deployment", "infrastructure"},
			watchbill.Sev2, `service="checkout",environment="live",activity="performance"`,
		},
		"the first rule wins": {
			watchbill.Labels{"signal": "security", "st": "x", "env": "preprod", "severity": "sev1"},
			watchbill.ActivitySecurity, `w.yaml:5 matches signal="security"`,
			[]watchbill.RoleID{"security", "support"},
			watchbill.Sev1, `service="",environment="preprod",activity="security"`,
		},
		"nothing matches": {
			watchbill.Labels{"job": "node", "severity": "odd"},
			watchbill.ActivityFirstLine, "no rule of activities: matches",
			[]watchbill.RoleID{"support"},
			watchbill.Sev3, `service="node",environment="prod",activity="first-line"`,
		},
	}
	for name, c := range cases {
		v := r.Decide(router.Input{Alert: firing(c.labels), Now: at()})
		require.Equal(t, c.activity, v.Activity, name)
		require.Equal(t, c.why, v.ActivityReason, name)
		require.Equal(t, c.roles, v.Roles, name)
		require.Equal(t, c.sev, v.Severity, name)
		require.Equal(t, c.key, v.Key, name)
		require.False(t, v.Muted(), name)
	}
}

// Values that look like the key's own punctuation never make two groups one.
func TestGroupKeysDoNotCollide(t *testing.T) {
	t.Parallel()
	r := newRouter(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(`a",=\`)), 0, 6, -1)
		place := func(n string) watchbill.Labels {
			return watchbill.Labels{"service": text.Draw(t, "s"+n), "environment": "e" + text.Draw(t, "e"+n)}
		}
		a, b := place("1"), place("2")
		key := func(l watchbill.Labels) string { return r.Decide(router.Input{Alert: firing(l), Now: at()}).Key }
		require.Equal(t, a.String() == b.String() || (a["service"] == b["service"] && a["environment"] == b["environment"]), key(a) == key(b))
	})
}

func silence(from, to time.Duration, ms ...watchbill.Matcher) watchbill.Silence {
	return watchbill.Silence{ID: "s1", Matchers: ms, StartsAt: at().Add(from), EndsAt: at().Add(to), CreatedBy: "ana", Comment: "replacing the disk"}
}

func TestSilencesMute(t *testing.T) {
	t.Parallel()
	r := newRouter(t, nil)
	a := firing(watchbill.Labels{"alertname": "Disk", "host": "db-1"})
	eq := watchbill.Matcher{Name: "host", Value: "db-1", IsEqual: true}
	re := watchbill.Matcher{Name: "host", Value: "db-.*", IsEqual: true, IsRegex: true}
	cases := map[string]struct {
		s     watchbill.Silence
		muted bool
	}{
		"active":             {silence(-time.Hour, time.Hour, eq), true},
		"regular expression": {silence(-time.Hour, time.Hour, re), true},
		"from now on":        {silence(0, time.Hour, eq), true},
		"pending":            {silence(time.Second, time.Hour, eq), false},
		"ended":              {silence(-time.Hour, 0, eq), false},
		"negative":           {silence(-time.Hour, time.Hour, watchbill.Matcher{Name: "host", Value: "db-1"}), false},
		"negative regex":     {silence(-time.Hour, time.Hour, watchbill.Matcher{Name: "host", Value: "web-.*", IsRegex: true}), true},
		"one of two":         {silence(-time.Hour, time.Hour, eq, watchbill.Matcher{Name: "env", Value: "prod", IsEqual: true}), false},
	}
	for name, c := range cases {
		set, err := router.NewSilences([]watchbill.Silence{c.s})
		require.NoError(t, err, name)
		v := r.Decide(router.Input{Alert: a, Now: at(), Silences: set})
		require.Equal(t, c.muted, v.Muted(), name)
		if c.muted {
			require.Equal(t, "silenced by ana until "+c.s.EndsAt.Format(time.RFC3339)+": replacing the disk", v.MuteReason(), name)
			require.Equal(t, c.s.EndsAt, v.Mutes[0].Until, name)
			require.False(t, v.OnlyInhibited(), name)
		}
	}
}

func TestValidateSilenceNamesEverythingWrong(t *testing.T) {
	t.Parallel()
	err := router.ValidateSilence(watchbill.Silence{StartsAt: at(), EndsAt: at().Add(-time.Hour)}, at())
	for _, part := range []string{"comment", "matchers: name at least one", "must be after startsAt", "in the past"} {
		require.ErrorContains(t, err, part)
	}
	wide := silence(0, time.Hour, watchbill.Matcher{Name: "host", Value: ".*", IsEqual: true, IsRegex: true})
	require.ErrorContains(t, router.ValidateSilence(wide, at()), "mute everything")
	bad := silence(0, time.Hour, watchbill.Matcher{Name: "host", Value: "(", IsEqual: true, IsRegex: true})
	require.ErrorContains(t, router.ValidateSilence(bad, at()), "matchers")
	require.NoError(t, router.ValidateSilence(silence(0, time.Hour, watchbill.Matcher{Name: "host", Value: "db", IsEqual: true}), at()))
}

func TestInhibition(t *testing.T) {
	t.Parallel()
	r := newRouter(t, func(c *router.Config) {
		c.InhibitRules = []amcommoncfg.InhibitRule{{
			Name: "faster tier", SourceMatchers: amcommoncfg.Matchers(matchers(t, `st_tier="page_fast"`)),
			TargetMatchers: amcommoncfg.Matchers(matchers(t, `st_tier=~"page_slow|page_fast"`)), Equal: []string{"st"},
		}}
	})
	target := firing(watchbill.Labels{"alertname": "Burn", "st": "a", "st_tier": "page_slow"})
	source := firing(watchbill.Labels{"alertname": "Burn", "st": "a", "st_tier": "page_fast"})
	other := firing(watchbill.Labels{"alertname": "Burn", "st": "b", "st_tier": "page_fast"})
	ended := source
	ended.EndsAt = at()
	decide := func(a watchbill.Alert, active ...watchbill.Alert) router.Verdict {
		return r.Decide(router.Input{Alert: a, Now: at(), Active: append(active, a)})
	}
	v := decide(target, other, source)
	require.True(t, v.OnlyInhibited())
	require.Contains(t, v.MuteReason(), `inhibited by Burn {alertname="Burn", st="a", st_tier="page_fast"} (rule faster tier)`)
	require.False(t, decide(target, other).Muted(), "the equal labels differ")
	require.False(t, decide(target, ended).Muted(), "the source ended")
	require.False(t, decide(source, source).Muted(), "an alert does not inhibit itself")
	twin := firing(watchbill.Labels{"alertname": "Burn2", "st": "a", "st_tier": "page_fast"})
	require.False(t, decide(source, twin).Muted(), "what matches both sides is not muted by another such")
	require.True(t, r.NeedsActive(target))
	require.False(t, r.NeedsActive(firing(watchbill.Labels{"alertname": "Disk"})))
}

func TestTimeIntervals(t *testing.T) {
	t.Parallel()
	sunday := timeinterval.TimeInterval{Weekdays: []timeinterval.WeekdayRange{{InclusiveRange: timeinterval.InclusiveRange{Begin: 0, End: 0}}}}
	with := func(mute, active []string) *router.Router {
		return newRouter(t, func(c *router.Config) {
			c.TimeIntervals = map[string][]timeinterval.TimeInterval{"sundays": {sunday}}
			c.Activities[1].MuteTimeIntervals, c.Activities[1].ActiveTimeIntervals = mute, active
		})
	}
	in := router.Input{Alert: firing(watchbill.Labels{"st": "x"}), Now: at()}
	monday := in
	monday.Now = at().Add(24 * time.Hour)
	muting, only := with([]string{"sundays"}, nil), with(nil, []string{"sundays"})
	require.Equal(t, "muted in the time interval sundays", muting.Decide(in).MuteReason())
	require.False(t, muting.Decide(monday).Muted())
	require.False(t, only.Decide(in).Muted())
	require.Equal(t, "outside the time interval sundays", only.Decide(monday).MuteReason())

	_, err := router.New(router.Config{Activities: []router.Rule{{Activity: "x", Line: "w.yaml:9"}}})
	require.ErrorContains(t, err, "w.yaml:9")
}

func TestMaintenanceMutes(t *testing.T) {
	t.Parallel()
	ends := at().Add(time.Hour)
	r := newRouter(t, func(c *router.Config) {
		c.Maintenance = []router.Maintenance{{
			Name: "patching", Reason: "kernel updates",
			Concerns: func(service, target string) bool { return service == "checkout" || target == "db-disk" },
			Running:  func(now time.Time) (time.Time, bool) { return ends, now.Before(ends) },
		}}
	})
	for name, c := range map[string]struct {
		labels watchbill.Labels
		now    time.Time
		muted  bool
	}{
		"of the service":        {watchbill.Labels{"service": "checkout"}, at(), true},
		"of the target":         {watchbill.Labels{"service": "db", "st": "db-disk"}, at(), true},
		"of another":            {watchbill.Labels{"service": "db", "st": "db-up"}, at(), false},
		"when it is over again": {watchbill.Labels{"service": "checkout"}, ends, false},
	} {
		v := r.Decide(router.Input{Alert: firing(c.labels), Now: c.now})
		require.Equal(t, c.muted, v.Muted(), name)
		if c.muted {
			require.Equal(t, []router.Mute{{Kind: router.MuteMaintenance, ID: "patching", Reason: "maintenance patching (kernel updates)", Until: ends, Path: "maintenance.patching"}}, v.Mutes)
			require.False(t, v.OnlyInhibited())
		}
	}
}
