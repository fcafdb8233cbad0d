package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/store"
)

// model is a store made of maps.
type model struct {
	incidents map[watchbill.IncidentID]watchbill.Incident
	events    map[watchbill.IncidentID][]watchbill.Event
	timers    map[timerKey]watchbill.Timer
	alerts    map[watchbill.Fingerprint]store.AlertRow
	silences  map[string]watchbill.Silence
	pages     []store.PageRow // in the order of their ids
	attempts  map[attemptKey]store.Attempt
	duty      []watchbill.DutyChange // the log
}

type timerKey struct {
	incident watchbill.IncidentID
	kind     watchbill.TimerKind
}

type attemptKey struct {
	page    int64
	attempt int
}

// run is one random sequence.
type run struct {
	t     *rapid.T
	place Place
	s     *store.Store
	m     model
	now   time.Time
	held  []watchbill.Delivery // claimed, and not finished
}

var errTakenBack = errors.New("taken back")

func modelTest(t *rapid.T, p Place) {
	r := &run{t: t, place: p, s: open(t, p), now: start(), m: model{
		incidents: map[watchbill.IncidentID]watchbill.Incident{}, events: map[watchbill.IncidentID][]watchbill.Event{},
		timers: map[timerKey]watchbill.Timer{}, alerts: map[watchbill.Fingerprint]store.AlertRow{},
		silences: map[string]watchbill.Silence{}, attempts: map[attemptKey]store.Attempt{},
	}}
	defer func() { _ = r.s.Close() }()
	t.Repeat(map[string]func(*rapid.T){
		"open an incident": r.openIncident, "change an incident": r.changeIncident,
		"set a timer": r.setTimer, "cancel timers": r.cancelTimers, "take a due timer": r.takeTimer,
		"store an alert": r.putAlert, "hasten muted alerts": r.hastenMuted, "store a silence": r.putSilence,
		"queue pages": r.putPages, "claim pages": r.claim, "finish an attempt": r.finish, "drop pages": r.dropPages,
		"change the duty": r.changeDuty, "end a change of the duty": r.endDutyChange,
		"hasten a page": r.hastenPage, "release leases": r.releaseLeases,
		"fail": r.fail, "time passes": func(t *rapid.T) { r.now = r.now.Add(r.span(t)) }, "open again": r.reopen,
		"": r.compare,
	})
}

func (r *run) update(fn func(*store.Tx) error) {
	require.NoError(r.t, r.s.Update(context.Background(), fn))
}

func (r *run) span(t *rapid.T) time.Duration {
	return time.Duration(rapid.IntRange(0, 120).Draw(t, "seconds")) * time.Second
}

func (r *run) openIncident(t *rapid.T) {
	inc := *newIncident(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"))
	taken := false
	for _, other := range r.m.incidents {
		taken = taken || other.Key == inc.Key && other.State != watchbill.StateClosed
	}
	events := r.drawEvents(t)
	var stored watchbill.Incident
	err := r.s.Update(context.Background(), func(tx *store.Tx) error {
		stored = inc
		return tx.PutIncident(&stored, slices.Clone(events)...)
	})
	if taken {
		require.Error(t, err, "two incidents of one key are open")
		return
	}
	require.NoError(t, err)
	inc.ID = watchbill.IncidentID(len(r.m.incidents) + 1)
	r.record(inc, events, stored)
}

func (r *run) drawEvents(t *rapid.T) []watchbill.Event {
	var events []watchbill.Event
	for i := range rapid.IntRange(0, 3).Draw(t, "events") {
		events = append(events, watchbill.Event{At: r.now, Kind: watchbill.EventNote, Actor: "ana", Text: fmt.Sprint("<", i, ">")})
	}
	return events
}

// record does to the model what PutIncident does, and compares what the caller
// got back.
func (r *run) record(inc watchbill.Incident, events []watchbill.Event, stored watchbill.Incident) {
	for _, e := range events {
		r.m.events[inc.ID] = append(r.m.events[inc.ID], inc.Record(e))
	}
	require.Equal(r.t, inc, stored)
	r.m.incidents[inc.ID] = inc
}

func (r *run) anIncident(t *rapid.T) watchbill.IncidentID {
	if len(r.m.incidents) == 0 {
		t.Skip("no incident yet")
	}
	return watchbill.IncidentID(rapid.IntRange(1, len(r.m.incidents)).Draw(t, "incident"))
}

func (r *run) changeIncident(t *rapid.T) {
	inc := r.m.incidents[r.anIncident(t)]
	if inc.State == watchbill.StateClosed {
		t.Skip("closed for good")
	}
	inc.State = rapid.SampledFrom([]watchbill.State{watchbill.StateAcknowledged, watchbill.StateResolved, watchbill.StateClosed}).Draw(t, "state")
	inc.Severity = watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "severity"))
	events := r.drawEvents(t)
	var stored watchbill.Incident
	r.update(func(tx *store.Tx) error {
		stored = inc
		return tx.PutIncident(&stored, slices.Clone(events)...)
	})
	r.record(inc, events, stored)
}

var timerKinds = []watchbill.TimerKind{watchbill.TimerStep, watchbill.TimerAck, watchbill.TimerClose}

func (r *run) setTimer(t *rapid.T) {
	tm := watchbill.Timer{
		Incident: r.anIncident(t), Kind: rapid.SampledFrom(timerKinds).Draw(t, "kind"),
		Generation: rapid.IntRange(1, 3).Draw(t, "generation"), Step: rapid.IntRange(0, 3).Draw(t, "step"), Due: r.now.Add(r.span(t)),
	}
	r.update(func(tx *store.Tx) error { return tx.SetTimer(tm) })
	r.m.timers[timerKey{tm.Incident, tm.Kind}] = tm
}

func (r *run) cancelTimers(t *rapid.T) {
	id, kind := r.anIncident(t), rapid.SampledFrom(timerKinds).Draw(t, "kind")
	r.update(func(tx *store.Tx) error { return tx.CancelTimers(id, kind) })
	delete(r.m.timers, timerKey{id, kind})
}

func (r *run) takeTimer(t *rapid.T) {
	var taken watchbill.Timer
	r.update(func(tx *store.Tx) error {
		taken = watchbill.Timer{}
		due, err := tx.DueTimers(r.now, 1)
		if err != nil || len(due) == 0 {
			return err
		}
		taken = due[0]
		ours, err := tx.TakeTimer(taken)
		require.True(t, ours)
		require.NoError(t, err)
		ours, err = tx.TakeTimer(taken)
		require.False(t, ours, "a timer was taken twice")
		return err
	})
	if taken.ID == 0 {
		for _, tm := range r.m.timers {
			require.True(t, tm.Due.After(r.now), "%v is due and was not found", tm)
		}
		return
	}
	key := timerKey{taken.Incident, taken.Kind}
	want, found := r.m.timers[key]
	require.True(t, found)
	want.ID = taken.ID
	require.Equal(t, want, taken)
	require.False(t, taken.Due.After(r.now), "not due")
	delete(r.m.timers, key)
}

func (r *run) putAlert(t *rapid.T) {
	a := store.AlertRow{
		Alert: watchbill.Alert{
			Labels:   watchbill.Labels{"alertname": rapid.SampledFrom([]string{"A", "B", "Ü"}).Draw(t, "name")},
			StartsAt: start(), EndsAt: r.now.Add(r.span(t)), UpdatedAt: r.now,
		},
		Incident: watchbill.IncidentID(rapid.IntRange(0, 2).Draw(t, "incident")), Ended: rapid.Bool().Draw(t, "ended"),
		Due: r.now.Add(r.span(t)), Muted: rapid.SampledFrom([]string{"", "a silence"}).Draw(t, "muted"),
	}
	r.update(func(tx *store.Tx) error { return tx.PutAlert(a) })
	r.m.alerts[a.Fingerprint()] = a
}

func (r *run) hastenMuted(*rapid.T) {
	r.update(func(tx *store.Tx) error { return tx.HastenMuted(r.now) })
	for fp, a := range r.m.alerts {
		if !a.Ended && a.Muted != "" && a.Due.After(r.now) {
			a.Due = r.now
			r.m.alerts[fp] = a
		}
	}
}

func (r *run) putSilence(t *rapid.T) {
	s := watchbill.Silence{ID: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id"), StartsAt: r.now, EndsAt: r.now.Add(r.span(t)), Comment: "c", UpdatedAt: r.now}
	r.update(func(tx *store.Tx) error { return tx.PutSilence(s) })
	r.m.silences[s.ID] = s
}

// fail changes all kinds of rows in a transaction that is taken back.
func (r *run) fail(t *rapid.T) {
	err := r.s.Update(context.Background(), func(tx *store.Tx) error {
		require.NoError(t, tx.PutIncident(newIncident("never"), watchbill.Event{At: r.now, Kind: watchbill.EventOpened}))
		require.NoError(t, tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: 1, Due: r.now}))
		require.NoError(t, tx.PutAlert(store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": "A"}}}))
		require.NoError(t, tx.PutSilence(watchbill.Silence{ID: "x"}))
		require.NoError(t, tx.PutPage(newPage("nobody", "push", watchbill.Sev1, r.now)))
		_, err := tx.DropPages(1)
		require.NoError(t, err)
		_, err = tx.PutDutyChange(watchbill.DutyChange{Kind: watchbill.DutyLeave, To: r.now.AddDate(1, 0, 0)})
		require.NoError(t, err)
		return errTakenBack
	})
	require.ErrorIs(t, err, errTakenBack)
}

// reopen ends the store, cleanly or not, and opens it again.
func (r *run) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "crash") {
		crashed := r.s
		r.place = r.place.Crash()
		defer crashed.Close()
	} else {
		require.NoError(t, r.s.Close())
	}
	r.s = open(t, r.place)
}

// compare reads everything there is and compares it with the model.
func (r *run) compare(t *rapid.T) {
	require.NoError(t, r.s.View(context.Background(), func(tx *store.Tx) error {
		r.compareIncidents(t, tx)
		r.compareTimers(t, tx)
		r.compareAlerts(t, tx)
		r.comparePages(t, tx)
		r.compareDuty(t, tx)
		return nil
	}))
	r.update(func(tx *store.Tx) error { return r.compareKnown(t, tx) })
}

// compareKnown asks a transaction that may write for what it may know without
// reading it.
func (r *run) compareKnown(t *rapid.T, tx *store.Tx) error {
	fps := slices.Collect(maps.Keys(r.m.alerts))
	require.NoError(t, tx.Fetch(append(fps, "there is none")))
	for fp, want := range r.m.alerts {
		got, found, err := tx.Alert(fp)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, got)
	}
	_, found, err := tx.Alert("there is none")
	require.NoError(t, err)
	require.False(t, found)
	for _, key := range []string{"a", "b", "c", "never"} {
		var want store.Version
		for _, inc := range r.m.incidents {
			if inc.Key == key && inc.ID > want.ID {
				want = store.VersionOf(inc)
			}
		}
		got, found, err := tx.LastVersion(key)
		require.NoError(t, err)
		require.Equal(t, want.ID != 0, found)
		require.Equal(t, want, got)
	}
	return nil
}

func (r *run) compareIncidents(t *rapid.T, tx *store.Tx) {
	all, err := tx.Incidents("", 1000)
	require.NoError(t, err)
	require.Len(t, all, len(r.m.incidents))
	counts := map[string]int{}
	for i, inc := range all {
		require.EqualValues(t, len(all)-i, inc.ID, "newest first, and no id is left out")
		want := r.m.incidents[inc.ID]
		require.Equal(t, want, inc)
		events, err := tx.Events(inc.ID)
		require.NoError(t, err)
		require.Equal(t, r.m.events[inc.ID], events)
		require.NoError(t, watchbill.VerifyChain(events, inc.Head))
		if inc.State != watchbill.StateClosed {
			counts[fmt.Sprint(inc.State, inc.Severity)]++
			byKey, found, err := tx.IncidentByKey(inc.Key)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, want, byKey)
		}
	}
	require.NoError(t, tx.CountIncidents(func(state watchbill.State, sev watchbill.Severity, n int) {
		require.Equal(t, counts[fmt.Sprint(state, sev)], n)
		delete(counts, fmt.Sprint(state, sev))
	}))
	require.Empty(t, counts)
}

func (r *run) compareTimers(t *rapid.T, tx *store.Tx) {
	want := slices.Collect(maps.Values(r.m.timers))
	var first time.Time
	for _, tm := range want {
		if first.IsZero() || tm.Due.Before(first) {
			first = tm.Due
		}
	}
	next, err := tx.NextTimer()
	require.NoError(t, err)
	require.Equal(t, first, next)
	got, err := tx.DueTimers(r.now.Add(time.Hour), 1000)
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(got, func(a, b watchbill.Timer) int { return a.Due.Compare(b.Due) }))
	for i := range got {
		got[i].ID = 0
	}
	require.ElementsMatch(t, want, got)
}

func (r *run) compareAlerts(t *rapid.T, tx *store.Tx) {
	var active []store.AlertRow
	var first time.Time
	for fp, want := range r.m.alerts {
		got, found, err := tx.Alert(fp)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, got)
		if want.Ended {
			continue
		}
		active = append(active, want)
		if first.IsZero() || want.Due.Before(first) {
			first = want.Due
		}
	}
	got, err := tx.ActiveAlerts()
	require.NoError(t, err)
	require.ElementsMatch(t, active, got)
	next, err := tx.NextAlert()
	require.NoError(t, err)
	require.Equal(t, first, next)
	due, err := tx.DueAlerts(r.now, 1000)
	require.NoError(t, err)
	require.ElementsMatch(t, slices.DeleteFunc(active, func(a store.AlertRow) bool { return a.Due.After(r.now) }), due)
	silences, err := tx.Silences(r.now)
	require.NoError(t, err)
	want := slices.DeleteFunc(slices.Collect(maps.Values(r.m.silences)), func(s watchbill.Silence) bool { return !s.EndsAt.After(r.now) })
	slices.SortFunc(want, func(a, b watchbill.Silence) int { return cmp.Or(a.EndsAt.Compare(b.EndsAt), cmp.Compare(a.ID, b.ID)) })
	require.Equal(t, len(want), len(silences))
	for i := range want {
		require.Equal(t, want[i], silences[i])
	}
}
