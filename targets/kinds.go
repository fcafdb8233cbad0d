package targets

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Names of what is recorded for kinds that need more than their queries.
const (
	seriesSlice    = "slo:slice_good:ratio"
	seriesCertLeft = "slo:certificate_left:seconds"
	seriesCertNeed = "slo:certificate_needed:seconds"
	seriesFree     = "slo:capacity_free:value"
	seriesCost     = "slo:cost:per_hour"
)

// The histograms of our own incidents, as the daemon exports them.
const (
	AckHistogram     = "watchbill_incident_time_to_ack_seconds"
	ResolveHistogram = "watchbill_incident_time_to_resolve_seconds"
)

// selector reads a plain selector, such as http_requests_total{job="shop"}.
func selector(query string) (name string, ms []*labels.Matcher, err error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return "", nil, fmt.Errorf("not valid PromQL: %w", err)
	}
	v, ok := e.(*parser.VectorSelector)
	if !ok || v.Name == "" || v.OriginalOffset != 0 || v.Timestamp != nil {
		return "", nil, fmt.Errorf("%s is not the name of a metric with labels, such as http_request_duration_seconds{job=\"shop\"}", query)
	}
	for _, m := range v.LabelMatchers {
		if m.Name != model.MetricNameLabel {
			ms = append(ms, m)
		}
	}
	return v.Name, ms, nil
}

// selecting writes a selector.
func selecting(name string, ms []*labels.Matcher, more ...string) string {
	var parts []string
	for _, m := range ms {
		parts = append(parts, m.String())
	}
	return name + "{" + strings.Join(append(parts, more...), ",") + "}"
}

// bound is a matcher for the bucket of a threshold. A whole number is written
// as 1 by older clients and as 1.0 by Prometheus 3.
func bound(threshold *big.Rat) string {
	s := decimal(threshold)
	if threshold.IsInt() {
		return fmt.Sprintf(`le=~"%s|%s"`, regexp.QuoteMeta(s), strings.ReplaceAll(regexp.QuoteMeta(s+".0"), `\`, `\\`))
	}
	return fmt.Sprintf("le=%q", s)
}

// latency is the share of events that took longer than a threshold. A classic
// histogram without a bucket of this bound gives no data, rather than a perfect
// service; that of a native one is interpolated.
func latency(histogram string, threshold *big.Rat, native bool) (SLI, error) {
	name, ms, err := selector(histogram)
	if err != nil {
		return SLI{}, err
	}
	if native {
		h := "sum(rate(" + selecting(name, ms) + "[{{.window}}]))"
		return SLI{
			Kind:  KindLatency,
			Error: fmt.Sprintf("(histogram_count(%[1]s) * (1 - histogram_fraction(0, %[2]s, %[1]s))) >= 0", h, decimal(threshold)),
			Total: "histogram_count(" + h + ")",
		}, nil
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if before, ok := strings.CutSuffix(name, suffix); ok {
			return SLI{}, fmt.Errorf("%s is a part of a histogram: write %s", name, before)
		}
	}
	for _, m := range ms {
		if m.Name == "le" {
			return SLI{}, errors.New("the label le is chosen by the threshold")
		}
	}
	return SLI{
		Kind:   KindLatency,
		Good:   "sum(rate(" + selecting(name+"_bucket", ms, bound(threshold)) + "[{{.window}}]))",
		Total:  "sum(rate(" + selecting(name+"_count", ms) + "[{{.window}}]))",
		Strict: true,
	}, nil
}

// onBound reports whether a threshold is a bucket bound of every exponential
// histogram of schema 0 to 8: a power of two.
func onBound(threshold *big.Rat) bool {
	f, _ := threshold.Float64()
	frac, _ := math.Frexp(f)
	return frac == 0.5
}

// response is the share of our own incidents that were acknowledged or resolved
// in time. The histogram has a bucket for each threshold that is used.
func response(service, act string, within time.Duration, severities []string) SLI {
	name := AckHistogram
	if act == "resolve" {
		name = ResolveHistogram
	}
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "service", service)}
	if len(severities) > 0 {
		ms = append(ms, labels.MustNewMatcher(labels.MatchRegexp, "severity", strings.Join(severities, "|")))
	}
	s, _ := latency(selecting(name, ms), seconds(within), false) // a selector of our own making
	s.Kind = KindResponse
	return s
}

func seconds(d time.Duration) *big.Rat { return big.NewRat(int64(d), int64(time.Second)) }

// boolean is the share of time in which something is up. Several series count
// by their average, or as their worst or best one.
func boolean(query, aggregate string) SLI {
	return SLI{Kind: KindBoolean, Slice: aggregate + "(" + query + ")"}
}

// certificateSpec says when a certificate is due.
type certificateSpec struct {
	expiry, notBefore string        // queries in seconds since 1970
	lifetime          time.Duration // if notBefore is empty
	share             *big.Rat      // of the lifetime that must be left
	least             time.Duration // that must be left in any case
	page              time.Duration // left, for a page
}

// certificate is the share of time in which every certificate has enough of its
// lifetime left. Lifetimes shrink, so that a fixed number of days would be most
// of one and too little of another.
func certificate(c certificateSpec) SLI {
	least := decimal(seconds(c.least))
	var need string
	if c.notBefore == "" {
		n := new(big.Rat).Mul(seconds(c.lifetime), c.share)
		if m := seconds(c.least); m.Cmp(n) > 0 {
			n = m
		}
		need = fmt.Sprintf("0 * (%s) + %s", c.expiry, decimal(n))
	} else {
		need = fmt.Sprintf("clamp_min(((%s) - (%s)) * %s, %s)", c.expiry, c.notBefore, decimal(c.share), least)
	}
	left, needed := seriesCertLeft+"{{.target}}", seriesCertNeed+"{{.target}}"
	value := "{{ $value | humanizeDuration }} left"
	return SLI{
		Kind:     KindCertificate,
		Inputs:   []Input{{seriesCertLeft, fmt.Sprintf("(%s) - time()", c.expiry)}, {seriesCertNeed, need}},
		Measured: seriesCertLeft,
		Slice:    fmt.Sprintf("min(%s > bool %s)", left, needed),
		Ticket: &Condition{
			Expr: left + " <= " + needed, Summary: "a certificate was not renewed in time",
			Impact: "connections fail once it has expired", Value: value,
			Limit: fmt.Sprintf("renewed with %s%% of its lifetime left, and at least %s", percentText(c.share), text(c.least)),
		},
		Page: &Condition{
			Expr: left + " <= " + decimal(seconds(c.page)), Summary: "a certificate expires soon",
			Impact: "connections fail once it has expired", Value: value, Limit: "more than " + text(c.page) + " left",
		},
	}
}

// capacitySpec says how a forecast is made.
type capacitySpec struct {
	free    string // query: what is left, in any unit
	within  time.Duration
	history time.Duration
	page    time.Duration // zero: never
}

// capacity is the share of time in which nothing is going to run out: a line
// through the last history is followed for a time. Half of the history must be
// there; a line through two points predicts anything.
func capacity(c capacitySpec) SLI {
	free := seriesFree + "{{.target}}"
	line := func(within time.Duration) string {
		return fmt.Sprintf("predict_linear(%s[%s], %s)", free, text(c.history), decimal(seconds(within)))
	}
	known := fmt.Sprintf("(count_over_time(%s[%s]) >= {{.half}})", free, text(c.history))
	condition := func(within time.Duration, summary string) *Condition {
		return &Condition{
			Expr:    fmt.Sprintf("(%s <= 0 and %s)", line(within), known),
			Summary: summary, Impact: "what needs it fails once nothing is left",
			Value: "{{ $value | humanize }} left is what the last " + text(c.history) + " lead to in " + text(within),
			Limit: "not used up within " + text(within),
		}
	}
	s := SLI{
		Kind: KindCapacity, Inputs: []Input{{seriesFree, c.free}}, Measured: seriesFree, history: c.history,
		Slice:  fmt.Sprintf("min((%s > bool 0) and %s)", line(c.within), known),
		Ticket: condition(c.within, "something is about to run out"),
	}
	if c.page > 0 {
		s.Page = condition(c.page, "something runs out soon")
	}
	return s
}

// cost is the share of a budget of money that is spent.
func cost(perHour string, budget *big.Rat) SLI {
	return SLI{
		Kind: KindCost, Inputs: []Input{{seriesCost, "sum(" + perHour + ")"}}, Measured: seriesCost,
		Budget: decimal(budget),
	}
}

// percentText writes a share in percent without its sign.
func percentText(r *big.Rat) string { return strings.TrimSuffix(percent(r), "%") }
