package incident_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/incident"
)

func taken(t require.TestingT, l *incident.Life, sev watchbill.Severity) watchbill.Incident {
	e, err := l.Acknowledge(t0(), opened(t, l, sev), incident.Actor{Person: "ana"}, true, "")
	require.NoError(t, err)
	return e.Incident
}

func anybody(watchbill.PersonID) bool { return true }

func TestPlanSteps(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := taken(t, l, watchbill.Sev2)
	ana := incident.Actor{Person: "ana"}
	act := func(a watchbill.PlanAct, f incident.PlanFacts) incident.Effect {
		t.Helper()
		e, err := l.Plan(t0().Add(time.Minute), inc, ana, a, f)
		require.NoError(t, err)
		inc = e.Incident
		return e
	}
	lines := []string{"[ ] Look at it", "Two people. Roll back checkout", "deploy: version 42", "Tell the stakeholders", "Check that it stays", " "}
	e := act(watchbill.PlanAct{Act: "import"}, incident.PlanFacts{Lines: lines, Default: "ana"})
	require.Len(t, e.Events, 5)
	require.Equal(t, t0().Add(time.Minute), inc.PlannedAt, "a plan with steps is a plan")
	require.Equal(t, t0().Add(31*time.Minute), inc.AckDeadline, "as everything recorded, it renews the promise")
	require.JSONEq(t, `{"n": 1, "kind": "check", "text": "Look at it", "owner": "ana", "state": "todo"}`, string(e.Events[0].Data))
	kinds := make([]watchbill.PlanKind, len(inc.Plan))
	for i, s := range inc.Plan {
		kinds[i] = s.Kind
	}
	require.Equal(t, []watchbill.PlanKind{"check", "rollback", "deploy", "communicate", "verify"}, kinds)
	require.Equal(t, "version 42", inc.Plan[2].Text)
	require.Empty(t, act(watchbill.PlanAct{Act: "import"}, incident.PlanFacts{Lines: lines}).Events, "a repetition adds nothing")

	act(watchbill.PlanAct{Act: "move", Step: 5, To: 1}, incident.PlanFacts{})
	require.Equal(t, []int{5, 1, 2, 3, 4}, []int{inc.Plan[0].N, inc.Plan[1].N, inc.Plan[2].N, inc.Plan[3].N, inc.Plan[4].N})
	act(watchbill.PlanAct{Act: "done", Step: 1, Note: "it is down"}, incident.PlanFacts{})
	require.Equal(t, "it is down", inc.Plan[1].Evidence)
	require.Empty(t, act(watchbill.PlanAct{Act: "done", Step: 1}, incident.PlanFacts{}).Events)
	e = act(watchbill.PlanAct{Act: "handover", Step: 4, Owner: "ben"}, incident.PlanFacts{})
	require.Equal(t, []watchbill.PersonID{"ben"}, e.Calls[0].People)
	require.Contains(t, inc.Awaited, watchbill.PersonID("ben"))

	for name, a := range map[string]watchbill.PlanAct{
		"act: \"tickle\" is not an act":          {Act: "tickle", Step: 2},
		"has no step 9":                          {Act: "done", Step: 9},
		"kind: \"wish\" is not a kind":           {Act: "add", Kind: "wish", Text: "x"},
		"text: is empty":                         {Act: "add", Text: " "},
		"note: is empty":                         {Act: "skip", Step: 2},
		"step 1 is done":                         {Act: "block", Step: 1, Note: "why"},
		"to: there is no place 7":                {Act: "move", Step: 1, To: 7},
		"owner: is empty":                        {Act: "handover", Step: 2},
		"which is done through a change":         {Act: "done", Step: 2},
		"touches production: it cannot become":   {Act: "edit", Step: 2, Kind: "check"},
		"the runbook \"\" has no section Steps":  {Act: "import"},
		"change: CHG-7 does not belong to INC-1": {Act: "do", Step: 2, Change: "CHG-7"},
		"change: step 5 is a verify":             {Act: "do", Step: 5, Change: "CHG-7"},
	} {
		_, err := l.Plan(t0(), inc, ana, a, incident.PlanFacts{Production: true, Change: changeFor(a, 2)})
		require.ErrorContains(t, err, name)
	}
}

func changeFor(a watchbill.PlanAct, id watchbill.IncidentID) *watchbill.Change {
	if a.Change == "" {
		return nil
	}
	return &watchbill.Change{ID: 7, Incident: id}
}

// What is blocked escalates at once and says why.
func TestBlockedStepEscalates(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := taken(t, l, watchbill.Sev2)
	ana := incident.Actor{Person: "ana"}
	e, err := l.Plan(t0(), inc, ana, watchbill.PlanAct{Act: "add", Text: "look"}, incident.PlanFacts{})
	require.NoError(t, err)
	e, err = l.Plan(t0(), e.Incident, ana, watchbill.PlanAct{Act: "block", Step: 1, Note: "no access"}, incident.PlanFacts{})
	require.NoError(t, err)
	require.Equal(t, watchbill.StateOpen, e.Incident.State)
	require.Equal(t, "escalated by ana: step 1 of the plan is blocked: no access", e.Incident.Escalated)
	require.Equal(t, 1, e.Later.Step)
	require.Equal(t, []watchbill.EventKind{watchbill.EventPlan, watchbill.EventEscalated}, kinds(e))
}

// An overdue step pages its owner, then the path; one that nobody owns any more
// goes to the path at once.
func TestOverdueStep(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := taken(t, l, watchbill.Sev2)
	e, err := l.Plan(t0(), inc, incident.Actor{Person: "ana"}, watchbill.PlanAct{Act: "add", Text: "look", Owner: "ben", Due: t0().Add(20 * time.Minute)}, incident.PlanFacts{})
	require.NoError(t, err)
	timer := e.Set[len(e.Set)-1]
	require.Equal(t, watchbill.Timer{Kind: watchbill.TimerPlanStep, Generation: 1, Due: t0().Add(20 * time.Minute)}, timer)

	gone := l.StepsDue(timer.Due, e.Incident, func(watchbill.PersonID) bool { return false })
	require.True(t, gone.Page)
	require.Empty(t, gone.Calls)

	first := l.StepsDue(timer.Due, e.Incident, anybody)
	require.False(t, first.Page)
	require.Equal(t, watchbill.CallPlan, first.Calls[0].Kind)
	require.Equal(t, t0().Add(30*time.Minute), first.Set[0].Due)
	second := l.StepsDue(first.Set[0].Due, first.Incident, anybody)
	require.True(t, second.Page)
	require.Equal(t, "re-paged: step 1 of the plan is overdue since 03:35 UTC: look", second.Incident.PageReason)
	require.NotContains(t, second.Set, watchbill.TimerPlanStep)
	require.Contains(t, second.Cancel, watchbill.TimerPlanStep)

	later, err := l.Plan(t0().Add(21*time.Minute), first.Incident, incident.Actor{Person: "ben"}, watchbill.PlanAct{Act: "edit", Step: 1, Due: t0().Add(time.Hour)}, incident.PlanFacts{})
	require.NoError(t, err)
	require.Equal(t, t0().Add(time.Hour), later.Set[len(later.Set)-1].Due)
	require.Empty(t, later.Incident.Awaited)
}

// Whatever people do, in whatever order, no step that touches production is done
// before a change of the same incident is.
func TestNoStepWithoutItsChange(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	rapid.Check(t, func(t *rapid.T) {
		inc := taken(t, l, watchbill.Sev2)
		now := t0()
		change := watchbill.Change{ID: 7, Incident: 1, State: watchbill.ChangeRequested}
		for range rapid.IntRange(1, 30).Draw(t, "acts") {
			now = now.Add(time.Minute)
			if rapid.IntRange(0, 9).Draw(t, "ends") == 0 {
				change.State = rapid.SampledFrom(watchbill.ChangeStates()).Draw(t, "state")
				e, err := l.ChangeEnded(now, inc, incident.Actor{Person: "ana"}, change, 0)
				require.NoError(t, err)
				inc = e.Incident
			}
			a := watchbill.PlanAct{
				Act:  rapid.SampledFrom([]string{"add", "edit", "move", "do", "done", "done", "skip", "block", "handover"}).Draw(t, "act"),
				Step: rapid.IntRange(1, 4).Draw(t, "step"), To: 1, Note: "why", Text: "x", Owner: "ben",
				Kind: rapid.SampledFrom(watchbill.PlanKinds()).Draw(t, "kind"), Change: rapid.SampledFrom([]string{"", "CHG-7"}).Draw(t, "change"),
			}
			f := incident.PlanFacts{Production: true}
			linked := watchbill.ChangeID(0)
			for _, s := range inc.Plan {
				if s.N == a.Step {
					linked = s.Change
				}
			}
			if a.Change != "" || linked != 0 {
				f.Change = &change
			}
			before := map[int]watchbill.PlanState{}
			for _, s := range inc.Plan {
				before[s.N] = s.State
			}
			e, err := l.Plan(now, inc, incident.Actor{Person: "ana"}, a, f)
			if err != nil {
				continue
			}
			inc = e.Incident
			for _, s := range inc.Plan {
				if s.Kind.Touches() && s.State == watchbill.PlanDone && before[s.N] != watchbill.PlanDone {
					require.Equal(t, change.ID, s.Change)
					require.Equal(t, watchbill.ChangeDone, change.State)
				}
				if was := before[s.N]; was == watchbill.PlanDone || was == watchbill.PlanSkipped {
					require.Equal(t, was, s.State, "what is over stays so")
				}
			}
		}
	})
}
