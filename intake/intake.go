// Package intake reads what other programs push: the bodies of webhooks. Each
// kind of source has one decoder, a pure function from bytes to [Event] values;
// [Decode] chooses it and applies what all of them share.
//
// # Whose alert it is
//
// A source only ever speaks of its own alerts. Each alert gets the label
// watchbill_source with the name of the source, which no body can set, and an
// alert's identity is its label set: what one source sends cannot end or change
// an alert of another. The labels of [Source.Labels] are set on every alert and
// win over those of the body; with [Source.Allow], other labels of the body are
// left out.
//
// # What ends
//
// A sender that tells of an alert once does not repeat it, so an alert without
// an end stays until its end is told, or until [Source.Expire] has passed.
package intake

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// LabelSource and LabelDedup are set by watchbill and cannot be sent.
const (
	LabelSource = "watchbill_source" // the name of the source
	LabelDedup  = "watchbill_dedup"  // the sender's own key of the alert
)

// Limits on one body. Its size is limited where it is read.
const (
	maxDepth      = 16
	maxAlerts     = 10_000
	maxLabels     = 60 // beside those of watchbill: 64 in all
	maxLabelName  = 256
	maxLabelValue = 2 << 10
	maxAnnotation = 16 << 10
	maxDedup      = 255
)

// DefaultExpire is how long an alert is kept whose end is never told.
const DefaultExpire = 7 * 24 * time.Hour

// Kind says in which format a source sends.
type Kind string

// The kinds of sources.
const (
	Generic      Kind = "generic"
	Alertmanager Kind = "alertmanager"
	Grafana      Kind = "grafana"
	PagerDuty    Kind = "pagerduty"
	Falco        Kind = "falco"
	CloudEvents  Kind = "cloudevents"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{Generic, Alertmanager, Grafana, PagerDuty, Falco, CloudEvents}
}

// Source is one sender.
type Source struct {
	Name   string
	Kind   Kind
	Labels watchbill.Labels // set on every alert
	Allow  []string         // the labels of the body that are taken; nil for all
	Expire time.Duration    // zero for DefaultExpire
}

// Action is what an event says.
type Action string

// The actions of an event.
const (
	Trigger     Action = "trigger"
	Acknowledge Action = "acknowledge"
	Resolve     Action = "resolve"
)

// Event is what a body says about one alert. An event with a Dedup speaks of the
// firing alerts of its source with that key, whatever their other labels; one
// without speaks of the alert with exactly its labels.
type Event struct {
	Action Action
	Dedup  string
	Alert  watchbill.Alert
}

// Decode reads a body of a source at an instant. Its error is a
// [watchbill.Error] that names the field; then nothing of the body counts.
func Decode(s Source, body []byte, now time.Time) ([]Event, error) {
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	var events []Event
	var err error
	switch s.Kind {
	case Generic:
		events, err = decodeGeneric(body)
	case Alertmanager, Grafana:
		events, err = decodeAlertmanager(body)
	case PagerDuty:
		events, err = decodePagerDuty(body)
	case Falco:
		events, err = decodeFalco(body)
	case CloudEvents:
		events, err = decodeCloudEvent(body)
	default:
		err = watchbill.Invalidf("see sources: in the configuration", "there is no kind of source %q", s.Kind)
	}
	if err != nil {
		return nil, err
	}
	if len(events) > maxAlerts {
		return nil, watchbill.Errorf(watchbill.CodeTooLarge, "send them in several requests", "%d alerts are over the limit of %d", len(events), maxAlerts)
	}
	for i := range events {
		if err := s.finish(&events[i], now); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// finish applies to an event what all kinds share.
func (s Source) finish(e *Event, now time.Time) error {
	if len(e.Dedup) > maxDedup {
		return watchbill.Invalidf("shorten it", "dedup: the key is over %d bytes", maxDedup)
	}
	labels := watchbill.Labels{}
	for name, value := range e.Alert.Labels {
		if value != "" && (s.Allow == nil || slices.Contains(s.Allow, name)) {
			labels[name] = value
		}
	}
	maps.Copy(labels, s.Labels)
	delete(labels, LabelDedup)
	if e.Dedup != "" {
		labels[LabelDedup] = e.Dedup
	}
	labels[LabelSource] = s.Name
	if labels["alertname"] == "" {
		labels["alertname"] = s.Name
	}
	if err := checkTexts("labels", labels, maxLabelValue); err != nil {
		return err
	}
	maps.DeleteFunc(e.Alert.Annotations, func(_, value string) bool { return value == "" })
	if err := checkTexts("annotations", e.Alert.Annotations, maxAnnotation); err != nil {
		return err
	}
	e.Alert.Labels = labels
	return s.times(e, now)
}

// times gives an event its start and its end. Stored instants are nanoseconds in
// 64 bits, hence the years.
func (s Source) times(e *Event, now time.Time) error {
	a := &e.Alert
	for field, at := range map[string]time.Time{"startsAt": a.StartsAt, "endsAt": a.EndsAt} {
		if year := at.UTC().Year(); !at.IsZero() && (year < 1970 || year > 2200) {
			return watchbill.Invalidf("correct it", "%s: is not within the years 1970 to 2200", field)
		}
	}
	if a.StartsAt.IsZero() || a.StartsAt.After(now) {
		a.StartsAt = now
	}
	if e.Action == Resolve {
		if a.EndsAt.IsZero() || a.EndsAt.After(now) {
			a.EndsAt = now
		}
		if a.EndsAt.Before(a.StartsAt) {
			a.StartsAt = a.EndsAt
		}
		return nil
	}
	expire := s.Expire
	if expire == 0 {
		expire = DefaultExpire
	}
	a.EndsAt = now.Add(expire)
	return nil
}

func checkTexts(field string, texts watchbill.Labels, limit int) error {
	if len(texts) > maxLabels+4 {
		return watchbill.Invalidf("send fewer", "%s: %d are over the limit of %d", field, len(texts), maxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		switch {
		case name == "" || len(name) > maxLabelName:
			return watchbill.Invalidf("correct it", "%s: the name %.40q is empty or over %d bytes", field, name, maxLabelName)
		case len(texts[name]) > limit:
			return watchbill.Invalidf("shorten it", "%s.%s: the value is over %d KB", field, name, limit>>10)
		}
	}
	return nil
}

// checkDepth refuses a body that nests deeper than any format does, before it is
// decoded. What stands within quotes does not count.
func checkDepth(body []byte) error {
	depth, quoted, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return watchbill.Invalidf("send a flatter body", "the body nests deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// unmarshal reads one JSON value, unknown fields tolerated.
func unmarshal(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return watchbill.Invalidf("send one JSON object as docs/intake.md shows it", "the body is not valid: %v", err)
	}
	return nil
}

// labelName turns any name into one that matchers read without quotes.
func labelName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if clean != "" && clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}

// text writes any JSON value as the text of an annotation, cut to what fits.
func text(v any) string {
	s, ok := v.(string)
	if !ok && v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		s = string(b)
	}
	if len(s) > maxAnnotation {
		s = strings.ToValidUTF8(s[:maxAnnotation], "")
	}
	return s
}
