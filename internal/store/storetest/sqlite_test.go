package storetest_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill/internal/store"
	"watchbill/internal/store/storetest"
)

// TestMain has fewer sequences tried than rapid would: each writes to the disk
// some sixty times. -rapid.checks, which is read after it, tries more.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// An SQLite store is a file with its log beside it. What a killed process leaves
// is what the kernel has of both.
func sqlite(empty []byte) func(testing.TB) storetest.Place {
	return func(t testing.TB) storetest.Place {
		path := filepath.Join(t.TempDir(), "w.db")
		require.NoError(t, os.WriteFile(path, empty, 0o600))
		return at(t, path)
	}
}

func at(t testing.TB, path string) storetest.Place {
	return storetest.Place{
		Open: func() (*store.Store, error) { return store.Open(t.Context(), path) },
		Crash: func() storetest.Place {
			copied := filepath.Join(t.TempDir(), "w.db")
			for _, end := range []string{"", "-wal"} {
				b, err := os.ReadFile(path + end)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(copied+end, b, 0o600))
			}
			return at(t, copied)
		},
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	template := filepath.Join(t.TempDir(), "empty.db") // so that the schema is made once
	s, err := store.Open(t.Context(), template)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	empty, err := os.ReadFile(template)
	require.NoError(t, err)
	storetest.Run(t, sqlite(empty))
}
