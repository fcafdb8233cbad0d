package escalation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/escalation"
)

func onDuty(after time.Duration, roles ...watchbill.RoleID) watchbill.PathStep {
	return watchbill.PathStep{After: after, Roles: roles, Reason: "written"}
}

// The first path that is for an incident is its path; one that nobody wrote a
// path for has the matrix'.
func TestThePathIsChosen(t *testing.T) {
	t.Parallel()
	p := planner(t, func(c *escalation.Config) {
		c.Paths = []escalation.ConfiguredPath{
			{Name: "nights", Services: []string{"checkout"}, Environments: []string{"prod"}, Steps: []watchbill.PathStep{onDuty(0, security)}},
			{Name: "security", Activities: []watchbill.ActivityID{watchbill.ActivitySecurity}, Steps: []watchbill.PathStep{onDuty(0, manager)}},
		}
	})
	for _, c := range []struct {
		activity watchbill.ActivityID
		at       watchbill.Place
		want     string
	}{
		{watchbill.ActivitySecurity, watchbill.Place{Service: "checkout", Environment: "prod"}, "nights"},
		{watchbill.ActivitySecurity, watchbill.Place{Service: "checkout", Environment: "preprod"}, "security"},
		{watchbill.ActivityPerformance, watchbill.Place{Service: "search", Environment: "prod"}, "performance, from the matrix"},
	} {
		require.Equal(t, c.want, p.PathFor(c.activity, c.at).Name)
	}
}

// The rounds are walked as often as was asked, then come the manager and
// everyone of the path, for as long as it takes.
func TestRoundsEndAtTheManagerAndThenAtEveryone(t *testing.T) {
	t.Parallel()
	p := planner(t, func(c *escalation.Config) {
		c.Paths = []escalation.ConfiguredPath{{
			Name: "pay", Times: 1, Every: 10 * time.Minute, Acks: 2,
			Steps: []watchbill.PathStep{onDuty(0, support), {After: 4 * time.Minute, People: []watchbill.PersonID{"dmitri"}}},
		}}
	})
	path := p.PathFor(watchbill.ActivityPerformance, watchbill.Place{})
	require.Equal(t, 6, path.Len())
	var whom []string
	var at []time.Duration
	for n := range path.Len() + 2 {
		step, after := path.Step(n)
		whom, at = append(whom, step.Whom()), append(at, after)
	}
	const m = time.Minute
	everyone := "everyone in manager, everyone in support, dmitri"
	require.Equal(t, []string{"support", "dmitri", "support", "dmitri", "manager", everyone, everyone, everyone}, whom)
	require.Equal(t, []time.Duration{0, 4 * m, 14 * m, 18 * m, 28 * m, 33 * m, 48 * m, 63 * m}, at)
}

// Whatever was written, a path goes on for ever, never backwards, and pages
// somebody at each step, under every configuration that comes later.
func TestNoPathEnds(t *testing.T) {
	t.Parallel()
	all := []watchbill.RoleID{support, deployment, infra, security, manager, "gone"}
	rapid.Check(t, func(t *rapid.T) {
		var steps []watchbill.PathStep
		after := time.Duration(0)
		for i := range rapid.IntRange(1, 6).Draw(t, "steps") {
			s := watchbill.PathStep{After: after, Reason: "written"}
			after += time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute
			s.Roles = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 2, rapid.ID).Draw(t, "roles")
			s.Everyone = rapid.Bool().Draw(t, "everyone")
			s.People = rapid.SliceOfNDistinct(rapid.SampledFrom([]watchbill.PersonID{"ana", "frank", "nobody"}), 0, 2, rapid.ID).Draw(t, "people")
			if len(s.Roles)+len(s.People) == 0 || i == 0 && rapid.Bool().Draw(t, "receiver") {
				s.Receivers = []string{"chat"}
			}
			if rapid.Bool().Draw(t, "level") {
				s.Levels = map[string]int{"deployment": 4}
			}
			steps = append(steps, s)
		}
		p := planner(t, func(c *escalation.Config) {
			c.People[2].Level = map[string]int{"deployment": 4}
			c.Paths = []escalation.ConfiguredPath{{Name: "x", Steps: steps, Times: rapid.IntRange(0, 3).Draw(t, "times")}}
		})
		path := p.PathFor(watchbill.ActivityPerformance, watchbill.Place{})
		flat := path.Steps[:len(steps)]
		last := time.Duration(-1)
		for n := range path.Len() + 3 {
			step, at := path.Step(n)
			require.GreaterOrEqual(t, at, last)
			last = at
			if n < len(flat)*path.Times { // the naive reading: one round after the other
				require.Equal(t, flat[n%len(flat)].Whom(), step.Whom())
				require.Equal(t, flat[n%len(flat)].After+time.Duration(n/len(flat))*path.RoundLength, at)
			}
			duties := p.StepTargets(step, time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC).Add(at))
			require.NotEmpty(t, duties)
			seen := map[watchbill.PersonID]bool{}
			for _, d := range duties {
				require.False(t, seen[d.Person], "%s is paged twice", d.Person)
				seen[d.Person] = true
				_, known := p.Person(d.Person)
				_, receiver := d.Person.Receiver()
				require.True(t, known || receiver, "%s is nobody", d.Person)
				require.NotEmpty(t, d.Reason)
			}
		}
	})
}

func TestWhoIsGoneIsAnsweredForByTheManager(t *testing.T) {
	t.Parallel()
	p := planner(t, nil)
	duties := p.StepTargets(watchbill.PathStep{People: []watchbill.PersonID{"gone", "ana"}}, time.Now())
	require.EqualValues(t, "frank", duties[0].Person)
	require.Contains(t, duties[0].Reason, "gone, who is not in the configuration any more, so the manager answers")
	require.EqualValues(t, "ana", duties[1].Person)
}

func TestLevels(t *testing.T) {
	t.Parallel()
	p := planner(t, func(c *escalation.Config) {
		c.People = append(c.People, watchbill.Person{ID: "gus", Roles: []watchbill.RoleID{deployment}, Level: map[string]int{"deployment": 5}})
		c.Rosters = []escalation.Roster{{Role: deployment, People: []watchbill.PersonID{"carla"}}}
	})
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	step := onDuty(0, deployment)
	require.EqualValues(t, "carla", p.StepTargets(step, at)[0].Person)
	step.Levels = map[string]int{"deployment": 4}
	d := p.StepTargets(step, at)
	require.Len(t, d, 1)
	require.EqualValues(t, "gus", d[0].Person)
	require.Equal(t, "the step wants deployment 4 or more, which carla, on duty for deployment, has not", d[0].Reason)
	step.Levels = map[string]int{"deployment": 6}
	d = p.StepTargets(step, at)
	require.EqualValues(t, "carla", d[0].Person)
	require.Contains(t, d[0].Reason, "which nobody of the role who is there has")
	step.Everyone, step.Levels = true, map[string]int{"deployment": 4}
	d = p.StepTargets(step, at)
	require.Len(t, d, 1)
	require.EqualValues(t, "gus", d[0].Person)
}

func TestWhenAStepApplies(t *testing.T) {
	t.Parallel()
	days := []time.Weekday{time.Monday, time.Sunday}
	w := &watchbill.StepWhen{
		Severities: []watchbill.Severity{watchbill.Sev1}, Zone: "Europe/Madrid",
		Hours: []watchbill.DaySpan{{Weekdays: days, From: 9 * 60, To: 24 * 60}},
	}
	sunday := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC) // 09:00 in Madrid
	require.Empty(t, w.Fails(watchbill.Sev1, sunday))
	require.Equal(t, "it is for sev1, not for sev2", w.Fails(watchbill.Sev2, sunday))
	require.Equal(t, "it is outside of its hours at Sun 08:59 CET", w.Fails(watchbill.Sev1, sunday.Add(-time.Minute)))
	require.NotEmpty(t, w.Fails(watchbill.Sev1, sunday.AddDate(0, 0, 2)))
	require.Empty(t, (*watchbill.StepWhen)(nil).Fails(watchbill.Sev3, sunday))
	// 9 o'clock is 9 o'clock on both sides of a change of the clocks: 25 October 2026
	// in Madrid, from UTC+2 to UTC+1.
	require.Empty(t, w.Fails(watchbill.Sev1, time.Date(2026, 10, 19, 7, 0, 0, 0, time.UTC)))
	require.NotEmpty(t, w.Fails(watchbill.Sev1, time.Date(2026, 10, 26, 7, 0, 0, 0, time.UTC)))
}

// A step reaches the second person by itself, and whoever is on duty while there is
// none; a sev3 waits for the hours of the role.
func TestAStepReachesWhoStandsBehind(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := planner(t, func(c *escalation.Config) {
		day := []escalation.Hours{{Weekdays: []time.Weekday{time.Sunday}, From: 0, To: 12 * 60}}
		c.Rosters = []escalation.Roster{{Role: support, Hours: []escalation.Hours{{Weekdays: []time.Weekday{time.Sunday}, From: 8 * 60, To: 20 * 60}}, Layers: []escalation.Layer{
			{Name: "first", People: []watchbill.PersonID{"ana"}, Start: start},
			{Name: "behind", Seat: escalation.Secondary, People: []watchbill.PersonID{"ben"}, Start: start, On: day},
		}}}
	})
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	step := watchbill.PathStep{Behind: []watchbill.RoleID{support}}
	require.Equal(t, "who stands behind for support", step.Whom())
	d := p.StepTargets(step, at)
	require.Len(t, d, 1)
	require.EqualValues(t, "ben", d[0].Person)
	require.Contains(t, d[0].Reason, "stands behind: ")
	d = p.StepTargets(step, at.Add(12*time.Hour))
	require.Len(t, d, 1)
	require.EqualValues(t, "ana", d[0].Person)
	require.Contains(t, d[0].Reason, "nobody stands behind for support: ")
	due, why, ok := p.StepDue(watchbill.Sev3, step, at)
	require.True(t, ok)
	require.Equal(t, at.Add(5*time.Hour), due)
	require.Equal(t, "sev3 waits for the hours of support", why)
	step.Roles = []watchbill.RoleID{support}
	require.Len(t, p.StepTargets(step, at), 2)
	require.Len(t, p.StepTargets(step, at.Add(12*time.Hour)), 1)
}

// Whoever is away is not looked for by their level, who stands behind comes first, and
// a trainee is neither counted nor replaced.
func TestLevelsOfThoseWhoAreThere(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	senior := func(id watchbill.PersonID) watchbill.Person {
		return watchbill.Person{ID: id, Roles: []watchbill.RoleID{deployment}, Level: map[string]int{"deployment": 5}}
	}
	p := planner(t, func(c *escalation.Config) {
		c.People = append(c.People, senior("gus"), senior("hal"), senior("ida"))
		c.Rosters = []escalation.Roster{{Role: deployment, Layers: []escalation.Layer{
			{Name: "first", People: []watchbill.PersonID{"carla"}, Start: at},
			{Name: "trainee", Seat: escalation.Shadow, People: []watchbill.PersonID{"ana"}, Start: at},
		}}}
	})
	step := onDuty(0, deployment)
	step.Levels = map[string]int{"deployment": 4}
	who := func(p *escalation.Planner) (all []watchbill.PersonID) {
		for _, d := range p.StepTargets(step, at) {
			all = append(all, d.Person)
		}
		return all
	}
	require.Equal(t, []watchbill.PersonID{"gus", "ana"}, who(p))
	leave := func(ids ...watchbill.PersonID) (all []watchbill.DutyChange) {
		for i, id := range ids {
			all = append(all, watchbill.DutyChange{ID: int64(i + 1), Kind: watchbill.DutyLeave, Instead: id, From: at.Add(-time.Hour), To: at.Add(time.Hour), Reason: "ill"})
		}
		return all
	}
	require.Equal(t, []watchbill.PersonID{"hal", "ana"}, who(p.With(leave("gus"))))
	gone := p.With(leave("gus", "hal", "ida"))
	require.Equal(t, []watchbill.PersonID{"carla", "ana"}, who(gone))
	require.Contains(t, gone.StepTargets(step, at)[0].Reason, "which nobody of the role who is there has")
}
