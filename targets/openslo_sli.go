package targets

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// openSLI reads the indicator of an objective.
func (r *reader) openSLI(how openMethod, o *yaml.Node, f map[string]*yaml.Node) SLI {
	g := r.lenient(how.indicator, "the indicator's spec", "description", "ratioMetric", "thresholdMetric")
	switch {
	case (g["ratioMetric"] == nil) == (g["thresholdMetric"] == nil):
		r.fail(how.indicator, "write ratioMetric: or thresholdMetric:", "the indicator needs one of ratioMetric and thresholdMetric")
		return SLI{}
	case g["thresholdMetric"] != nil:
		return r.thresholdMetric(how, g["thresholdMetric"], o, f)
	}
	for _, key := range []string{"op", "value"} {
		if f[key] != nil {
			r.warn(f[key], "remove it", "%s belongs to thresholdMetric and is ignored beside ratioMetric", key)
		}
	}
	s := r.ratioMetric(g["ratioMetric"])
	if how.method == "Occurrences" || s.Kind == "" {
		return s
	}
	every := r.sliceWindow(o, f)
	if how.method == "RatioTimeslices" {
		if s.ErrorRatio != "" {
			return SLI{Kind: KindSlices, Every: every, Slice: "min(1 - (" + s.ErrorRatio + "))"}
		}
		return SLI{Kind: KindSlices, Every: every, Slice: fmt.Sprintf("min((1 - (\n%[1]s\n) / ((%[2]s) > 0)) or ((%[2]s) == 0) + 1)", s.bad(), s.Total)}
	}
	n := f["timeSliceTarget"]
	if n == nil {
		r.fail(o, "write timeSliceTarget: 0.95, the share of good events that makes a slice good", "Timeslices need a timeSliceTarget")
		return SLI{}
	}
	v := r.decimal(n, "timeSliceTarget")
	if v == nil || v.Cmp(big.NewRat(1, 1)) > 0 {
		r.fail(n, "write a share up to 1", "timeSliceTarget is not a share")
		return SLI{}
	}
	if s.ErrorRatio != "" {
		return SLI{Kind: KindSlices, Every: every, Slice: fmt.Sprintf("min(1 - (%s) >= bool %s)", s.ErrorRatio, decimal(v))}
	}
	return SLI{Kind: KindSlices, Every: every, Slice: sliceOfEvents(s, v)}
}

// sliceWindow reads the length of a slice.
func (r *reader) sliceWindow(o *yaml.Node, f map[string]*yaml.Node) time.Duration {
	if f["timeSliceWindow"] == nil {
		r.fail(o, "write timeSliceWindow: 5m", "Timeslices need a timeSliceWindow")
		return time.Minute
	}
	return max(r.openTime(f["timeSliceWindow"], "timeSliceWindow"), time.Second)
}

// ratioMetric reads good or bad and total, or raw.
func (r *reader) ratioMetric(n *yaml.Node) SLI {
	f := r.lenient(n, "ratioMetric", "counter", "good", "bad", "total", "raw", "rawType")
	counter := f["counter"] != nil && r.flag(f["counter"], "counter")
	if f["raw"] != nil {
		q := r.metric(f["raw"], "raw", counter)
		switch t := r.text(f["rawType"], "rawType"); t {
		case "failure":
		case "success", "":
			q = "1 - (" + q + ")"
			if t == "" {
				r.fail(n, "write rawType: success or rawType: failure", "raw needs a rawType")
			}
		default:
			r.fail(f["rawType"], "write success or failure", "rawType: %q is not known", t)
		}
		return SLI{Kind: KindRaw, ErrorRatio: q}
	}
	s := SLI{Kind: KindEvents}
	if f["total"] == nil {
		r.fail(n, "write total: beside good: or bad:", "ratioMetric has no total")
		return SLI{}
	}
	s.Total = r.metric(f["total"], "total", counter)
	switch {
	case (f["good"] == nil) == (f["bad"] == nil):
		r.fail(n, "write either good: or bad:", "ratioMetric needs one of good and bad")
	case f["bad"] != nil:
		s.Error = r.metric(f["bad"], "bad", counter)
	default:
		s.Good = r.metric(f["good"], "good", counter)
	}
	return s
}

// thresholdMetric reads a gauge that is good while a comparison holds.
func (r *reader) thresholdMetric(how openMethod, n, o *yaml.Node, f map[string]*yaml.Node) SLI {
	q := r.source(n, "thresholdMetric")
	if f["op"] == nil || f["value"] == nil {
		r.fail(o, "write op: lte and value: 0.5 in the objective", "thresholdMetric needs op and value in each objective")
		return SLI{}
	}
	op, v := r.operator(f["op"]), r.decimal(f["value"], "value")
	s := SLI{Kind: KindSlices}
	if how.method != "Occurrences" {
		s.Every = r.sliceWindow(o, f)
	}
	if v == nil || op == "" || q == "" {
		return s
	}
	expr, err := windowed(q, false)
	if errors.Is(err, errNoRange) { // the value of this moment
		expr, err = expression(q)
	}
	if err != nil {
		r.fail(n, "try the query in Prometheus", "thresholdMetric: %v", err)
	}
	if how.method != "Occurrences" && !strings.Contains(expr, "{{.window}}") {
		// The worst moment does not spoil a slice: its average decides.
		expr = "avg_over_time((" + expr + ")[{{.window}}:])"
	}
	s.Slice = fmt.Sprintf("min((%s) %s bool %s)", expr, op, decimal(v))
	return s
}

// metric reads the query of a part of a ratio, as one with {{.window}}.
func (r *reader) metric(n *yaml.Node, what string, counter bool) string {
	q := r.source(n, what)
	if q == "" {
		return ""
	}
	out, err := windowed(q, counter)
	if errors.Is(err, errNoRange) {
		out, err = ranged(q, counter)
	}
	if err != nil {
		r.fail(n, "write the range as {{.window}}, as in sum(rate(x[{{.window}}]))", "%s: %v", what, err)
	}
	return out
}

// source reads metricSource: the query in its spec.
func (r *reader) source(n *yaml.Node, what string) string {
	f := r.lenient(n, what, "metricSource", "metricSourceRef")
	src := f["metricSource"]
	if src == nil {
		r.fail(n, "write metricSource: {type: Prometheus, spec: {query: …}}", "%s has no metricSource", what)
		return ""
	}
	g := r.lenient(src, "metricSource", "metricSourceRef", "type", "spec")
	if t := r.text(g["type"], "type"); t != "" && !strings.EqualFold(t, "prometheus") && !strings.EqualFold(t, "sloth") {
		r.fail(g["type"], "only series of Prometheus can be measured", "a metric source of type %q cannot be asked", t)
		return ""
	}
	if g["spec"] == nil {
		r.fail(src, "write spec: {query: …}", "the metricSource has no spec")
		return ""
	}
	h := r.lenient(g["spec"], "the metricSource's spec", "query", "queryType", "source", "promql")
	for _, key := range []string{"query", "promql"} {
		if h[key] != nil {
			return strings.TrimSpace(r.text(h[key], key))
		}
	}
	r.fail(g["spec"], "write query: with PromQL", "the metricSource has no query")
	return ""
}

// placeholders are the ways in which a window is written.
var placeholders = regexp.MustCompile(`\{\{-?\s*\.?[wW]indow\s*-?\}\}|\$\{?window\}?|\[window\]`)

// errNoRange is returned for a query that has neither a placeholder nor a range.
var errNoRange = errors.New("the query has no range")

// windowed puts {{.window}} in the place of whatever stands for the window: a
// placeholder, else the range of every range selector.
func windowed(query string, _ bool) (string, error) {
	const stand = "7m13s" // a range that nobody writes
	q := placeholders.ReplaceAllStringFunc(query, func(s string) string {
		if s == "[window]" {
			return "[" + stand + "]"
		}
		return stand
	})
	e, err := parser.NewParser(parser.Options{}).ParseExpr(q)
	if err != nil {
		return "", fmt.Errorf("not valid PromQL: %w", err)
	}
	if e.Type() != parser.ValueTypeVector {
		return "", fmt.Errorf("gives a %s, not an instant vector", parser.DocumentedType(e.Type()))
	}
	d, _ := model.ParseDuration(stand)
	found := q != query
	if !found {
		parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
			if m, ok := n.(*parser.MatrixSelector); ok {
				m.Range, m.RangeExpr, found = time.Duration(d), nil, true
			}
			return nil
		})
	}
	if !found {
		return "", errNoRange
	}
	return strings.ReplaceAll(escape(e.String()), stand, "{{.window}}"), nil
}

// ranged makes a query over the window of one that has no range: a counter's
// innermost selectors become rates, a gauge is averaged.
func ranged(query string, counter bool) (string, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return "", fmt.Errorf("not valid PromQL: %w", err)
	}
	if !counter {
		return "avg_over_time((" + escape(e.String()) + ")[{{.window}}:])", nil
	}
	type span struct{ from, to int }
	var spans []span
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			spans = append(spans, span{int(v.PosRange.Start), int(v.PosRange.End)})
		}
		return nil
	})
	if len(spans) == 0 {
		return "", errors.New("the query selects no series")
	}
	var b strings.Builder
	at := 0
	for _, s := range spans { // in the order of the text
		if s.from < at {
			return "", errors.New("the query cannot be taken apart")
		}
		sel := query[s.from:s.to]
		body, tail := sel, ""
		if i := strings.LastIndex(sel, "}"); i >= 0 {
			body, tail = sel[:i+1], sel[i+1:]
		} else if i := strings.IndexAny(sel, " \t\n@"); i >= 0 {
			body, tail = sel[:i], sel[i:]
		}
		b.WriteString(escape(query[at:s.from]))
		b.WriteString("rate(" + escape(body) + "[{{.window}}]" + tail + ")")
		at = s.to
	}
	b.WriteString(escape(query[at:]))
	out := b.String()
	// A bare selector may match many series: what counts is their sum.
	if _, bare := e.(*parser.VectorSelector); bare {
		out = "sum(" + out + ")"
	}
	filled, err := render(out, vars{"window": "5m"})
	if err == nil {
		_, err = expression(filled)
	}
	return out, err
}
