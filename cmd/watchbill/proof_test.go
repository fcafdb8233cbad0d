package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/golden"
)

// An incident is not closed without its closing proof, neither by a person nor by
// itself; with it, the export is its record.
func TestClosingProof(t *testing.T) {
	t.Parallel()
	at(t, func(x *terminals) {
		path := filepath.Join(x.dir, "watchbill.yaml")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, append(bytes.ReplaceAll(text, []byte("receiver: terminal"), []byte("receiver: frank-push")), "closing_proof: {remind: 1h}\n"...), 0o600))
		require.NoError(t, x.client["frank"].Reload(t.Context()))
		x.down()
		x.must("carla", "plan", "add", "INC-1", "--kind", "rollback", "--due", "20m", "roll back to 41")
		x.must("carla", "incident", "severity", "INC-1", "sev1", "all of Europe is down")
		x.must("carla", "incident", "role", "INC-1", "commander", "ana")
		x.must("carla", "plan", "add", "INC-1", "fix the *leak* | for <b>good</b>")
		x.must("carla", "change", "request", "--kind", "rollback", "--incident", "INC-1", "--title", "Roll back", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		x.must("carla", "plan", "do", "INC-1", "1", "--change", "CHG-1")
		time.Sleep(time.Minute)
		x.rollBack(1, "done")
		time.Sleep(10 * time.Minute)
		x.must("carla", "incident", "note", "INC-1", "the error rate falls")
		state := func() watchbill.State {
			v, err := x.client["ana"].Incident(t.Context(), 1)
			require.NoError(t, err)
			return v.Incident.State
		}
		time.Sleep(35 * time.Minute)
		require.Equal(t, watchbill.StateResolved, state())
		time.Sleep(40 * time.Minute)
		require.Equal(t, watchbill.StateResolved, state(), "its window is over, and its proof is owed")
		out, status := x.run("carla", "incident", "close", "INC-1", "--verdict", "useful")
		require.Equal(t, exitFailed, status)
		require.Contains(t, out, "INC-1 lacks its closing proof: cause: nobody said what caused it; plan: step 2 is todo")
		require.NotContains(t, out, "signal")
		out, _ = x.run("carla", "incident", "close", "INC-1", "--verdict", "nice")
		require.Contains(t, out, "verdict: \"nice\" is not a verdict")
		x.must("carla", "plan", "handover", "INC-1", "2", "--to", "ben", "--due", "2h")
		time.Sleep(time.Hour)
		require.Equal(t, watchbill.StateResolved, state())
		x.must("carla", "incident", "close", "INC-1", "--cause", "version 42 leaked connections", "--verdict", "useful")
		require.Equal(t, watchbill.StateClosed, state())
		v, err := x.client["ana"].Incident(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, watchbill.VerifyChain(v.Timeline, v.Incident.Head))
		reminded := 0
		for _, e := range v.Timeline {
			if strings.Contains(e.Text, "the closing proof is owed") {
				reminded++
			}
		}
		require.Positive(t, reminded)

		golden.Compare(t, "export.md", settled(x.must("ana", "incident", "export", "INC-1")))
		require.Contains(t, x.must("ana", "incident", "export", "INC-1", "--format", "json"), "\"verdict\": \"useful\"")
		x.actions()
		_, status = x.run("ana", "incident", "export", "INC-1", "--format", "pdf")
		require.Equal(t, exitUsage, status)
		_, err = x.client["carla"].ActOnPlan(t.Context(), 1, watchbill.PlanAct{Act: "add", Text: "x"})
		require.ErrorContains(t, err, "is closed")
	})
}

// actions: what was handed over outlives the incident, and reminds its owner.
func (x *terminals) actions() {
	t := x.t
	require.Contains(t, x.must("ana", "action", "list"), "INC-1     1       ben    2026-11-29T06:4")
	require.Contains(t, x.must("ana", "action", "add", "INC-1", "--due", "24h", "write it up"), "INC-1 has action 2")
	x.must("ana", "action", "done", "INC-1", "2", "done")
	time.Sleep(90 * time.Minute)
	var told []string
	for _, p := range x.phone.Pages() {
		if strings.Contains(fmt.Sprint(p), "Action 1 of INC-1 is due") {
			told = append(told, p.Person)
		}
	}
	require.Equal(t, []string{"ben"}, told)
	x.must("ben", "action", "done", "INC-1", "1", "fixed for good")
	require.NotContains(t, x.must("ana", "action", "list"), "INC-1")
	_, status := x.run("ana", "action", "add", "INC-1", "no time")
	require.Equal(t, exitUsage, status)
}

// settled is an export without what differs from run to run: the order in which a
// receiver takes pages that are due at one instant, and with it the chain's head.
func settled(text string) string {
	lines := strings.Split(text, "\n")
	for i := 1; i < len(lines); i++ {
		if strings.Contains(lines[i], "page\\_sent") && strings.Contains(lines[i-1], "page\\_sent") && lines[i] < lines[i-1] {
			lines[i], lines[i-1] = lines[i-1], lines[i]
		}
	}
	return regexp.MustCompile("its head is `[0-9a-f]{64}`").ReplaceAllString(strings.Join(lines, "\n"), "its head is `…`")
}
