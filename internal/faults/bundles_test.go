package faults_test

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// perMinute is how many messages one person gets within a minute at most.
const perMinute = 5

// bundles pushes a hundred thousand different alerts at a daemon that bundles, as
// it does unless it is told otherwise: every alert has its incident, the first
// page comes soon, nobody gets more than five messages a minute, and what the
// messages say that they stand for is all that was due.
func bundles(t *testing.T) {
	const senders, batch = 32, 10
	total, groups := size(1_000, 100_000, 100_000), size(100, 2_000, 2_000)
	r := newRig(t, t.TempDir(), slowPath)
	text, err := os.ReadFile(r.file())
	require.NoError(t, err)
	_, after, found := strings.Cut(string(text), "storm: {")
	require.True(t, found)
	before, _, _ := strings.Cut(string(text), "storm: {")
	_, after, _ = strings.Cut(after, "\n")
	r.write(before + after)
	r.serve()
	defer r.crash()

	began := time.Now()
	work := make(chan int)
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for from := range work {
				alerts := make([]watchbill.Alert, 0, batch)
				for i := from; i < min(from+batch, total); i++ {
					alerts = append(alerts, alert("service-"+strconv.Itoa(i%groups), strconv.Itoa(i)))
				}
				for r.post(alerts...) != nil { // refused: the source tries again
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	for from := 0; from < total; from += batch {
		work <- from
	}
	close(work)
	sending.Wait()
	intake := time.Since(began)

	// The first minute's; in the long form, until they stand for everything.
	require.Eventually(t, func() bool { return r.sim.count() >= perMinute && (!long() || stand(r.sim.receipts()) >= groups) }, 3*time.Minute, 20*time.Millisecond,
		"the daemon said: %s", r.proc.logs)
	var d dump
	var receipts []receipt
	require.Eventually(t, func() bool { // their results are written a moment later
		receipts, d = r.sim.receipts(), read(t, r.db())
		return stand(receipts)+pending(d) == groups
	}, 10*time.Second, 200*time.Millisecond, "each page is in one message, or is still due")
	held(t, r, d, total, groups)
	first := receipts[0].at.Sub(began)
	require.Less(t, first, 5*time.Second, "the first page")
	of := map[string][]time.Time{}
	for _, x := range receipts {
		of[x.path] = append(of[x.path], x.at)
	}
	for path, at := range of {
		for i := perMinute; i < len(at); i++ { // they are counted when they are sent, which is a moment before
			require.Greater(t, at[i].Sub(at[i-perMinute]), time.Minute-time.Second, "%s: six messages within a minute", path)
		}
	}
	t.Logf("%d alerts of %d incidents in after %s (%.0f/s); first page after %s; %d messages stand for %d pages, %d are still due",
		total, groups, intake.Round(time.Millisecond), float64(total)/intake.Seconds(), first.Round(time.Millisecond), len(receipts), stand(receipts), pending(d))
}

// held holds the store against what was accepted.
func held(t *testing.T, r *rig, d dump, total, groups int) {
	t.Helper()
	require.Equal(t, "ok", d.integrity)
	require.Len(t, r.accepted, total)
	require.Len(t, d.alerts, total)
	require.Len(t, d.incidents, groups)
	known := map[watchbill.IncidentID]bool{}
	for _, inc := range d.incidents {
		known[inc.ID] = true
		require.NoError(t, watchbill.VerifyChain(d.events[inc.ID], inc.head))
	}
	for _, a := range r.accepted {
		require.True(t, known[d.alerts[a.alert].incident], "%s was accepted, and has no incident", a.alert)
	}
}

// stand counts the pages that messages stand for.
func stand(receipts []receipt) int {
	n := 0
	for _, x := range receipts {
		n += x.pages
	}
	return n
}

// pending counts the pages that no message has stood for.
func pending(d dump) int {
	n := 0
	for _, p := range d.pages {
		if p.State == "pending" {
			n++
		}
	}
	return n
}
