package scenario

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"watchbill/internal/config"
)

// Names of the files by which a parent and its child speak.
const (
	jobFile     = "job.json"
	resultsFile = "results.json"
)

// patience is how long a child may go without finishing a script.
const patience = 2 * time.Minute

// played is one line of the results: that a script begins, or how it ended.
type played struct {
	Index    int             `json:"index"`
	Begins   bool            `json:"begins,omitempty"`
	Entries  []Entry         `json:"entries,omitempty"`
	Problems config.Problems `json:"problems,omitempty"` // of its configuration
	Line     int             `json:"line,omitempty"`     // of the step that could not be done
	Error    string          `json:"error,omitempty"`
	Took     time.Duration   `json:"took"`
}

// Child plays the scripts that a parent left in a folder, and ends the process:
// it is all that this process does. env looks up environment variables.
//
// A bubble belongs to a test, so the process becomes one, through the entry that
// the testing package keeps for programs that run tests themselves. Its flags are
// set before it could look at the command line, which is not its own.
func Child(dir string, env func(string) string) error {
	text, err := os.ReadFile(filepath.Join(dir, jobFile))
	if err != nil {
		return fmt.Errorf("read what to play: %w", err)
	}
	var scripts []Script
	if err := json.Unmarshal(text, &scripts); err != nil {
		return fmt.Errorf("read what to play: %w", err)
	}
	out, err := os.OpenFile(filepath.Join(dir, resultsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	tests := make([]testing.InternalTest, len(scripts))
	for i, s := range scripts {
		tests[i] = testing.InternalTest{Name: fmt.Sprintf("%d", i), F: func(t *testing.T) {
			tell(t, out, played{Index: i, Begins: true})
			tell(t, out, one(t, i, s, env))
		}}
	}
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil {
		return fmt.Errorf("set the flags: %w", err)
	}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, tests, nil, nil) // it exits
	return nil
}

func tell(t *testing.T, out *os.File, p played) {
	line, err := json.Marshal(p)
	if err == nil {
		_, err = out.Write(append(line, '\n'))
	}
	if err != nil {
		t.Fatalf("write results: %v", err)
	}
}

func one(t *testing.T, i int, s Script, env func(string) string) played {
	began := time.Now()
	p := played{Index: i}
	entries, err := Play(t, s, t.TempDir(), env)
	p.Entries, p.Took = entries, time.Since(began)
	if err == nil {
		return p
	}
	p.Error = err.Error()
	if problems, ok := errors.AsType[config.Problems](err); ok {
		p.Problems = problems
	}
	if step, ok := errors.AsType[*StepError](err); ok {
		p.Line, p.Error = step.Line, step.Err.Error()
	}
	return p
}

// Start makes the command of a child that plays what is in a folder.
type Start func(ctx context.Context, dir string) *exec.Cmd

// playAll plays scripts in children, each in its place of the answer. A script
// that takes its child down with it is the only one that fails for it.
func playAll(ctx context.Context, scripts []Script, start Start, children int) ([]played, error) {
	results := make([]played, len(scripts))
	var wg sync.WaitGroup
	errs := make([]error, children)
	for c := range children {
		wg.Go(func() {
			var mine []int
			for i := c; i < len(scripts); i += children {
				mine = append(mine, i)
			}
			for len(mine) > 0 && errs[c] == nil {
				mine, errs[c] = playSome(ctx, scripts, mine, results, start)
			}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// playSome plays some of the scripts in one child and returns those that are
// left.
func playSome(ctx context.Context, scripts []Script, mine []int, results []played, start Start) (left []int, err error) {
	dir, err := os.MkdirTemp("", "watchbill-test-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a left-over in the temporary folder is no failure
	some := make([]Script, len(mine))
	for i, n := range mine {
		some[i] = scripts[n]
	}
	job, err := json.Marshal(some)
	if err != nil {
		return nil, fmt.Errorf("write what to play: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, jobFile), job, 0o600); err != nil {
		return nil, fmt.Errorf("write what to play: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(mine))*patience)
	defer cancel()
	cmd := start(ctx, dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = nil, &said
	ended := cmd.Run()
	done, begun, err := readResults(filepath.Join(dir, resultsFile), mine, results)
	if err != nil {
		return nil, errors.Join(err, ended)
	}
	if begun >= 0 {
		results[mine[begun]] = played{Index: mine[begun], Error: "the daemon in it fell over: " + tail(said.String(), ended)}
		return mine[begun+1:], nil
	}
	if done < len(mine) {
		return nil, watchbillError(tail(said.String(), ended))
	}
	return nil, nil
}

func watchbillError(what string) error {
	return fmt.Errorf("cannot play scripts in a process of their own: %s", what)
}

// tail is the end of what a child said before it ended.
func tail(said string, ended error) string {
	said = strings.TrimSpace(said)
	if i := strings.Index(said, "panic: "); i >= 0 {
		said = said[i:]
	}
	if lines := strings.Split(said, "\n"); len(lines) > 30 {
		said = strings.Join(lines[:30], "\n")
	}
	if ended != nil {
		said = strings.TrimSpace(fmt.Sprintf("%v\n%s", ended, said))
	}
	return cmp.Or(said, "it said nothing")
}

// readResults puts what a child wrote in its place. It returns how many scripts
// ended, and which one had begun and did not, or -1.
func readResults(path string, mine []int, results []played) (done, begun int, err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, -1, fmt.Errorf("read results: %w", err)
	}
	begun = -1
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		var p played
		if len(line) == 0 || json.Unmarshal(line, &p) != nil || p.Index < 0 || p.Index >= len(mine) {
			continue // the last line of a child that was killed
		}
		if p.Begins {
			begun = p.Index
			continue
		}
		begun = -1
		done++
		at := mine[p.Index]
		p.Index = at
		results[at] = p
	}
	return done, begun, nil
}
