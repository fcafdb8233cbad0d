package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
)

// A backup that is made while others write is what the store was at one instant:
// every write that was answered before it began, and no half of any.
func TestBackupWhileOthersWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, to := filepath.Join(dir, "w.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	var answered atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for n := range 8 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				err := s.Update(context.Background(), func(tx *store.Tx) error { // one incident and its timer, always both
					inc := incidentOf(fmt.Sprintf("k%d/%d", n, i))
					if err := tx.PutIncident(inc, note("x")); err != nil {
						return err
					}
					return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Generation: 1, Due: t0()})
				})
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 200 {
		require.NoError(t, s.View(t.Context(), func(*store.Tx) error { return nil }))
	}
	before := answered.Load()
	c, err := store.Backup(t.Context(), path, to, nil)
	stop()
	writers.Wait()
	require.NoError(t, err)
	require.GreaterOrEqual(t, int64(c.Incidents), before)
	require.Equal(t, c.Incidents, c.Events)
	require.Positive(t, c.Bytes)
	again, err := store.Verify(t.Context(), to)
	require.NoError(t, err)
	require.Equal(t, c, again)
	copied := open(t, to)
	view(t, copied, func(tx *store.Tx) error {
		timers, err := tx.DueTimers(t0(), 1_000_000)
		require.Len(t, timers, c.Incidents, "an incident came without its timer")
		return err
	})

	_, err = store.Backup(t.Context(), path, to, nil)
	require.ErrorContains(t, err, "exists")
	_, err = store.Backup(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "b"), nil)
	require.ErrorContains(t, err, "there is no store to copy")
	_, err = store.Backup(t.Context(), path, filepath.Join(dir, "none", "b"), nil)
	require.ErrorContains(t, err, "cannot write the backup")
	left, err := filepath.Glob(filepath.Join(dir, ".watchbill-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// filled is a store in which something was due, pending and firing.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "w.db")
	s := open(t, path)
	update(t, s, func(tx *store.Tx) error {
		inc := *incidentOf("k")
		require.NoError(t, tx.PutIncident(&inc, note("x")))
		require.NoError(t, tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Generation: 1, Step: 1, Due: t0()}))
		require.NoError(t, tx.OpenSelfTest(incidentOf("self"), note("of no interest to anybody later")))
		require.NoError(t, tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: store.SelfTestID, Due: t0()}))
		require.NoError(t, tx.PutPage(page("ana", "push", watchbill.Sev2, t0())))
		require.NoError(t, tx.PutAlert(store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": "A"}, EndsAt: t0()}, Incident: inc.ID, Due: t0()}))
		return tx.PutAlert(store.AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": "Muted"}, EndsAt: t0()}, Muted: "why", Due: t0()})
	})
	require.NoError(t, s.Close())
	return path
}

// restored is a store that was put in place from a backup of [filled].
func restored(t *testing.T) *store.Store {
	t.Helper()
	dir := t.TempDir()
	_, err := store.Backup(t.Context(), filled(t), filepath.Join(dir, "b.db"), nil)
	require.NoError(t, err)
	path := filepath.Join(dir, "new", "w.db")
	c, kept, err := store.Restore(t.Context(), filepath.Join(dir, "b.db"), path, false)
	require.NoError(t, err)
	require.Empty(t, kept)
	require.Equal(t, 1, c.Incidents)
	s := open(t, path)
	require.True(t, s.Held())
	return s
}

// due is what a daemon would act on, an hour later.
func due(t *testing.T, s *store.Store) (timers, alerts, pages int) {
	t.Helper()
	now := t0().Add(time.Hour)
	view(t, s, func(tx *store.Tx) error {
		a, err := tx.DueTimers(now, 10)
		require.NoError(t, err)
		next, err := tx.NextTimer()
		require.NoError(t, err)
		require.Equal(t, len(a) == 0, next.IsZero())
		b, err := tx.DueAlerts(now, 10)
		require.NoError(t, err)
		timers, alerts = len(a), len(b)
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		p, err := tx.ClaimPages(store.Claim{Method: "push", Now: now, Limit: 10})
		pages = len(p)
		return err
	})
	return timers, alerts, pages
}

func TestARestoredStoreIsHeld(t *testing.T) {
	t.Parallel()
	s := restored(t)
	timers, alerts, pages := due(t, s)
	require.Zero(t, timers+alerts+pages)
	view(t, s, func(tx *store.Tx) error {
		held, err := tx.Holding()
		require.NoError(t, err)
		require.Equal(t, []watchbill.IncidentID{0, 1}, held)
		waiting, err := tx.HeldTimers(1)
		require.NoError(t, err)
		require.Len(t, waiting, 1)
		rows, err := tx.HeldPages(1)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		firing, err := tx.HeldAlerts(1)
		require.Len(t, firing, 1)
		return err
	})

	// What is written from now on is not held, in the place of a held row neither.
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: 1, Generation: 2, Due: t0()}))
		return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: 2, Generation: 1, Due: t0()})
	})
	timers, _, _ = due(t, s)
	require.Equal(t, 2, timers)
	require.True(t, s.Held())
}

func TestReleaseHeld(t *testing.T) {
	t.Parallel()
	s := restored(t)
	alive := t0().Add(5 * time.Minute)
	update(t, s, func(tx *store.Tx) error {
		n, err := tx.ReleaseHeld(1, alive)
		require.EqualValues(t, 2, n)
		return err
	})
	require.True(t, s.Held(), "the muted alert is left")
	view(t, s, func(tx *store.Tx) error {
		early, err := tx.DueAlerts(alive.Add(-time.Second), 10)
		require.NoError(t, err)
		require.Empty(t, early, "its source has time to speak up")
		rows, err := tx.AlertsOf(1)
		require.Equal(t, alive, rows[0].EndsAt)
		return err
	})
	timers, alerts, pages := due(t, s)
	require.Equal(t, []int{1, 1, 1}, []int{timers, alerts, pages})
	boom := errors.New("boom")
	require.ErrorIs(t, s.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ReleaseHeld(0, alive)
		require.NoError(t, err)
		return boom
	}), boom)
	require.True(t, s.Held())
	update(t, s, func(tx *store.Tx) error { _, err := tx.ReleaseHeld(0, alive); return err })
	require.False(t, s.Held())
}

func TestDropHeld(t *testing.T) {
	t.Parallel()
	s := restored(t)
	update(t, s, func(tx *store.Tx) error {
		n, err := tx.DropHeld(1)
		require.EqualValues(t, 2, n)
		require.NoError(t, err)
		_, err = tx.DropHeld(0)
		return err
	})
	require.False(t, s.Held())
	timers, alerts, pages := due(t, s)
	require.Equal(t, []int{0, 2, 0}, []int{timers, alerts, pages}, "only alerts may end")
	view(t, s, func(tx *store.Tx) error {
		rows, err := tx.PagesOf(1)
		require.Equal(t, "dropped", rows[0].State)
		return err
	})
}

func TestRestoreIsCareful(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, backup := filled(t), filepath.Join(dir, "b.db")
	_, err := store.Backup(t.Context(), path, backup, nil)
	require.NoError(t, err)
	_, _, err = store.Restore(t.Context(), backup, path, false)
	require.ErrorContains(t, err, "there is a store at "+path+" already")
	require.ErrorContains(t, err, "--replace")

	// The one that is replaced is kept, with what is only in its log yet.
	s := open(t, path)
	update(t, s, func(tx *store.Tx) error { return tx.PutIncident(incidentOf("newer")) })
	raw := filepath.Join(dir, "raw.db")
	for _, end := range []string{"", "-wal"} { // as a crash leaves it
		b, err := os.ReadFile(path + end)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(raw+end, b, 0o600))
	}
	require.NoError(t, s.Close())
	_, err = store.Verify(t.Context(), raw)
	require.ErrorContains(t, err, "is a store in use")
	_, kept, err := store.Restore(t.Context(), backup, raw, true)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(kept, raw+".replaced-"))
	view(t, open(t, kept), func(tx *store.Tx) error {
		_, found, err := tx.IncidentByKey("newer")
		require.True(t, found)
		return err
	})
	view(t, open(t, raw), func(tx *store.Tx) error {
		_, found, err := tx.IncidentByKey("newer")
		require.False(t, found)
		return err
	})

	// Only a sound backup of a schema that is known is put in place.
	for name, c := range map[string]struct{ change, want string }{
		"altered": {`UPDATE event SET text = 'nothing happened'`, "the record of INC-1 does not verify"},
		"newer":   {`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`, "schema version 99"},
		"foreign": {`DROP TABLE goose_db_version`, "is no store of watchbill"},
	} {
		file := filepath.Join(dir, name+".db")
		_, err := store.Backup(t.Context(), path, file, nil)
		require.NoError(t, err)
		db, err := sql.Open("sqlite", file)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), c.change)
		require.NoError(t, errors.Join(err, db.Close()))
		_, _, err = store.Restore(t.Context(), file, filepath.Join(dir, "never.db"), false)
		require.ErrorContains(t, err, c.want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text.db"), []byte(strings.Repeat("no database", 999)), 0o600))
	_, _, err = store.Restore(t.Context(), filepath.Join(dir, "text.db"), filepath.Join(dir, "never.db"), false)
	require.ErrorContains(t, err, "is damaged")
	_, _, err = store.Restore(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "never.db"), false)
	require.ErrorContains(t, err, "there is no backup")
	require.NoFileExists(t, filepath.Join(dir, "never.db"))
	left, err := filepath.Glob(filepath.Join(dir, ".watchbill-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
