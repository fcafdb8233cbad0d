package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/store"
)

// Acceptances are numbered, listed newest first, and the newest is never deleted:
// its number would be given twice.
func handoverTest(t *testing.T, s *store.Store) {
	begin := start()
	require.NoError(t, s.Update(t.Context(), func(tx *store.Tx) error {
		for i, role := range []watchbill.RoleID{"support", "security", "support"} {
			h := watchbill.Handover{Role: role, By: "ana", At: begin.Add(time.Duration(i) * time.Hour), Pack: &watchbill.HandoverPack{Role: role}}
			if err := tx.PutHandover(&h); err != nil {
				return err
			}
			require.Equal(t, int64(i+1), h.ID)
		}
		return nil
	}))
	list := func(role watchbill.RoleID, limit int) (ids []int64) {
		require.NoError(t, s.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.Handovers(role, limit)
			for _, h := range all {
				require.Equal(t, h.Role, h.Pack.Role)
				ids = append(ids, h.ID)
			}
			return err
		}))
		return ids
	}
	require.Equal(t, []int64{3, 2, 1}, list("", 5))
	require.Equal(t, []int64{3}, list("support", 1))
	require.NoError(t, s.Update(t.Context(), func(tx *store.Tx) error {
		n, err := tx.DeleteHandovers(begin.Add(24*time.Hour), 10)
		require.EqualValues(t, 2, n)
		return err
	}))
	require.Equal(t, []int64{3}, list("", 5))
}
