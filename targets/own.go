package targets

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

const (
	ownVersion = "watchbill/v1"
	ownKind    = "Target"
)

// ResponseBounds are the times within which an incident can be asked to be
// acknowledged or resolved: the buckets of the daemon's histograms.
func ResponseBounds() []time.Duration {
	const m, h = time.Minute, time.Hour
	return []time.Duration{m, 2 * m, 5 * m, 10 * m, 15 * m, 30 * m, h, 2 * h, 4 * h, 8 * h, day, 3 * day, 7 * day}
}

// own reads a document of our own kind.
func (r *reader) own(doc *yaml.Node) (Target, bool) {
	mark := len(r.problems)
	f := r.fields(doc, "the target", "apiVersion", "kind", "service", "name", "description", "objective", "labels", "window",
		"indicator", "alerting", "min_bad_events", "on_no_data", "budget_policy")
	t := Target{
		Format: ownVersion, Pos: r.pos(doc),
		Service:     r.name(doc, f["service"], "service"),
		Name:        r.name(doc, f["name"], "name"),
		Description: strings.TrimSpace(r.text(f["description"], "description")),
		Labels:      r.labels(f["labels"]),
		MinBad:      r.count(f["min_bad_events"], "min_bad_events"),
		OnNoData:    r.noData(f["on_no_data"]),
	}
	t.ID = t.Service + "-" + t.Name
	if f["window"] != nil {
		t.Period, t.Calendar = r.ownWindow(f["window"])
	}
	if f["indicator"] == nil {
		r.fail(doc, "write indicator: with one of "+strings.Join(indicators, ", "), "the target has no indicator")
	} else {
		t.SLI = r.indicator(f["indicator"], t.Service)
	}
	t.Objective = r.ownObjective(doc, f["objective"], t.SLI.Kind)
	t.Alerting = r.ownAlerting(doc, f["alerting"], t)
	t.Policy = r.policy(f["budget_policy"], t.SLI.Kind)
	if n := f["min_bad_events"]; n != nil && t.SLI.Kind != "" && t.SLI.Error == "" && t.SLI.Good == "" {
		r.fail(n, "remove the key", "min_bad_events needs an indicator that counts events")
	}
	return t, !r.failed(mark)
}

// ownObjective reads the objective, which a budget of money has not.
func (r *reader) ownObjective(doc, n *yaml.Node, kind Kind) string {
	if kind != KindCost {
		return r.objective(doc, n)
	}
	if n != nil {
		r.fail(n, "remove the key: the budget is indicator.cost.budget", "a target for a cost has no objective")
	}
	return "0"
}

// ownAlerting reads alerting; the alerts have the service and the name as theirs
// if none is given.
func (r *reader) ownAlerting(doc, n *yaml.Node, t Target) Alerting {
	if n == nil {
		return Alerting{Name: alertName(t.Service, t.Name)}
	}
	f := r.fields(n, "alerting", "name", "labels", "annotations", "page_alert", "ticket_alert")
	name := alertName(t.Service, t.Name)
	if f["name"] != nil {
		name = r.text(f["name"], "name")
	}
	_ = doc
	return Alerting{
		Name: name, Labels: r.labels(f["labels"]), Annotations: r.annotations(f["annotations"]),
		Page: r.meta(f["page_alert"], "page_alert"), Ticket: r.meta(f["ticket_alert"], "ticket_alert"),
	}
}

var wordStart = regexp.MustCompile(`(^|[^A-Za-z0-9]+)([A-Za-z0-9])`)

// alertName makes the name of an alert of words: shop, card-payments gives
// ShopCardPayments.
func alertName(words ...string) string {
	return wordStart.ReplaceAllStringFunc(strings.Join(words, "-"), func(s string) string {
		return strings.ToUpper(s[len(s)-1:])
	})
}

// ownWindow reads {rolling: 30d} or {calendar: month, tz: …}.
func (r *reader) ownWindow(n *yaml.Node) (time.Duration, Calendar) {
	f := r.fields(n, "window", "rolling", "calendar", "tz")
	if (f["rolling"] == nil) == (f["calendar"] == nil) {
		r.fail(n, "write {rolling: 30d}, or {calendar: month, tz: Europe/Madrid}", "window needs one of rolling and calendar")
		return 0, Calendar{}
	}
	if f["rolling"] != nil {
		if f["tz"] != nil {
			r.fail(f["tz"], "remove the key", "a rolling window has no time zone")
		}
		return r.duration(f["rolling"], "rolling"), Calendar{}
	}
	c := Calendar{Unit: Unit(r.text(f["calendar"], "calendar")), Zone: time.UTC}
	if !slices.Contains([]Unit{Week, Month, Quarter}, c.Unit) {
		r.fail(f["calendar"], suggest(string(c.Unit), []string{string(Week), string(Month), string(Quarter)}), "%q is not a calendar period", c.Unit)
	}
	c.Zone = r.zone(f["tz"])
	if c.Unit == Week {
		return 7 * day, c
	}
	return 0, c
}

// zone reads a time zone. An absent one is UTC.
func (r *reader) zone(n *yaml.Node) *time.Location {
	if n == nil {
		return time.UTC
	}
	z, err := time.LoadLocation(r.text(n, "tz"))
	if err != nil || n.Value == "" || n.Value == "Local" {
		r.fail(n, "write a name such as Europe/Madrid", "there is no time zone %q", n.Value)
		return time.UTC
	}
	return z
}

func (r *reader) noData(n *yaml.Node) OnNoData {
	if n == nil {
		return ""
	}
	known := []string{string(NoDataAlert), string(NoDataIgnore), string(NoDataGood), string(NoDataBad)}
	s := r.text(n, "on_no_data")
	if !slices.Contains(known, s) {
		r.fail(n, suggest(s, known), "on_no_data: %q is not known", s)
		return ""
	}
	return OnNoData(s)
}

// count reads a whole number.
func (r *reader) count(n *yaml.Node, what string) int {
	if n == nil {
		return 0
	}
	v := r.decimal(n, what)
	if v == nil {
		return 0
	}
	if !v.IsInt() || v.Num().Cmp(big.NewInt(1_000_000)) > 0 {
		r.fail(n, "write a whole number up to 1000000", "%s is not a count", what)
		return 0
	}
	return int(v.Num().Int64())
}

// policy reads an error budget policy. Money has one by default, as nothing
// else alerts on it.
func (r *reader) policy(n *yaml.Node, kind Kind) []PolicyStep {
	if n == nil {
		switch kind {
		case KindCost, KindResponse:
			return []PolicyStep{{Below: "0.25", Severity: string(ticket)}, {Below: "0", Severity: string(ticket)}}
		case KindEvents, KindRaw, KindLatency, KindBoolean, KindSlices, KindCertificate, KindCapacity:
		}
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "write [{remaining_below: 0.5}, {remaining_below: 0, action: freeze}]", "budget_policy is not a list")
		return nil
	}
	var out []PolicyStep
	for _, item := range n.Content {
		item = resolve(item)
		f := r.fields(item, "a step of budget_policy", "remaining_below", "severity", "notify", "action")
		s := PolicyStep{Severity: string(ticket), Notify: r.text(f["notify"], "notify")}
		if f["severity"] != nil {
			s.Severity = r.text(f["severity"], "severity")
		}
		if f["remaining_below"] == nil {
			r.fail(item, "write remaining_below: 0.25", "a step of budget_policy has no remaining_below")
		} else if v := r.decimal(f["remaining_below"], "remaining_below"); v != nil {
			if v.Cmp(big.NewRat(1, 1)) >= 0 {
				r.fail(f["remaining_below"], "write a share from 0 up to, but not, 1", "remaining_below is not a share of the budget")
			}
			s.Below = decimal(v)
		}
		if a := f["action"]; a != nil {
			if r.text(a, "action") != "freeze" {
				r.fail(a, "write freeze, or remove the key", "%q is not an action", a.Value)
			}
			s.Freeze = true
		}
		if slices.ContainsFunc(out, func(o PolicyStep) bool { return o.Below == s.Below }) {
			r.fail(item, "keep one of them", "two steps of budget_policy have the same remaining_below")
		}
		out = append(out, s)
	}
	return out
}

var indicators = []string{"events", "raw", "latency", "boolean", "slices", "certificate", "capacity", "cost", "response"}

// indicator reads what is measured.
func (r *reader) indicator(n *yaml.Node, service string) SLI {
	f := r.fields(n, "indicator", indicators...)
	if len(f) != 1 {
		r.fail(n, "keep one of "+strings.Join(indicators, ", "), "indicator needs exactly one kind")
		return SLI{}
	}
	for kind, v := range f {
		mark := len(r.problems)
		var s SLI
		switch Kind(kind) {
		case KindEvents:
			s = r.eventsOf(v)
		case KindRaw:
			q := r.fields(v, kind, "error_ratio")
			s = SLI{ErrorRatio: r.query(v, q, "error_ratio")}
		case KindLatency:
			s = r.latencyOf(v)
		case KindBoolean:
			s = r.booleanOf(v)
		case KindSlices:
			s = r.slicesOf(v)
		case KindCertificate:
			s = r.certificateOf(v)
		case KindCapacity:
			s = r.capacityOf(v)
		case KindCost:
			s = r.costOf(v)
		case KindResponse:
			s = r.responseOf(v, service)
		}
		if !r.failed(mark) {
			s.Kind = Kind(kind)
			return s
		}
	}
	return SLI{}
}

// eventsOf reads {bad, total} or {good, total}.
func (r *reader) eventsOf(n *yaml.Node) SLI {
	f := r.fields(n, "events", "bad", "good", "total")
	s := SLI{Total: r.query(n, f, "total")}
	switch {
	case (f["bad"] == nil) == (f["good"] == nil):
		r.fail(n, "write bad: and total:, or good: and total:", "events needs one of bad and good")
	case f["bad"] != nil:
		s.Error = r.query(n, f, "bad")
	default:
		s.Good = r.query(n, f, "good")
	}
	return s
}

func (r *reader) latencyOf(n *yaml.Node) SLI {
	f := r.fields(n, "latency", "histogram", "threshold", "native")
	threshold := r.threshold(n, f["threshold"])
	native := false
	switch v := r.text(f["native"], "native"); v {
	case "", "false":
	case "true", "exponential", "custom":
		native = true
		if v != "custom" && threshold != nil && !onBound(threshold) {
			r.warn(f["threshold"], "choose a power of two, such as 0.25 or 0.5; or native: custom if the histogram has custom buckets with this bound",
				"the threshold is no bound of an exponential histogram, so that the share is interpolated")
		}
	default:
		r.fail(f["native"], "write true, or custom for custom buckets", "native: %q is not known", v)
	}
	if f["histogram"] == nil {
		r.fail(n, "write histogram: http_request_duration_seconds{job=\"shop\"}", "latency has no histogram")
	}
	if f["histogram"] == nil || threshold == nil {
		return SLI{}
	}
	s, err := latency(r.text(f["histogram"], "histogram"), threshold, native)
	if err != nil {
		r.fail(f["histogram"], "write the name of a histogram, without _bucket, and its labels", "histogram: %v", err)
	}
	return s
}

// threshold reads 400ms, or a number in the unit of the histogram.
func (r *reader) threshold(parent, n *yaml.Node) *big.Rat {
	if n == nil {
		r.fail(parent, "write threshold: 400ms", "threshold is missing")
		return nil
	}
	s := r.text(n, "threshold")
	if decimals.MatchString(s) {
		v, _ := new(big.Rat).SetString(s)
		if v.Sign() > 0 {
			return v
		}
	} else if d, err := model.ParseDuration(s); err == nil && d > 0 {
		return seconds(time.Duration(d))
	}
	r.fail(n, "write 400ms, or 0.4 in the unit of the histogram", "threshold: %q is not a time", s)
	return nil
}

func (r *reader) booleanOf(n *yaml.Node) SLI {
	f := r.fields(n, "boolean", "query", "aggregate")
	aggregate := "avg"
	if f["aggregate"] != nil {
		aggregate = r.text(f["aggregate"], "aggregate")
		if !slices.Contains([]string{"avg", "min", "max"}, aggregate) {
			r.fail(f["aggregate"], "write avg, min (one down is down) or max (one up is up)", "aggregate: %q is not known", aggregate)
		}
	}
	return boolean(r.instant(n, f, "query"), aggregate)
}

// instant reads a query without a window.
func (r *reader) instant(parent *yaml.Node, fields map[string]*yaml.Node, key string) string {
	n := fields[key]
	if n == nil {
		r.fail(parent, "write "+key+": with a query", "%s is missing", key)
		return ""
	}
	q, err := expression(strings.TrimSpace(r.text(n, key)))
	if err != nil {
		r.fail(n, "try the query in Prometheus", "%s: %v", key, err)
	}
	return q
}

func (r *reader) slicesOf(n *yaml.Node) SLI {
	f := r.fields(n, "slices", "every", "good", "bad", "total", "minimum", "query", "op", "value")
	s := SLI{Every: time.Minute}
	if f["every"] != nil {
		s.Every = r.duration(f["every"], "every")
	}
	if f["query"] != nil {
		for _, key := range []string{"good", "bad", "total", "minimum"} {
			if f[key] != nil {
				r.fail(f[key], "remove it, or query:", "slices have either a query or events")
			}
		}
		q := r.instantOrWindow(f["query"])
		if f["value"] == nil || f["op"] == nil {
			r.fail(n, "write op: lte and value: 0.5; a slice is good while it holds", "slices need op and value beside query")
			return s
		}
		v := r.decimal(f["value"], "value")
		op := r.operator(f["op"])
		if v != nil {
			s.Slice = fmt.Sprintf("min((%s) %s bool %s)", q, op, decimal(v))
		}
		return s
	}
	if f["minimum"] == nil {
		r.fail(n, "write minimum: 95, the percentage of good events that makes a slice good", "slices of events need a minimum")
		return s
	}
	v := r.decimal(f["minimum"], "minimum")
	for _, key := range []string{"query", "minimum", "every"} {
		delete(f, key)
	}
	e := SLI{Total: r.query(n, f, "total")}
	switch {
	case (f["bad"] == nil) == (f["good"] == nil):
		r.fail(n, "write bad: and total:, or good: and total:", "slices need one of bad and good")
	case f["bad"] != nil:
		e.Error = r.query(n, f, "bad")
	default:
		e.Good = r.query(n, f, "good")
	}
	if v != nil && v.Cmp(big.NewRat(100, 1)) > 0 {
		r.fail(n, "write a percentage up to 100", "minimum is not a percentage")
	}
	if v != nil {
		s.Slice = sliceOfEvents(e, new(big.Rat).Quo(v, big.NewRat(100, 1)))
	}
	return s
}

// sliceOfEvents is 1 for a slice in which enough events are good, and for one
// without events: nobody was failed.
func sliceOfEvents(e SLI, minimum *big.Rat) string {
	return fmt.Sprintf("min((1 - (\n%[1]s\n) / ((%[2]s) > 0) >= bool %[3]s) or ((%[2]s) == 0) + 1)", e.bad(), e.Total, decimal(minimum))
}

// instantOrWindow reads a query that may use {{.window}}.
func (r *reader) instantOrWindow(n *yaml.Node) string {
	q := strings.TrimSpace(r.text(n, "query"))
	filled, err := render(q, vars{"window": "5m"})
	if err == nil {
		_, err = expression(filled)
	}
	if err != nil {
		r.fail(n, "try the query in Prometheus, with 5m for {{.window}}", "query: %v", err)
	}
	return q
}

// operators are the comparisons by their names in OpenSLO.
func operators(name string) (string, bool) {
	op, ok := map[string]string{"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[name]
	return op, ok
}

func (r *reader) operator(n *yaml.Node) string {
	op, ok := operators(r.text(n, "op"))
	if !ok {
		r.fail(n, "write lt, lte, gt or gte", "op: %q is not known", n.Value)
	}
	return op
}

func (r *reader) certificateOf(n *yaml.Node) SLI {
	f := r.fields(n, "certificate", "expiry", "not_before", "lifetime", "min_share", "min_left", "page_left")
	c := certificateSpec{expiry: r.instant(n, f, "expiry"), share: big.NewRat(1, 3), least: 7 * day, page: 2 * day}
	switch {
	case (f["not_before"] == nil) == (f["lifetime"] == nil):
		r.fail(n, "write lifetime: 90d, or not_before: with the series of the other end", "certificate needs one of lifetime and not_before")
	case f["lifetime"] != nil:
		c.lifetime = r.duration(f["lifetime"], "lifetime")
	default:
		c.notBefore = r.instant(n, f, "not_before")
	}
	for key, d := range map[string]*time.Duration{"min_left": &c.least, "page_left": &c.page} {
		if f[key] != nil {
			*d = r.duration(f[key], key)
		}
	}
	if f["min_share"] != nil {
		if v := r.decimal(f["min_share"], "min_share"); v != nil {
			c.share = v
		}
		if c.share.Cmp(big.NewRat(1, 1)) >= 0 {
			r.fail(f["min_share"], "write a share such as 0.33", "min_share is not a share of the lifetime")
		}
	}
	if c.page >= c.least {
		r.fail(n, "page later than the ticket: page_left below min_left", "page_left %s is not below min_left %s", text(c.page), text(c.least))
	}
	return certificate(c)
}

func (r *reader) capacityOf(n *yaml.Node) SLI {
	f := r.fields(n, "capacity", "free", "used", "limit", "within", "history", "page_within")
	c := capacitySpec{history: 6 * time.Hour}
	switch {
	case f["free"] != nil && f["used"] == nil && f["limit"] == nil:
		c.free = r.instant(n, f, "free")
	case f["free"] == nil && f["used"] != nil && f["limit"] != nil:
		c.free = "(" + r.instant(n, f, "limit") + ") - (" + r.instant(n, f, "used") + ")"
	default:
		r.fail(n, "write free: with what is left, or used: and limit:", "capacity needs free, or used and limit")
	}
	if f["within"] == nil {
		r.fail(n, "write within: 4d", "capacity does not say within which time it may not run out")
	}
	for key, d := range map[string]*time.Duration{"within": &c.within, "history": &c.history, "page_within": &c.page} {
		if f[key] != nil {
			*d = r.duration(f[key], key)
		}
	}
	if c.page > 0 && c.page >= c.within {
		r.fail(f["page_within"], "page later than the ticket", "page_within is not below within")
	}
	return capacity(c)
}

func (r *reader) costOf(n *yaml.Node) SLI {
	f := r.fields(n, "cost", "per_hour", "budget")
	q := r.instant(n, f, "per_hour")
	if f["budget"] == nil {
		r.fail(n, "write budget: 5000, for the whole window", "cost has no budget")
		return SLI{}
	}
	v := r.decimal(f["budget"], "budget")
	if v == nil || v.Sign() == 0 {
		r.fail(f["budget"], "write what may be spent in a window", "the budget is nothing")
		return SLI{}
	}
	return cost(q, v)
}

func (r *reader) responseOf(n *yaml.Node, service string) SLI {
	f := r.fields(n, "response", "act", "within", "severities")
	act := r.text(f["act"], "act")
	if act != "ack" && act != "resolve" {
		r.fail(n, "write act: ack, or act: resolve", "response needs act, ack or resolve")
	}
	if f["within"] == nil {
		r.fail(n, "write within: 15m", "response does not say within which time")
		return SLI{}
	}
	within := r.duration(f["within"], "within")
	if !slices.Contains(ResponseBounds(), within) {
		var known []string
		for _, d := range ResponseBounds() {
			known = append(known, text(d))
		}
		r.fail(f["within"], "measured are "+strings.Join(known, ", "), "within: %s is not measured", f["within"].Value)
	}
	var severities []string
	if s := f["severities"]; s != nil {
		if s.Kind != yaml.SequenceNode {
			r.fail(s, "write [sev1, sev2]", "severities is not a list")
		}
		for _, v := range s.Content {
			name := r.text(resolve(v), "severity")
			if !slices.Contains([]string{"sev1", "sev2", "sev3", "sev4"}, name) {
				r.fail(v, "write sev1, sev2, sev3 or sev4", "%q is not a severity", name)
			}
			severities = append(severities, name)
		}
	}
	return response(service, act, within, severities)
}
