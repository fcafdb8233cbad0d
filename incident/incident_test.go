package incident_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/incident"
)

func t0() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

func alertOf(name string) watchbill.Alert {
	return watchbill.Alert{Labels: watchbill.Labels{"alertname": name}, Annotations: watchbill.Labels{"summary": name + " is broken"}}
}

func opened(t require.TestingT, l *incident.Life, sev watchbill.Severity) watchbill.Incident {
	e := l.Open(t0(), incident.Opening{Key: "k", Alert: alertOf("A"), Severity: sev, Activity: "performance"})
	require.True(t, e.Page)
	require.Equal(t, 1, e.Incident.Generation)
	e.Incident.ID = 1
	return e.Incident
}

func kinds(e incident.Effect) []watchbill.EventKind {
	var k []watchbill.EventKind
	for _, ev := range e.Events {
		k = append(k, ev.Kind)
	}
	return k
}

func TestAcknowledgeStopsAndExpires(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	for sev, promise := range map[watchbill.Severity]time.Duration{watchbill.Sev1: 15 * time.Minute, watchbill.Sev2: 30 * time.Minute, watchbill.Sev3: 2 * time.Hour} {
		inc := opened(t, l, sev)
		e, err := l.Acknowledge(t0().Add(time.Minute), inc, incident.Actor{Person: "ana"}, true, "")
		require.NoError(t, err)
		require.True(t, e.Stop)
		require.False(t, e.Page)
		require.Equal(t, watchbill.StateAcknowledged, e.Incident.State)
		require.Equal(t, t0().Add(time.Minute+promise), e.Incident.AckDeadline)
		require.Equal(t, []watchbill.Timer{{Kind: watchbill.TimerAck, Generation: 1, Due: t0().Add(time.Minute + promise)}}, e.Set)

		x := l.AckExpired(e.Incident.AckDeadline, e.Incident)
		require.True(t, x.Page)
		require.Equal(t, 2, x.Incident.Generation)
		require.Equal(t, watchbill.StateOpen, x.Incident.State)
		require.Equal(t, "re-paged: the acknowledgement by ana expired", x.Incident.PageReason)
		require.Equal(t, watchbill.PersonID("ana"), x.Incident.AcknowledgedBy, "kept, so that ana is paged")
	}
}

func TestNoteRenewsThePromise(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	e, err := l.Acknowledge(t0(), opened(t, l, watchbill.Sev2), incident.Actor{Person: "ana"}, true, "")
	require.NoError(t, err)
	n, err := l.Note(t0().Add(29*time.Minute), e.Incident, incident.Actor{Person: "ben"}, "restarted the pool")
	require.NoError(t, err)
	require.Equal(t, t0().Add(59*time.Minute), n.Incident.AckDeadline)
	require.Equal(t, watchbill.PersonID("ana"), n.Incident.AcknowledgedBy, "a note does not take the incident over")
	require.False(t, n.Stop)
	_, err = l.Note(t0(), e.Incident, incident.Actor{Person: "ben"}, "  ")
	require.Error(t, err)
}

func TestAcknowledgeSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := opened(t, l, watchbill.Sev2)
	e, err := l.Acknowledge(t0(), inc, incident.Actor{Person: "eve", Via: "api"}, false, "I am here")
	require.NoError(t, err)
	require.Equal(t, "acknowledged without having been paged until 03:45 UTC: I am here", e.Events[0].Text)
	e, err = l.Acknowledge(t0(), e.Incident, incident.Actor{Person: "ana"}, true, "")
	require.NoError(t, err)
	require.Contains(t, e.Events[0].Text, "took over from eve")
	e.Incident.State = watchbill.StateResolved
	_, err = l.Acknowledge(t0(), e.Incident, incident.Actor{Person: "ana"}, true, "")
	require.ErrorContains(t, err, "nothing to acknowledge")
}

func TestJoinPagesOnlyOnHigherSeverity(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := opened(t, l, watchbill.Sev3)
	same := l.Join(t0(), inc, alertOf("B"), watchbill.Sev3)
	require.False(t, same.Page)
	require.Equal(t, 1, same.Incident.Generation)
	lower := l.Join(t0(), inc, alertOf("B"), watchbill.Sev4)
	require.False(t, lower.Page)
	require.Equal(t, watchbill.Sev3, lower.Incident.Severity)

	ack, err := l.Acknowledge(t0(), inc, incident.Actor{Person: "ana"}, true, "")
	require.NoError(t, err)
	rose := l.Join(t0(), ack.Incident, alertOf("B"), watchbill.Sev1)
	require.True(t, rose.Page)
	require.True(t, rose.Stop, "the old generation's pages are taken back")
	require.Equal(t, watchbill.StateOpen, rose.Incident.State)
	require.Equal(t, "re-paged: severity rose from sev3 to sev1", rose.Incident.PageReason)
	require.Equal(t, "B is broken", rose.Incident.Title)
	require.Contains(t, rose.Cancel, watchbill.TimerAck)
}

func TestEndReopenClose(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := opened(t, l, watchbill.Sev2)
	one := l.AlertEnded(t0().Add(time.Minute), inc, alertOf("A"), 1, watchbill.Sev2)
	require.Equal(t, watchbill.StateOpen, one.Incident.State)
	all := l.AlertEnded(t0().Add(2*time.Minute), inc, alertOf("A"), 0, 0)
	require.Equal(t, watchbill.StateResolved, all.Incident.State)
	require.True(t, all.Stop)
	require.Equal(t, []watchbill.Timer{{Kind: watchbill.TimerClose, Generation: 1, Due: t0().Add(32 * time.Minute)}}, all.Set)

	again := l.Join(t0().Add(10*time.Minute), all.Incident, alertOf("A"), watchbill.Sev2)
	require.True(t, again.Page)
	require.Equal(t, watchbill.StateOpen, again.Incident.State)
	require.Equal(t, "reopened: firing again 8m0s after it was resolved", again.Incident.PageReason)
	require.Contains(t, again.Cancel, watchbill.TimerClose)

	closed := l.Close(t0().Add(32*time.Minute), all.Incident)
	require.Equal(t, watchbill.StateClosed, closed.Incident.State)
	require.False(t, closed.Page)
}

func TestSeverityFallsToWhatStillFires(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	ack, err := l.Acknowledge(t0(), opened(t, l, watchbill.Sev2), incident.Actor{Person: "ana"}, true, "")
	require.NoError(t, err)
	e := l.AlertEnded(t0().Add(time.Minute), ack.Incident, alertOf("A"), 2, watchbill.Sev3)
	require.Equal(t, watchbill.Sev3, e.Incident.Severity)
	require.False(t, e.Page)
	require.Equal(t, t0().Add(time.Minute+2*time.Hour), e.Incident.AckDeadline)
	require.Equal(t, []watchbill.EventKind{watchbill.EventAlertEnded, watchbill.EventSeverity}, kinds(e))
}

func TestManualResolveHoldsQuiet(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	inc := opened(t, l, watchbill.Sev2)
	_, err := l.Resolve(t0(), inc, incident.Resolution{By: incident.Actor{Person: "ana"}})
	require.ErrorContains(t, err, "reason")
	_, err = l.Resolve(t0(), inc, incident.Resolution{By: incident.Actor{Person: "ana"}, Reason: "x", Firing: 1, Quiet: t0().Add(-time.Second)})
	require.ErrorContains(t, err, "quiet_until")

	e, err := l.Resolve(t0(), inc, incident.Resolution{By: incident.Actor{Person: "ana"}, Reason: "known noise", Firing: 1})
	require.NoError(t, err)
	require.Equal(t, t0().Add(time.Hour), e.Incident.QuietUntil)
	require.Equal(t, watchbill.TimerQuiet, e.Set[0].Kind)

	quiet := l.Join(t0().Add(time.Minute), e.Incident, alertOf("B"), watchbill.Sev2)
	require.False(t, quiet.Page, "held quiet with the others")
	louder := l.Join(t0().Add(time.Minute), e.Incident, alertOf("B"), watchbill.Sev1)
	require.True(t, louder.Page, "quiet was asked for sev2, not for sev1")

	back := l.QuietEnded(t0().Add(time.Hour), e.Incident, 1)
	require.True(t, back.Page)
	require.Contains(t, back.Incident.PageReason, "ana")

	cleared := l.AlertEnded(t0().Add(time.Minute), e.Incident, alertOf("A"), 0, 0)
	require.Contains(t, cleared.Cancel, watchbill.TimerQuiet)
	require.Equal(t, watchbill.TimerClose, cleared.Set[0].Kind)
}

// Whatever happens, an incident that is open pages or has paged in its
// generation, an acknowledged one has a deadline timer, a resolved one has a
// timer that ends it, and a generation never goes back.
func TestLifeNeverEndsSilently(t *testing.T) {
	t.Parallel()
	l := incident.New(incident.Config{})
	rapid.Check(t, func(t *rapid.T) {
		now := t0()
		inc := opened(t, l, watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "severity")))
		firing := 1
		pagedGeneration := 1
		timers := map[watchbill.TimerKind]bool{}
		who := incident.Actor{Person: "ana"}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(1, 3600).Draw(t, "s")) * time.Second)
			var e incident.Effect
			var err error
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				if inc.State == watchbill.StateClosed {
					continue
				}
				firing++
				e = l.Join(now, inc, alertOf("B"), watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "sev")))
			case 1:
				if firing == 0 || inc.State == watchbill.StateClosed {
					continue
				}
				firing--
				e = l.AlertEnded(now, inc, alertOf("B"), firing, watchbill.Sev4)
			case 2:
				e, err = l.Acknowledge(now, inc, who, true, "")
			case 3:
				e, err = l.Note(now, inc, who, "looked")
			case 4:
				e, err = l.Resolve(now, inc, incident.Resolution{By: who, Reason: "over", Firing: firing})
			case 5:
				if inc.State != watchbill.StateAcknowledged || !timers[watchbill.TimerAck] {
					continue
				}
				e = l.AckExpired(now, inc)
			case 6:
				if inc.State != watchbill.StateResolved || !timers[watchbill.TimerQuiet] || firing == 0 {
					continue
				}
				e = l.QuietEnded(now, inc, firing)
			case 7:
				if inc.State != watchbill.StateResolved || !timers[watchbill.TimerClose] {
					continue
				}
				e = l.Close(now, inc)
			}
			if err != nil {
				continue
			}
			for _, k := range e.Cancel {
				timers[k] = false
			}
			for _, s := range e.Set {
				require.True(t, s.Due.After(now))
				timers[s.Kind] = true
			}
			if e.Page {
				pagedGeneration = e.Incident.Generation
			}
			require.GreaterOrEqual(t, e.Incident.Generation, inc.Generation)
			require.NotEmpty(t, e.Events, "everything is on the timeline")
			inc = e.Incident
			switch inc.State {
			case watchbill.StateOpen:
				require.Equal(t, inc.Generation, pagedGeneration)
			case watchbill.StateAcknowledged:
				require.True(t, timers[watchbill.TimerAck])
			case watchbill.StateResolved:
				require.True(t, timers[watchbill.TimerQuiet] || timers[watchbill.TimerClose])
			case watchbill.StateClosed:
			}
		}
	})
}
