package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func TestCodesAreOfOnePersonAndOneIncident(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := openCodes(dir)
	require.NoError(t, err)
	again, err := openCodes(dir)
	require.NoError(t, err)
	other, err := openCodes(t.TempDir())
	require.NoError(t, err)
	require.Equal(t, c.code(1, "ana"), again.code(1, "ana"))
	require.NotEqual(t, c.token("k"), other.token("k"))
	seen := map[string]bool{}
	for id := range watchbill.IncidentID(200) {
		for _, p := range []watchbill.PersonID{"ana", "ben"} {
			require.Regexp(t, `^\d{6}$`, c.code(id, p))
			seen[c.code(id, p)] = true
		}
	}
	require.Greater(t, len(seen), 390)

	require.NoError(t, os.WriteFile(filepath.Join(dir, codesFile), []byte("short"), 0o600))
	_, err = openCodes(dir)
	require.ErrorContains(t, err, "it is too short")
}

func TestGuessesAreCounted(t *testing.T) {
	t.Parallel()
	var s guesses
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for i := range guessesSource {
		g := guesser{"INC-1", "10.0.0.1"}
		require.Zero(t, s.locked(g, now))
		require.Equal(t, i == guessesSource-1, s.wrong(g, now))
	}
	require.Equal(t, guessWindow, s.locked(guesser{"INC-1", "10.0.0.1"}, now))
	require.Zero(t, s.locked(guesser{"INC-1", "10.0.0.2"}, now), "another source")
	require.Zero(t, s.locked(guesser{"INC-2", "10.0.0.1"}, now), "another incident")
	for i := range guessesWhole { // many sources at once
		s.wrong(guesser{"INC-3", strings.Repeat("x", i)}, now)
	}
	require.Equal(t, guessWindow, s.locked(guesser{"INC-3", "new"}, now))
	require.Zero(t, s.locked(guesser{"INC-3", "new"}, now.Add(guessWindow)))
	for i := range 3 * maxGuessers {
		s.wrong(guesser{"INC-4", strings.Repeat("y", i%50) + string(rune('a'+i%26)) + time.Duration(i).String()}, now.Add(time.Duration(i)*time.Millisecond))
	}
	require.LessOrEqual(t, len(s.by), maxGuessers+2)
}

func TestCodeIn(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"482913": "482913", "ACK 482913": "482913", " ack 482 913. ": "482913", "Ack: 482-913": "482913", "acknowledge 482913!": "482913", "ack482913": "482913",
		"": "", "ack": "", "48291": "", "4829134": "", "482913 please": "", "stop": "", "ACK 482913 111111": "", "ack ack 482913": "",
	} {
		got, ok := codeIn(body)
		require.Equal(t, want != "", ok, body)
		if ok {
			require.Equal(t, want, got, body)
		}
	}
}

// Whatever a stranger sends, a code is six digits or there is none.
func FuzzCodeIn(f *testing.F) {
	f.Add("ACK 482 913")
	f.Add("482913")
	f.Fuzz(func(t *testing.T, body string) {
		if code, ok := codeIn(body); ok {
			require.Regexp(t, `^[0-9]{6}$`, code)
		}
	})
}
