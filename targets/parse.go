package targets

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const (
	slothVersion   = "prometheus/v1"
	windowsVersion = "sloth.slok.dev/v1"
	windowsKind    = "AlertWindows"
)

// reserved are the labels by which rules and routing find a target.
var reserved = []string{"sloth_id", "sloth_service", "sloth_slo", "sloth_window", "sloth_severity", "st", "st_tier", "alertname", "alertstate"}

// names are what Sloth allows as a service's and as a target's name.
var names = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)

// Parse reads a file of service targets and alert windows. Everything that is
// wrong with it is returned at once, in the order of the file; name is the file
// that the positions name. What has a mistake is left out of the results.
func Parse(name string, content []byte) ([]Target, []Windows, []Problem) {
	r := &reader{file: name}
	var (
		targets []Target
		windows []Windows
	)
	var slos open
	for _, doc := range r.documents(content) {
		head := map[string]string{}
		if doc.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(doc.Content); i += 2 {
				head[doc.Content[i].Value] = doc.Content[i+1].Value
			}
		}
		switch {
		case doc.Kind != yaml.MappingNode:
			r.fail(doc, "start the file with version: "+slothVersion, "the document is not a mapping")
		case head["version"] == slothVersion:
			targets = append(targets, r.spec(doc)...)
		case slices.Contains(openSLOVersions, head["apiVersion"]) && slices.Contains(openKinds, head["kind"]):
			r.addOpen(&slos, doc, head["kind"])
		case head["kind"] == ownKind && head["apiVersion"] == ownVersion:
			if t, ok := r.own(doc); ok {
				targets = append(targets, t)
			}
		case head["kind"] == windowsKind && head["apiVersion"] == windowsVersion:
			if w, ok := r.windows(doc); ok {
				windows = append(windows, w)
			}
		default:
			r.unknown(doc, head)
		}
	}
	targets = append(targets, r.openTargets(slos)...)
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Message, b.Message))
	})
	// What several SLOs refer to is read more than once.
	return targets, windows, slices.Compact(r.problems)
}

// unknown reports a document of a kind that is not read.
func (r *reader) unknown(doc *yaml.Node, head map[string]string) {
	advice := fmt.Sprintf("write version: %s, or apiVersion: %s with kind: %s, or %s with %s", slothVersion, ownVersion, ownKind, windowsVersion, windowsKind)
	switch {
	case strings.HasPrefix(head["apiVersion"], "openslo"):
		r.fail(doc, "write apiVersion: openslo/v1 and one of the kinds "+strings.Join(openKinds, ", "), "kind %q of %s is not read", head["kind"], head["apiVersion"])
	case head["version"] != "":
		r.fail(doc, advice, "version %q is not known", head["version"])
	case head["kind"] != "":
		r.fail(doc, advice, "kind %q of apiVersion %q is not known", head["kind"], head["apiVersion"])
	default:
		r.fail(doc, advice, "the document does not say what it is")
	}
}

// spec reads a Sloth specification.
func (r *reader) spec(doc *yaml.Node) []Target {
	f := r.fields(doc, "the specification", "version", "service", "labels", "slos", "slo_plugins")
	service := r.name(doc, f["service"], "service")
	labels := r.labels(f["labels"])
	r.plugins(f["slo_plugins"])
	slos := f["slos"]
	if slos == nil || slos.Kind != yaml.SequenceNode || len(slos.Content) == 0 {
		r.fail(doc, "list at least one target under slos:", "the specification has no targets")
		return nil
	}
	seen := map[string]bool{}
	var out []Target
	for _, n := range slos.Content {
		mark := len(r.problems)
		t := r.target(resolve(n), service, labels)
		if seen[t.Name] {
			r.fail(n, "give each target its own name", "the target %q is there twice", t.Name)
		}
		seen[t.Name] = true
		if service != "" && !r.failed(mark) {
			out = append(out, t)
		}
	}
	return out
}

// target reads one entry of slos.
func (r *reader) target(n *yaml.Node, service string, common map[string]string) Target {
	f := r.fields(n, "the target", "name", "description", "objective", "labels", "sli", "alerting", "plugins", "slo_plugins")
	t := Target{
		Format:      slothVersion,
		Service:     service,
		Name:        r.name(n, f["name"], "name"),
		Description: strings.TrimSpace(r.text(f["description"], "description")),
		Labels:      merge(common, r.labels(f["labels"])),
		Pos:         r.pos(n),
	}
	t.ID = t.Service + "-" + t.Name
	t.Objective = r.objective(n, f["objective"])
	r.plugins(f["plugins"])
	r.plugins(f["slo_plugins"])
	if f["sli"] == nil {
		r.fail(n, "write sli: {events: {error_query: …, total_query: …}}", "the target has no sli")
	} else {
		t.SLI = r.sli(f["sli"])
	}
	t.Alerting = r.alerting(n, f["alerting"])
	return t
}

// objective reads the share of good events in percent.
func (r *reader) objective(target, n *yaml.Node) string {
	if n == nil {
		r.fail(target, "write objective: 99.9", "the target has no objective")
		return ""
	}
	v := r.decimal(n, "objective")
	hundred := big.NewRat(100, 1)
	switch {
	case v == nil:
		return ""
	case v.Sign() == 0 || v.Cmp(hundred) > 0:
		r.fail(n, "write a percentage above 0 and up to 100", "the objective %s is not a percentage", n.Value)
		return ""
	case v.Cmp(hundred) == 0:
		r.warn(n, "an objective below 100 leaves a budget that changes and accidents may spend", "an objective of 100 alerts on every single error")
	}
	return decimal(v)
}

// sli reads how events are counted.
func (r *reader) sli(n *yaml.Node) SLI {
	f := r.fields(n, "sli", "events", "raw", "plugin")
	if p := f["plugin"]; p != nil {
		id := r.text(r.fields(p, "plugin", "id", "options")["id"], "id")
		r.fail(p, "write the plugin's queries under sli.events or sli.raw", "the SLI plugin %q would run foreign code, which is not done here", id)
		return SLI{}
	}
	switch {
	case (f["events"] == nil) == (f["raw"] == nil):
		r.fail(n, "write either events or raw", "sli needs one of events and raw")
	case f["raw"] != nil:
		q := r.fields(f["raw"], "raw", "error_ratio_query")
		return SLI{Kind: KindRaw, ErrorRatio: r.query(f["raw"], q, "error_ratio_query")}
	default:
		q := r.fields(f["events"], "events", "error_query", "total_query")
		return SLI{Kind: KindEvents, Error: r.query(f["events"], q, "error_query"), Total: r.query(f["events"], q, "total_query")}
	}
	return SLI{}
}

// query reads a query with its window.
func (r *reader) query(parent *yaml.Node, fields map[string]*yaml.Node, key string) string {
	n := fields[key]
	if n == nil {
		r.fail(parent, "write "+key+": sum(rate(…[{{.window}}]))", "%s is missing", key)
		return ""
	}
	q := strings.TrimSpace(r.text(n, key))
	a, err := render(q, vars{"window": "5m"})
	if err != nil {
		r.fail(n, "use {{.window}} for the range, as in rate(x[{{.window}}])", "%s: %v", key, err)
		return ""
	}
	if b, err := render(q, vars{"window": "7m"}); err != nil || a == b {
		r.fail(n, "use {{.window}} for the range, as in rate(x[{{.window}}])", "%s does not use {{.window}}", key)
		return ""
	}
	if _, err := expression(a); err != nil {
		r.fail(n, "try the query in Prometheus with 5m for the window", "%s: %v", key, err)
		return ""
	}
	return q
}

// vars are what stands in a query for what is not known yet.
type vars map[string]string

// render fills them in.
func render(query string, v vars) (string, error) {
	t, err := template.New("query").Option("missingkey=error").Parse(query)
	if err != nil {
		return "", fmt.Errorf("read the template: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("fill the window in: %w", err)
	}
	return b.String(), nil
}

// expression checks a query and returns it as Prometheus writes it, without
// comments, on one line.
func expression(query string) (string, error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return "", fmt.Errorf("not valid PromQL: %w", err)
	}
	if e.Type() != parser.ValueTypeVector {
		return "", fmt.Errorf("gives a %s, not an instant vector", parser.DocumentedType(e.Type()))
	}
	return e.String(), nil
}

// alerting reads the alerts' names, labels and annotations.
func (r *reader) alerting(target, n *yaml.Node) Alerting {
	if n == nil {
		r.fail(target, "write alerting: {name: …}, or disable both of page_alert and ticket_alert", "the target has no alerting")
		return Alerting{}
	}
	f := r.fields(n, "alerting", "name", "labels", "annotations", "page_alert", "ticket_alert")
	a := Alerting{
		Name:        r.text(f["name"], "name"),
		Labels:      r.labels(f["labels"]),
		Annotations: r.annotations(f["annotations"]),
		Page:        r.meta(f["page_alert"], "page_alert"),
		Ticket:      r.meta(f["ticket_alert"], "ticket_alert"),
	}
	if a.Name == "" && (!a.Page.Disable || !a.Ticket.Disable) {
		r.fail(n, "write name: under alerting, the alertname of the target's alerts", "the alerts have no name")
	}
	return a
}

// meta reads page_alert or ticket_alert.
func (r *reader) meta(n *yaml.Node, what string) AlertMeta {
	if n == nil {
		return AlertMeta{}
	}
	f := r.fields(n, what, "disable", "labels", "annotations")
	return AlertMeta{
		Disable:     r.flag(f["disable"], "disable"),
		Labels:      r.labels(f["labels"]),
		Annotations: r.annotations(f["annotations"]),
	}
}

// labels reads labels, none of them reserved.
func (r *reader) labels(n *yaml.Node) map[string]string {
	return r.texts(n, "labels", func(key *yaml.Node) {
		switch {
		case !model.UTF8Validation.IsValidLabelName(key.Value) || key.Value == model.MetricNameLabel:
			r.fail(key, "use letters, digits and underscores", "%q is not a label name", key.Value)
		case slices.Contains(reserved, key.Value):
			r.fail(key, "choose another name", "the label %q is written by the rules themselves", key.Value)
		}
	})
}

// annotations reads annotations.
func (r *reader) annotations(n *yaml.Node) map[string]string {
	return r.texts(n, "annotations", func(key *yaml.Node) {
		if !model.UTF8Validation.IsValidLabelName(key.Value) {
			r.fail(key, "use letters, digits and underscores", "%q is not an annotation name", key.Value)
		}
	})
}

// name reads the name of a service or a target.
func (r *reader) name(parent, n *yaml.Node, what string) string {
	if n == nil {
		r.fail(parent, "write "+what+": followed by a short name", "%s is missing", what)
		return ""
	}
	s := r.text(n, what)
	if !names.MatchString(s) || len(s) > 100 {
		r.fail(n, "use letters, digits, hyphens, underscores and dots", "%s: %q is not a name", what, s)
		return ""
	}
	return s
}

// plugins refuses SLO plugins.
func (r *reader) plugins(n *yaml.Node) {
	if n != nil {
		r.fail(n, "remove the key; write what the plugins add as rules of your own", "SLO plugins would run foreign code, which is not done here")
	}
}

// windows reads an AlertWindows catalogue.
func (r *reader) windows(doc *yaml.Node) (Windows, bool) {
	mark := len(r.problems)
	f := r.fields(doc, "the catalogue", "apiVersion", "kind", "metadata", "spec")
	w := Windows{Pos: r.pos(doc)}
	if f["metadata"] != nil {
		w.Name = r.text(r.fields(f["metadata"], "metadata", "name", "labels", "annotations")["name"], "name")
	}
	if f["spec"] == nil {
		r.fail(doc, "write spec: {sloPeriod: 30d, page: …, ticket: …}", "the catalogue has no spec")
		return w, false
	}
	at := map[string]*yaml.Node{}
	spec := r.section(f["spec"], "spec", at, "", "sloPeriod", "page", "ticket")
	if spec["sloPeriod"] != nil {
		w.Period = r.duration(spec["sloPeriod"], "sloPeriod")
	}
	for _, part := range []struct {
		key         string
		quick, slow *Window
	}{{"page", &w.PageFast, &w.PageSlow}, {"ticket", &w.TicketFast, &w.TicketSlow}} {
		if spec[part.key] == nil {
			continue
		}
		s := r.section(spec[part.key], part.key, at, part.key+".", "quick", "slow")
		for key, dst := range map[string]*Window{"quick": part.quick, "slow": part.slow} {
			if s[key] != nil {
				*dst = r.window(s[key], at, part.key+"."+key)
			}
		}
	}
	if r.failed(mark) {
		return w, false
	}
	for _, flaw := range w.check() {
		r.fail(cmp.Or(at[flaw.field], doc), flaw.advice, "%s: %s", flaw.field, flaw.message)
	}
	if w.Name == "" {
		w.Name = fmt.Sprintf("%s:%d", r.file, doc.Line)
	}
	return w, !r.failed(mark)
}

// section returns the fields of a mapping, all of which must be there, and
// notes their nodes under their paths.
func (r *reader) section(n *yaml.Node, what string, at map[string]*yaml.Node, prefix string, keys ...string) map[string]*yaml.Node {
	f := r.fields(n, what, keys...)
	for _, k := range keys {
		if f[k] == nil {
			r.fail(n, "add it; an AlertWindows catalogue states all of its windows", "%s has no %s", what, k)
			continue
		}
		at[prefix+k] = f[k]
	}
	return f
}

// window reads one tier.
func (r *reader) window(n *yaml.Node, at map[string]*yaml.Node, path string) Window {
	var w Window
	s := r.section(n, path, at, path+".", "errorBudgetPercent", "shortWindow", "longWindow")
	if v := s["errorBudgetPercent"]; v != nil {
		w.BudgetPercent = r.decimal(v, "errorBudgetPercent")
	}
	if v := s["shortWindow"]; v != nil {
		w.Short = r.duration(v, "shortWindow")
	}
	if v := s["longWindow"]; v != nil {
		w.Long = r.duration(v, "longWindow")
	}
	return w
}

// merge joins sets of labels; later ones win.
func merge(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, s := range sets {
		maps.Copy(out, s)
	}
	return out
}
