package router_test

import (
	"slices"
	"testing"
	"time"

	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/router"
)

func drawLabels(t *rapid.T) watchbill.Labels {
	l := watchbill.Labels{"alertname": rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "name")}
	for name, values := range map[string][]string{
		"service": {"", "shop", "db", "rack"}, "environment": {"", "prod", "preprod"}, "severity": {"", "page", "sev1", "info", "odd"},
		"signal": {"", "security"}, "st": {"", "shop-requests"},
	} {
		if v := rapid.SampledFrom(values).Draw(t, name); v != "" {
			l[name] = v
		}
	}
	return l
}

func drawMatrix(t *rapid.T) watchbill.Matrix {
	m, _ := router.Preset(rapid.SampledFrom(router.Presets()).Draw(t, "preset"))
	draw := func() map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark {
		rows := map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{}
		for _, a := range m.Activities {
			if rapid.Bool().Draw(t, "row") {
				row := map[watchbill.RoleID]watchbill.Mark{}
				for _, r := range m.Roles {
					row[r.ID] = watchbill.Mark(rapid.IntRange(0, 3).Draw(t, "mark"))
				}
				rows[a.ID] = row
			}
		}
		return rows
	}
	if rapid.Bool().Draw(t, "merge") {
		m = m.Merge(watchbill.Role{ID: "merged", Title: "merged"}, m.Roles[0].ID, m.Roles[1].ID)
	}
	for range rapid.IntRange(0, 3).Draw(t, "overrides") {
		o := watchbill.Override{Marks: draw(), Line: "w.yaml:1"}
		if rapid.Bool().Draw(t, "of a service") {
			o.Services = []string{"shop"}
		} else {
			o.Environments = []string{"preprod"}
		}
		m.Overrides = append(m.Overrides, o)
	}
	return m
}

func drawRouter(t *rapid.T) (*router.Router, router.Config) {
	matcher := func(kind labels.MatchType, name, value string) labels.Matchers {
		m, err := labels.NewMatcher(kind, name, value)
		require.NoError(t, err)
		return labels.Matchers{m}
	}
	cfg := router.Config{
		Matrix: drawMatrix(t),
		Services: []watchbill.Service{
			{Name: "shop", DependsOn: []string{"db"}, Environments: []string{"prod", "preprod"}}, {Name: "db", DependsOn: []string{"rack"}}, {Name: "rack"},
		},
		Severities: map[string]watchbill.Severity{"page": watchbill.Sev2, "info": watchbill.Sev4},
		Activities: []router.Rule{
			{Match: matcher(labels.MatchEqual, "signal", "security"), Activity: watchbill.ActivitySecurity, Line: "w.yaml:2"},
			{Match: matcher(labels.MatchNotEqual, "st", ""), Activity: watchbill.ActivityPerformance, Line: "w.yaml:3"},
		},
		InhibitRules: []amcommoncfg.InhibitRule{{
			SourceMatchers: amcommoncfg.Matchers(matcher(labels.MatchEqual, "alertname", "A")),
			TargetMatchers: amcommoncfg.Matchers(matcher(labels.MatchEqual, "alertname", "B")), Equal: []string{"service"},
		}},
	}
	if rapid.Bool().Draw(t, "maintenance") {
		cfg.Maintenance = []router.Maintenance{{
			Name: "m", Concerns: func(service, _ string) bool { return service == "db" },
			Running: func(now time.Time) (time.Time, bool) { return now.Add(time.Hour), true },
		}}
	}
	if rapid.Bool().Draw(t, "cap") {
		cfg.Exceptions = []router.Exception{{Environments: []string{"preprod"}, MaxSeverity: watchbill.Sev3, Line: "w.yaml:4"}}
	}
	r, err := router.New(cfg)
	require.NoError(t, err)
	return r, cfg
}

// On any matrix, with any overrides: no alert is without a role that is paged
// first; what a verdict says is what the matrix says for the place; a verdict
// depends on its input alone; its group is its own service, environment and
// activity; and nothing mutes what it must not.
func TestNoAlertWithoutARole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, cfg := drawRouter(t)
		in := router.Input{Alert: firing(drawLabels(t)), Now: at()}
		for range rapid.IntRange(0, 3).Draw(t, "active") {
			in.Active = append(in.Active, firing(drawLabels(t)))
		}
		for _, service := range []string{"db", "rack"} {
			if rapid.Bool().Draw(t, "open") {
				in.Open = append(in.Open, watchbill.Incident{
					ID: 7, State: watchbill.StateOpen, Service: service, Environment: "prod", Activity: watchbill.ActivityFirstLine,
					Severity: watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "of the incident")),
				})
			}
		}
		approved := rapid.SampledFrom([]string{"", "ben"}).Draw(t, "approved by")
		silences, err := router.NewSilences([]watchbill.Silence{{
			ID: "s", StartsAt: at().Add(-time.Hour), EndsAt: at().Add(time.Hour), ApprovedBy: approved,
			NeedsApproval: rapid.SampledFrom([]string{"", "it is broad"}).Draw(t, "why"),
			Matchers:      []watchbill.Matcher{{Name: "service", Value: "shop", IsEqual: true}},
		}})
		require.NoError(t, err)
		in.Silences = silences

		v := r.Decide(in)
		require.Equal(t, v, r.Decide(in))
		m := cfg.Matrix.At(watchbill.Place{Service: v.Service, Environment: v.Environment})
		require.NotEmpty(t, m.FirstRoles(v.Activity))
		for _, role := range m.FirstRoles(v.Activity) {
			require.True(t, m.HasRole(role))
		}
		require.Equal(t, m.Responsible(v.Activity), v.Roles)
		require.NotEmpty(t, v.Environment)
		require.NotZero(t, v.Severity)
		require.Equal(t, v.Severity, r.Severity(in.Alert.Labels))

		for _, mute := range v.Mutes {
			switch mute.Kind {
			case router.MuteSilence:
				require.Equal(t, "shop", v.Service)
				require.True(t, approved != "" || v.Activity != watchbill.ActivitySecurity, "a security alert takes two people")
			case router.MuteMaintenance:
				require.True(t, v.Activity != watchbill.ActivitySecurity || watchbill.Sev2.HigherThan(v.Severity), "a critical one of another class")
			case router.MuteDependency:
				i := slices.IndexFunc(in.Open, func(inc watchbill.Incident) bool { return !v.Severity.HigherThan(inc.Severity) })
				require.GreaterOrEqual(t, i, 0, "no higher severity")
				require.Equal(t, watchbill.ActivityFirstLine, v.Activity)
				require.NotEmpty(t, r.Upstream(in.Alert))
			case router.MuteInhibited, router.MuteTimeInterval:
			}
		}
	})
}
