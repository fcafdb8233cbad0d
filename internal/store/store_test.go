package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
)

func t0() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "w.db")) }

func update(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), fn))
}

func view(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), fn))
}

func incidentOf(key string) *watchbill.Incident {
	return &watchbill.Incident{Key: key, Generation: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2, OpenedAt: t0()}
}

func note(text string) watchbill.Event {
	return watchbill.Event{At: t0(), Kind: watchbill.EventNote, Actor: "ana", Text: text}
}

func TestIncidentsSurviveReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a folder/with ?odd#name.db")
	s := open(t, path)
	inc := incidentOf("k")
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(inc, note("one"), note("two <&>")) })
	require.EqualValues(t, 1, inc.ID)
	require.NoError(t, s.Close())

	s = open(t, path)
	view(t, s, func(tx *store.Tx) error {
		got, err := tx.Incident(inc.ID)
		require.NoError(t, err)
		require.Equal(t, *inc, got)
		events, err := tx.Events(inc.ID)
		require.NoError(t, err)
		require.Len(t, events, 2)
		require.NoError(t, watchbill.VerifyChain(events, got.Head))
		_, err = tx.Incident(99)
		require.ErrorContains(t, err, "there is no incident INC-99")
		return nil
	})
}

// Two incidents of one key are never live together, whoever writes them.
func TestOneLiveIncidentPerKey(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	inc := incidentOf("k")
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(inc) })
	err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.PutIncident(incidentOf("k")) })
	require.Error(t, err)
	inc.State = watchbill.StateClosed
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(inc) })
	second := incidentOf("k")
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(second) })
	view(t, s, func(tx *store.Tx) error {
		got, found, err := tx.IncidentByKey("k")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, second.ID, got.ID)
		last, found, err := tx.LastIncident("k")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, second.ID, last.ID)
		live, err := tx.Incidents("live", 10)
		require.NoError(t, err)
		require.Len(t, live, 1)
		return nil
	})
}

func TestAFailedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	boom := errors.New("boom")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		require.NoError(t, tx.PutIncident(incidentOf("k"), note("x")))
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Panics(t, func() {
		_ = s.Update(context.Background(), func(tx *store.Tx) error {
			require.NoError(t, tx.PutIncident(incidentOf("k")))
			panic("bug")
		})
	})
	view(t, s, func(tx *store.Tx) error {
		all, err := tx.Incidents("", 10)
		require.NoError(t, err)
		require.Empty(t, all)
		return nil
	})
	require.Error(t, s.View(t.Context(), func(tx *store.Tx) error { return tx.PutIncident(incidentOf("k")) }), "reading connections cannot write")
}

func TestWritersQueueAndReadersDoNotWait(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	inc := incidentOf("k")
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(inc) })
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 32 {
		wg.Go(func() {
			errs <- s.Update(context.Background(), func(tx *store.Tx) error {
				got, err := tx.Incident(inc.ID)
				if err != nil {
					return err
				}
				return tx.PutIncident(&got, note(fmt.Sprint(i)))
			})
		})
		wg.Go(func() {
			errs <- s.View(context.Background(), func(tx *store.Tx) error { _, err := tx.Incident(inc.ID); return err })
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	view(t, s, func(tx *store.Tx) error {
		got, err := tx.Incident(inc.ID)
		require.NoError(t, err)
		events, err := tx.Events(inc.ID)
		require.NoError(t, err)
		require.Len(t, events, 32, "no update was lost to another")
		return watchbill.VerifyChain(events, got.Head)
	})
}

func TestTimers(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	step := watchbill.Timer{Kind: watchbill.TimerStep, Incident: 1, Generation: 1, Step: 1, Due: t0().Add(5 * time.Minute)}
	ack := watchbill.Timer{Kind: watchbill.TimerAck, Incident: 1, Generation: 1, Due: t0().Add(time.Minute)}
	end := watchbill.Timer{Kind: watchbill.TimerClose, Incident: 2, Due: t0().Add(2 * time.Minute)}
	update(t, s, func(tx *store.Tx) error {
		for _, tm := range []watchbill.Timer{step, ack, end} {
			require.NoError(t, tx.SetTimer(tm))
		}
		step.Step, step.Due = 2, t0().Add(10*time.Minute)
		return tx.SetTimer(step) // replaces the first
	})
	update(t, s, func(tx *store.Tx) error {
		next, err := tx.NextTimer()
		require.NoError(t, err)
		require.Equal(t, ack.Due, next)
		due, err := tx.DueTimers(t0().Add(2*time.Minute), 10)
		require.NoError(t, err)
		require.Len(t, due, 2)
		ours, err := tx.TakeTimer(due[0])
		require.NoError(t, err)
		require.True(t, ours)
		ours, err = tx.TakeTimer(due[0])
		require.NoError(t, err)
		require.False(t, ours, "a timer is taken once")
		changed := due[1]
		changed.Due = t0().Add(time.Hour)
		require.NoError(t, tx.SetTimer(changed))
		ours, err = tx.TakeTimer(due[1])
		require.NoError(t, err)
		require.False(t, ours, "a timer that was set anew is not the one that was read")
		require.NoError(t, tx.CancelTimers(2, watchbill.TimerClose))
		require.NoError(t, tx.CancelTimers(1, watchbill.TimerStep, watchbill.TimerAck))
		next, err = tx.NextTimer()
		require.NoError(t, err)
		require.True(t, next.IsZero())
		return nil
	})
}

func page(person, method string, sev watchbill.Severity, due time.Time) watchbill.Page {
	return watchbill.Page{
		Incident: 1, Generation: 1, Person: watchbill.PersonID(person), Method: method, Due: due,
		Content: watchbill.PageContent{Severity: sev, Title: "checkout fails"},
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	now := t0()
	update(t, s, func(tx *store.Tx) error {
		for _, p := range []watchbill.Page{
			page("ana", "push", watchbill.Sev3, now.Add(-time.Minute)), page("ben", "push", watchbill.Sev1, now),
			page("carla", "push", watchbill.Sev1, now.Add(time.Minute)), page("eve", "gone", watchbill.Sev2, now),
			page("ana", "push", watchbill.Sev3, now.Add(time.Hour)), // the same key: left as it was
		} {
			require.NoError(t, tx.PutPage(p))
		}
		return nil
	})
	take := func(c store.Claim) (got []watchbill.Delivery) {
		update(t, s, func(tx *store.Tx) (err error) { got, err = tx.ClaimPages(c); return err })
		return got
	}
	c := store.Claim{Method: "push", Now: now, Lease: 30 * time.Second, Limit: 10}
	got := take(c)
	require.Len(t, got, 2)
	require.Equal(t, watchbill.PersonID("ben"), got[0].Page.Person, "the most severe first")
	require.Equal(t, "INC-1/1/0/ben/push", got[0].Page.Key())
	require.Equal(t, "checkout fails", got[0].Page.Content.Title)
	require.Equal(t, 1, got[0].Attempt)
	require.Empty(t, take(c), "a leased page is nobody else's")
	view(t, s, func(tx *store.Tx) error {
		next, err := tx.NextPage(c)
		require.NoError(t, err)
		require.Equal(t, now.Add(30*time.Second), next, "the lease ends before carla's page is due")
		return nil
	})

	finish := func(o watchbill.Outcome) {
		update(t, s, func(tx *store.Tx) error { return tx.FinishAttempt(o) })
	}
	finish(watchbill.Outcome{Delivery: got[0], At: now, Result: watchbill.ResultDelivered})
	finish(watchbill.Outcome{Delivery: got[1], At: now, Result: watchbill.ResultRetry, Detail: "503", Retry: now.Add(5 * time.Second)})
	c.Now = now.Add(5 * time.Second)
	retry := take(c)
	require.Len(t, retry, 1)
	require.Equal(t, 2, retry[0].Attempt)

	// The process dies now: after the lease the page is sent again, with a higher
	// attempt, and the late result of the dead one changes nothing.
	c.Now = now.Add(36 * time.Second)
	again := take(c)
	require.Len(t, again, 1)
	require.Equal(t, 3, again[0].Attempt)
	finish(watchbill.Outcome{Delivery: retry[0], At: c.Now, Result: watchbill.ResultRetry, Retry: c.Now.Add(time.Hour)})
	view(t, s, func(tx *store.Tx) error {
		row, found, err := tx.Page(again[0].ID)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, 3, row.Attempt)
		require.Equal(t, c.Now.Add(30*time.Second), row.LeaseUntil)
		return nil
	})

	unknown := take(store.Claim{Known: []string{"push", "mail"}, Now: now, Lease: time.Second, Limit: 5})
	require.Len(t, unknown, 1)
	require.Equal(t, "gone", unknown[0].Page.Method)
	require.Len(t, take(store.Claim{Now: now.Add(time.Hour), Lease: time.Second, Limit: 5}), 3, "no known method: all that is pending")

	update(t, s, func(tx *store.Tx) error {
		n, err := tx.DropPages(1)
		require.EqualValues(t, 3, n)
		return err
	})
	c.Now = now.Add(24 * time.Hour)
	require.Empty(t, take(c), "what was dropped is never sent")
	finish(watchbill.Outcome{Delivery: again[0], At: c.Now, Result: watchbill.ResultDelivered})
	view(t, s, func(tx *store.Tx) error {
		row, _, err := tx.Page(again[0].ID)
		require.Equal(t, "delivered", row.State, "what arrived after all is told so")
		attempts, _ := tx.AttemptsOf(1)
		require.Len(t, attempts, 4)
		return err
	})
}

func TestAlertsSilencesTokens(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	a := store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": "A"}, EndsAt: t0()}, Incident: 3, Muted: "why", Due: t0().Add(time.Minute)}
	sil := watchbill.Silence{ID: "s", StartsAt: t0(), EndsAt: t0().Add(time.Hour), Comment: "c"}
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, tx.PutAlert(a))
		a.Ended = true
		require.NoError(t, tx.PutSilence(sil))
		require.NoError(t, tx.PutToken("id", "hash", []byte(`{"name":"x"}`)))
		return tx.Heartbeat(t0())
	})
	view(t, s, func(tx *store.Tx) error {
		active, err := tx.ActiveAlerts()
		require.NoError(t, err)
		require.Len(t, active, 1)
		next, err := tx.NextAlert()
		require.NoError(t, err)
		require.Equal(t, t0().Add(time.Minute), next)
		early, err := tx.DueAlerts(t0(), 10)
		require.NoError(t, err)
		require.Empty(t, early)
		due, err := tx.DueAlerts(t0().Add(time.Minute), 10)
		require.NoError(t, err)
		require.Equal(t, active, due)
		of, err := tx.AlertsOf(3)
		require.NoError(t, err)
		require.Equal(t, active, of)
		body, found, err := tx.Token("hash")
		require.NoError(t, err)
		require.True(t, found)
		require.JSONEq(t, `{"name":"x"}`, string(body))
		now, err := tx.Silences(t0())
		require.NoError(t, err)
		require.Equal(t, []watchbill.Silence{sil}, now)
		later, err := tx.Silences(t0().Add(time.Hour))
		require.NoError(t, err)
		require.Empty(t, later)
		_, err = tx.Silence("none")
		require.ErrorContains(t, err, "there is no silence")
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, tx.HastenMuted(t0()))
		due, err := tx.DueAlerts(t0(), 10)
		require.NoError(t, err)
		require.Len(t, due, 1, "decided again at once")
		return tx.PutAlert(a)
	})
	view(t, s, func(tx *store.Tx) error {
		active, err := tx.ActiveAlerts()
		require.Empty(t, active)
		return err
	})
}

func TestAnOlderBinaryRefusesANewerStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s := open(t, path)
	require.NoError(t, s.Close())
	store.Pretend(t, path, 99)
	_, err := store.Open(t.Context(), path)
	require.ErrorContains(t, err, "schema version 99")
	require.ErrorContains(t, err, "restore the backup")
}

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), t.TempDir()) // a folder, not a file
	require.ErrorContains(t, err, "check that the folder exists and is writable")
}
