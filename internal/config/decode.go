package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// The decoder fills structs from nodes and records everything that is wrong on
// the way, instead of stopping at the first mistake. A struct's fields carry
// the tag `yaml:"key"`. Every key without a field is a problem.

// at is a value with the place where it was written. The node is nil if it was
// not written.
type at[T any] struct {
	v T
	n *yaml.Node
}

// given reports whether the value was written.
func (a at[T]) given() bool { return a.n != nil }

// or returns the value, and fallback if it was not written.
func (a at[T]) or(fallback T) T {
	if a.n == nil {
		return fallback
	}
	return a.v
}

type (
	text     = at[string]
	number   = at[int]
	toggle   = at[bool]
	duration = at[time.Duration]
)

// where is embedded by structs that want to know where they were written.
type where struct{ Node *yaml.Node }

// table is a mapping with free keys, in the order of the file.
type table[V any] []pair[V]

type pair[V any] struct {
	Key   text
	Value V
}

// raw is a section that a library reads.
type raw struct{ n *yaml.Node }

// nodeDecoder is implemented by values that read themselves. what names them in
// messages.
type nodeDecoder interface {
	decodeNode(l *loader, n *yaml.Node, what string)
}

func (r *raw) decodeNode(_ *loader, n *yaml.Node, _ string) { r.n = n }

func (a *at[T]) decodeNode(l *loader, n *yaml.Node, what string) {
	if n.Kind != yaml.ScalarNode {
		l.problem(n, "write one value", "%s must be %s, not a %s", what, scalarName(a.v), kindName(n))
		return
	}
	if isNull(n) {
		l.problem(n, "write "+scalarName(a.v)+" after the colon, or remove the key", "%s has no value", what)
		return
	}
	if l.scalar(n, any(&a.v), what) {
		a.n = n
	}
}

func (t *table[V]) decodeNode(l *loader, n *yaml.Node, what string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.problem(n, "write `name: value` lines", "%s must be a mapping, not a %s", what, kindName(n))
		return
	}
	for k, v := range pairs(n) {
		p := pair[V]{Key: text{v: k.Value, n: k}}
		l.decode(v, reflect.ValueOf(&p.Value).Elem(), strconv.Quote(k.Value))
		*t = append(*t, p)
	}
}

// scalarName says what a scalar must be.
func scalarName(v any) string {
	switch v.(type) {
	case int:
		return "a number"
	case bool:
		return "true or false"
	case time.Duration:
		return "a duration such as 5m or 1h30m"
	}
	return "a text"
}

// scalar reads one scalar.
func (l *loader) scalar(n *yaml.Node, out any, what string) bool {
	switch out := out.(type) {
	case *string:
		*out = n.Value
	case *bool:
		if n.Value != "true" && n.Value != "false" {
			l.problem(n, "write true or false", "%s is true or false, not %q", what, n.Value)
			return false
		}
		*out = n.Value == "true"
	case *int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			l.problem(n, "write a whole number", "%s is a number, not %q", what, n.Value)
			return false
		}
		*out = i
	case *time.Duration:
		d, err := model.ParseDuration(n.Value)
		if err != nil {
			l.problem(n, "write a number and a unit: ms, s, m, h, d, w or y, as in 90s or 1h30m", "%s is a duration, not %q", what, n.Value)
			return false
		}
		*out = time.Duration(d)
	}
	return true
}

// decode reads a node into a value.
func (l *loader) decode(n *yaml.Node, out reflect.Value, what string) {
	if d, ok := reflect.TypeAssert[nodeDecoder](out.Addr()); ok {
		d.decodeNode(l, n, what)
		return
	}
	switch out.Kind() { //nolint:exhaustive // the kinds that the file's structs are made of
	case reflect.Slice:
		l.decodeList(n, out, what)
	case reflect.Struct:
		l.decodeStruct(n, out, what)
	default:
		panic("no decoder for " + out.Type().String())
	}
}

func (l *loader) decodeList(n *yaml.Node, out reflect.Value, what string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		advice := "write it as a list, with a dash before each entry"
		if n.Kind == yaml.ScalarNode {
			advice = "write it as [" + n.Value + "]"
		}
		l.problem(n, advice, "%s must be a list, not a %s", what, kindName(n))
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		l.decode(item, out.Index(i), "an entry of "+what)
	}
}

func (l *loader) decodeStruct(n *yaml.Node, out reflect.Value, what string) {
	fields := structFields(out.Type())
	if f, ok := out.Type().FieldByName("where"); ok {
		// The field of an embedded type can be set though its type cannot.
		out.FieldByIndex(append(f.Index, 0)).Set(reflect.ValueOf(n))
	}
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.problem(n, "write its keys: "+strings.Join(fieldNames(fields), ", "), "%s must be a mapping, not a %s", what, kindName(n))
		return
	}
	for k, v := range pairs(n) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == k.Value })
		if i < 0 {
			l.problem(k, didYouMean(k.Value, fieldNames(fields), "remove it"), "unknown key %q in %s", k.Value, what)
			continue
		}
		l.decode(v, out.Field(fields[i].index), k.Value)
	}
}

// field is one key of a struct.
type field struct {
	name  string
	index int
}

// structFields returns the keys of a struct, in order.
func structFields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			out = append(out, field{name, i})
		}
	}
	return out
}

func fieldNames(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}
