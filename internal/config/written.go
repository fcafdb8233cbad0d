package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Written is what stands in a configuration and the files that it includes, key by
// key, for telling what a reload changed.
type Written struct {
	values map[string]string // by path, as in Config.Line
	sum    string
}

// confidential are the keys whose values are never shown, wherever they stand, and
// sections in which everything may be an address with a secret in it.
var confidential = []string{"receivers", "alarm", "deadman", "audit", "auth", "sources", "sms", "feeds", "remote_write", "basic_auth", "authorization", "oauth2", "http_headers"}

func written(root *yaml.Node) Written {
	w := Written{values: map[string]string{}}
	w.walk(root, "")
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(w.values)) {
		_, _ = fmt.Fprintf(h, "%q: %q\n", path, w.values[path])
	}
	w.sum = hex.EncodeToString(h.Sum(nil))
	return w
}

func (w Written) walk(n *yaml.Node, path string) {
	join := func(step string) string {
		if path == "" {
			return step
		}
		return path + "." + step
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			w.walk(n.Content[i+1], join(n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			step := strconv.Itoa(i)
			if v := valueNode(item, "name"); v != nil && v.Value != "" {
				step = v.Value
			}
			w.walk(item, join(step))
		}
	case yaml.AliasNode:
		w.walk(n.Alias, path)
	case yaml.ScalarNode:
		w.values[path] = n.Value
	case yaml.DocumentNode:
	}
}

// Sum is the SHA-256, in hexadecimal, of all that is written.
func (w Written) Sum() string { return w.sum }

// Changes says what is written differently in a later configuration, a line for
// each key, at most limit of them. A value that could be a secret is not shown.
func (w Written) Changes(later Written, limit int) []string {
	paths := maps.Clone(w.values)
	maps.Copy(paths, later.values)
	var all []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		before, had := w.values[path]
		after, has := later.values[path]
		switch {
		case had && has && before == after:
			continue
		case !has:
			all = append(all, fmt.Sprintf("- %s: %s", path, display(path, before)))
		case !had:
			all = append(all, fmt.Sprintf("+ %s: %s", path, display(path, after)))
		case hidden(path):
			all = append(all, fmt.Sprintf("~ %s: (changed)", path))
		default:
			all = append(all, fmt.Sprintf("~ %s: %s -> %s", path, display(path, before), display(path, after)))
		}
	}
	if over := len(all) - limit; over > 0 {
		all = append(all[:limit], fmt.Sprintf("and %d more", over))
	}
	return all
}

// maxDisplayed is how many characters of a value are shown.
const maxDisplayed = 80

func display(path, value string) string {
	if hidden(path) {
		return "(not shown)"
	}
	if r := []rune(value); len(r) > maxDisplayed {
		value = string(r[:maxDisplayed]) + "…"
	}
	return strconv.Quote(value)
}

func hidden(path string) bool {
	for step := range strings.SplitSeq(path, ".") {
		step = strings.ToLower(step)
		if slices.Contains(confidential, step) || slices.ContainsFunc([]string{"password", "secret", "token", "credential", "api_key", "url"}, func(word string) bool { return strings.Contains(step, word) }) {
			return true
		}
	}
	return false
}
