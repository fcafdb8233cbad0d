package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Problem is one mistake in a file, or one doubt if Warning is set. Line and
// Col count from 1; Line is 0 when the problem is the file itself. Source is
// the line of the file with its secrets blanked out.
type Problem struct {
	File      string
	Line, Col int
	Message   string
	Advice    string // the next step
	Source    string
	Warning   bool
}

// Position returns "watchbill.yaml:41:7", or the file alone when the problem
// is the file itself.
func (p Problem) Position() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// String returns the position, the message and the advice on one line.
func (p Problem) String() string {
	s := p.Position() + ": " + p.text()
	if p.Advice != "" {
		s += "; " + p.Advice
	}
	return s
}

func (p Problem) text() string {
	if p.Warning {
		return "warning: " + p.Message
	}
	return p.Message
}

// block returns the problem as a person reads it: the position and the message,
// the source line, a caret under the column, the advice.
func (p Problem) block() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Position(), p.text())
	if p.Line > 0 {
		fmt.Fprintf(&b, "  %s\n  %s^\n", p.Source, indentTo(p.Source, p.Col))
	}
	if p.Advice != "" {
		fmt.Fprintf(&b, "  advice: %s\n", p.Advice)
	}
	return b.String()
}

// indentTo returns the white space that puts a caret under column col of line.
// Tabs stay tabs, so that the caret stands right whatever their width.
func indentTo(line string, col int) string {
	var b strings.Builder
	for _, r := range line {
		if col--; col < 1 {
			return b.String()
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Problems are all problems of a configuration, in the order of the files.
type Problems []Problem //nolint:errname // an error that is a list of problems, and is called so

// Error returns each problem on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Print writes each problem as "file:line:col: message", the source line, a
// caret under the column, and the advice. A writer that fails ends it silently:
// the problems are the message already.
func (ps Problems) Print(w io.Writer) {
	blocks := make([]string, len(ps))
	for i, p := range ps {
		blocks[i] = p.block()
	}
	_, _ = io.WriteString(w, strings.Join(blocks, "\n"))
}

// Errors returns the problems that keep the configuration from being used.
func (ps Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Warning })
}

// Warnings returns the doubts.
func (ps Problems) Warnings() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return !p.Warning })
}

// sorted returns the problems by file in the order given, then by position,
// without repetitions.
func (ps Problems) sorted(order []string) Problems {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.File), slices.Index(order, b.File)),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.Compact(out)
}
