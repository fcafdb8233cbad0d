package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"watchbill"
)

// Sections in Prometheus' or Alertmanager's format are read by these libraries,
// one entry at a time. The libraries take text and complain about lines of that
// text, if they name a place at all. So the text is written with one key or
// value to a line, and the line leads back to the node; and where no line is
// named, the entry is read again with parts of it left out or replaced until
// the complaint is gone.

// section says how a library reads the entries of one section.
type section struct {
	what   string         // names an entry in messages
	types  []reflect.Type // the library's structs, for the keys it knows
	advice string         // where the format is described
	build  func(entry *yaml.Node) *yaml.Node
	check  func(text string) error
}

// document is a text for a library, and the node that each of its lines is
// about.
type document struct {
	text  strings.Builder
	nodes []*yaml.Node
}

func (d *document) line(n *yaml.Node, text string) {
	d.text.WriteString(text)
	d.text.WriteByte('\n')
	d.nodes = append(d.nodes, n)
}

// render writes a node, with paths made absolute.
func (l *loader) render(n *yaml.Node) *document {
	d := &document{}
	l.write(d, n, "", false)
	return d
}

// free are the keys below which other keys are the user's own words.
var free = []string{"labels", "external_labels", "params", "headers", "details", "custom_fields"}

// write writes a node. key is the key it stands under; own is set below keys
// whose content is the user's own words. Empty values are left out: they mean
// the default, which some libraries forget.
func (l *loader) write(d *document, n *yaml.Node, key string, own bool) {
	switch n.Kind {
	case yaml.MappingNode:
		d.line(n, "{")
		for k, v := range pairs(n) {
			if isNull(v) {
				continue
			}
			d.line(k, "? "+strconv.QuoteToASCII(k.Value))
			d.line(k, ":")
			l.write(d, v, k.Value, own || slices.Contains(free, k.Value))
			d.line(n, ",")
		}
		d.line(n, "}")
	case yaml.SequenceNode:
		d.line(n, "[")
		for _, item := range n.Content {
			l.write(d, item, key, own)
			d.line(n, ",")
		}
		d.line(n, "]")
	case yaml.ScalarNode:
		d.line(n, l.scalarText(n, key, own))
	case yaml.DocumentNode, yaml.AliasNode:
	}
}

// yes are plain words that YAML 1.1, which the libraries read, takes as booleans
// and YAML 1.2 does not.
var yes = regexp.MustCompile(`^(?i:y|yes|n|no|on|off)$`)

// scalarText writes a scalar so that a library reads what the file says.
func (l *loader) scalarText(n *yaml.Node, key string, own bool) string {
	value := n.Value
	if !own && (strings.HasSuffix(key, "_file") || key == "files") {
		return strconv.QuoteToASCII(l.absolute(n, l.expandEnv(n)))
	}
	if n.Tag == "!!str" && (n.Style != 0 || !yes.MatchString(value)) {
		return strconv.QuoteToASCII(value)
	}
	return value
}

var variable = regexp.MustCompile(`\$\{([^}]*)\}`)

// expandEnv replaces ${NAME} in a path by the environment variable.
func (l *loader) expandEnv(n *yaml.Node) string {
	return variable.ReplaceAllStringFunc(n.Value, func(s string) string { return l.variable(n, s[2:len(s)-1]) })
}

// variable returns an environment variable. One that is not set is a problem.
func (l *loader) variable(n *yaml.Node, name string) string {
	value := l.env(name)
	if value == "" {
		l.problem(n, "set it where the daemon starts, or write the value here", "the environment variable %s is not set", name)
	}
	return value
}

// finding is a library's complaint, brought back to a node.
type finding struct {
	at              *yaml.Node
	message, advice string
}

// accept lets a library read an entry and records what it complains about. A
// library stops at its first complaint of most kinds, so what was found is taken
// out of a copy of the entry and the rest is read again.
func (l *loader) accept(entry *yaml.Node, s section) bool {
	const most = 20
	rest := l.clone(entry)
	for round := range most {
		doc := l.render(s.build(rest))
		err := s.check(doc.text.String())
		if err == nil {
			return round == 0
		}
		found := s.byLine(err, doc, rest)
		if len(found) > 0 {
			l.complain(entry, rest, s, found)
			return false // these are all of the kind, and the last stage
		}
		at, better, sure := l.culprit(err, rest, s)
		if !sure && round > 0 {
			return false // taking something out may have caused this one
		}
		f := finding{at: at, message: plainMessage(err), advice: s.advice}
		if e, ok := errors.AsType[*watchbill.Error](err); ok {
			f.message, f.advice = e.Message, e.Hint
		}
		l.complain(entry, rest, s, []finding{f})
		if better != "" {
			at.Tag, at.Style, at.Value = "!!str", yaml.DoubleQuotedStyle, better
		} else if at == rest || !remove(rest, at) {
			return false
		}
	}
	return false
}

// complain records findings; one without a place is about the entry.
func (l *loader) complain(entry, rest *yaml.Node, s section, found []finding) {
	for _, f := range found {
		if l.files[f.at] == nil {
			f.at = entry
		}
		message := l.redact(f.message, rest, f.at)
		if !strings.HasPrefix(message, s.what) {
			message = s.what + ": " + message
		}
		l.problem(f.at, f.advice, "%s", message)
	}
}

// clone copies a node that is going to be changed.
func (l *loader) clone(n *yaml.Node) *yaml.Node {
	out := *n
	if src := l.files[n]; src != nil {
		l.files[&out] = src
	}
	if l.secret[n] {
		l.secret[&out] = true
	}
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out.Content[i] = l.clone(c)
	}
	return &out
}

// remove takes a part out of a node, with its key.
func remove(n, part *yaml.Node) bool {
	i := slices.Index(n.Content, part)
	if i < 0 {
		return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return remove(c, part) })
	}
	if n.Kind == yaml.MappingNode {
		i -= i % 2
		n.Content = slices.Delete(n.Content, i, i+2)
	} else {
		n.Content = slices.Delete(n.Content, i, i+1)
	}
	return true
}

var (
	errorLine    = regexp.MustCompile(`line (\d+): ([^\n]+)`)
	unknownField = regexp.MustCompile(`^field (\S+) not found in type .+$`)
	wrongKind    = regexp.MustCompile("^cannot unmarshal (!!\\w+)(?: `.*`)? into (.+)$")
)

// byLine returns the complaints that name a line of the text.
func (s section) byLine(err error, doc *document, entry *yaml.Node) []finding {
	var out []finding
	for _, m := range errorLine.FindAllStringSubmatch(err.Error(), -1) {
		f := finding{message: m[2], advice: s.advice}
		if i, _ := strconv.Atoi(m[1]); i >= 1 && i <= len(doc.nodes) {
			f.at = doc.nodes[i-1]
		}
		if u := unknownField.FindStringSubmatch(f.message); u != nil {
			f.message = fmt.Sprintf("unknown key %q", u[1])
			f.advice = didYouMean(u[1], s.keysBeside(entry, f.at), s.advice)
			if strings.HasSuffix(u[1], "_sd_configs") && nearest(u[1], s.keysBeside(entry, f.at)) == "" {
				f.advice = "targets are found by static_configs, file_sd_configs, http_sd_configs and dns_sd_configs"
			}
		}
		if w := wrongKind.FindStringSubmatch(f.message); w != nil {
			f.message = fmt.Sprintf("this must be %s, not %s", goKind(w[2]), yamlKind(w[1]))
		}
		out = append(out, f)
	}
	return out
}

// goKind says what a library's type is to a reader.
func goKind(name string) string {
	switch {
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasSuffix(name, "Duration"):
		return "a duration such as 30s"
	case strings.Contains(name, "int") || strings.Contains(name, "float"):
		return "a number"
	case strings.Contains(name, "bool"):
		return "true or false"
	case strings.Contains(name, "string") && !strings.HasPrefix(name, "map"):
		return "a text"
	}
	return "a mapping with keys"
}

func yamlKind(tag string) string {
	switch tag {
	case "!!map":
		return "a mapping"
	case "!!seq":
		return "a list"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "a text"
}

// plainMessage drops what a library says about its own text.
func plainMessage(err error) string {
	s := strings.TrimPrefix(err.Error(), "yaml: ")
	s = strings.TrimPrefix(s, "unmarshal errors:\n")
	return strings.Join(strings.Fields(s), " ")
}

// keysBeside returns the keys that the library knows where a node is a key.
func (s section) keysBeside(entry, key *yaml.Node) []string {
	path, ok := pathTo(entry, key)
	if !ok {
		return nil
	}
	var out []string
	for _, t := range s.types {
		for _, step := range path[:len(path)-1] {
			if t != nil {
				t = stepInto(t, step)
			}
		}
		if t != nil {
			out = append(out, yamlKeys(t)...)
		}
	}
	return out
}

// pathTo returns the keys that lead to a key; the empty step is a list.
func pathTo(n, key *yaml.Node) ([]string, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for k, v := range pairs(n) {
			if k == key {
				return []string{k.Value}, true
			}
			if rest, ok := pathTo(v, key); ok {
				return append([]string{k.Value}, rest...), true
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if rest, ok := pathTo(item, key); ok {
				return append([]string{""}, rest...), true
			}
		}
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode:
	}
	return nil, false
}

// stepInto returns the type of a key's value, or nil.
func stepInto(t reflect.Type, step string) reflect.Type {
	t = plainType(t)
	switch {
	case t.Kind() == reflect.Slice && step == "", t.Kind() == reflect.Map:
		return t.Elem()
	case t.Kind() == reflect.Struct:
		for field := range t.Fields() {
			name, inline := yamlName(field)
			if inline {
				if found := stepInto(field.Type, step); found != nil {
					return found
				}
			} else if name == step {
				return field.Type
			}
		}
	}
	return nil
}

// yamlKeys returns the keys of a library's struct.
func yamlKeys(t reflect.Type) []string {
	t = plainType(t)
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for field := range t.Fields() {
		name, inline := yamlName(field)
		if inline {
			out = append(out, yamlKeys(field.Type)...)
		} else if name != "" {
			out = append(out, name)
		}
	}
	return out
}

func plainType(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// yamlName returns the key of a library's field, and whether its keys belong to
// the struct around it.
func yamlName(f reflect.StructField) (name string, inline bool) {
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case strings.Contains(options, "inline"):
		return "", true
	case name == "-" || !f.IsExported():
		return "", false
	case name == "":
		return strings.ToLower(f.Name), false
	}
	return name, false
}

// culprit finds the part of an entry that a complaint without a line is about:
// the smallest part without which, or with another value for which, the library
// complains no more or about something else with a line. If there is none it is
// what the message names, else the whole entry; that is not sure. better is the
// other value, if that is what helped.
func (l *loader) culprit(complaint error, entry *yaml.Node, s section) (at *yaml.Node, better string, sure bool) {
	budget := 16 << 20 // bytes to read again, so that a huge entry takes no minutes
	quiet := func() bool {
		text := l.render(s.build(entry)).text.String()
		if budget -= len(text) + 40<<10; budget < 0 { // at most 400 times
			return false
		}
		err := s.check(text)
		return err == nil || errorLine.MatchString(err.Error())
	}
	problems := len(l.problems)
	defer func() { l.problems = l.problems[:problems] }() // of rendering again
	at = entry
	for inner := without(at, quiet); inner != nil; inner = without(at, quiet) {
		at = inner
	}
	if leaf, value := replaced(at, quiet); leaf != nil {
		return leaf, value, true
	}
	if at != entry {
		return at, "", true
	}
	if named := namedBy(complaint.Error(), entry); named != nil {
		return named, "", false
	}
	return entry, "", false
}

// without returns the part of a node whose absence silences the complaint.
func without(n *yaml.Node, quiet func() bool) *yaml.Node {
	whole := n.Content
	defer func() { n.Content = whole }()
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := 0; i+step <= len(whole); i += step {
		n.Content = slices.Concat(whole[:i], whole[i+step:])
		if quiet() {
			return whole[i+step-1]
		}
	}
	return nil
}

// replaced returns the scalar under a node for which another value silences the
// complaint, and that value.
func replaced(n *yaml.Node, quiet func() bool) (leaf *yaml.Node, value string) {
	if n.Kind != yaml.ScalarNode {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				continue
			}
			if leaf, value := replaced(c, quiet); leaf != nil {
				return leaf, value
			}
		}
		return nil, ""
	}
	before := *n
	defer func() { *n = before }()
	n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	for _, value := range []string{"http://localhost/", "1m", "a", "1", "localhost:1", "a=\"b\"", "00:01", "23:59"} {
		if n.Value = value; quiet() {
			return n, value
		}
	}
	return nil, ""
}

var word = regexp.MustCompile(`[a-z]+(?:_[a-z]+)+`)

// namedBy returns the first value under a node that a message quotes, or the
// first key that it names, as it is written or in words.
func namedBy(message string, n *yaml.Node) *yaml.Node {
	for _, q := range quoted.FindAllString(message, -1) {
		if value, err := strconv.Unquote(q); err == nil && value != "" {
			if v := find(n, func(key string, v *yaml.Node) bool {
				return v.Kind == yaml.ScalarNode && v.Value == value && key != "name" && key != "job_name"
			}); v != nil {
				return v
			}
		}
	}
	for _, w := range word.FindAllString(message, -1) {
		if v := find(n, func(key string, _ *yaml.Node) bool { return key == w }); v != nil {
			return v
		}
	}
	return find(n, func(key string, _ *yaml.Node) bool {
		return strings.Contains(key, "_") && strings.Contains(message, strings.ReplaceAll(key, "_", " "))
	})
}

// find returns the first value under a node that is wanted, given its key.
func find(n *yaml.Node, wanted func(key string, v *yaml.Node) bool) *yaml.Node {
	for i, c := range n.Content {
		key := ""
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			key = n.Content[i-1].Value
		}
		if wanted(key, c) {
			return c
		}
		if v := find(c, wanted); v != nil {
			return v
		}
	}
	return nil
}

// guarded turns a panic of a library into an error: these parsers were written
// for text that a person wrote, and reach nil pointers on some that nobody
// would write.
func guarded(load func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read by the library: %v", r)
		}
	}()
	return load()
}

// relative shortens a path for a message.
func (l *loader) relative(path string) string {
	if rel, err := filepath.Rel(l.root, path); err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return path
}
