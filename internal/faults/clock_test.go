package faults_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wallClock is a package that stands in for time.Now and its relatives in a
// copy of our source. From given instants on its wall clock is off; the
// monotonic clock goes on as it is, as in a machine whose clock is set.
const wallClock = `package wall

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

type step struct {
	from time.Time
	off  time.Duration
}

var steps = func() (all []step) {
	for _, s := range strings.Fields(os.Getenv("WATCHBILL_FAULTS_CLOCK")) {
		from, off, _ := strings.Cut(s, "=")
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			panic(err)
		}
		d, err := time.ParseDuration(off)
		if err != nil {
			panic(err)
		}
		all = append(all, step{time.Unix(0, n), d})
	}
	return all
}()

func Now() time.Time {
	t := time.Now()
	var off time.Duration
	for _, s := range steps {
		if t.After(s.from) {
			off = s.off
		}
	}
	raw := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	if raw.wall>>63 != 1 {
		panic("time.Time is not what it was")
	}
	raw.wall += uint64(int64(off/time.Second)) << 30
	return t
}

func Since(t time.Time) time.Duration { return Now().Sub(t) }
func Until(t time.Time) time.Duration { return t.Sub(Now()) }
`

var (
	asksTime  = regexp.MustCompile(`\btime\.(Now\(|Since\(|Until\(|Now\b)`)
	asksWhere = []string{"internal/daemon", "internal/store", "internal/notify", "internal/web", "internal/auth", "router", "incident", "escalation"}
)

// clockSteps sets the wall clock of the daemon an hour ahead, back, an hour
// behind, and back again. No process can have a wall clock of its own, so the
// real binary is built from a copy of the source in which our own code asks
// another clock; libraries keep the true one.
//
// What was due at an hour that the clock was set back over comes late by as
// much, which nothing can avoid that keeps its appointments by the wall clock.
// It is checked that nothing comes twice, early or never, and that what begins
// to fire at any of these hours pages at once.
func clockSteps(t *testing.T) {
	r := newRig(t, t.TempDir(), "escalation: {second: 3s, manager: 6s, everyone: 9s, repeat: 30m}")
	r.bin = wrongClock(t)
	began := time.Now()
	type setting struct {
		from time.Time
		off  time.Duration
	}
	settings := []setting{
		{began.Add(5 * time.Second), time.Hour},
		{began.Add(10 * time.Second), 0},
		{began.Add(15 * time.Second), -time.Hour},
		{began.Add(20 * time.Second), 0},
	}
	var env []string
	for _, s := range settings {
		env = append(env, fmt.Sprintf("%d=%s", s.from.UnixNano(), s.off))
	}
	shown := func(at time.Time) time.Time { // on the daemon's clock
		off := time.Duration(0)
		for _, s := range settings {
			if at.After(s.from) {
				off = s.off
			}
		}
		return at.Add(off)
	}
	r.env = []string{"WATCHBILL_FAULTS_CLOCK=" + strings.Join(env, " ")}
	r.serve()
	for phase := range 5 {
		time.Sleep(time.Until(began.Add(time.Duration(phase)*5*time.Second + 1500*time.Millisecond)))
		before := r.sim.count()
		service := fmt.Sprint("phase-", phase)
		a := alert(service, "1")
		a.EndsAt = a.EndsAt.Add(48 * time.Hour)
		require.NoError(t, r.post(a))
		require.Eventually(t, func() bool { return r.sim.count() > before }, 2*time.Second, 5*time.Millisecond,
			"phase %d: what begins to fire pages at once, whatever the clock says", phase)
	}
	time.Sleep(time.Until(began.Add(32 * time.Second)))
	e := r.evidence(r.settle(10*time.Second), true)
	for i := range e.receipts {
		e.receipts[i].at = shown(e.receipts[i].at)
	}
	// On a clock that is set back later attempts can have earlier times.
	slices.SortStableFunc(e.receipts, func(a, b receipt) int { return a.attempt - b.attempt })
	require.Len(t, e.dump.incidents, 5)
	must(t, e, bounds{})
	t.Log(e.summary())
}

// wrongClock builds the command with a clock that can be set.
func wrongClock(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	put := func(path, text string) {
		to := filepath.Join(dir, fmt.Sprint(len(replace), ".go"))
		require.NoError(t, os.WriteFile(to, []byte(text), 0o600))
		replace[path] = to
	}
	put(filepath.Join(root, "internal", "wall", "wall.go"), wallClock)
	changed := 0
	for _, where := range asksWhere {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, filepath.FromSlash(where)), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil || !asksTime.Match(b) {
				return err
			}
			changed += len(asksTime.FindAll(b, -1))
			text := asksTime.ReplaceAllString(string(b), "wall.$1")
			text = strings.Replace(text, "import (", "import (\n\t\"watchbill/internal/wall\"", 1)
			put(path, text+"\nvar _ = time.Second\n")
			return nil
		}))
	}
	require.Greater(t, changed, 20, "our source asks for the time in many places")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	overlay := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlay, b, 0o600))
	bin := filepath.Join(dir, "watchbill")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", bin, "watchbill/cmd/watchbill").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}
