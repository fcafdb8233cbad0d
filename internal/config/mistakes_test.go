package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func noEnv(string) string { return "" }

// golden compares text with a file, or writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test -update and read what it writes")
	require.Equal(t, string(want), got)
}

// TestMistakes holds what is printed for each file of mistakes.
func TestMistakes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			t.Parallel()
			cfg, err := Load(path, noEnv)
			require.Nil(t, cfg)
			problems := Explain(path, err)
			require.NotEmpty(t, problems.Errors())
			var out bytes.Buffer
			problems.Print(&out)
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", out.String())
		})
	}
}
