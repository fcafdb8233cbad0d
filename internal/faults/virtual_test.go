package faults_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// trouble is one way in which a receiver or the road to it fails.
type trouble struct {
	name      string
	set       func(*world)
	clear     func(*world)
	ambiguous bool // people were reached though the receiver says that they were not
	refused   bool // it says no: the next method is due at once
	accepts   bool // slowly
}

func receiverMode(m mode) trouble {
	return trouble{
		name: string(m), ambiguous: m == failsAfter, refused: m == refuses, accepts: m == drips,
		set:   func(w *world) { w.sim.behave(m, "/ana") },
		clear: func(w *world) { w.sim.behave(ok, "/ana") },
	}
}

func nameServer(how resolution) trouble {
	return trouble{
		name:  string(how),
		set:   func(w *world) { w.resolve(how, "ana.test") },
		clear: func(w *world) { w.resolve(resolves, "ana.test") },
	}
}

// troubledReceivers breaks the first receiver of whoever is paged first, in each
// way, for six virtual hours. Meanwhile the other receivers get their pages on
// time, nobody gives up, nobody hammers; afterwards every page that is still
// needed arrives.
func troubledReceivers(t *testing.T) {
	all := []trouble{
		receiverMode(failsBefore), receiverMode(failsAfter), receiverMode(limits), receiverMode(hangs),
		receiverMode(drips), receiverMode(resets), receiverMode(refuses),
		nameServer(unknown), nameServer(servfail), nameServer(silent),
	}
	if !long() {
		all = []trouble{receiverMode(hangs), nameServer(unknown)}
	}
	for _, tr := range all {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			sixHours(t, tr)
		})
	}
}

func sixHours(t *testing.T, tr trouble) {
	virtually(t, people, func(t *testing.T, w *world) {
		tr.set(w)
		for n := range 2 {
			w.fire("service-%d", n)
			w.sleep(10 * time.Minute)
		}
		require.NoError(t, w.ack(2))
		w.sleep(time.Duration(size(20, 340, 340)) * time.Minute) // six hours in all
		during := w.now(false)
		// The other receivers never wait for this one.
		must(t, during, bounds{ambiguous: tr.ambiguous, except: "ana", p99: 250 * time.Millisecond, max: time.Second})
		phone := reached(during, "/ana-phone")
		require.NotEmpty(t, phone, "the second way is used")
		if tr.refused {
			require.Less(t, phone[0].at.Sub(during.dump.incidents[0].OpenedAt), time.Second, "at once, because the first one says no")
		} else {
			require.Less(t, phone[0].at.Sub(during.dump.incidents[0].OpenedAt), 2*time.Minute+time.Second)
		}
		most := 0
		tries := map[string]int{}
		for _, r := range reached(during, "/ana") {
			tries[r.key]++
			most = max(most, tries[r.key])
		}
		require.LessOrEqual(t, most, 80, "requests for one page in six hours")

		tr.clear(w)
		before := w.sim.count()
		w.sleep(10 * time.Minute)
		e := w.now(true)
		must(t, e, bounds{ambiguous: tr.ambiguous, except: "ana", p99: 250 * time.Millisecond, max: time.Second})
		first := map[string]bool{}
		for _, r := range e.receipts[:before] {
			if r.accepted {
				first[r.key] = true
			}
		}
		again := 0
		for _, r := range e.receipts[before:] {
			if first[r.key] {
				again++
			}
			first[r.key] = true
		}
		if !tr.ambiguous {
			require.Zero(t, again, "after the recovery each page arrives once")
		}
		t.Logf("at most %d requests for a page; %s", most, e.summary())
	})
}

// reached returns the requests to a path.
func reached(e evidence, path string) []receipt {
	var all []receipt
	for _, r := range e.receipts {
		if r.path == path {
			all = append(all, r)
		}
	}
	return all
}

// ackWhileHanging acknowledges incidents whose pages are claimed and wait behind
// as many as a receiver gets at a time, which hang: what has not begun to be sent must not be sent any more.
func ackWhileHanging(t *testing.T) {
	virtually(t, people, func(t *testing.T, w *world) {
		w.sim.behave(hangs, "/ana")
		var alerts []watchbill.Alert // in one request, so that several pages are claimed at once
		for n := range 3 * inHand {
			alerts = append(alerts, alert("service-"+strconv.Itoa(n), "1"))
		}
		require.NoError(t, w.post(alerts...))
		w.sleep(3 * time.Second)
		all, err := w.client.Incidents(t.Context(), "open", 100)
		require.NoError(t, err)
		require.Len(t, all, 3*inHand)
		for _, inc := range all {
			require.NoError(t, w.ack(inc.ID))
		}
		synctest.Wait()
		w.sleep(10 * time.Minute)
		e := w.now(true)
		must(t, e, bounds{})
		require.NotEmpty(t, e.receipts, "some were on their way before")
	})
}

// manyIncidents lets incidents walk 24 steps that nobody answers, all of them
// due at the same instants.
func manyIncidents(t *testing.T) {
	n := size(20, 1000, 10_000)
	began := time.Now()
	var said string
	virtually(t, everybody+"escalation: {second: 5m, manager: 10m, everyone: 15m, repeat: 5m}\n", func(t *testing.T, w *world) {
		for from := 0; from < n; from += 500 {
			var alerts []watchbill.Alert
			for i := from; i < min(from+500, n); i++ {
				alerts = append(alerts, alert("service-"+strconv.Itoa(i), "1"))
			}
			require.NoError(t, w.post(alerts...))
		}
		w.sleep(23*5*time.Minute + time.Minute)
		e := w.now(true)
		require.Len(t, e.dump.pages, 24*n, "and nothing about the daemon itself")
		must(t, e, bounds{p99: 250 * time.Millisecond, max: time.Second})
		said = e.summary()
	})
	t.Logf("%d incidents for 24 steps in %s: %s", n, time.Since(began).Round(time.Millisecond), said)
}

// restarts stops and starts the daemon in the middle of escalations, for a
// virtual day: a planned stop loses and repeats nothing.
func restarts(t *testing.T) {
	virtually(t, people, func(t *testing.T, w *world) {
		for n := range size(6, 12, 24) {
			w.fire("service-%d", n)
			w.sleep(7 * time.Minute)
			w.died = time.Now()
			w.end()
			time.Sleep(time.Duration(n%4) * 20 * time.Second)
			w.begin()
			synctest.Wait()
			w.downs = append(w.downs, span{w.died, time.Now()})
			w.sleep(time.Hour - 7*time.Minute)
			if n%3 == 0 {
				require.NoError(t, w.ack(watchbill.IncidentID(n+1)))
			}
		}
		e := w.now(true)
		must(t, e, bounds{p99: 250 * time.Millisecond, max: time.Second})
		require.True(t, strings.HasPrefix(e.receipts[0].key, "INC-1/1/0/"))
		t.Log(e.summary())
	})
}
