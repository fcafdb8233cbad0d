package store

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pretend makes the store at path say that a newer binary migrated it.
func Pretend(t *testing.T, path string, version int) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path))
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)`, version)
	require.NoError(t, err)
}
