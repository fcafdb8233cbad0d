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

func verifyLog(t *testing.T, s *store.Store, heads ...watchbill.AuditHead) (wrong []string, head watchbill.AuditHead) {
	t.Helper()
	view(t, s, func(tx *store.Tx) error {
		v := watchbill.AuditVerifier{Heads: heads}
		_, err := tx.VerifyAudit(&v, func(err error) { wrong = append(wrong, err.Error()) })
		head = v.Head()
		return err
	})
	return wrong, head
}

// What is in the audit log can be found, and every way of altering the store's
// record shows in a copy of it.
func TestTheAuditLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s := open(t, path)
	now := t0()
	one, two := closed(t, s, "one", now), closed(t, s, "two", now)
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.PutAudit(watchbill.AuditEntry{At: now, Kind: watchbill.AuditSilenceMade, Actor: "ana", Via: "cli", Object: "s1", Text: "{a=b}", Detail: "my knee hurts"})
		return err
	})
	update(t, s, func(tx *store.Tx) error {
		more, err := tx.Seal(now)
		require.False(t, more)
		return err
	})
	update(t, s, func(tx *store.Tx) error { // nothing changed since
		_, err := tx.Seal(now)
		return err
	})
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.PutAudit(watchbill.AuditEntry{At: now.Add(time.Hour), Kind: watchbill.AuditReloaded, Actor: "frank", Text: "nothing"})
		return err
	})
	wrong, head := verifyLog(t, s)
	require.Empty(t, wrong)
	require.EqualValues(t, 3, head.Seq)
	view(t, s, func(tx *store.Tx) error {
		all, err := tx.AuditEntries(store.AuditQuery{Actor: "ana", Limit: 10})
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, "my knee hurts", all[0].Detail)
		require.NotEmpty(t, all[0].Salt)
		all, err = tx.AuditEntries(store.AuditQuery{Newest: true, Since: now, Limit: 2})
		require.NoError(t, err)
		require.Equal(t, []int64{3, 2}, []int64{all[0].Seq, all[1].Seq})
		heads, err := watchbill.SealIn(all[1])
		require.NoError(t, err)
		require.Equal(t, []watchbill.IncidentID{one, two}, []watchbill.IncidentID{heads[0].Incident, heads[1].Incident})
		return err
	})

	for name, c := range map[string]struct{ tamper, want string }{
		"a byte":    {`UPDATE audit_log SET text = '{a=c}' WHERE seq = 1`, "entry 1 of the audit log was altered after it was written"},
		"a detail":  {`UPDATE audit_log SET detail = 'holiday' WHERE seq = 1`, "the detail of entry 1 of the audit log was altered after it was written"},
		"a row":     {`DELETE FROM audit_log WHERE seq = 2`, "entry 2 of the audit log is missing: found 3 in its place"},
		"the order": {`UPDATE audit_log SET seq = -1 WHERE seq = 1; UPDATE audit_log SET seq = 1 WHERE seq = 3; UPDATE audit_log SET seq = 3 WHERE seq = -1`, "entry 1 of the audit log does not follow the one before it"},
		"the end":   {`DELETE FROM audit_log WHERE seq = 3`, "the audit log ends with entry 2, and " + head.Short() + " was published: its end was cut off"},
		"the end of a timeline": {
			`DELETE FROM event WHERE incident = 1 AND seq = 2; UPDATE incident SET seq = 1, head = (SELECT hash FROM event WHERE incident = 1 AND seq = 1) WHERE id = 1`,
			"event 2 of INC-1 was sealed at " + now.Format(time.RFC3339) + " and is gone: the end of its timeline was cut off",
		},
		"a timeline": {`UPDATE event SET hash = 'x' WHERE incident = 1 AND seq = 2`, "event 2 of INC-1 is not the one that was sealed at " + now.Format(time.RFC3339)},
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
			wrong, _ := verifyLog(t, open(t, copied), head)
			require.NotEmpty(t, wrong)
			require.Contains(t, wrong[0], c.want)
		})
	}
}

// A person's details can be erased, and the log still verifies. What retention
// deletes is not missed by the seals.
func TestErasingAndRetentionKeepTheAuditLogTrue(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	now := t0()
	id := closed(t, s, "one", now)
	update(t, s, func(tx *store.Tx) error {
		for _, e := range []watchbill.AuditEntry{{Actor: "ana", Detail: "a"}, {Actor: "frank", Object: "ana", Detail: "b"}, {Actor: "ben", Detail: "c"}} {
			e.At, e.Kind = now, watchbill.AuditSilenceMade
			if _, err := tx.PutAudit(e); err != nil {
				return err
			}
		}
		_, err := tx.Seal(now)
		return err
	})
	update(t, s, func(tx *store.Tx) error { return tx.DeleteIncident(id, now) })
	update(t, s, func(tx *store.Tx) error {
		erased, err := tx.EraseAudit("ana", 10)
		require.Equal(t, []int64{1, 2}, erased)
		return err
	})
	wrong, _ := verifyLog(t, s)
	require.Len(t, wrong, 2, "nobody said so yet")
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.PutAudit(watchbill.AuditEntry{At: now, Kind: watchbill.AuditErased, Actor: "frank", Object: "1 2", Text: "request 4711"})
		return err
	})
	wrong, _ = verifyLog(t, s)
	require.Empty(t, wrong)
	view(t, s, func(tx *store.Tx) error {
		all, err := tx.AuditEntries(store.AuditQuery{Limit: 10})
		require.Equal(t, []string{"", "", "c", "", ""}, []string{all[0].Detail, all[1].Detail, all[2].Detail, all[3].Detail, all[4].Detail})
		require.Equal(t, []bool{true, true, false, false, false}, []bool{all[0].Erased, all[1].Erased, all[2].Erased, all[3].Erased, all[4].Erased})
		return err
	})
}
