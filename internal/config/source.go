package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits on what a file may hold, so that no file can exhaust the machine.
const (
	maxFileSize = 4 << 20
	maxNodes    = 300_000 // after aliases are written out
	maxDepth    = 100
)

// source is one file: its name for messages and its lines.
type source struct {
	name  string
	dir   string
	lines []string
}

// indent returns how many blanks a line begins with.
func (s *source) indent(line int) int {
	text := s.lines[max(1, min(line, len(s.lines)))-1]
	return len(text) - len(strings.TrimLeft(text, " \t"))
}

// loader reads files and collects what is wrong with them. It knows where each
// YAML node stands, which the nodes themselves only half know.
type loader struct {
	main     string // path of the main file
	root     string // its folder
	env      func(string) string
	problems Problems
	order    []string // names of the files, as they were read
	sources  map[string]*source
	files    map[*yaml.Node]*source
	secret   map[*yaml.Node]bool
	nodes    int // nodes written out so far
}

func newLoader(path string, env func(string) string) *loader {
	return &loader{main: path, root: filepath.Dir(path), env: env, sources: map[string]*source{}, files: map[*yaml.Node]*source{}, secret: map[*yaml.Node]bool{}}
}

// problem records a mistake at a node.
func (l *loader) problem(n *yaml.Node, advice, format string, args ...any) {
	l.record(n, Problem{Message: fmt.Sprintf(format, args...), Advice: advice})
}

// warn records a doubt at a node.
func (l *loader) warn(n *yaml.Node, advice, format string, args ...any) {
	l.record(n, Problem{Message: fmt.Sprintf(format, args...), Advice: advice, Warning: true})
}

func (l *loader) record(n *yaml.Node, p Problem) {
	if src := l.files[n]; src != nil {
		l.recordAt(src, n.Line, n.Column, p)
		return
	}
	p.File = l.main
	l.problems = append(l.problems, p)
}

// recordAt records a problem at a place in a file, moved into the file if it
// lies outside.
func (l *loader) recordAt(src *source, line, col int, p Problem) {
	p.File = src.name
	if len(src.lines) > 0 {
		p.Line = max(1, min(line, len(src.lines)))
		p.Col = max(1, min(col, utf8.RuneCountInString(src.lines[p.Line-1])+1))
	}
	l.problems = append(l.problems, p)
}

// found returns what was recorded, sorted, each with its source line.
func (l *loader) found() Problems {
	for _, src := range l.sources {
		l.hide(src)
	}
	out := slices.Clone(l.problems)
	for i, p := range out {
		if src := l.sources[p.File]; src != nil && p.Line > 0 {
			out[i].Source = src.lines[p.Line-1]
		}
	}
	return out.sorted(l.order)
}

// line returns where a node stands, "watchbill.yaml:41", relative to the main
// file's folder.
func (l *loader) line(n *yaml.Node) string {
	src := l.files[n]
	if src == nil {
		return ""
	}
	name := src.name
	if rel, err := filepath.Rel(l.root, name); err == nil {
		name = filepath.ToSlash(rel)
	}
	return name + ":" + strconv.Itoa(n.Line)
}

// dir returns the folder of the file in which a node stands.
func (l *loader) dir(n *yaml.Node) string {
	if src := l.files[n]; src != nil {
		return src.dir
	}
	return l.root
}

// resolve joins a path that a node states to the folder of the file that
// states it.
func (l *loader) resolve(n *yaml.Node, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.dir(n), path)
}

// absolute resolves a path for use after loading, when the process may have
// changed its folder.
func (l *loader) absolute(n *yaml.Node, path string) string {
	if path == "" {
		return ""
	}
	return fullPath(l.resolve(n, path))
}

func fullPath(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// read returns a file of at most 4 MB.
func (l *loader) read(path string) ([]byte, error) {
	// Looked at before it is opened: opening a pipe waits for its other end.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, plainFileError(err)
	case info.IsDir():
		return nil, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file with content")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plainFileError(err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, plainFileError(err)
	}
	if len(content) > maxFileSize {
		return nil, errors.New("it is larger than 4 MB")
	}
	return content, nil
}

// plainFileError drops the operation and the path, which the message has.
func plainFileError(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// newSource remembers a file under its name.
func (l *loader) newSource(name string, content []byte) *source {
	text := strings.TrimSuffix(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n")
	src := &source{name: name, dir: filepath.Dir(name), lines: strings.Split(text, "\n")}
	for i, line := range src.lines {
		src.lines[i] = strings.ToValidUTF8(line, "\uFFFD")
	}
	if l.sources[name] == nil {
		l.order = append(l.order, name)
	}
	l.sources[name] = src
	return src
}

// parse reads a file's YAML into one mapping with aliases and merge keys
// written out. It returns nil if there is none.
func (l *loader) parse(src *source, content []byte) *yaml.Node {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	if line, col, ok := invalidText(content); ok {
		l.recordAt(src, line, col, Problem{
			Message: "this is not text: a byte that is neither UTF-8 nor allowed in YAML",
			Advice:  "save the file as UTF-8 text",
		})
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		l.syntax(src, content, err)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		l.recordAt(src, second.Line, second.Column, Problem{
			Message: "a second document begins here",
			Advice:  "a configuration is one document: remove the --- before it, or move it to a file of its own under include",
		})
	} else if !errors.Is(err, io.EOF) {
		l.syntax(src, content, err)
	}
	if len(document.Content) == 0 {
		return nil
	}
	root := l.expand(document.Content[0], src, nil)
	if l.nodes > maxNodes {
		return nil // what is missing would be complained about
	}
	if root == nil || root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		l.problem(root, "write `key: value` lines, as `watchbill init` does", "the file is a %s, not sections with keys", kindName(root))
		return nil
	}
	return root
}

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// syntax records an error of the YAML parser. The parser names the line at which
// the structure began that it could not finish, or none; the line that broke it
// is the one after the longest beginning of the file that can be read.
func (l *loader) syntax(src *source, content []byte, err error) {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if broken := brokenLine(content); broken > 0 {
		line = broken
	}
	line = max(1, min(line, len(src.lines)))
	indent := src.indent(line)
	advice := "look at this line and the one above: indentation, quotes, a missing colon or bracket"
	if strings.Contains(src.lines[line-1][:indent], "\t") {
		advice = "YAML is indented with spaces: replace the tab"
	}
	l.recordAt(src, line, indent+1, Problem{Message: "this is not YAML: " + message, Advice: advice})
	src.hideUnread()
}

// brokenLine returns the line after the longest run of lines that can be read,
// or 0 for a file so large that looking for it takes too long.
func brokenLine(content []byte) int {
	const (
		largest = 256 << 10
		ahead   = 40 // lines that a bracket or a quote may stay open
	)
	if len(content) > largest {
		return 0
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	budget := 16 * largest
	reads := func(n int) bool {
		part := bytes.Join(lines[:n], nil)
		if budget -= len(part); budget < 0 {
			return false
		}
		decoder := yaml.NewDecoder(bytes.NewReader(part))
		for {
			var n yaml.Node
			if err := decoder.Decode(&n); err != nil {
				return errors.Is(err, io.EOF)
			}
		}
	}
	good, bad := 0, len(lines)
	for {
		for bad-good > 1 {
			if middle := (good + bad) / 2; reads(middle) {
				good = middle
			} else {
				bad = middle
			}
		}
		further := bad
		for n := bad + 1; n < min(bad+ahead, len(lines)) && further == bad; n++ {
			if reads(n) {
				further = n
			}
		}
		if further == bad {
			return bad
		}
		// The line only opened something that was closed later.
		good, bad = further, len(lines)
	}
}

// invalidText finds the first byte that YAML does not allow.
func invalidText(content []byte) (line, col int, found bool) {
	line, col = 1, 1
	for len(content) > 0 {
		r, size := utf8.DecodeRune(content)
		control := r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f || r >= 0x80 && r < 0xa0 && r != 0x85
		if r == utf8.RuneError && size == 1 || control || r == 0xfffe || r == 0xffff || r == 0xfeff {
			return line, col, true
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		content = content[size:]
	}
	return 0, 0, false
}

// expand copies a node with aliases and merge keys written out and remembers
// the file it came from. It returns nil for what cannot be.
func (l *loader) expand(n *yaml.Node, src *source, above []*yaml.Node) *yaml.Node {
	if l.nodes++; l.nodes > maxNodes {
		if l.nodes == maxNodes+1 {
			l.recordAt(src, n.Line, n.Column, Problem{
				Message: "the configuration is too large from here on",
				Advice:  "use fewer aliases (*name): each is written out where it is used",
			})
		}
		return nil
	}
	if slices.Contains(above, n) || len(above) > maxDepth {
		l.recordAt(src, n.Line, n.Column, Problem{
			Message: "this is nested too deeply, or contains itself",
			Advice:  "remove the alias that leads back to its own anchor",
		})
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return l.expand(n.Alias, src, append(above, n))
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Style: n.Style &^ yaml.TaggedStyle, Line: n.Line, Column: n.Column}
	l.files[out] = src
	if n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}, out.Tag) {
		l.problem(out, "remove the tag", "the tag %s means nothing here", out.Tag)
		out.Tag = "!!str"
	}
	above = append(slices.Clip(above), n)
	switch n.Kind {
	case yaml.MappingNode:
		l.expandMapping(n, out, src, above)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if c := l.expand(item, src, above); c != nil {
				out.Content = append(out.Content, c)
			}
		}
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode:
	}
	return out
}

// expandMapping copies the pairs of n into out: its own first, then those of
// merge keys (<<) that it lacks. A key that stands twice is a problem.
func (l *loader) expandMapping(n, out *yaml.Node, src *source, above []*yaml.Node) {
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			if v := l.expand(value, src, above); v != nil {
				merged = append(merged, v)
			}
			continue
		}
		k := l.expand(key, src, above)
		if k == nil {
			continue
		}
		if k.Kind != yaml.ScalarNode {
			l.problem(k, "write `key: value`; a text that begins with { or [ needs quotes", "a key must be text, not a %s", kindName(k))
			continue
		}
		v := l.expand(value, src, above)
		if v == nil {
			continue
		}
		l.noteSecret(k.Value, v)
		if first := keyNode(out, k.Value); first != nil {
			l.problem(k, "it was first set at "+l.place(first)+": keep one of the two", "%q is set twice", k.Value)
			continue
		}
		out.Content = append(out.Content, k, v)
	}
	for _, m := range merged {
		l.merge(out, m)
	}
}

// merge adds the pairs of a merge key's mapping, or of its list of mappings.
func (l *loader) merge(out, from *yaml.Node) {
	switch from.Kind {
	case yaml.MappingNode:
		for k, v := range pairs(from) {
			if keyNode(out, k.Value) == nil {
				out.Content = append(out.Content, k, v)
			}
		}
	case yaml.SequenceNode:
		for _, item := range from.Content {
			l.merge(out, item)
		}
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode:
		l.problem(from, "write `<<: *name` with an anchor of keys", "<< takes the keys of an alias, not a %s", kindName(from))
	}
}

// place returns the position of a node for a message: line alone would not say
// which file.
func (l *loader) place(n *yaml.Node) string {
	if src := l.files[n]; src != nil {
		return fmt.Sprintf("%s:%d:%d", src.name, n.Line, n.Column)
	}
	return l.main
}
