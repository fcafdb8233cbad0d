package escalation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/escalation"
)

const (
	support    watchbill.RoleID = "support"
	deployment watchbill.RoleID = "deployment"
	infra      watchbill.RoleID = "infrastructure"
	security   watchbill.RoleID = "security"
	manager    watchbill.RoleID = "manager"
)

func matrix() watchbill.Matrix {
	type row = map[watchbill.RoleID]watchbill.Mark
	return watchbill.Matrix{
		Manager: manager,
		Roles:   []watchbill.Role{{ID: manager}, {ID: deployment}, {ID: infra}, {ID: security}, {ID: support}},
		Marks: map[watchbill.ActivityID]row{
			watchbill.ActivityPerformance:    {support: watchbill.First, deployment: watchbill.Responsible, infra: watchbill.Responsible},
			watchbill.ActivitySecurity:       {security: watchbill.First, support: watchbill.Responsible},
			watchbill.ActivityFirstLine:      {support: watchbill.First},
			watchbill.ActivityDeployPlatform: {deployment: watchbill.First},
		},
	}
}

func people() []watchbill.Person {
	return []watchbill.Person{
		{ID: "ana", Roles: []watchbill.RoleID{support}, TZ: "Europe/Madrid"},
		{ID: "ben", Roles: []watchbill.RoleID{support}},
		{ID: "carla", Roles: []watchbill.RoleID{deployment}},
		{ID: "dmitri", Roles: []watchbill.RoleID{infra}},
		{ID: "eve", Roles: []watchbill.RoleID{security}},
		{ID: "frank", Roles: []watchbill.RoleID{manager}},
	}
}

func zone(t require.TestingT, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func planner(t require.TestingT, change func(*escalation.Config)) *escalation.Planner {
	cfg := escalation.Config{
		Matrix: matrix(), People: people(),
		Services: []watchbill.Service{{Name: "checkout", Owner: infra}},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := escalation.New(cfg)
	require.NoError(t, err)
	return p
}

func roles(p watchbill.Path) (all [][]watchbill.RoleID, after []time.Duration) {
	for _, s := range p.Steps {
		all = append(all, s.Roles)
		after = append(after, s.After)
	}
	return all, after
}

// The table "who is paged first" of the organisation, row by row.
func TestPathFromTheMatrix(t *testing.T) {
	t.Parallel()
	p := planner(t, nil)
	type r = []watchbill.RoleID
	cases := map[string]struct {
		activity watchbill.ActivityID
		service  string
		want     []r
	}{
		"performance":           {watchbill.ActivityPerformance, "checkout", []r{{support}, {deployment, infra}, {manager}, {support, deployment, infra, manager}}},
		"security":              {watchbill.ActivitySecurity, "checkout", []r{{security}, {support}, {manager}, {security, support, manager}}},
		"first-line with owner": {watchbill.ActivityFirstLine, "checkout", []r{{support}, {infra}, {manager}, {support, infra, manager}}},
		"first-line without":    {watchbill.ActivityFirstLine, "unknown", []r{{support}, {deployment}, {manager}, {support, deployment, manager}}},
		"a failed release":      {watchbill.ActivityDeployPlatform, "checkout", []r{{deployment}, {infra}, {manager}, {deployment, infra, manager}}},
		"a row of nobody":       {"unowned", "checkout", []r{{manager}, {infra}, {manager}, {manager, infra}}},
	}
	for name, c := range cases {
		got, after := roles(p.Path(c.activity, c.service))
		require.Equal(t, c.want, got, name)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute}, after, name)
	}
	require.True(t, p.Path(watchbill.ActivityPerformance, "").Steps[3].Everyone)
	require.Equal(t, 15*time.Minute, p.Path(watchbill.ActivityPerformance, "").Repeat)
}

func TestNobodyHoldsTheManager(t *testing.T) {
	t.Parallel()
	_, err := escalation.New(escalation.Config{Matrix: matrix(), People: people()[:5]})
	require.ErrorContains(t, err, "nobody holds manager")
	_, err = escalation.New(escalation.Config{Matrix: matrix(), People: people(), Timing: escalation.Timing{Second: time.Hour}})
	require.ErrorContains(t, err, "do not climb")
}

func weekly(change func(*escalation.Roster)) func(*escalation.Config) {
	return func(c *escalation.Config) {
		r := escalation.Roster{
			Role: support, People: []watchbill.PersonID{"ana", "ben"}, Line: "watchbill.yaml:41",
			Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Handover: escalation.Handover{Weekday: time.Monday, Hour: 9},
		}
		r.Zone, _ = time.LoadLocation("Europe/Madrid")
		if change != nil {
			change(&r)
		}
		c.Rosters = []escalation.Roster{r}
	}
}

func who(t require.TestingT, p *escalation.Planner, role watchbill.RoleID, at time.Time) watchbill.PersonID {
	duties := p.OnDuty(role, at)
	require.Len(t, duties, 1)
	require.NotEmpty(t, duties[0].Reason)
	return duties[0].Person
}

// The hand-over is at nine on the wall clock in Madrid, before, between and
// after the two changes of the clocks of 2026.
func TestHandoverFollowsTheWallClock(t *testing.T) {
	t.Parallel()
	p := planner(t, weekly(nil))
	madrid := zone(t, "Europe/Madrid")
	turn := []watchbill.PersonID{"ana", "ben"}
	for week := range 60 {
		at := time.Date(2026, 1, 5+7*week, 9, 0, 0, 0, madrid)
		require.Equal(t, turn[week%2], who(t, p, support, at), at)
		require.Equal(t, turn[(week+1)%2], who(t, p, support, at.Add(-time.Second)), at)
		require.Equal(t, turn[week%2], who(t, p, support, at.Add(6*24*time.Hour)), at)
	}
	require.Equal(t, "weekly rotation of support, since Mon 23 Nov 09:00 CET (watchbill.yaml:41)",
		p.OnDuty(support, time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC))[0].Reason)
}

func TestBeforeTheFirstWeekTheRotationGoesBackwards(t *testing.T) {
	t.Parallel()
	p := planner(t, weekly(nil))
	madrid := zone(t, "Europe/Madrid")
	require.Equal(t, watchbill.PersonID("ben"), who(t, p, support, time.Date(2026, 1, 5, 8, 59, 59, 0, madrid)))
	require.Equal(t, watchbill.PersonID("ana"), who(t, p, support, time.Date(2025, 12, 25, 0, 0, 0, 0, madrid)))
}

// For any roster, zone, hand-over and instant: exactly one person is on duty,
// the duty changes only at a hand-over, and each person gets whole weeks in
// turn.
func TestRotationProperties(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		h := escalation.Handover{
			Weekday: time.Weekday(rapid.IntRange(0, 6).Draw(t, "weekday")),
			Hour:    rapid.IntRange(4, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute"),
		}
		ids := []watchbill.PersonID{"a", "b", "c", "d", "e"}[:rapid.IntRange(2, 5).Draw(t, "people")]
		p := planner(t, weekly(func(r *escalation.Roster) { r.Zone, r.Handover, r.People = loc, h, ids }))
		at := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "at"), 0).In(loc)
		now := who(t, p, support, at)
		// The hand-over before at, by the calendar.
		last := time.Date(at.Year(), at.Month(), at.Day()-(int(at.Weekday())-int(h.Weekday)+7)%7, h.Hour, h.Minute, 0, 0, loc)
		if last.After(at) {
			last = time.Date(last.Year(), last.Month(), last.Day()-7, h.Hour, h.Minute, 0, 0, loc)
		}
		next := time.Date(last.Year(), last.Month(), last.Day()+7, h.Hour, h.Minute, 0, 0, loc)
		require.Equal(t, now, who(t, p, support, last))
		require.Equal(t, now, who(t, p, support, next.Add(-time.Second)))
		require.NotEqual(t, now, who(t, p, support, next))
		require.NotEqual(t, now, who(t, p, support, last.Add(-time.Second)))
	})
}

func TestARoleOfNobodyGoesToTheManager(t *testing.T) {
	t.Parallel()
	p := planner(t, func(c *escalation.Config) { c.People = append(people()[:4], people()[5]) })
	d := p.OnDuty(security, time.Now())
	require.Equal(t, watchbill.PersonID("frank"), d[0].Person)
	require.Equal(t, manager, d[0].Role)
	require.Contains(t, d[0].Reason, "nobody holds security")
}

func TestTargetsNameEachPersonOnce(t *testing.T) {
	t.Parallel()
	p := planner(t, func(c *escalation.Config) {
		c.People = append(people(), watchbill.Person{ID: "gil", Roles: []watchbill.RoleID{support, deployment}})
	})
	got := p.Targets(watchbill.PathStep{Roles: []watchbill.RoleID{support, deployment}, Everyone: true}, time.Now())
	var ids []watchbill.PersonID
	for _, d := range got {
		ids = append(ids, d.Person)
	}
	require.Equal(t, []watchbill.PersonID{"ana", "ben", "gil", "carla"}, ids)
	gone := p.Targets(watchbill.PathStep{Roles: []watchbill.RoleID{"dissolved"}, Everyone: true}, time.Now())
	require.Equal(t, watchbill.PersonID("frank"), gone[0].Person, "a role that a reload removed goes to the manager")
}

func TestSeverityAndHours(t *testing.T) {
	t.Parallel()
	workdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	p := planner(t, weekly(func(r *escalation.Roster) {
		r.Hours = []escalation.Hours{{Weekdays: workdays, From: 9 * 60, To: 17 * 60}}
	}))
	madrid := zone(t, "Europe/Madrid")
	step := watchbill.PathStep{Roles: []watchbill.RoleID{support}}
	night := time.Date(2026, 11, 29, 4, 15, 0, 0, madrid) // a Sunday
	for _, sev := range []watchbill.Severity{watchbill.Sev1, watchbill.Sev2} {
		due, _, ok := p.Due(sev, step, night)
		require.True(t, ok)
		require.Equal(t, night, due)
	}
	cases := map[string][2]time.Time{
		"Sunday night waits for Monday":    {night, time.Date(2026, 11, 30, 9, 0, 0, 0, madrid)},
		"in hours at once":                 {time.Date(2026, 11, 30, 9, 0, 0, 0, madrid), time.Date(2026, 11, 30, 9, 0, 0, 0, madrid)},
		"the end is not in":                {time.Date(2026, 11, 30, 17, 0, 0, 0, madrid), time.Date(2026, 12, 1, 9, 0, 0, 0, madrid)},
		"Friday evening waits for Monday":  {time.Date(2026, 11, 27, 17, 30, 0, 0, madrid), time.Date(2026, 11, 30, 9, 0, 0, 0, madrid)},
		"over the change of the clocks":    {time.Date(2026, 10, 24, 12, 0, 0, 0, madrid), time.Date(2026, 10, 26, 9, 0, 0, 0, madrid)},
		"early morning waits for the hour": {time.Date(2026, 11, 30, 8, 59, 0, 0, madrid), time.Date(2026, 11, 30, 9, 0, 0, 0, madrid)},
	}
	for name, c := range cases {
		due, why, ok := p.Due(watchbill.Sev3, step, c[0])
		require.True(t, ok, name)
		require.True(t, c[1].Equal(due), "%s: got %s", name, due)
		require.Equal(t, !c[0].Equal(c[1]), why != "", name)
	}
	_, why, ok := p.Due(watchbill.Sev4, step, night)
	require.False(t, ok)
	require.NotEmpty(t, why)
	due, _, ok := p.Due(watchbill.Sev3, watchbill.PathStep{Roles: []watchbill.RoleID{deployment}}, night)
	require.True(t, ok)
	require.Equal(t, night, due, "a roster without hours is on at any hour")
}
