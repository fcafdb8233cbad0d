package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readAll reads the main file and what it includes into one mapping.
func (l *loader) readAll() *yaml.Node {
	root := l.readFile(l.main, l.main, nil)
	if root == nil {
		return nil
	}
	var include struct {
		Patterns []text `yaml:"include"`
	}
	if v := valueNode(root, "include"); v != nil {
		quiet := len(l.problems)
		l.decodeNodeInto(v, &include.Patterns, "include")
		l.problems = l.problems[:quiet] // the file's own decoding reports them
	}
	seen := []string{filepath.Clean(l.main)}
	for _, pattern := range include.Patterns {
		for _, path := range l.glob(pattern) {
			if slices.Contains(seen, filepath.Clean(path)) {
				continue
			}
			seen = append(seen, filepath.Clean(path))
			included := l.readFile(path, path, pattern.n)
			if included == nil {
				continue
			}
			if k := keyNode(included, "include"); k != nil {
				l.problem(k, "list these files under include in "+l.main, "an included file cannot include others")
				drop(included, "include")
			}
			l.mergeInto(root, included)
		}
	}
	return root
}

// readFile reads and parses one file. A file that cannot be read is a problem
// at the node that names it.
func (l *loader) readFile(path, name string, named *yaml.Node) *yaml.Node {
	content, err := l.read(path)
	if err != nil {
		if named != nil {
			l.problem(named, "correct the name, or make the file readable", "%s cannot be read: %v", name, err)
		} else {
			l.problems = append(l.problems, Problem{
				File: name, Message: "the configuration cannot be read: " + err.Error(),
				Advice: "name an existing file; `watchbill init DIR` writes one to start with",
			})
		}
		return nil
	}
	return l.parse(l.newSource(name, content), content)
}

// glob returns the files that a pattern names, relative to the file that states
// it, sorted. A plain name must exist; a pattern may match nothing, which is a
// doubt.
func (l *loader) glob(pattern text) []string {
	if !pattern.given() {
		return nil
	}
	path := l.resolve(pattern.n, pattern.v)
	if !strings.ContainsAny(pattern.v, `*?[`) {
		if _, err := os.Stat(path); err != nil {
			l.problem(pattern.n, "correct the name: it is relative to the folder of the file it stands in",
				"%s cannot be read: %v", pattern.v, plainFileError(err))
			return nil
		}
		return []string{path}
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		l.problem(pattern.n, "close the bracket, or write it as a plain name", "%q is not a pattern of file names", pattern.v)
		return nil
	}
	if len(matches) == 0 {
		l.warn(pattern.n, "it is relative to the folder of the file it stands in; remove it if there are none yet", "%q matches no file", pattern.v)
	}
	slices.Sort(matches)
	return matches
}

// mergeInto adds an included mapping to another: lists append, mappings merge,
// and a value set in both is a problem that points at both.
func (l *loader) mergeInto(into, from *yaml.Node) {
	for k, v := range pairs(from) {
		old := valueNode(into, k.Value)
		switch {
		case old == nil:
			into.Content = append(into.Content, k, v)
		case isNull(v):
		case isNull(old):
			into.Content[slices.Index(into.Content, old)] = v
		case old.Kind == yaml.MappingNode && v.Kind == yaml.MappingNode:
			l.mergeInto(old, v)
		case old.Kind == yaml.SequenceNode && v.Kind == yaml.SequenceNode:
			old.Content = append(old.Content, v.Content...)
		default:
			l.problem(k, "it is also set at "+l.place(keyNode(into, k.Value))+": keep one of the two", "%q is set twice", k.Value)
		}
	}
}

// drop removes a key from a mapping.
func drop(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}
