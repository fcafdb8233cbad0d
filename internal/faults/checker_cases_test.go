package faults_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// sound is evidence of one incident whose first page arrived on time.
func sound() evidence {
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	inc := watchbill.Incident{ID: 1, Generation: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2, OpenedAt: at}
	events := []watchbill.Event{
		inc.Record(watchbill.Event{At: at, Kind: watchbill.EventOpened}),
		inc.Record(watchbill.Event{At: at, Kind: watchbill.EventStepFired, Text: "step 0 (first)"}),
	}
	page := watchbill.Page{Incident: 1, Generation: 1, Person: "ana", Method: "push", Due: at}
	return evidence{
		now: at.Add(time.Minute), alive: true,
		accepted: []accepted{{"a1", at}},
		receipts: []receipt{{key: page.Key(), attempt: 1, at: at, accepted: true}},
		dump: dump{
			alerts:    map[watchbill.Fingerprint]alertRow{"a1": {incident: 1}},
			incidents: []incidentRow{{Incident: inc, seq: inc.Seq, head: inc.Head}},
			events:    map[watchbill.IncidentID][]watchbill.Event{1: events},
			timers:    []watchbill.Timer{{Kind: watchbill.TimerStep, Incident: 1, Generation: 1, Step: 1, Due: at.Add(time.Hour)}},
			pages:     []pageRow{{Page: page, State: "delivered", attempt: 1}},
			refused:   map[watchbill.IncidentID]bool{},
			integrity: "ok",
		},
	}
}

// Each case breaks one thing, and the checker names it.
func TestTheCheckerNamesWhatBroke(t *testing.T) {
	t.Parallel()
	strict := bounds{p99: 250 * time.Millisecond, max: time.Second, rss: 1 << 20, growthChecked: true}
	require.Empty(t, check(sound(), strict))
	flaps := func(e *evidence) {
		e.dump.incidents[0].Generation, e.dump.incidents[0].PageReason = 2, "reopened: A flaps, it ended 3 times in a short time"
		e.dump.timers[0].Generation = 2
	}
	again := sound()
	flaps(&again)
	require.Empty(t, check(again, strict), "the first step was paged in the generation before")
	for name, c := range map[string]struct {
		invariant string
		spoil     func(*evidence)
	}{
		"alert not stored":       {"I1", func(e *evidence) { clear(e.dump.alerts) }},
		"alert without incident": {"I1", func(e *evidence) { e.dump.alerts["a1"] = alertRow{} }},
		"incident that is not":   {"I1", func(e *evidence) { e.dump.alerts["a1"] = alertRow{incident: 2} }},
		"no next step":           {"I2", func(e *evidence) { e.dump.timers = nil }},
		"step of old generation": {"I2", func(e *evidence) { e.dump.timers[0].Generation = 0 }},
		"overdue step":           {"I2", func(e *evidence) { e.dump.timers[0].Due = e.now.Add(-2 * time.Minute) }},
		"flaps, never paged":     {"I2", func(e *evidence) { flaps(e); e.dump.pages, e.receipts = nil, nil }},
		"flaps, second step":     {"I2", func(e *evidence) { flaps(e); e.dump.timers[0].Step = 2 }},
		"step paged nobody":      {"I2", func(e *evidence) { e.dump.timers[0].Step = 2 }},
		"delivered to nobody":    {"I2", func(e *evidence) { e.receipts = nil }},
		"given up":               {"I2", func(e *evidence) { e.dump.pages[0].State = "dropped" }},
		"put off for an hour":    {"I2", func(e *evidence) { e.dump.pages[0].State, e.dump.pages[0].next = "pending", e.now.Add(time.Hour) }},
		"forgotten":              {"I2", func(e *evidence) { e.dump.pages[0].State, e.dump.pages[0].next = "pending", e.now.Add(-time.Hour) }},
		"acked without deadline": {"I2", func(e *evidence) { e.dump.incidents[0].State = watchbill.StateAcknowledged }},
		"two rows of a page":     {"I3", func(e *evidence) { e.dump.pages = append(e.dump.pages, e.dump.pages[0]) }},
		"step fired twice":       {"I3", func(e *evidence) { e.record(watchbill.EventStepFired, "step 0 (first)") }},
		"late":                   {"I4", func(e *evidence) { e.receipts[0].at = e.receipts[0].at.Add(300 * time.Millisecond) }},
		"delivered twice":        {"I5", func(e *evidence) { e.again(2, 0) }},
		"attempts out of order":  {"I5", func(e *evidence) { e.again(1, 0); e.receipts[1].accepted = false }},
		"acknowledgement lost":   {"I6", func(e *evidence) { e.acks = []acknowledged{{1, 1, e.now}} }},
		"paged after acknowledging": {"I6", func(e *evidence) {
			e.record(watchbill.EventAcknowledged, "")
			e.acks = []acknowledged{{1, 1, e.receipts[0].at.Add(-2 * time.Second)}}
		}},
		"early":           {"I7", func(e *evidence) { e.receipts[0].at = e.receipts[0].at.Add(-time.Second) }},
		"page of nobody":  {"I7", func(e *evidence) { e.dump.pages, e.dump.timers[0].Step = nil, 0 }},
		"altered event":   {"I8", func(e *evidence) { e.dump.events[1][0].Text = "nothing happened" }},
		"missing event":   {"I8", func(e *evidence) { e.dump.events[1] = e.dump.events[1][:1] }},
		"corrupt file":    {"I8", func(e *evidence) { e.dump.integrity = "row 3 missing from index" }},
		"too much memory": {"I9", func(e *evidence) { e.samples = []sample{{rss: 2 << 20}} }},
		"goroutines leak": {"I9", func(e *evidence) { e.samples = []sample{{goroutines: 5}, {goroutines: 6}} }},
		"files leak":      {"I9", func(e *evidence) { e.samples = []sample{{fds: 5}, {fds: 6}} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			c.spoil(&e)
			found := check(e, strict)
			require.NotEmpty(t, found)
			for _, b := range found {
				require.Equal(t, c.invariant, b.invariant, "%s", b)
			}
		})
	}
}

// A page that was due while no daemon ran is late from when one ran again.
func TestLatenessCountsFromTheRestart(t *testing.T) {
	t.Parallel()
	e := sound()
	due := e.receipts[0].at
	e.receipts[0].at = due.Add(10 * time.Second)
	e.downs = []span{{due.Add(-time.Second), due.Add(9900 * time.Millisecond)}}
	require.Empty(t, check(e, bounds{max: 200 * time.Millisecond}))
	e.downs[0].to = due.Add(9 * time.Second)
	require.Len(t, check(e, bounds{max: 200 * time.Millisecond}), 1)
}

func (e *evidence) record(kind watchbill.EventKind, text string) {
	inc := &e.dump.incidents[0]
	e.dump.events[1] = append(e.dump.events[1], inc.Record(watchbill.Event{At: e.now, Kind: kind, Text: text}))
	inc.seq, inc.head = inc.Seq, inc.Head
}

func (e *evidence) again(attempt int, after time.Duration) {
	r := e.receipts[0]
	r.attempt, r.at = attempt, r.at.Add(after)
	e.receipts = append(e.receipts, r)
}
