package store

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	put := func(h HeartbeatRow) {
		require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return tx.PutHeartbeat(h) }))
	}
	put(HeartbeatRow{Name: "b", Body: []byte(`{"n": 1}`)})
	put(HeartbeatRow{Name: "a", Body: []byte(`{"n": 1}`), Evidence: []byte("\x00out")})
	put(HeartbeatRow{Name: "a", Body: []byte(`{"n": 2}`)})
	require.NoError(t, s.Close())
	s, err = Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
		all, err := tx.HeartbeatRows()
		require.NoError(t, err)
		require.Equal(t, []HeartbeatRow{{Name: "a", Body: []byte(`{"n": 2}`)}, {Name: "b", Body: []byte(`{"n": 1}`)}}, all)
		one, found, err := tx.HeartbeatRow("a")
		require.True(t, found)
		require.Equal(t, HeartbeatRow{Name: "a", Body: []byte(`{"n": 2}`), Evidence: []byte("\x00out")}, one)
		return err
	}))
	put(HeartbeatRow{Name: "a", Body: []byte(`{}`), Evidence: []byte{}})
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		one, _, err := tx.HeartbeatRow("a")
		require.NoError(t, err)
		require.Empty(t, one.Evidence, "an empty one replaces")
		require.NoError(t, tx.DeleteHeartbeat("a"))
		_, found, err := tx.HeartbeatRow("a")
		require.False(t, found)
		return err
	}))
	require.NoError(t, s.Close())
}
