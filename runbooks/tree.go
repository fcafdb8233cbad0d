package runbooks

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// Question is one numbered item of the section Decision.
type Question struct {
	Number   int
	Text     string
	Line     int
	Branches []Branch
}

// Branch is one answer to a question, and where it leads.
type Branch struct {
	Answer string // "Yes"
	Text   string // the words after it
	Line   int
	Moves  []Move // empty: to the end
}

// Move is one place to which a branch leads. Exactly one field is set; a move
// without any is the end.
type Move struct {
	Question int         `json:",omitempty"`
	Steps    []int       `json:",omitempty"`
	Section  SectionName `json:",omitempty"`
	Runbook  string      `json:",omitempty"`
}

// end reports whether nothing of this runbook comes after the move.
func (m Move) end() bool { return m.Question == 0 && len(m.Steps) == 0 && m.Section == "" }

// maxAnswer bounds what counts as an answer rather than as the words after it.
const maxAnswer = 60

// decision reads the questions of the section Decision out of a block.
func (p *parser) decision(n ast.Node, body []byte, place func(ast.Node) (line, col int)) {
	list, ok := n.(*ast.List)
	if !ok || !list.IsOrdered() {
		return
	}
	number := list.Start
	for item := list.FirstChild(); item != nil; item = item.NextSibling() {
		line, _ := place(item)
		q := Question{Number: number, Text: ownText(item, body), Line: line}
		number++
		for child := item.FirstChild(); child != nil; child = child.NextSibling() {
			answers, ok := child.(*ast.List)
			if !ok {
				continue
			}
			for b := answers.FirstChild(); b != nil; b = b.NextSibling() {
				line, col := place(b)
				q.Branches = append(q.Branches, p.branch(q.Number, ownText(b, body), line, col))
			}
		}
		p.runbook.Questions = append(p.runbook.Questions, q)
	}
}

// ownText is the text of a list item without the lists below it.
func ownText(item ast.Node, body []byte) string {
	var parts []string
	for child := item.FirstChild(); child != nil; child = child.NextSibling() {
		if _, ok := child.(*ast.List); ok {
			continue
		}
		first, rest := blockLines(child, body)
		for _, line := range append([]string{first}, rest...) {
			if line = strings.TrimSpace(line); line != "" {
				parts = append(parts, line)
			}
		}
	}
	return strings.Join(parts, " ")
}

// branch reads one answer. That it leads nowhere is no problem of Parse: the
// runbook can be read and used, only not be run.
func (p *parser) branch(question int, text string, line, col int) Branch {
	b := Branch{Line: line, Text: text}
	where := ""
	arrow := regexp.MustCompile(`\s*(→|->)\s*`)
	if at := arrow.FindAllStringIndex(text, -1); len(at) > 0 {
		last := at[len(at)-1]
		b.Text, where = text[:last[0]], strings.Trim(text[last[1]:], " .")
	}
	b.Answer = b.Text
	if answer, rest, ok := strings.Cut(b.Text, ": "); ok && len(answer) <= maxAnswer {
		b.Answer, b.Text = answer, rest
	} else {
		b.Answer, b.Text = strings.TrimSuffix(b.Text, ":"), ""
	}
	if where == "" {
		p.doubt(line, col, fmt.Sprintf("the answer %q leads nowhere", clip(b.Answer, maxAnswer)),
			"end it with an arrow: → next, → question 3, → steps 2, 4-6, → Rollback, → Escalate, → runbook disk-full, or → done")
		return b
	}
	for _, part := range regexp.MustCompile(`(?i),?\s+then\s+`).Split(where, -1) {
		m, ok := readMove(strings.TrimSpace(part), question)
		if !ok {
			p.fault(line, col, fmt.Sprintf("%q is not a place in a runbook", clip(part, maxAnswer)),
				"write next, question 3, steps 2, 4-6, a section, runbook disk-full or done; join several with: , then")
			return b
		}
		if n := len(b.Moves); n > 0 && (b.Moves[n-1].end() || b.Moves[n-1].Question > 0) {
			p.fault(line, col, fmt.Sprintf("%q can never be reached", clip(part, maxAnswer)),
				"a question, another runbook and done come last")
			return b
		}
		b.Moves = append(b.Moves, m)
	}
	return b
}

func readMove(s string, question int) (Move, bool) {
	switch strings.ToLower(s) {
	case "done":
		return Move{}, true
	case "next", "next question":
		return Move{Question: question + 1}, true
	}
	for _, name := range []SectionName{Checks, Steps, Escalate, Rollback, Communicate} {
		if strings.EqualFold(s, string(name)) {
			return Move{Section: name}, true
		}
	}
	m := regexp.MustCompile(`(?i)^(steps?|question|runbook)\s+(.+)$`).FindStringSubmatch(s)
	if m == nil {
		return Move{}, false
	}
	switch strings.ToLower(m[1]) {
	case "question":
		n, err := strconv.Atoi(m[2])
		return Move{Question: n}, err == nil && n > 0
	case "runbook":
		return Move{Runbook: strings.TrimSuffix(m[2], ".md")}, validName(m[2])
	}
	steps, ok := readSteps(m[2])
	return Move{Steps: steps}, ok
}

// readSteps reads "2, 4-6 and 8".
func readSteps(s string) (steps []int, ok bool) {
	span := regexp.MustCompile(`^(\d+)(?:\s*(?:-|–|to)\s*(\d+))?$`)
	for _, part := range regexp.MustCompile(`\s*(?:,|\band\b)\s*`).Split(s, -1) {
		m := span.FindStringSubmatch(part)
		if m == nil {
			return nil, false
		}
		from, err := strconv.Atoi(m[1])
		to := from
		if m[2] != "" && err == nil {
			to, err = strconv.Atoi(m[2])
		}
		if err != nil || from < 1 || to < from || to > maxSteps {
			return nil, false
		}
		for n := from; n <= to; n++ {
			steps = append(steps, n)
		}
	}
	return steps, true
}

// maxSteps bounds the number of a step, so that a span cannot be endless.
const maxSteps = 1000

// doubt is a warning, and fault a problem, that only Lint returns.
func (p *parser) doubt(line, col int, message, hint string) {
	p.tree = append(p.tree, Problem{File: p.file, Line: line, Col: col, Warning: true, Message: message, Hint: hint})
}

func (p *parser) fault(line, col int, message, hint string) {
	p.tree = append(p.tree, Problem{File: p.file, Line: line, Col: col, Message: message, Hint: hint})
}
