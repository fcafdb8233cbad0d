package targets

import (
	"cmp"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The versions of OpenSLO. The second is what some exporters write for the
// first.
var openSLOVersions = []string{"openslo/v1", "openslo.com/v1"}

// openKinds are the kinds of document of OpenSLO v1.
var openKinds = []string{"SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"}

// open are the documents of OpenSLO in a file: SLOs, and what they refer to by
// kind and name.
type open struct {
	slos []*yaml.Node
	refs map[string]map[string]*yaml.Node
}

// add files a document under its kind and name.
func (r *reader) addOpen(o *open, doc *yaml.Node, kind string) {
	f := r.lenient(doc, kind, "apiVersion", "kind", "metadata", "spec")
	if f["spec"] == nil {
		r.fail(doc, "add spec:", "the %s has no spec", kind)
		return
	}
	if kind == "SLO" {
		o.slos = append(o.slos, doc)
		return
	}
	m := r.metadata(doc, f["metadata"], kind)
	if o.refs == nil {
		o.refs = map[string]map[string]*yaml.Node{}
	}
	if o.refs[kind] == nil {
		o.refs[kind] = map[string]*yaml.Node{}
	}
	if o.refs[kind][m.name] != nil {
		r.fail(doc, "rename one of them", "a second %s %q", kind, m.name)
	}
	o.refs[kind][m.name] = doc
}

// lenient returns the values of a mapping by key. A key that is not known is a
// warning: other tools may know it.
func (r *reader) lenient(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for name, p := range r.pairs(n, what, 4) {
		if !slices.Contains(known, name) {
			r.warn(p.key, suggest(name, known), "%s: the key %q means nothing here and is ignored", what, name)
			continue
		}
		out[name] = p.value
	}
	return out
}

// metadata of a document.
type metadata struct {
	name, display       string
	labels, annotations map[string]string
}

var labelName = regexp.MustCompile(`[^A-Za-z0-9_]`)

// metadata reads the metadata of a document. Values of labels may be lists,
// whose texts are joined by commas. A label that Prometheus does not take as a
// name gets underscores.
func (r *reader) metadata(parent, n *yaml.Node, what string) metadata {
	m := metadata{labels: map[string]string{}, annotations: map[string]string{}}
	if n == nil {
		r.fail(parent, "write metadata: {name: …}", "the %s has no metadata", what)
		return m
	}
	f := r.lenient(n, "metadata", "name", "displayName", "labels", "annotations")
	m.name, m.display = r.name(n, f["name"], "name"), r.text(f["displayName"], "displayName")
	if l := f["labels"]; l != nil {
		for name, p := range r.pairs(l, "labels", 4) {
			var values []string
			if p.value.Kind == yaml.SequenceNode {
				for _, v := range p.value.Content {
					values = append(values, r.text(resolve(v), "label "+name))
				}
			} else {
				values = []string{r.text(p.value, "label "+name)}
			}
			name = labelName.ReplaceAllString(name, "_")
			if slices.Contains(reserved, name) {
				r.fail(p.key, "choose another name", "the label %q is written by the rules themselves", name)
				continue
			}
			m.labels[name] = strings.Join(values, ",")
		}
	}
	m.annotations = r.texts(f["annotations"], "annotations", func(*yaml.Node) {})
	return m
}

// openTargets are the targets of the SLOs of a file.
func (r *reader) openTargets(o open) []Target {
	var out []Target
	for _, doc := range o.slos {
		mark := len(r.problems)
		ts := r.slo(o, doc)
		if !r.failed(mark) {
			out = append(out, ts...)
		}
	}
	return out
}

// slo reads an SLO: one target for each objective.
func (r *reader) slo(o open, doc *yaml.Node) []Target {
	top := r.pairs(doc, "SLO", 4)
	m := r.metadata(doc, top["metadata"].value, "SLO")
	spec := top["spec"].value
	f := r.lenient(spec, "spec", "description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies")
	t := Target{
		Format: "openslo/v1", Pos: r.pos(doc), Service: r.name(spec, f["service"], "service"),
		Description: strings.TrimSpace(r.text(f["description"], "description")), Labels: m.labels,
	}
	if s := o.refs["Service"][t.Service]; s != nil {
		sp := r.pairs(s, "Service", 4)
		sm := r.metadata(s, sp["metadata"].value, "Service")
		t.Labels = merge(sm.labels, t.Labels)
	}
	t.Period, t.Calendar = r.timeWindow(spec, f["timeWindow"])
	t.Alerting = Alerting{Name: alertName(t.Service, m.name), Annotations: openAnnotations(m.annotations)}
	r.hints(&t, m.annotations, doc)
	indicator := r.openIndicator(o, spec, f)
	if f["alertPolicies"] != nil {
		r.policies(o, &t, f["alertPolicies"])
	}
	method := r.text(f["budgetingMethod"], "budgetingMethod")
	if !slices.Contains([]string{"", "Occurrences", "Timeslices", "RatioTimeslices"}, method) {
		r.fail(f["budgetingMethod"], "write Occurrences, Timeslices or RatioTimeslices", "the budgeting method %q is not known", method)
	}
	return r.objectives(t, m, spec, openMethod{indicator, cmp.Or(method, "Occurrences")}, f["objectives"])
}

// openMethod is an indicator with the method by which its budget is counted.
type openMethod struct {
	indicator *yaml.Node // its spec
	method    string
}

// openAnnotations are the annotations of an alert that those of an SLO mean.
func openAnnotations(in map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range in {
		switch name {
		case "runbook", "runbook_url":
			out["runbook_url"] = v
		case "dashboard", "dashboard_url":
			out["dashboard_url"] = v
		}
	}
	return out
}

// hints reads what annotations say that OpenSLO has no key for.
func (r *reader) hints(t *Target, annotations map[string]string, doc *yaml.Node) {
	for name, v := range annotations {
		switch name {
		case "st/alerts":
			if v != "none" {
				r.fail(doc, "write none, or remove the annotation", "the annotation st/alerts: %q is not known", v)
			}
			t.Alerting.Page.Disable, t.Alerting.Ticket.Disable = true, true
		case "st/on-no-data":
			t.OnNoData = r.noData(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Line: doc.Line, Column: doc.Column})
		case "st/min-bad-events":
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				r.fail(doc, "write a whole number", "the annotation st/min-bad-events: %q is not a count", v)
			}
			t.MinBad = n
		}
	}
}

// openIndicator returns the spec of the indicator, inline or referred to.
func (r *reader) openIndicator(o open, spec *yaml.Node, f map[string]*yaml.Node) *yaml.Node {
	switch in, ref := f["indicator"], f["indicatorRef"]; {
	case (in == nil) == (ref == nil):
		r.fail(spec, "write indicator: with a spec, or indicatorRef: with a name", "the SLO needs one of indicator and indicatorRef")
	case in != nil:
		g := r.lenient(in, "indicator", "apiVersion", "kind", "metadata", "spec")
		if g["spec"] == nil {
			r.fail(in, "add spec:", "the indicator has no spec")
		}
		return g["spec"]
	default:
		doc := o.refs["SLI"][r.text(ref, "indicatorRef")]
		if doc == nil {
			r.fail(ref, r.candidates(o, "SLI", ref.Value), "there is no SLI %q in this file", ref.Value)
			return nil
		}
		return r.pairs(doc, "SLI", 4)["spec"].value
	}
	return nil
}

// candidates advises on a name that refers to nothing.
func (r *reader) candidates(o open, kind, name string) string {
	known := slices.Sorted(maps.Keys(o.refs[kind]))
	if len(known) == 0 {
		return "add a document of kind " + kind + " to the file"
	}
	return suggest(name, known)
}

var openDuration = regexp.MustCompile(`^([1-9][0-9]{0,5})([mhdwMQY])$`)

// openDurationOf reads a duration of OpenSLO. M, Q and Y are 30, 90 and 365
// days.
func openDurationOf(s string) (time.Duration, bool) {
	m := openDuration.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day, "M": 30 * day, "Q": 90 * day, "Y": 365 * day}[m[2]]
	return time.Duration(n) * unit, true
}

func (r *reader) openTime(n *yaml.Node, what string) time.Duration {
	s := r.text(n, what)
	if n != nil && n.Tag == "!!int" { // minutes, as the text of the specification allows
		s += "m"
	}
	d, ok := openDurationOf(s)
	if !ok && s != "0m" && s != "" {
		r.fail(n, "write a number and one of m (minute), h, d, w, M (month), Q, Y", "%s: %q is not a duration of OpenSLO", what, s)
	}
	return d
}

// timeWindow reads the one window of an SLO.
func (r *reader) timeWindow(spec, n *yaml.Node) (time.Duration, Calendar) {
	if n == nil {
		r.fail(spec, "write timeWindow: [{duration: 30d, isRolling: true}]", "the SLO has no timeWindow")
		return 0, Calendar{}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) != 1 {
		r.fail(n, "list exactly one window", "timeWindow is not a list of one")
		return 0, Calendar{}
	}
	w := resolve(n.Content[0])
	f := r.lenient(w, "timeWindow", "duration", "isRolling", "calendar")
	s := r.text(f["duration"], "duration")
	d := r.openTime(f["duration"], "duration")
	if d > 0 && d < time.Hour {
		r.warn(f["duration"], "write 1M for a month", "m is minutes: the window %s is shorter than an hour", s)
	}
	rolling := f["isRolling"] != nil && r.flag(f["isRolling"], "isRolling")
	if rolling || f["calendar"] == nil {
		if !rolling && f["isRolling"] != nil {
			r.fail(w, "add calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Madrid}", "a window that does not roll needs a calendar")
		}
		return d, Calendar{}
	}
	c := Calendar{Zone: time.UTC}
	switch s {
	case "1w", "7d":
		c.Unit, d = Week, 7*day
	case "1M":
		c.Unit, d = Month, 0
	case "1Q", "3M":
		c.Unit, d = Quarter, 0
	default:
		r.fail(f["duration"], "write 1w, 1M or 1Q", "a calendar window of %s is not known", s)
	}
	g := r.lenient(f["calendar"], "calendar", "startTime", "timeZone")
	c.Zone = r.zone(g["timeZone"])
	if start := r.text(g["startTime"], "startTime"); start != "" && !startsPeriod(start, c) {
		r.warn(g["startTime"], "periods begin with the month, the quarter, or on Monday", "the calendar does not begin at %s", start)
	}
	return d, c
}

// startsPeriod reports whether the text of an instant is the start of a period.
func startsPeriod(s string, c Calendar) bool {
	for _, form := range []string{"2006-01-02 15:04:05", time.RFC3339, "2006-01-02"} {
		if at, err := time.ParseInLocation(form, s, c.Zone); err == nil {
			begin, _, _ := c.Period(at)
			return begin.Equal(at)
		}
	}
	return false
}

// objectives makes a target of each objective.
func (r *reader) objectives(t Target, m metadata, spec *yaml.Node, how openMethod, n *yaml.Node) []Target {
	if n == nil || n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fail(spec, "write objectives: [{target: 0.999}]", "the SLO has no objectives")
		return nil
	}
	names := r.objectiveNames(m.name, n.Content)
	var out []Target
	for i, o := range n.Content {
		o = resolve(o)
		f := r.lenient(o, "an objective", "displayName", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow", "op", "value",
			"indicator", "indicatorRef", "compositeWeight")
		one := t
		one.Name = names[i]
		one.ID = one.Service + "-" + one.Name
		one.Alerting.Name = alertName(one.Service, one.Name)
		for _, key := range []string{"indicator", "indicatorRef", "compositeWeight"} {
			if f[key] != nil {
				r.fail(f[key], "write an SLO for each indicator", "composite SLOs are not known here")
			}
		}
		one.Objective = r.openObjective(o, f)
		if how.indicator != nil {
			one.SLI = r.openSLI(how, o, f)
		}
		out = append(out, one)
	}
	return out
}

// objectiveNames gives each objective a name: that of the SLO if there is one,
// else with its display name if these differ, else with its number.
func (r *reader) objectiveNames(slo string, nodes []*yaml.Node) []string {
	if len(nodes) == 1 {
		return []string{slo}
	}
	out := make([]string, len(nodes))
	distinct := map[string]bool{}
	for i, n := range nodes {
		out[i] = slug(r.text(r.pairs(resolve(n), "an objective", 4)["displayName"].value, "displayName"))
		if out[i] != "" {
			distinct[out[i]] = true
		}
	}
	for i := range out {
		if len(distinct) != len(nodes) {
			out[i] = strconv.Itoa(i)
		}
		out[i] = slo + "-" + out[i]
	}
	return out
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

func slug(s string) string {
	return strings.Trim(notWord.ReplaceAllString(strings.ToLower(s), "-"), "-")
}

// openObjective reads target or targetPercent.
func (r *reader) openObjective(o *yaml.Node, f map[string]*yaml.Node) string {
	switch share, pct := f["target"], f["targetPercent"]; {
	case (share == nil) == (pct == nil):
		r.fail(o, "write target: 0.999, or targetPercent: 99.9", "an objective needs one of target and targetPercent")
		return ""
	case pct != nil:
		return r.objective(o, pct)
	default:
		v := r.decimal(share, "target")
		if v == nil {
			return ""
		}
		if v.Sign() == 0 || v.Cmp(big.NewRat(1, 1)) > 0 {
			r.fail(share, "write a share such as 0.999, or targetPercent: 99.9", "the target %s is not a share", share.Value)
			return ""
		}
		return decimal(v.Mul(v, big.NewRat(100, 1)))
	}
}
