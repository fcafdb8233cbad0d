package targets

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// reader reads the nodes of one file and collects what is wrong with them.
type reader struct {
	file     string
	problems []Problem
}

func (r *reader) pos(n *yaml.Node) Pos { return Pos{File: r.file, Line: n.Line, Col: n.Column} }

// fail reports a mistake at a node.
func (r *reader) fail(n *yaml.Node, advice, format string, args ...any) {
	r.problems = append(r.problems, Problem{Pos: r.pos(n), Message: fmt.Sprintf(format, args...), Advice: advice})
}

// warn reports something at a node that does not keep the file from being used.
func (r *reader) warn(n *yaml.Node, advice, format string, args ...any) {
	r.problems = append(r.problems, Problem{Pos: r.pos(n), Message: fmt.Sprintf(format, args...), Advice: advice, Warning: true})
}

// failed reports whether anything but warnings was found since mark.
func (r *reader) failed(mark int) bool {
	for _, p := range r.problems[mark:] {
		if !p.Warning {
			return true
		}
	}
	return false
}

// documents returns the root nodes of the file's documents, empty ones left
// out. Documents before a syntax error are returned.
func (r *reader) documents(content []byte) []*yaml.Node {
	var docs []*yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(content)))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			line, msg := syntaxError(err)
			r.problems = append(r.problems, Problem{
				Pos:     Pos{File: r.file, Line: line, Col: 1},
				Message: msg,
				Advice:  "check the indentation and the quotes around this line",
			})
			return docs
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 && !null(n.Content[0]) {
			if list := n.Content[0]; list.Kind == yaml.SequenceNode && len(list.Content) > 0 && resolve(list.Content[0]).Kind == yaml.MappingNode {
				for _, item := range list.Content {
					docs = append(docs, resolve(item))
				}
				continue
			}
			docs = append(docs, resolve(n.Content[0]))
		}
	}
}

// syntaxError takes the line out of an error of the YAML library, which says
// "yaml: line 3: did not find expected key".
func syntaxError(err error) (line int, message string) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if n, m, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(n); err == nil && line > 0 {
				return line, m
			}
		}
	}
	return 1, msg
}

// resolve follows an alias to its anchor.
func resolve(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// pair is a key and its value.
type pair struct{ key, value *yaml.Node }

// pairs returns the keys and values of a mapping, merge keys resolved, values
// of null left out. What is not a mapping is reported.
func (r *reader) pairs(n *yaml.Node, what string, depth int) map[string]pair {
	out := map[string]pair{}
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		if !null(n) {
			r.fail(n, "write keys and values", "%s is not a mapping", what)
		}
		return out
	}
	var merged []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], resolve(n.Content[i+1])
		switch {
		case k.Kind != yaml.ScalarNode:
			r.fail(k, "write a name", "a key of %s is not a text", what)
		case k.Tag == "!!merge":
			if merged = []*yaml.Node{v}; v.Kind == yaml.SequenceNode {
				merged = v.Content
			}
		case seen[k.Value]:
			r.fail(k, "keep one of them", "%s has the key %q twice", what, k.Value)
		default:
			seen[k.Value] = true
			if !null(v) {
				out[k.Value] = pair{k, v}
			}
		}
	}
	for _, m := range merged {
		if depth == 0 {
			r.fail(n, "write the keys here", "%s merges too many levels", what)
			break
		}
		for name, p := range r.pairs(m, what, depth-1) {
			if !seen[name] {
				seen[name], out[name] = true, p
			}
		}
	}
	return out
}

// fields returns the values of a mapping by key; keys that are not known are
// reported.
func (r *reader) fields(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for name, p := range r.pairs(n, what, 4) {
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		if !ok {
			r.fail(p.key, suggest(name, known), "%s has no key %q", what, name)
			continue
		}
		out[name] = p.value
	}
	return out
}

// text returns a scalar as text; numbers and booleans read as written. An
// absent node is "".
func (r *reader) text(n *yaml.Node, what string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "write a text", "%s is not a text", what)
		return ""
	}
	return n.Value
}

// flag returns a boolean. An absent node is false.
func (r *reader) flag(n *yaml.Node, what string) bool {
	switch {
	case n == nil:
		return false
	case n.Kind == yaml.ScalarNode && n.Tag == "!!bool":
		return strings.EqualFold(n.Value, "true")
	}
	r.fail(n, "write true or false", "%s is not true or false", what)
	return false
}

// texts returns a mapping of texts, and nil for an absent node. Each key is
// shown to check.
func (r *reader) texts(n *yaml.Node, what string, check func(key *yaml.Node)) map[string]string {
	if n == nil {
		return nil
	}
	out := map[string]string{}
	for name, p := range r.pairs(n, what, 4) {
		check(p.key)
		out[name] = r.text(p.value, what+" "+name)
	}
	return out
}

// duration returns a duration in Prometheus' notation.
func (r *reader) duration(n *yaml.Node, what string) time.Duration {
	s := r.text(n, what)
	d, err := model.ParseDuration(s)
	if err != nil {
		r.fail(n, "write a duration as 30d, 1h or 5m", "%s: %q is not a duration", what, s)
		return 0
	}
	return time.Duration(d)
}

// decimals are the numbers that are read: without exponents and fractions,
// which big.Rat would also take, up to more digits than fit the memory.
var decimals = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,18})?$`)

// decimal returns a decimal number exactly as written.
func (r *reader) decimal(n *yaml.Node, what string) *big.Rat {
	s := r.text(n, what)
	if !decimals.MatchString(s) {
		r.fail(n, "write a number as 99.9", "%s: %q is not a decimal number", what, s)
		return nil
	}
	v, _ := new(big.Rat).SetString(s)
	return v
}

// suggest names the known word that is nearest to a mistyped one.
func suggest(word string, known []string) string {
	best, dist := "", len(word)/2+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is the number of letters to insert, delete or replace between two
// words.
func distance(a, b string) int {
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
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
