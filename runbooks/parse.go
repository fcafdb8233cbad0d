package runbooks

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/yuin/goldmark/ast"
	"go.yaml.in/yaml/v3"

	"watchbill"
)

// Parse reads one runbook. Name is the file's name without .md. It never fails:
// what can be read is in the runbook, what is wrong is in the problems.
func Parse(name string, content []byte) (Runbook, []Problem) {
	r, p := scan(name, content)
	return r, p.problems
}

// scan is Parse with what else is known of the file.
func scan(name string, content []byte) (Runbook, *parser) {
	p := &parser{
		file:    name + ".md",
		runbook: Runbook{Name: name, Title: name},
	}
	if !utf8.Valid(content) {
		p.problem(1, 1, "the file is not UTF-8", "save it as UTF-8")
		content = bytes.ToValidUTF8(content, []byte("\uFFFD"))
	}
	content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))

	front, body, bodyLine := p.split(content)
	if front != nil {
		p.frontMatter(front)
	}
	p.runbook.Source, p.bodyLine = body, bodyLine
	p.markdown(body, bodyLine)
	return p.runbook, p
}

type parser struct {
	file     string
	runbook  Runbook
	problems []Problem
	badMatch bool // the match could not be read

	tree     []Problem // of the decision: only Lint returns them
	doc      ast.Node
	bodyLine int // the file's line on which the Markdown begins
}

func (p *parser) problem(line, col int, message, hint string) {
	p.problems = append(p.problems, Problem{File: p.file, Line: line, Col: col, Message: message, Hint: hint})
}

func (p *parser) warning(line int, message, hint string) {
	p.problem(line, 1, message, hint)
	p.problems[len(p.problems)-1].Warning = true
}

// split returns the front matter, the Markdown after it, and the line on which
// the Markdown begins.
func (p *parser) split(content []byte) (front, body []byte, bodyLine int) {
	const hint = "begin the file with a line ---, then owner: and reviewed:, then a line ---"
	lines := bytes.SplitAfter(content, []byte("\n"))
	if !isFence(lines[0]) {
		p.problem(1, 1, "the runbook has no front matter", hint)
		return nil, content, 1
	}
	size := len(lines[0])
	for i, line := range lines[1:] {
		if isFence(line) {
			return content[len(lines[0]):size], content[size+len(line):], i + 3
		}
		size += len(line)
	}
	p.problem(1, 1, "the front matter does not end", "end it with a line ---")
	return nil, content[len(lines[0]):], 2
}

func isFence(line []byte) bool { return string(bytes.TrimRight(line, " \t\n")) == "---" }

// frontLine is the file's line on which the front matter's first line stands.
const frontLine = 2

func (p *parser) frontMatter(front []byte) {
	var doc yaml.Node
	if err := yaml.Unmarshal(front, &doc); err != nil {
		line, message := yamlError(err)
		p.problem(line+frontLine-1, 1, "the front matter is not YAML: "+message,
			"quote a value that holds a colon, a brace or a quotation mark")
		return
	}
	seen := map[string]bool{}
	if len(doc.Content) > 0 {
		root := doc.Content[0]
		if root.Kind != yaml.MappingNode {
			p.at(root, "the front matter is not a list of keys and values", "write owner: and reviewed: in it")
			return
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			p.key(root.Content[i], root.Content[i+1], seen)
		}
	}
	if p.runbook.Service != "" {
		m, err := labels.NewMatcher(labels.MatchEqual, "service", p.runbook.Service)
		if err == nil && !p.badMatch {
			p.runbook.Match = append(p.runbook.Match, m)
		}
	}
	if !seen["owner"] {
		p.problem(1, 1, "the runbook has no owner", "add owner: with the role that keeps it true")
	}
	if !seen["reviewed"] {
		p.warning(1, "the runbook was never reviewed",
			"read it through and add reviewed: with the day, as 2026-11-21")
	}
}

// yamlError takes the line out of an error of the YAML library, which has it in
// its text only.
func yamlError(err error) (line int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): (?s)(.*)$`).FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n, m[2]
		}
	}
	return 1, message
}

func (p *parser) at(n *yaml.Node, message, hint string) {
	p.problem(n.Line+frontLine-1, n.Column, message, hint)
}

func (p *parser) key(key, value *yaml.Node, seen map[string]bool) {
	known := []string{"activities", "levels", "match", "owner", "reviewed", "service"}
	if seen[key.Value] {
		p.at(key, fmt.Sprintf("%s is given twice", key.Value), "keep one of them")
		return
	}
	seen[key.Value] = true
	switch key.Value {
	case "owner":
		p.runbook.Owner = watchbill.RoleID(p.word(key, value))
	case "service":
		p.runbook.Service = p.word(key, value)
	case "reviewed":
		p.reviewed(value)
	case "match":
		p.match(key, value)
	case "activities":
		for _, n := range p.list(key, value) {
			p.runbook.Activities = append(p.runbook.Activities, watchbill.ActivityID(n.Value))
		}
	case "levels":
		p.levels(key, value)
	default:
		hint := "the keys are " + strings.Join(known, ", ")
		if near := nearest(key.Value, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.at(key, fmt.Sprintf("%q is not a key of a runbook's front matter", key.Value), hint)
	}
}

// word reads a single value that may not be empty.
func (p *parser) word(key, value *yaml.Node) string {
	if value.Kind != yaml.ScalarNode || value.Value == "" || value.Tag == "!!null" {
		p.at(value, key.Value+" is empty or is not a single value", "write it as "+key.Value+": name")
		return ""
	}
	return value.Value
}

// list reads a value or a list of values.
func (p *parser) list(key, value *yaml.Node) []*yaml.Node {
	if value.Kind == yaml.ScalarNode && value.Value != "" {
		return []*yaml.Node{value}
	}
	hint := "write it as " + key.Value + ": [one, two]"
	if value.Kind != yaml.SequenceNode {
		p.at(value, key.Value+" is not a list", hint)
		return nil
	}
	var out []*yaml.Node
	for _, n := range value.Content {
		if n.Kind != yaml.ScalarNode || n.Value == "" {
			p.at(n, "an entry of "+key.Value+" is empty or is not a single value", hint)
			continue
		}
		out = append(out, n)
	}
	return out
}

func (p *parser) reviewed(value *yaml.Node) {
	day, err := time.Parse(time.DateOnly, value.Value)
	if err != nil || value.Kind != yaml.ScalarNode {
		p.at(value, "reviewed is not a day", "write it as 2026-11-21")
		return
	}
	p.runbook.Reviewed = day
}

// match reads the matchers. If any of them is wrong the runbook has none:
// leaving one out would match more than its author meant.
func (p *parser) match(key, value *yaml.Node) {
	before := len(p.problems)
	for _, n := range p.list(key, value) {
		ms, err := parse.Matchers(n.Value)
		if err != nil {
			// Some of the library's errors say where they are as "12:14: ".
			message := regexp.MustCompile(`^\d+:\d+: `).ReplaceAllString(err.Error(), "")
			p.at(n, fmt.Sprintf("%q is not a matcher: %s", n.Value, message),
				`write it as 'name="value"', with =, !=, =~ or !~`)
			continue
		}
		p.runbook.Match = append(p.runbook.Match, ms...)
	}
	if len(p.problems) > before {
		p.runbook.Match, p.badMatch = nil, true
	}
}

func (p *parser) levels(key, value *yaml.Node) {
	const hint = "write it as levels: {deployment: 3}, with levels from 2 to 6"
	if value.Kind != yaml.MappingNode {
		p.at(value, key.Value+" is not a list of skills and levels", hint)
		return
	}
	p.runbook.Levels = map[string]int{}
	for i := 0; i+1 < len(value.Content); i += 2 {
		skill, n := value.Content[i], value.Content[i+1]
		level, err := strconv.Atoi(n.Value)
		if err != nil || level < 2 || level > 6 {
			p.at(n, fmt.Sprintf("%q is not a level", n.Value), hint)
			continue
		}
		p.runbook.Levels[skill.Value] = level
	}
}

// nearest returns the name that a mistyped word most likely meant, and "" if
// none is near: at most a third of its letters may differ.
func nearest(word string, names []string) string {
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, remove or replace to get from
// one word to the other.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
