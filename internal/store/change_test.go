package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
)

func changeOf(key string) *watchbill.Change {
	c := watchbill.ChangeContent{Kind: watchbill.ChangeRollback, Title: "t", Service: "checkout", Environment: "prod", NotAfter: t0().Add(time.Hour)}
	return &watchbill.Change{Key: key, State: watchbill.ChangeRequested, Content: c, Hash: c.Sum(), Requester: "carla", RequestedAt: t0(), UpdatedAt: t0()}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s := open(t, path)
	one, two := changeOf("k"), changeOf("")
	two.Incident, two.Content.Service = 7, "db"
	two.Hash = two.Content.Sum()
	update(t, s, func(tx *store.Tx) error {
		return tx.PutChange(one, t0().Add(time.Minute), note("asked"), note("again <&>"))
	})
	update(t, s, func(tx *store.Tx) error { return tx.PutChange(two, time.Time{}, note("asked")) })
	require.EqualValues(t, 2, two.ID)
	require.Error(t, s.Update(t.Context(), func(tx *store.Tx) error { return tx.PutChange(changeOf("k"), time.Time{}) }), "one change a key")
	one.State, one.UpdatedAt = watchbill.ChangeDone, t0().Add(time.Hour)
	update(t, s, func(tx *store.Tx) error { return tx.PutChange(one, t0().Add(time.Hour), note("done")) })
	update(t, s, func(tx *store.Tx) error { return tx.PutChangePolicy([]byte(`{"a":1}`)) })
	update(t, s, func(tx *store.Tx) error { return tx.PutChangePolicy([]byte(`{"a":2}`)) })
	require.NoError(t, s.Close())

	s = open(t, path)
	view(t, s, func(tx *store.Tx) error {
		got, err := tx.Change(1)
		require.NoError(t, err)
		require.Equal(t, *one, got)
		got, found, err := tx.ChangeByKey("k")
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, 1, got.ID)
		_, err = tx.Change(3)
		require.ErrorContains(t, err, "there is no change CHG-3")
		events, err := tx.ChangeEvents(1)
		require.NoError(t, err)
		require.Len(t, events, 3)
		require.NoError(t, watchbill.VerifyChain(events, got.Head))
		for q, want := range map[store.ChangeQuery]string{
			{}:                             "[CHG-2 CHG-1]",
			{State: "live"}:                "[CHG-2]",
			{State: watchbill.ChangeDone}:  "[CHG-1]",
			{Service: "db"}:                "[CHG-2]",
			{Environment: "preprod"}:       "[]",
			{Incident: 7}:                  "[CHG-2]",
			{Since: t0().Add(time.Second)}: "[CHG-1]",
		} {
			q.Limit = 10
			all, err := tx.Changes(q)
			require.NoError(t, err)
			ids := []watchbill.ChangeID{}
			for _, c := range all {
				ids = append(ids, c.ID)
			}
			require.Equal(t, want, fmt.Sprint(ids), "%+v", q)
		}
		due, err := tx.DueChanges(t0().Add(time.Hour-1), 10)
		require.NoError(t, err)
		require.Empty(t, due)
		next, err := tx.NextChange()
		require.NoError(t, err)
		require.Equal(t, t0().Add(time.Hour), next)
		due, err = tx.DueChanges(next, 10)
		require.Len(t, due, 1)
		require.NoError(t, err)
		body, found, err := tx.ChangePolicy()
		require.True(t, found)
		require.JSONEq(t, `{"a":2}`, string(body))
		return err
	})
}

// Whatever is altered in the rows of a change is found.
func TestTamperedChangesAreFound(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"an event's text":    `UPDATE change_event SET body = replace(body, 'asked', 'begged') WHERE record = 2`,
		"an event is gone":   `DELETE FROM change_event WHERE record = 2 AND seq = 1`,
		"the tail is gone":   `DELETE FROM change_event WHERE record = 2 AND seq = 2`,
		"the order":          `UPDATE change_event SET seq = 3 - seq + 10 WHERE record = 2`,
		"the content":        `UPDATE change_record SET body = replace(body, 'checkout', 'payments') WHERE id = 2`,
		"the head":           `UPDATE change_record SET head = 'x' WHERE id = 2`,
		"one change is gone": `DELETE FROM change_event WHERE record = 2; DELETE FROM change_record WHERE id = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "w.db")
			s := open(t, path)
			for range 3 {
				update(t, s, func(tx *store.Tx) error { return tx.PutChange(changeOf(""), time.Time{}, note("asked"), note("done")) })
			}
			verify := func(s *store.Store) (wrong []watchbill.ChangeID) {
				view(t, s, func(tx *store.Tx) error {
					_, err := tx.VerifyChanges(func(id watchbill.ChangeID, err error) { wrong = append(wrong, id) })
					return err
				})
				return wrong
			}
			require.Empty(t, verify(s))
			require.NoError(t, s.Close())
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
			require.NoError(t, db.Close())
			require.Equal(t, []watchbill.ChangeID{2}, verify(open(t, path)))
		})
	}
}
