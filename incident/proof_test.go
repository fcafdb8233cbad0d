package incident_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/incident"
)

func over(t *testing.T, l *incident.Life, inc watchbill.Incident, now time.Time, p watchbill.Proof) watchbill.Incident {
	t.Helper()
	e, err := l.Resolve(now, inc, incident.Resolution{By: incident.Actor{Person: "ana"}, Reason: "works", Proof: p})
	require.NoError(t, err)
	return e.Incident
}

// A person closes an incident only with its proof, and is told all that is missing.
func TestCloseWithProof(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	ana := incident.Actor{Person: "ana"}
	inc := taken(t, l, watchbill.Sev2)
	now := t0().Add(time.Hour)
	_, err := l.CloseBy(now, inc, watchbill.Proof{}, ana, incident.CloseFacts{})
	require.ErrorContains(t, err, "INC-1 is acknowledged")
	e, err := l.Plan(t0(), inc, ana, watchbill.PlanAct{Act: "add", Text: "look"}, incident.PlanFacts{})
	require.NoError(t, err)
	inc = over(t, l, e.Incident, now, watchbill.Proof{})
	_, err = l.CloseBy(now, inc, watchbill.Proof{Cause: "c", Verdict: "useful"}, ana, incident.CloseFacts{Firing: 2})
	require.ErrorContains(t, err, "2 alerts of INC-1 still fire")
	facts := incident.CloseFacts{Ended: now.Add(-time.Minute), Reviews: []watchbill.ChangeID{7}}
	_, err = l.CloseBy(now, inc, watchbill.Proof{}, ana, facts)
	for _, lacks := range []string{"cause: nobody", "verdict: nobody", "plan: step 1 is todo", "reviews: the broken glass of CHG-7", "signal: the last alert ended at 04:14 UTC; wait until 04:24 UTC"} {
		require.ErrorContains(t, err, lacks)
	}
	e, err = l.Plan(now, inc, ana, watchbill.PlanAct{Act: "handover", Step: 1, Owner: "ben", Due: now.Add(time.Hour)}, incident.PlanFacts{})
	require.NoError(t, err)
	require.Equal(t, watchbill.StateResolved, e.Incident.State, "work on the plan does not reopen it")
	facts.Reviews = nil
	e, err = l.CloseBy(now, e.Incident, watchbill.Proof{Cause: "a leak", Verdict: "useful", Signal: "it is switched off"}, ana, facts)
	require.NoError(t, err)
	require.Equal(t, watchbill.StateClosed, e.Incident.State)
	require.Equal(t, "closed: cause: a leak; verdict: useful; signal: it is switched off", e.Events[0].Text)
	_, err = l.CloseBy(now, e.Incident, watchbill.Proof{}, ana, facts)
	require.ErrorContains(t, err, "closed already")
	require.Empty(t, l.Missing(now, watchbill.Incident{Severity: watchbill.Sev4}, facts), "nothing is asked of a sev4")
}

// Without the section an incident closes by itself; with it, it waits and asks
// again and again, and reopens as before.
func TestClosesByItself(t *testing.T) {
	t.Parallel()
	free := incident.New(incident.Config{})
	now := t0().Add(time.Hour)
	inc := over(t, free, taken(t, free, watchbill.Sev2), now, watchbill.Proof{})
	require.Equal(t, watchbill.StateClosed, free.Closes(now, inc, incident.CloseFacts{}).Incident.State)

	l := incident.New(incident.Config{Proof: incident.ProofRules{Needed: true, Fields: map[watchbill.Severity][]watchbill.ProofField{watchbill.Sev3: {}}}})
	require.True(t, l.ProofNeeded(watchbill.Sev2))
	require.False(t, l.ProofNeeded(watchbill.Sev3))
	e := l.Closes(now, inc, incident.CloseFacts{})
	require.Equal(t, watchbill.StateResolved, e.Incident.State)
	require.Equal(t, watchbill.TimerProof, e.Set[0].Kind)
	e = l.ProofOwed(now, inc, incident.CloseFacts{}, []watchbill.PersonID{"ana"}, now)
	require.Equal(t, now.Add(4*time.Hour), e.Set[0].Due)
	night := l.ProofOwed(now, inc, incident.CloseFacts{}, nil, now.Add(3*time.Hour))
	require.Empty(t, night.Events)
	require.Equal(t, now.Add(3*time.Hour), night.Set[0].Due)
	again := l.Join(now.Add(9*time.Hour), inc, alertOf("A"), watchbill.Sev2)
	require.True(t, again.Page)
	require.Contains(t, kinds(again), watchbill.EventReopened)

	whole := over(t, l, taken(t, l, watchbill.Sev2), now, watchbill.Proof{Cause: "c", Verdict: "noise"})
	require.Equal(t, watchbill.StateClosed, l.Closes(now, whole, incident.CloseFacts{}).Incident.State, "said when it was resolved")
}
