package escalation_test

import (
	"fmt"
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

func instant(t require.TestingT, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return at
}

// layered is a roster with a day and a night layer, somebody behind and a trainee.
func layered(t require.TestingT, change func(*escalation.Config)) *escalation.Planner {
	return planner(t, func(c *escalation.Config) {
		madrid := zone(t, "Europe/Madrid")
		start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		c.People = append(people(), watchbill.Person{ID: "tina"}, watchbill.Person{ID: "ugo", Roles: []watchbill.RoleID{support}})
		c.Rosters = []escalation.Roster{{Role: support, Zone: madrid, Layers: []escalation.Layer{
			{
				Name: "night", People: []watchbill.PersonID{"ben"}, Start: start, Handover: escalation.Handover{Hour: 22}, Every: 24 * time.Hour,
				On: []escalation.Hours{{Weekdays: everyDay(), From: 22 * 60, To: 31 * 60}}, Line: "w.yaml:3",
			},
			{Name: "day", People: []watchbill.PersonID{"ana", "ben"}, Start: start, Handover: escalation.Handover{Weekday: time.Monday, Hour: 9}, Line: "w.yaml:4"},
			{Name: "second", Seat: escalation.Secondary, People: []watchbill.PersonID{"ben", "ana", "ugo"}, Start: start, Every: 24 * time.Hour, Line: "w.yaml:5"},
			{Name: "trainee", Seat: escalation.Shadow, People: []watchbill.PersonID{"tina"}, Start: start, Line: "w.yaml:6"},
		}}}
		if change != nil {
			change(c)
		}
	})
}

// What is said about who is on duty names everything that brought them there.
func TestReasons(t *testing.T) {
	t.Parallel()
	noon := instant(t, "2026-01-06T12:00:00Z")
	change := func(id int64, kind watchbill.DutyChangeKind, person, instead watchbill.PersonID) watchbill.DutyChange {
		return watchbill.DutyChange{
			ID: id, Kind: kind, Role: support, Person: person, Instead: instead, From: noon.Add(-time.Hour), To: noon.Add(time.Hour), Author: "frank", Reason: "ill",
		}
	}
	away := func(c *escalation.Config) {
		c.People[0].Deputy = "eve"
		c.People[0].Leave = []watchbill.Leave{{From: noon.Add(-time.Hour), To: noon.Add(time.Hour), Reason: "skiing", Line: "w.yaml:1"}}
	}
	for name, c := range map[string]struct {
		config  func(*escalation.Config)
		changes []watchbill.DutyChange
		at      time.Time
		who     watchbill.PersonID
		why     string
	}{
		"a layer":     {nil, nil, noon, "ana", "weekly rotation of support, layer day, since Mon 5 Jan 09:00 CET (w.yaml:4)"},
		"at night":    {nil, nil, instant(t, "2026-01-06T21:00:00Z"), "ben", "daily rotation of support, layer night, since Tue 6 Jan 22:00 CET (w.yaml:3)"},
		"an override": {nil, []watchbill.DutyChange{change(1, watchbill.DutyOverride, "ugo", "")}, noon, "ugo", "override 1 by frank until Tue 6 Jan 13:00 UTC: ill"},
		"the last override": {
			nil,
			[]watchbill.DutyChange{change(2, watchbill.DutyOverride, "ben", ""), change(1, watchbill.DutyOverride, "ugo", "")},
			noon, "ben", "override 2 by frank until Tue 6 Jan 13:00 UTC: ill",
		},
		"a cover": {
			nil,
			[]watchbill.DutyChange{change(1, watchbill.DutyCover, "ugo", "ana")},
			noon, "ugo",
			"weekly rotation of support, layer day, since Mon 5 Jan 09:00 CET (w.yaml:4); ugo stands in: cover 1 by frank, in the place of ana until Tue 6 Jan 13:00 UTC: ill",
		},
		"a deputy": {
			away, nil, noon, "eve",
			"weekly rotation of support, layer day, since Mon 5 Jan 09:00 CET (w.yaml:4); ana is away until Tue 6 Jan 13:00 UTC (skiing, w.yaml:1), and eve is their deputy",
		},
		"a deputy who is covered": {
			away,
			[]watchbill.DutyChange{change(1, watchbill.DutyCover, "ugo", "eve")},
			noon, "ugo",
			"weekly rotation of support, layer day, since Mon 5 Jan 09:00 CET (w.yaml:4); ana is away until Tue 6 Jan 13:00 UTC (skiing, w.yaml:1), and eve is their deputy; " +
				"ugo stands in: cover 1 by frank, in the place of eve until Tue 6 Jan 13:00 UTC: ill",
		},
		"the next in the turn": {
			nil,
			[]watchbill.DutyChange{change(1, watchbill.DutyLeave, "", "ana")},
			noon, "ben",
			"weekly rotation of support, layer day, since Mon 5 Jan 09:00 CET (w.yaml:4); ana is not free",
		},
		"nobody": {
			nil,
			[]watchbill.DutyChange{change(1, watchbill.DutyLeave, "", "ana"), change(2, watchbill.DutyLeave, "", "ben")},
			noon, "frank",
			"nobody of support is on duty, so the manager answers: the only one who holds manager",
		},
	} {
		d := layered(t, c.config).With(c.changes).Watch(support, c.at).Primary
		require.Equal(t, c.who, d.Person, name)
		require.Equal(t, c.why, d.Reason, name)
	}
}

// The second person is paged with the second step, and the trainee gets a copy
// that is none of the targets.
func TestSecondAndTrainee(t *testing.T) {
	t.Parallel()
	p := layered(t, nil)
	noon := instant(t, "2026-01-06T12:00:00Z")
	path := p.Path(watchbill.ActivityFirstLine, "checkout")
	require.Equal(t, []watchbill.RoleID{support}, path.Steps[1].Behind)
	require.Equal(t, "owns checkout, and who stands behind for support", path.Steps[1].Reason)
	ids := func(all []watchbill.Duty) (out []string) {
		for _, d := range all {
			name := string(d.Person)
			if d.Copy {
				name += " copy"
			}
			out = append(out, name)
		}
		return out
	}
	require.Equal(t, []string{"ana", "tina copy"}, ids(p.Targets(path.Steps[0], noon)))
	require.Equal(t, []string{"dmitri", "ugo"}, ids(p.Targets(path.Steps[1], instant(t, "2026-01-07T12:00:00Z"))))
	require.Equal(t, "ana", string(p.OnDuty(support, noon)[0].Person))
	require.Equal(t, []string{"ana", "tina copy"}, ids(p.Targets(watchbill.PathStep{Roles: []watchbill.RoleID{support}}, noon)))
	gone := p.With([]watchbill.DutyChange{{ID: 1, Kind: watchbill.DutyOverride, Role: support, Person: "tina", From: noon, To: noon.Add(time.Hour)}})
	require.Equal(t, []string{"tina"}, ids(gone.Targets(path.Steps[0], noon)), "who is on duty gets no copy")
}

// Hours, nights and weekends are those of the person's own clock; two duties at
// once count once.
func TestLoad(t *testing.T) {
	t.Parallel()
	p := layered(t, nil)
	from := instant(t, "2026-01-05T08:00:00Z") // Monday 09:00 in Madrid
	for _, l := range p.Load(from, from.AddDate(0, 0, 7)) {
		switch l.Person {
		case "ana": // from 07:00 to 22:00, but from 09:00 on the first day and to 07:00, 09:00 of the last
			require.InDelta(t, 6*15+13+2, l.Hours, 0.01)
			require.Equal(t, 0, l.Nights)
			require.InDelta(t, 30, l.Weekend, 0.01)
		case "ben": // 9 hours, seven times; he is on UTC, where these are 21:00 to 06:00
			require.InDelta(t, 63, l.Hours, 0.01)
			require.Equal(t, 7, l.Nights)
			require.InDelta(t, 3+9+9, l.Weekend, 3.01)
		case "frank":
			require.InDelta(t, 168, l.Hours, 0.01)
		}
	}
}

// organisationOf generates people and rosters of a large organisation: five roles,
// each with rosters of three layers.
func organisationOf(t require.TestingT, people, rosters int) escalation.Config {
	zones := []*time.Location{zone(t, "Europe/Madrid"), zone(t, "America/New_York"), zone(t, "Asia/Singapore"), zone(t, "Australia/Lord_Howe")}
	roles := []watchbill.RoleID{manager, deployment, infra, security, support}
	cfg := escalation.Config{Matrix: matrix()}
	cfg.Matrix.Marks[watchbill.ActivityChangeProduction] = map[watchbill.RoleID]watchbill.Mark{deployment: watchbill.First, infra: watchbill.Responsible}
	of := map[watchbill.RoleID][]watchbill.PersonID{}
	for i := range people {
		role := roles[i%len(roles)]
		p := watchbill.Person{
			ID: watchbill.PersonID(fmt.Sprintf("p%d", i)), Roles: []watchbill.RoleID{role}, Contact: []watchbill.Contact{{Receiver: "push"}},
			Deputy: watchbill.PersonID(fmt.Sprintf("p%d", (i+5)%people)), TZ: zones[i%len(zones)].String(),
		}
		if i%10 == 0 {
			begin := time.Date(2027, 3, 1+i%28, 0, 0, 0, 0, time.UTC)
			p.Leave = []watchbill.Leave{{From: begin, To: begin.AddDate(0, 0, 7)}}
		}
		cfg.People, of[role] = append(cfg.People, p), append(of[role], p.ID)
	}
	for i := range rosters {
		role := roles[i%len(roles)]
		turn := func(n int) (out []watchbill.PersonID) {
			for k := range 6 {
				out = append(out, of[role][(i/len(roles)*3+n+k)%len(of[role])])
			}
			return out
		}
		start := time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)
		z := zones[i%len(zones)]
		cfg.Rosters = append(cfg.Rosters, escalation.Roster{Role: role, Location: fmt.Sprintf("l%d", i), Zone: z, Layers: []escalation.Layer{
			{Name: "day", People: turn(0), Start: start, Every: 24 * time.Hour, Zone: z, On: []escalation.Hours{{Weekdays: everyDay(), From: 8 * 60, To: 20 * 60}}},
			{Name: "night", People: turn(1), Start: start, Every: 12 * time.Hour, Zone: z},
			{Name: "behind", Seat: escalation.Secondary, People: turn(2), Start: start, Zone: z},
		}})
	}
	return cfg
}

// BenchmarkCoverage proves 28 days for 2,000 people and 1,000 rosters.
func BenchmarkCoverage(b *testing.B) {
	p, err := escalation.New(organisationOf(b, 2000, 1000))
	require.NoError(b, err)
	from := time.Date(2027, 3, 7, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		gaps := p.Coverage(escalation.Question{From: from, To: from.AddDate(0, 0, 28), Reachable: func(p watchbill.Person) bool { return len(p.Contact) > 0 }})
		require.Empty(b, gaps)
	}
}
