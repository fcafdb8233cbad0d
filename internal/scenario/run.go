package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/tools/txtar"

	"watchbill/internal/config"
)

// Options say what is run and how.
type Options struct {
	Files []string
	// Run, if set, selects scenarios: it must match the path without its ending.
	Run *regexp.Regexp
	// Config, if set, is the configuration of every scenario, in place of the one
	// that it names.
	Config string
	// Update writes what happened into the files as their timelines.
	Update bool
	Start  Start
}

// Result is how a scenario ended.
type Result struct {
	Path    string          `json:"path"`
	Name    string          `json:"name"` // the path without its ending
	Promise string          `json:"promise,omitempty"`
	OK      bool            `json:"ok"`
	Updated bool            `json:"updated,omitempty"`
	Error   string          `json:"error,omitempty"` // it could not be played
	Diff    string          `json:"diff,omitempty"`  // of the timeline that was wanted and the one that came
	Want    string          `json:"-"`
	Got     string          `json:"-"`
	Entries []Entry         `json:"-"`
	Took    time.Duration   `json:"took"`
	Bad     config.Problems `json:"-"` // mistakes in the scenario or its configuration
}

// few is how many scripts are not worth a second child.
const few = 6

// Run reads scenario files, plays them, and compares. A scenario with a mistake
// is a result with an error; only what concerns all of them is an error here.
func Run(ctx context.Context, o Options) ([]Result, error) {
	var results []Result
	var scenarios []*Scenario
	for _, path := range o.Files {
		name := strings.TrimSuffix(filepath.ToSlash(path), filepath.Ext(path))
		if o.Run != nil && !o.Run.MatchString(name) {
			continue
		}
		s, err := ReadFile(path)
		r := Result{Path: path, Name: name}
		if problems, ok := errors.AsType[config.Problems](err); ok {
			r.Bad, r.Error = problems, problems.Error()
		}
		if s != nil {
			r.Promise, r.Want = s.Promise, s.Want
		}
		results, scenarios = append(results, r), append(scenarios, s)
	}
	dir, err := os.MkdirTemp("", "watchbill-test-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the scenarios: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a left-over in the temporary folder is no failure
	var scripts []Script
	var of []int
	for i, s := range scenarios {
		if s == nil {
			continue
		}
		script, err := s.Unpack(filepath.Join(dir, fmt.Sprint(i)), o.Config) // the same number as in named
		if err != nil {
			return nil, err
		}
		scripts, of = append(scripts, script), append(of, i)
	}
	children := max(min(runtime.GOMAXPROCS(0), (len(scripts)+few-1)/few), 1)
	all, err := playAll(ctx, scripts, o.Start, children)
	if err != nil {
		return nil, err
	}
	for i, p := range all {
		p = named(p, filepath.Join(dir, fmt.Sprint(of[i])), results[of[i]].Path)
		if err := judge(&results[of[i]], scenarios[of[i]], p, o.Update); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// named names the files of an archive as people know them.
func named(p played, dir, path string) played {
	p.Error = strings.ReplaceAll(p.Error, dir, path)
	p.Problems = slices.Clone(p.Problems)
	for i := range p.Problems {
		p.Problems[i].File = strings.Replace(p.Problems[i].File, dir, path, 1)
	}
	return p
}

// Unpack writes the files of a scenario into a folder and returns its script with
// whole paths.
func (s *Scenario) Unpack(dir, override string) (Script, error) {
	script := s.Script
	own := map[string]bool{}
	for _, f := range s.archive.Files {
		if f.Name == scriptFile || f.Name == timelineFile {
			continue
		}
		own[filepath.FromSlash(f.Name)] = true
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return script, fmt.Errorf("unpack %s: %w", s.Path, err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return script, fmt.Errorf("unpack %s: %w", s.Path, err)
		}
	}
	whole := func(path string) (string, error) {
		switch {
		case own[path]:
			path = filepath.Join(dir, path)
		case !filepath.IsAbs(path):
			path = filepath.Join(filepath.Dir(s.Path), path)
		}
		return filepath.Abs(path)
	}
	var err error
	if override != "" {
		script.Config, err = filepath.Abs(override)
	} else {
		script.Config, err = whole(script.Config)
	}
	script.Steps = slices.Clone(script.Steps)
	for i := range script.Steps {
		if c := script.Steps[i].Config; c != "" && err == nil {
			script.Steps[i].Config, err = whole(c)
		}
	}
	if err != nil {
		return script, fmt.Errorf("find the files of %s: %w", s.Path, err)
	}
	return script, nil
}

// judge compares what happened with what was wanted.
func judge(r *Result, s *Scenario, p played, update bool) error {
	r.Took, r.Entries = p.Took, p.Entries
	if p.Error != "" {
		r.Error, r.Bad = p.Error, p.Problems
		if p.Line > 0 {
			r.Error = fmt.Sprintf("%s:%d: %s", r.Path, p.Line, p.Error)
		}
		return nil
	}
	r.Got = Text(s.Script.Start, p.Entries)
	if r.OK = s.HasWant && r.Got == s.Want; r.OK {
		return nil
	}
	if update {
		if err := s.update(r.Got); err != nil {
			return err
		}
		r.OK, r.Updated = true, true
		return nil
	}
	if !s.HasWant {
		r.Error = "it has no timeline yet; --update writes the one that comes"
	}
	r.Diff = Diff(s.Want, r.Got)
	return nil
}

// Diff is what is wanted and did not come (-), and what came instead (+).
func Diff(want, got string) string {
	out := diff.Diff("wanted", []byte(want), "got", []byte(got))
	_, rest, _ := bytes.Cut(out, []byte("\n"))
	return string(rest)
}

// update writes another timeline into the file.
func (s *Scenario) update(timeline string) error {
	a := &txtar.Archive{Comment: s.archive.Comment, Files: slices.Clone(s.archive.Files)}
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == timelineFile })
	if i < 0 {
		i = len(a.Files)
		a.Files = append(a.Files, txtar.File{Name: timelineFile})
	}
	a.Files[i].Data = []byte(timeline)
	if err := os.WriteFile(s.Path, txtar.Format(a), 0o644); err != nil { //nolint:gosec // a file that people share
		return fmt.Errorf("update the timeline: %w", err)
	}
	return nil
}

// First returns the first place at which a timeline differs: what is wanted
// there and what came; either may be empty at the end.
func (r Result) First() (want, got string) {
	w, g := strings.Split(r.Want, "\n"), strings.Split(r.Got, "\n")
	for i := range max(len(w), len(g)) {
		want, got = "", ""
		if i < len(w) {
			want = w[i]
		}
		if i < len(g) {
			got = g[i]
		}
		if want != got {
			break
		}
	}
	return want, got
}
