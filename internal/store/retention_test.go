package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
)

const day = 24 * time.Hour

// closed stores an incident that closed at an instant, with an alert, a page and
// an attempt.
func closed(t *testing.T, s *store.Store, key string, at time.Time) watchbill.IncidentID {
	t.Helper()
	inc := incidentOf(key)
	inc.OpenedAt = at.Add(-time.Hour)
	update(t, s, func(tx *store.Tx) error {
		inc := *inc
		inc.State = watchbill.StateClosed
		require.NoError(t, tx.PutIncident(&inc, watchbill.Event{At: inc.OpenedAt, Kind: watchbill.EventOpened, Actor: "watchbill"}, watchbill.Event{At: at, Kind: watchbill.EventClosed, Actor: "ana"}))
		require.NoError(t, tx.PutAlert(store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": key}, EndsAt: at}, Incident: inc.ID, Ended: true}))
		require.NoError(t, tx.PutPage(watchbill.Page{Incident: inc.ID, Generation: 1, Person: "ana", Method: "push", Due: at}))
		pages, err := tx.PagesOf(inc.ID)
		require.NoError(t, err)
		first, err := tx.PutReceipt(watchbill.Receipt{Page: pages[0].ID, Kind: watchbill.ReceiptOpened, At: at})
		require.NoError(t, err)
		require.True(t, first)
		first, err = tx.PutReceipt(watchbill.Receipt{Page: pages[0].ID, Kind: watchbill.ReceiptOpened, At: at.Add(time.Hour)})
		require.NoError(t, err)
		require.False(t, first, "the first of a kind is kept")
		require.NoError(t, tx.PutMessage(watchbill.SentMessage{Page: pages[0].ID, Integration: "slack[0]"}))
		return tx.FinishAttempt(watchbill.Outcome{Delivery: watchbill.Delivery{ID: pages[0].ID, Attempt: 1, Page: pages[0].Page}, At: at, Result: watchbill.ResultDelivered})
	})
	var id watchbill.IncidentID
	view(t, s, func(tx *store.Tx) error {
		last, _, err := tx.LastIncident(key)
		id = last.ID
		return err
	})
	return id
}

func verify(t *testing.T, s *store.Store) (wrong []string) {
	t.Helper()
	view(t, s, func(tx *store.Tx) error {
		return tx.VerifyCheckpoints(func(id watchbill.IncidentID, err error) { wrong = append(wrong, id.String()+": "+err.Error()) })
	})
	return wrong
}

func TestRetentionLeavesACheckpoint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s := open(t, path)
	now := t0()
	old, older, young := closed(t, s, "old", now.Add(-40*day)), closed(t, s, "older", now.Add(-50*day)), closed(t, s, "young", now.Add(-10*day))
	firing := closed(t, s, "firing", now.Add(-60*day))
	live := incidentOf("live")
	live.OpenedAt = now.Add(-70 * day)
	update(t, s, func(tx *store.Tx) error {
		l := *live
		require.NoError(t, tx.PutIncident(&l))
		return tx.PutAlert(store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": "firing"}, EndsAt: now}, Incident: firing})
	})
	update(t, s, func(tx *store.Tx) error {
		ids, err := tx.Expired(now.Add(-30*day), 10)
		require.NoError(t, err)
		require.Equal(t, []watchbill.IncidentID{old, older}, ids)
		for _, id := range ids {
			require.NoError(t, tx.DeleteIncident(id, now))
		}
		require.ErrorContains(t, tx.DeleteIncident(5, now), "INC-5 is open")
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		all, err := tx.Incidents("", 10)
		require.NoError(t, err)
		require.Len(t, all, 3)
		for _, id := range []watchbill.IncidentID{old, older} {
			_, err = tx.Incident(id)
			require.ErrorContains(t, err, "there is no incident")
			alerts, err := tx.AlertsOf(id)
			require.NoError(t, err)
			require.Empty(t, alerts)
			pages, err := tx.PagesOf(id)
			require.NoError(t, err)
			require.Empty(t, pages)
			attempts, err := tx.AttemptsOf(id)
			require.NoError(t, err)
			require.Empty(t, attempts)
		}
		attempts, err := tx.AttemptsOf(young)
		require.NoError(t, err)
		require.Len(t, attempts, 1)
		last, found, err := tx.LastCheckpoint()
		require.True(t, found)
		require.Equal(t, older, last.Incident)
		require.EqualValues(t, 2, last.Seq)
		return err
	})
	require.Empty(t, verify(t, s))
	next := closed(t, s, "next", now)
	require.EqualValues(t, 6, next, "an id is never given twice")
	require.NoError(t, s.Close())

	for name, c := range map[string]struct {
		tamper string
		want   []string
	}{
		"an incident vanished":       {`DELETE FROM incident WHERE id = 5`, []string{"INC-5: INC-5 is gone, and retention did not delete it"}},
		"the newest one vanished":    {`DELETE FROM attempt; DELETE FROM page; DELETE FROM event; DELETE FROM incident WHERE id = 6`, []string{"INC-6: INC-6 is gone, and retention did not delete it"}},
		"a head was altered":         {`UPDATE checkpoint SET head = 'x' WHERE id = 1`, []string{"INC-1: checkpoint 1 was altered after it was written"}},
		"a checkpoint was removed":   {`DELETE FROM checkpoint WHERE id = 1`, []string{"INC-2: checkpoint 1 is missing: found 2 in its place", "INC-1: INC-1 is gone, and retention did not delete it"}},
		"a checkpoint was exchanged": {`UPDATE checkpoint SET prev = 'x' WHERE id = 2`, []string{"INC-2: checkpoint 2 does not follow the one before it"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := filepath.Join(t.TempDir(), "w.db")
			_, err := store.Backup(t.Context(), path, copied, nil)
			require.NoError(t, err)
			db, err := sql.Open("sqlite", copied)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), c.tamper)
			require.NoError(t, err)
			require.NoError(t, db.Close())
			require.Equal(t, c.want, verify(t, open(t, copied)))
		})
	}
}

func TestWhatEndedIsForgotten(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	now := t0()
	alert := func(name string, ends time.Time, ended bool) store.AlertRow {
		return store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": name}, EndsAt: ends}, Ended: ended}
	}
	update(t, s, func(tx *store.Tx) error {
		for _, a := range []store.AlertRow{alert("old", now.Add(-31*day), true), alert("young", now.Add(-day), true), alert("firing", now.Add(-31*day), false)} {
			require.NoError(t, tx.PutAlert(a))
		}
		for id, ends := range map[string]time.Time{"old": now.Add(-31 * day), "young": now.Add(-day)} {
			require.NoError(t, tx.PutSilence(watchbill.Silence{ID: id, EndsAt: ends}))
		}
		n, err := tx.DeleteEndedAlerts(now.Add(-30*day), 10)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		n, err = tx.DeleteEndedSilences(now.Add(-30*day), 10)
		require.EqualValues(t, 1, n)
		return err
	})
	view(t, s, func(tx *store.Tx) error {
		_, found, err := tx.Alert(alert("old", now, true).Fingerprint())
		require.NoError(t, err)
		require.False(t, found)
		silences, err := tx.Silences(time.Time{})
		require.Len(t, silences, 1)
		return err
	})
}
