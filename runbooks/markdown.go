package runbooks

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// engine makes a Markdown engine. It is never given html.WithUnsafe: HTML in a
// runbook is left out, and so are links with a scheme that runs code.
func engine() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.Table, extension.TaskList, extension.Linkify))
}

// HTML renders the runbook, its title included. The result is safe to show: no
// HTML of the runbook's own is in it.
func (r Runbook) HTML() ([]byte, error) {
	var b bytes.Buffer
	if err := engine().Convert(r.Source, &b); err != nil {
		return nil, fmt.Errorf("render runbook %s: %w", r.Name, err)
	}
	return b.Bytes(), nil
}

// markdown reads the title and the sections. Line is the file's line on which
// body begins.
func (p *parser) markdown(body []byte, line int) {
	doc := engine().Parser().Parse(text.NewReader(body))
	p.doc = doc
	place := func(n ast.Node) (int, int) {
		at := min(max(position(n), 0), len(body))
		return line + bytes.Count(body[:at], []byte("\n")), at - bytes.LastIndexByte(body[:at], '\n')
	}
	lineOf := func(n ast.Node) int {
		l, _ := place(n)
		return l
	}
	titled := false
	var section *Section
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		h, isHeading := n.(*ast.Heading)
		switch {
		case isHeading && h.Level == 1 && !titled:
			if title := plain(h, body); title != "" {
				p.runbook.Title, titled = title, true
			}
		case isHeading && h.Level == 2:
			section = p.section(plain(h, body), lineOf(h))
		case section != nil:
			section.add(n, body, lineOf)
			if section.Name == Decision {
				p.decision(n, body, place)
			}
		}
	}
	if !titled {
		p.warning(line, "the runbook has no title", "begin it with a line # and what it is about")
	}
	if quick, ok := p.runbook.Section(QuickReference); !ok || len(quick.Text) == 0 {
		p.warning(line, "the runbook has no quick reference, so that pages cannot carry one",
			"add ## Quick reference with what to do first")
	}
}

// section begins a section. The pointer is good until the next one begins.
func (p *parser) section(heading string, line int) *Section {
	known := make([]string, 0, len(SectionNames()))
	name := SectionName(heading)
	for _, n := range SectionNames() {
		known = append(known, string(n))
		if strings.EqualFold(string(n), heading) {
			name = n
		}
	}
	if _, ok := p.runbook.Section(name); ok {
		p.problem(line, 1, fmt.Sprintf("the section %q is there twice", heading),
			"join the two; only the first is used")
	}
	if !slices.Contains(known, string(name)) {
		hint := "the sections are " + strings.Join(known, ", ")
		if near := nearest(heading, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.warning(line, fmt.Sprintf("%q is not a section of a runbook", heading), hint)
	}
	p.runbook.Sections = append(p.runbook.Sections, Section{Name: name, Line: line})
	return &p.runbook.Sections[len(p.runbook.Sections)-1]
}

// position is where a block begins in the source. Of those that hold others
// only, it is where the first of these begins.
func position(n ast.Node) int {
	for n != nil && n.Type() != ast.TypeInline {
		if n.Kind() == ast.KindHeading || n.Lines().Len() == 0 && n.FirstChild() == nil {
			return n.Pos()
		}
		if n.Lines().Len() > 0 {
			return n.Lines().At(0).Start
		}
		n = n.FirstChild()
	}
	return 0
}

// changes reports whether an item is marked as a change of production, by the
// words Two people or Change in bold.
func changes(item ast.Node, source []byte) bool {
	found := false
	_ = ast.Walk(item, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if e, ok := n.(*ast.Emphasis); ok && entering && e.Level == 2 {
			mark := strings.ToLower(strings.TrimRight(plain(e, source), ".:"))
			found = found || mark == "two people" || mark == "change"
		}
		return ast.WalkContinue, nil
	})
	return found
}

// add takes one block into the section's items and text.
func (s *Section) add(n ast.Node, source []byte, lineOf func(ast.Node) int) {
	if list, ok := n.(*ast.List); ok {
		number := list.Start
		for item := list.FirstChild(); item != nil; item = item.NextSibling() {
			first, rest := blockLines(item, source)
			if first == "" && len(rest) == 0 {
				continue
			}
			s.Items = append(s.Items, Item{Text: strings.TrimSpace(first), More: rest, Line: lineOf(item), Change: changes(item, source)})
			marker := "- "
			if list.IsOrdered() {
				marker = fmt.Sprintf("%d. ", number)
				number++
			}
			s.Text = append(s.Text, strings.TrimRight(marker+first, " "))
			for _, line := range rest {
				s.Text = append(s.Text, "  "+line)
			}
		}
		return
	}
	first, rest := blockLines(n, source)
	if first != "" {
		s.Text = append(s.Text, first)
	}
	s.Text = append(s.Text, rest...)
}

// blockLines returns the text of a block as lines: its first paragraph, and
// what is below that. Code keeps its lines and is indented.
func blockLines(n ast.Node, source []byte) (first string, rest []string) {
	var lines []string
	// The walker never fails: this function gives it no error to pass on.
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering || n.Type() == ast.TypeInline {
			return ast.WalkContinue, nil
		}
		switch n.Kind() {
		case ast.KindCodeBlock, ast.KindFencedCodeBlock:
			for i := range n.Lines().Len() {
				segment := n.Lines().At(i)
				if line := strings.TrimRightFunc(clean(string(segment.Value(source))), unicode.IsSpace); line != "" {
					lines = append(lines, "  "+line)
				}
			}
			return ast.WalkSkipChildren, nil
		case ast.KindHTMLBlock:
			return ast.WalkSkipChildren, nil
		case extast.KindTableHeader, extast.KindTableRow:
			var cells []string
			for cell := n.FirstChild(); cell != nil; cell = cell.NextSibling() {
				cells = append(cells, plain(cell, source))
			}
			lines = append(lines, strings.Join(cells, " | "))
			return ast.WalkSkipChildren, nil
		}
		if c := n.FirstChild(); c != nil && c.Type() == ast.TypeInline {
			if line := plain(n, source); line != "" {
				lines = append(lines, line)
			}
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	if len(lines) > 0 && !strings.HasPrefix(lines[0], " ") {
		return lines[0], lines[1:]
	}
	return "", lines
}

// plain returns the text of a block's inline content on one line: no emphasis,
// code in backticks, links as "label (address)", HTML left out.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.CodeSpan:
			b.WriteByte('`')
		case *ast.Text:
			if !entering {
				break
			}
			value := n.Segment.Value(source)
			if !n.IsRaw() && (n.Parent() == nil || n.Parent().Kind() != ast.KindCodeSpan) {
				value = util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(value)))
			}
			b.Write(value)
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			if entering {
				b.Write(n.Value)
			}
		case *ast.AutoLink:
			if entering {
				b.Write(n.Label(source))
			}
		case *ast.Link:
			if !entering {
				fmt.Fprintf(&b, " (%s)", n.Destination)
			}
		case *ast.RawHTML:
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(clean(b.String())), " ")
}

// clean replaces what could move a terminal's cursor or turn the direction of
// writing around.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}
