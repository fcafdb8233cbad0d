package intake

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"watchbill"
)

// ReportKind says what a person brings up.
type ReportKind string

// The kinds of reports.
const (
	Issue   ReportKind = "issue"   // a client says that something does not work
	Anomaly ReportKind = "anomaly" // something odd was seen, before production or in it
	Request ReportKind = "request" // Dev or QA need something of operations
)

// ReportKinds lists all kinds.
func ReportKinds() []ReportKind { return []ReportKind{Issue, Anomaly, Request} }

// Limits on what a person writes.
const (
	maxSummary  = 500
	maxEvidence = 20
	maxItem     = 2 << 10 // bytes of one piece of evidence
)

// Report is what a person brings up by hand.
type Report struct {
	Kind        ReportKind
	Summary     string // one line
	Description string
	Service     string
	Environment string   // needed for an anomaly
	Severity    string   // sev1 to sev4; empty is sev3
	Reporter    string   // in whose name, if not the caller's own: a client, a tester
	Evidence    []string // addresses, lines of logs, ticket numbers
	Labels      watchbill.Labels
}

// Event returns what a report says, under a key of its own.
func (r Report) Event(key string) (Event, error) {
	r.Summary = strings.TrimSpace(r.Summary)
	switch {
	case !slices.Contains(ReportKinds(), r.Kind):
		return Event{}, watchbill.Invalidf("use issue, anomaly or request", "kind: %.40q is not known", r.Kind)
	case r.Summary == "":
		return Event{}, watchbill.Invalidf("say in one line what is wrong", "summary: is missing")
	case len(r.Summary) > maxSummary:
		return Event{}, watchbill.Invalidf("put the rest into description", "summary: is over %d bytes", maxSummary)
	case len(r.Description) > maxAnnotation/2:
		return Event{}, watchbill.Invalidf("shorten it, and name where the rest is as evidence", "description: is over %d KB", maxAnnotation>>11)
	case len(r.Reporter) > maxSummary:
		return Event{}, watchbill.Invalidf("shorten it", "reporter: is over %d bytes", maxSummary)
	case r.Kind == Anomaly && r.Environment == "":
		return Event{}, watchbill.Invalidf("say where it was seen, such as preprod", "environment: an anomaly needs it")
	case len(r.Evidence) > maxEvidence:
		return Event{}, watchbill.Invalidf("name the most telling ones", "evidence: %d pieces are over the limit of %d", len(r.Evidence), maxEvidence)
	}
	for i, item := range r.Evidence {
		if strings.TrimSpace(item) == "" || len(item) > maxItem {
			return Event{}, watchbill.Invalidf("write where it is, or a line of it", "evidence[%d]: is empty or over %d KB", i, maxItem>>10)
		}
	}
	if r.Severity != "" {
		if _, err := watchbill.ParseSeverity(r.Severity); err != nil {
			return Event{}, watchbill.Invalidf("use sev1, sev2, sev3 or sev4", "severity: %.40q is not a severity", r.Severity)
		}
	}
	labels := watchbill.Labels{}
	maps.Copy(labels, r.Labels)
	own := watchbill.Labels{
		"alertname": map[ReportKind]string{Issue: "ClientIssue", Anomaly: "Anomaly", Request: "Request"}[r.Kind],
		"report":    string(r.Kind), "service": r.Service, "environment": r.Environment, "severity": strings.ToLower(cmp.Or(r.Severity, "sev3")),
	}
	for name, value := range own {
		if labels[name] != "" && labels[name] != value {
			return Event{}, watchbill.Invalidf("leave it out of labels", "labels.%s: it is said elsewhere already", name)
		}
		labels[name] = value
	}
	return Event{Action: Trigger, Dedup: key, Case: true, Alert: watchbill.Alert{Labels: labels, Annotations: watchbill.Labels{
		"summary": r.Summary, "description": r.Description, "reporter": r.Reporter, "evidence": text(strings.Join(r.Evidence, "\n")),
	}}}, nil
}

// Note is the report in words, for the timeline.
func (r Report) Note() string {
	var b strings.Builder
	b.WriteString("raised as " + string(r.Kind))
	if r.Reporter != "" {
		b.WriteString(" for " + r.Reporter)
	}
	b.WriteString(": " + strings.TrimSpace(r.Summary))
	if r.Description != "" {
		b.WriteString("\n" + r.Description)
	}
	for _, item := range r.Evidence {
		b.WriteString("\nevidence: " + item)
	}
	return cutText(b.String(), maxAnnotation)
}
