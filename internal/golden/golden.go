// Package golden compares what a test produced with a file under testdata.
//
// # Use
//
// A test calls [Compare] with the name of the file and what it got. Running the
// package's tests with the flag -update writes the files instead:
//
//	go test ./internal/notify/ -update
//	git diff
//
// The flag exists only in test binaries whose tests import this package.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// update is the one flag of the package; it is written by the flag package
// only, before any test runs.
var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Compare fails the test unless got equals testdata/name. With -update it
// writes the file.
func Compare(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the tests with -update to write the file")
	require.Equal(t, string(want), got, "differs from %s: run the tests with -update if the change is wanted", path)
}
