package runbooks

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/yuin/goldmark/ast"
)

// Lint returns everything that is wrong with a runbook: what [Parse] finds, and
// besides whether it can be run. known tells whether there is a runbook of a
// name. Problems are in the order of the file.
func Lint(name string, content []byte, known func(string) bool, now time.Time) []Problem {
	r, p := scan(name, content)
	p.problems = append(p.problems, p.tree...)
	p.lintTree(r, known)
	p.lintChanges(r)
	p.lintLinks(r, known)
	if days := age(r.Reviewed, now); !r.Reviewed.IsZero() && (days < 0 || days > staleDays) {
		p.warning(1, "the runbook is not fresh: "+State(r.Attach(""), now), "read it through and set reviewed: to today")
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
	return p.problems
}

// LintFile lints a file on disk. It is read beneath its own folder; the
// runbooks beside it and those in the binary are those that it may name. The
// content is returned for showing the lines.
func LintFile(file string, now time.Time) (_ []Problem, content []byte, err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	base := filepath.Base(file)
	if content, err = readFile(root.FS(), base); err != nil {
		return nil, nil, err
	}
	library, _, err := New(Config{})
	if err != nil {
		return nil, nil, err
	}
	name := strings.TrimSuffix(base, ".md")
	known := func(other string) bool {
		if _, ok := library.Get(other); ok || other == name {
			return true
		}
		_, err := fs.Stat(root.FS(), other+".md")
		return validName(other) && err == nil
	}
	problems := Lint(name, content, known, now)
	if !validName(name) || path.Ext(base) != ".md" {
		problems = slices.Insert(problems, 0, Problem{
			File: base, Line: 1, Col: 1, Message: fmt.Sprintf("%q cannot be the file of a runbook", base),
			Hint: "name it as disk-full.md: letters, digits, '.', '_' and '-', then .md",
		})
	}
	return problems, content, nil
}

// lintTree looks for places that do not exist, questions that nobody is asked,
// and questions from which no answer leads to an end.
func (p *parser) lintTree(r Runbook, known func(string) bool) {
	if len(r.Questions) == 0 {
		if section, ok := r.Section(Decision); ok {
			p.warning(section.Line, "the decision has no numbered question, so that it cannot be run", "write 1. and a question, with - Yes: … → and - No: … → below it")
		}
		return
	}
	steps, _ := r.Section(Steps)
	reached, ends := map[int]bool{}, map[int]bool{}
	for i, q := range r.Questions {
		if len(q.Branches) == 0 {
			p.problem(q.Line, 1, fmt.Sprintf("question %d has no answers", q.Number), "write - Yes: … → next and - No: … → done below it")
		}
		if slices.ContainsFunc(r.Questions[:i], func(o Question) bool { return o.Number == q.Number }) {
			p.problem(q.Line, 1, fmt.Sprintf("question %d is there twice", q.Number), "make the questions one list")
		}
		for _, b := range q.Branches {
			for _, m := range b.Moves {
				p.lintMove(r, b, m, len(steps.Items), known)
			}
		}
	}
	r.reach(r.Questions[0].Number, reached)
	for changed := true; changed; {
		changed = false
		for _, q := range r.Questions {
			if !ends[q.Number] && slices.ContainsFunc(q.Branches, func(b Branch) bool { n := b.question(); return n == 0 || ends[n] }) {
				ends[q.Number], changed = true, true
			}
		}
	}
	for _, q := range r.Questions {
		switch {
		case !reached[q.Number]:
			p.problem(q.Line, 1, fmt.Sprintf("question %d can never be asked: no answer leads to it", q.Number), fmt.Sprintf("let an answer end with → question %d, or remove it", q.Number))
		case !ends[q.Number] && len(q.Branches) > 0:
			p.problem(q.Line, 1, fmt.Sprintf("question %d is endless: whatever is answered, it goes round", q.Number), "let one answer lead to steps, to a section or to done")
		}
	}
}

// question is the question that comes after a branch, and 0 if none does.
func (b Branch) question() int {
	if n := len(b.Moves); n > 0 {
		return b.Moves[n-1].Question
	}
	return 0
}

// reach marks every question that can be asked from one on.
func (r Runbook) reach(from int, reached map[int]bool) {
	q, ok := r.question(from)
	if !ok || reached[from] {
		return
	}
	reached[from] = true
	for _, b := range q.Branches {
		if n := b.question(); n > 0 {
			r.reach(n, reached)
		}
	}
}

func (r Runbook) question(number int) (Question, bool) {
	i := slices.IndexFunc(r.Questions, func(q Question) bool { return q.Number == number })
	if i < 0 {
		return Question{}, false
	}
	return r.Questions[i], true
}

func (p *parser) lintMove(r Runbook, b Branch, m Move, steps int, known func(string) bool) {
	wrong := func(format string, a ...any) {
		p.problem(b.Line, 1, fmt.Sprintf("the answer %q leads to %s, which is not there", clip(b.Answer, maxAnswer), fmt.Sprintf(format, a...)),
			"name a place that exists, or add it")
	}
	if _, ok := r.question(m.Question); m.Question > 0 && !ok {
		wrong("question %d", m.Question)
	}
	for _, n := range m.Steps {
		if n > steps {
			wrong("step %d", n)
		}
	}
	if s, ok := r.Section(m.Section); m.Section != "" && (!ok || len(s.Items) == 0) {
		wrong("the section %s", m.Section)
	}
	if m.Runbook != "" && !known(m.Runbook) {
		wrong("the runbook %s", m.Runbook)
	}
}

// lintChanges looks for changes that nothing takes back.
func (p *parser) lintChanges(r Runbook) {
	steps, _ := r.Section(Steps)
	back, _ := r.Section(Rollback)
	if len(back.Items) > 0 {
		return
	}
	for i, item := range steps.Items {
		if item.Change {
			p.problem(item.Line, 1, fmt.Sprintf("step %d changes production, and nothing says how to take that back", i+1),
				"add ## Rollback with a list, even if it says that it cannot be taken back")
		}
	}
}

// lintLinks looks for links to headings and runbooks that are not there. Links
// to elsewhere are not opened.
func (p *parser) lintLinks(r Runbook, known func(string) bool) {
	anchors := map[string]bool{}
	var links []string
	doc := p.doc
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker gives it no error
		switch n := n.(type) {
		case *ast.Heading:
			if entering {
				anchors[anchor(plain(n, r.Source))] = true
			}
		case *ast.Link:
			if entering {
				links = append(links, string(n.Destination))
			}
		}
		return ast.WalkContinue, nil
	})
	for _, link := range links {
		u, err := url.Parse(link)
		dead := err != nil
		switch {
		case dead || u.Scheme != "" || u.Host != "":
		case u.Path == "":
			dead = !anchors[u.Fragment]
		default:
			dead = !known(strings.TrimSuffix(path.Base(u.Path), ".md"))
		}
		if dead {
			line, col := p.find("](" + link)
			p.problem(line, col, fmt.Sprintf("the link %q is dead", clip(clean(link), 80)), "name a heading as #steps, or a runbook as disk-full.md")
		}
	}
}

// anchor is the name by which a link calls a heading.
func anchor(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == ' ':
			return '-'
		case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
			return unicode.ToLower(c)
		}
		return -1
	}, heading)
}

// find returns where a text stands in the file.
func (p *parser) find(s string) (line, col int) {
	body := string(p.runbook.Source)
	at := max(0, strings.Index(body, s))
	return p.bodyLine + strings.Count(body[:at], "\n"), at - strings.LastIndex(body[:at], "\n")
}
