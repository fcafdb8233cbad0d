// Package runbooks reads runbooks and finds the one that fits an alert.
//
// # What a runbook is
//
// A runbook is a Markdown file whose name is the runbook's name: disk-full.md
// is disk-full. It begins with front matter, which says what it is for:
//
//	---
//	owner: infrastructure           # the role that keeps it true
//	reviewed: 2026-11-21            # when that role last read it through
//	match: ['alertname=~".*Disk.*"'] # all of them must match the alert's labels
//	service: checkout               # the same as a matcher service="checkout"
//	activities: [states]            # the last resort: rows of the matrix
//	levels: {infrastructure: 3}     # who should not do it alone, level 2 to 6 per skill
//	---
//
// Its title is the # heading. Its ## headings are the sections that the rest of
// the program knows: Quick reference, Checks, Decision, Steps, Escalate,
// Rollback, Communicate, Dependencies. The first six lines of the quick reference travel
// inside the page, so that the page is of use when the link is not; the first
// item of it is the page's first action. Write it as one imperative sentence
// that is safe at any hour.
//
// # The decision
//
// The section Decision is a numbered list of questions. Below each stand its
// answers, and each answer ends with an arrow and where it leads:
//
//  1. Are users hurt?
//     - Yes: find out what changed. → next
//     - No: it can wait. → steps 1, 7-9, then Communicate
//     - Can't tell: → question 3
//
// It may lead to next (the next question), question 3, steps 2, 4-6, a section
// (Checks, Steps, Escalate, Rollback, Communicate), another runbook (runbook
// disk-full) or done; several are joined with ", then". An item with the words
// **Two people.** or **Change.** in bold changes production. [Lint] finds
// answers that lead nowhere, questions that nobody is asked or that never end,
// and changes that nothing takes back.
//
// # Where runbooks come from
//
// A library is part of the binary. [Config.Dir] adds files of your own; one
// with the name of a library runbook replaces it. Files are read once, by
// [New]; reading them again is a reload. They are opened beneath the folder
// only: a link that leads out of it is refused.
//
// A runbook with mistakes is used as far as it can be read, because a page with
// half a runbook is better than one without. The mistakes are returned as
// [Problem] values, with line and column. One is not forgiven: a runbook whose
// match cannot be read matches nothing, rather than more than was meant.
//
// # Which runbook an alert gets
//
// [Library.Find] looks in this order:
//
//  1. The annotation runbook_url: when it names a runbook here (disk-full,
//     /runbooks/disk-full, https://wiki/runbooks/disk-full.md), that one. When
//     it is a link to somewhere else, the link, about which nothing is known.
//  2. Match: the runbook with the most matchers, all of which match. Among
//     equals yours comes before the library's, then the alphabet decides. The
//     library's runbooks have one matcher each, so one of yours that matches
//     comes first.
//  3. Activity: a runbook whose activities name the alert's row of the matrix,
//     in the same order.
//
// # Freshness
//
// A runbook that nobody read through for [StaleAfter] is marked STALE in every
// page that carries it; see [State] and [Library.Stale].
package runbooks

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"watchbill"
)

// maxSize is the size of the largest file that is read. Nobody reads more at
// three in the morning.
const maxSize = 256 << 10

//go:embed library/*.md
var library embed.FS

// Runbook is one file, as far as it could be read.
type Runbook struct {
	Name       string
	Title      string
	Owner      watchbill.RoleID
	Reviewed   time.Time // midnight UTC of the day; zero: never
	Service    string
	Match      labels.Matchers // with the one that Service stands for
	Activities []watchbill.ActivityID
	Levels     map[string]int // the level per skill that the work asks for
	Sections   []Section      // in the order of the file
	Questions  []Question     `json:",omitempty"` // of the section Decision
	Source     []byte         // the Markdown without its front matter
	Library    bool           // it came with the binary
}

// SectionName is the heading of a section that the program knows.
type SectionName string

// The sections of a runbook, in the order in which they are written.
const (
	QuickReference SectionName = "Quick reference"
	Checks         SectionName = "Checks"
	Decision       SectionName = "Decision"
	Steps          SectionName = "Steps"
	Escalate       SectionName = "Escalate"
	Rollback       SectionName = "Rollback"
	Communicate    SectionName = "Communicate"
	Dependencies   SectionName = "Dependencies"
)

// SectionNames returns the sections of a runbook in their usual order.
func SectionNames() []SectionName {
	return []SectionName{QuickReference, Checks, Decision, Steps, Escalate, Rollback, Communicate, Dependencies}
}

// Section is what stands below one ## heading. A heading that is not known
// keeps its own words as its name.
type Section struct {
	Name  SectionName
	Line  int      // of the heading, in the file
	Items []Item   // its outermost list items
	Text  []string // all of it as plain text, one line per paragraph, item or line of code
}

// Item is one item of a section's list: a check, a step, a person to call.
type Item struct {
	Text   string   // plain text on one line
	More   []string `json:",omitempty"` // what is below it: code and further lines
	Line   int
	Change bool `json:",omitempty"` // it changes production, and is marked so
}

// Section returns the section of a name, and false if the runbook has none.
func (r Runbook) Section(name SectionName) (Section, bool) {
	i := slices.IndexFunc(r.Sections, func(s Section) bool { return s.Name == name })
	if i < 0 {
		return Section{}, false
	}
	return r.Sections[i], true
}

// Problem is a mistake in a runbook. The runbook is used all the same, as far
// as it can be read; a warning is about its quality only.
type Problem struct {
	File      string
	Line, Col int // from 1
	Warning   bool
	Message   string
	Hint      string // the next step
}

// String returns the problem on one line: "disk-full.md:3:1: message; hint".
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Library is a set of runbooks. It does not change, so that it may be used by
// many goroutines at once.
type Library struct {
	byName map[string]Runbook
	sorted []Runbook // yours before the library's, then by name
	folder string    // the last part of Config.Dir, as links may have it
}

// New reads the library in the binary and the runbooks of the configuration.
// The problems are about single files; the error is about the folder.
func New(cfg Config) (*Library, []Problem, error) {
	l := &Library{byName: map[string]Runbook{}, folder: "runbooks"}
	builtin, err := fs.Sub(library, "library")
	if err != nil {
		return nil, nil, fmt.Errorf("open the runbooks in the binary: %w", err)
	}
	problems, err := l.read(builtin, true)
	if err != nil {
		return nil, nil, fmt.Errorf("read the runbooks in the binary: %w", err)
	}
	if cfg.Dir != "" {
		more, err := l.readDir(cfg.Dir)
		if err != nil {
			return nil, nil, &watchbill.Error{
				Code:    watchbill.CodeInvalid,
				Message: fmt.Sprintf("read runbooks: %v", err),
				Hint:    "set runbooks.dir to a folder of *.md files that the daemon may read",
				Err:     err,
			}
		}
		problems = append(problems, more...)
		l.folder = filepath.Base(filepath.Clean(cfg.Dir))
	}
	l.sorted = slices.SortedFunc(maps.Values(l.byName), func(a, b Runbook) int {
		if a.Library != b.Library {
			if a.Library {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return l, problems, nil
}

// All returns every runbook: yours before the library's, then by name.
func (l *Library) All() []Runbook { return slices.Clone(l.sorted) }

// Get returns the runbook of a name. The name is looked up, never opened.
func (l *Library) Get(name string) (Runbook, bool) {
	r, ok := l.byName[name]
	return r, ok
}

func (l *Library) readDir(dir string) (_ []Problem, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return l.read(root.FS(), false)
}

// read adds the runbooks of a folder, replacing those of the same name.
func (l *Library) read(dir fs.FS, builtin bool) ([]Problem, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, entry := range entries {
		file := entry.Name()
		if entry.IsDir() || path.Ext(file) != ".md" || strings.EqualFold(file, "README.md") {
			continue
		}
		name := strings.TrimSuffix(file, ".md")
		if !validName(name) {
			problems = append(problems, Problem{
				File: file, Line: 1, Col: 1,
				Message: fmt.Sprintf("%q cannot be the name of a runbook", name),
				Hint:    "rename the file: letters, digits, '.', '_' and '-', beginning with a letter or a digit",
			})
			continue
		}
		content, err := readFile(dir, file)
		if err != nil {
			problems = append(problems, Problem{
				File: file, Line: 1, Col: 1,
				Message: fmt.Sprintf("read the runbook: %v", err),
				Hint:    "make it a plain file inside the folder, readable by the daemon",
			})
			continue
		}
		runbook, found := Parse(name, content)
		runbook.Library = builtin
		l.byName[name] = runbook
		problems = append(problems, found...)
	}
	return problems, nil
}

// readFile reads a regular file of bounded size. It asks what the file is
// before it opens it: opening a pipe would wait for ever.
func readFile(dir fs.FS, name string) (_ []byte, err error) {
	info, err := fs.Stat(dir, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("it is larger than %d KiB", maxSize>>10)
	}
	return content, nil
}

// validName reports whether a name can stand in a link and in a command without
// quotes.
func validName(name string) bool {
	for i, c := range []byte(name) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return false
		}
	}
	return name != ""
}

// Version is the first half of the SHA-256 of the runbook's Markdown, in
// hexadecimal.
func (r Runbook) Version() string {
	sum := sha256.Sum256(r.Source)
	return hex.EncodeToString(sum[:16])
}
