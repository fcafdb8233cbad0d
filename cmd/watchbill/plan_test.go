package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// down opens INC-1 of checkout in production, taken by carla.
func (x *terminals) down() {
	x.t.Helper()
	now := time.Now()
	require.NoError(x.t, x.client["ana"].PostAlerts(x.t.Context(), []watchbill.Alert{{
		Labels:   watchbill.Labels{"alertname": "Down", "service": "checkout", "environment": "prod", "severity": "critical"},
		StartsAt: now, EndsAt: now.Add(40 * time.Minute),
	}}))
	time.Sleep(time.Minute)
	_, err := x.client["carla"].Acknowledge(x.t.Context(), 1, "")
	require.NoError(x.t, err)
}

// must is run, of a command that succeeds.
func (x *terminals) must(who string, words ...string) string {
	x.t.Helper()
	out, status := x.run(who, words...)
	require.Equal(x.t, 0, status, "%v: %s", words, out)
	return out
}

// rollBack does CHG-n by two people.
func (x *terminals) rollBack(id watchbill.ChangeID, verb string) {
	x.t.Helper()
	for _, step := range [][2]string{{"frank", "approve"}, {"carla", "perform"}, {"frank", "witness"}, {"carla", verb}} {
		require.Empty(x.t, x.act("cli", step[0], step[1], id), step)
	}
}

// A step that touches production is done when its change is, and not before.
func TestPlanThroughChange(t *testing.T) {
	t.Parallel()
	at(t, func(x *terminals) {
		x.down()
		require.Contains(t, x.must("carla", "plan", "show", "INC-1"), "INC-1 has no plan")
		x.must("carla", "plan", "add", "INC-1", "--kind", "check", "what changed lately")
		out := x.must("carla", "plan", "add", "INC-1", "--kind", "rollback", "--due", "20m", "roll back to 41")
		require.Contains(t, out, " 2  todo     rollback     roll back to 41\n      owner carla, due 2026-11-29T03:36:00Z\n")
		x.must("carla", "plan", "move", "INC-1", "2", "1")
		x.must("carla", "plan", "edit", "INC-1", "1", "--owner", "ben", "what", "was", "released", "lately")
		x.must("ben", "plan", "done", "INC-1", "1", "version 42 an hour ago")
		out, status := x.run("carla", "plan", "done", "INC-1", "2")
		require.Equal(t, exitFailed, status)
		require.Contains(t, out, "step 2 is a rollback in production, which is done through a change")
		x.must("carla", "change", "request", "--kind", "rollback", "--incident", "INC-1", "--title", "Roll back", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		require.Contains(t, x.must("carla", "plan", "do", "INC-1", "2", "--change", "CHG-1"), "CHG-1, doing by carla")
		out, _ = x.run("carla", "plan", "done", "INC-1", "2")
		require.Contains(t, out, "step 2 is done when CHG-1 is, and that is requested")
		x.rollBack(1, "done")
		require.Contains(t, x.must("ana", "plan", "show", "INC-1"), "CHG-1 is done: why")

		// One that fails blocks its step, which escalates.
		x.must("carla", "change", "request", "--kind", "deploy", "--incident", "INC-1", "--title", "Deploy", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		x.must("carla", "plan", "add", "INC-1", "--kind", "deploy", "--change", "CHG-2", "deploy 43")
		x.rollBack(2, "fail")
		v, err := x.client["ana"].Incident(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, watchbill.PlanBlocked, v.Incident.Plan[2].State)
		require.Equal(t, watchbill.StateOpen, v.Incident.State)
		require.NoError(t, watchbill.VerifyChain(v.Timeline, v.Incident.Head))
		out, status = x.run("carla", "plan", "done", "INC-1", "x")
		require.Equal(t, exitUsage, status)
		require.Contains(t, out, "is not the number of a step")
		require.Contains(t, x.must("carla", "plan", "skip", "INC-1", "3", "41 works"), "41 works")
		require.Contains(t, x.must("carla", "plan", "import", "INC-1", "--runbook", "disk-full"), "Shrink the journal")
		require.Contains(t, x.must("carla", "plan", "handover", "INC-1", "12", "--to", "ben", "--due", "48h"), "owner ben, handed over by carla, due 2026-12-01T")
		out, status = x.run("carla", "plan", "block", "INC-1", "4", "waiting for ben")
		require.Equal(t, 0, status, out)
	})
}
