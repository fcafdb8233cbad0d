package faults_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// edit changes one place of the source: what the expression matches, which must
// be there exactly once.
type edit struct{ file, match, replace string }

// control is a daemon that breaks one promise, and the scenario that must find
// out.
type control struct {
	name      string
	edits     []edit
	scenario  string // a subtest of TestFaults
	invariant string // that the checker must name
}

var controls = []control{
	{
		name: "answer before commit",
		edits: []edit{{
			"internal/daemon/daemon.go", `Receive:\s+d\.intakes\.receive,`,
			`Receive: func(ctx context.Context, source string, alerts []watchbill.Alert) error {
				go func() {
					time.Sleep(20 * time.Millisecond) // so that every death finds some of them
					d.intakes.receive(context.WithoutCancel(ctx), source, alerts)
				}()
				return nil
			},`,
		}},
		scenario: "crash matrix", invariant: "I1",
	},
	{
		name: "synchronous=NORMAL",
		edits: []edit{
			{"internal/store/store.go", `"synchronous\(FULL\)"`, `"synchronous(NORMAL)"`},
			{"internal/store/store.go", `"synchronous": "2"`, `"synchronous": "1"`},
		},
		scenario: "power loss", invariant: "I1",
	},
	{
		name: "no lease",
		edits: []edit{{
			"internal/store/queue.go", `unix\(c\.Now\.Add\(c\.Lease\)\)`, `0`,
		}},
		scenario: "two senders", invariant: "I5",
	},
	{
		name: "no unique key",
		edits: []edit{
			{"internal/store/migrations/00001_main.sql", `TEXT    NOT NULL UNIQUE,      -- incident/generation`, `TEXT    NOT NULL,      -- incident/generation`},
			{"internal/store/queue.go", `'pending', 0, 0, \?\) ON CONFLICT \(key\) DO NOTHING`, `'pending', 0, 0, ?)`},
		},
		scenario: "two senders", invariant: "I3",
	},
	{
		name: "retry without re-reading state",
		edits: []edit{{
			"internal/notify/queue.go", `needed, why, err := q\.worker\.outbox\.Needed\(ctx, d\)`, `needed, why, err := true, "", error(nil)`,
		}},
		scenario: "ack while hanging", invariant: "I6",
	},
	{
		name: "timer outside the transaction",
		edits: []edit{{
			"internal/daemon/timers.go", `err := f\.update\(ctx, func\(w \*work\) error \{\s+ours, err := w\.tx\.TakeTimer\(tm\)`,
			`ours := false
			err := f.store.Update(ctx, func(tx *store.Tx) (err error) {
				ours, err = tx.TakeTimer(tm)
				return err
			})
			if err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond) // so that every death finds some of them
			err = f.update(ctx, func(w *work) error {`,
		}},
		scenario: "crash matrix", invariant: "I2",
	},
}

// controlEnv is set where a scenario is played on a control, which breaks soon or
// is found wanting soon.
const controlEnv = "WATCHBILL_FAULTS_CONTROL"

// TestNegativeControls breaks one promise at a time in a copy of the source,
// plays the scenario that guards it on that copy, and demands that it fails and
// names the invariant.
func TestNegativeControls(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, c := range controls {
		t.Run(c.name, func(t *testing.T) {
			overlay := c.overlay(t, root)
			if !long() {
				return // that the edits still find their place is what go test checks
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-vet=off", "-v",
				"-run", "^TestFaults$/^"+strings.ReplaceAll(c.scenario, " ", "_")+"$", ".")
			cmd.Env = append(os.Environ(), controlEnv+"=1", "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
			out, err := cmd.CombinedOutput()
			require.NotContains(t, string(out), "[build failed]")
			require.Error(t, err, "the scenario passed on a daemon with %s:\n%s", c.name, out)
			broke := regexp.MustCompile(`invariant ` + c.invariant + ` broke: .*`).FindString(string(out))
			require.NotEmpty(t, broke, "%s", out)
			t.Logf("%s, on %s: %s", c.name, c.scenario, broke)
		})
	}
}

// overlay writes the changed files and what the go command wants to know of
// them.
func (c control) overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range c.edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		from := path
		if changed, ok := replace[path]; ok {
			from = changed
		}
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		match := regexp.MustCompile(e.match)
		require.Len(t, match.FindAllIndex(b, -1), 1, "%s: %s must match once; the source changed: change the control with it", e.file, e.match)
		b = match.ReplaceAllLiteral(b, []byte(e.replace))
		to := filepath.Join(dir, string(rune('a'+i))+filepath.Ext(path))
		require.NoError(t, os.WriteFile(to, b, 0o600))
		replace[path] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	return file
}
