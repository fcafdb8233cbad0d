package incident_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/incident"
)

// Action items remind every day until they are done, whatever became of the
// incident.
func TestActions(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	ana := incident.Actor{Person: "ana"}
	inc := taken(t, l, watchbill.Sev3)
	inc.State = watchbill.StateClosed
	due := t0().Add(48 * time.Hour)
	for want, a := range map[string]watchbill.ActionItem{
		"text: is empty":  {Owner: "ben", Due: due},
		"owner: is empty": {Text: "x", Due: due},
		"due: is missing": {Text: "x", Owner: "ben"},
	} {
		_, err := l.AddAction(t0(), inc, ana, a)
		require.ErrorContains(t, err, want)
	}
	e, err := l.AddAction(t0(), inc, ana, watchbill.ActionItem{Text: "grow the disk", Owner: "ben", Due: due})
	require.NoError(t, err)
	require.Equal(t, []watchbill.Timer{{Kind: watchbill.TimerAction, Generation: 1, Due: due}}, e.Set)
	x, told := l.ActionsDue(due, e.Incident)
	require.Len(t, told, 1)
	require.Equal(t, due.Add(24*time.Hour), x.Set[0].Due)
	_, told = l.ActionsDue(due.Add(time.Hour), x.Incident)
	require.Empty(t, told)
	_, err = l.DoneAction(due, x.Incident, ana, 2, "")
	require.ErrorContains(t, err, "has no action item 2")
	d, err := l.DoneAction(due, x.Incident, ana, 1, "2 TB")
	require.NoError(t, err)
	require.Equal(t, []watchbill.TimerKind{watchbill.TimerAction}, d.Cancel)
	require.Equal(t, "action 1 is done: 2 TB", d.Events[0].Text)
	again, err := l.DoneAction(due, d.Incident, ana, 1, "")
	require.NoError(t, err)
	require.Empty(t, again.Events)
}

func TestSeverityByAPerson(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{Reminders: incident.DefaultReminders()})
	ana := incident.Actor{Person: "ana"}
	_, err := l.SetSeverity(t0(), opened(t, l, watchbill.Sev3), ana, watchbill.Sev1, " ")
	require.ErrorContains(t, err, "reason: is empty")
	e, err := l.SetSeverity(t0(), opened(t, l, watchbill.Sev3), ana, watchbill.Sev1, "all is down")
	require.NoError(t, err)
	require.True(t, e.Page)
	require.Equal(t, "re-paged: ana raised from sev3 to sev1: all is down", e.Incident.PageReason)
	low, err := l.SetSeverity(t0(), e.Incident, ana, watchbill.Sev4, "nobody uses it")
	require.NoError(t, err)
	require.False(t, low.Page)

	e, err = l.SetSeverity(t0(), taken(t, l, watchbill.Sev2), ana, watchbill.Sev1, "all is down")
	require.NoError(t, err)
	require.False(t, e.Page, "it stays with whoever has it")
	require.Equal(t, t0().Add(15*time.Minute), e.Incident.AckDeadline)
	ended := l.AlertEnded(t0(), e.Incident, alertOf("A"), 1, watchbill.Sev3)
	require.Equal(t, watchbill.Sev1, ended.Incident.Severity, "a person's word counts")
}

func TestParts(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	ana := incident.Actor{Person: "ana"}
	inc := taken(t, l, watchbill.Sev2)
	_, err := l.Assign(t0(), inc, ana, "king", "ben")
	require.ErrorContains(t, err, "is not a part")
	e, err := l.Assign(t0(), inc, ana, watchbill.Commander, "ben")
	require.NoError(t, err)
	require.Equal(t, "ben is commander", e.Events[0].Text)
	require.Nil(t, inc.Parts)
	e, err = l.Assign(t0(), e.Incident, ana, watchbill.Commander, "")
	require.NoError(t, err)
	require.Empty(t, e.Incident.Parts)
	e, err = l.Assign(t0(), e.Incident, ana, watchbill.Commander, "")
	require.NoError(t, err)
	require.Empty(t, e.Events)
}
