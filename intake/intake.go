// Package intake reads what other programs and people push: the bodies of webhooks,
// mails ([watchbill/intake/mail]) and reports. Each kind of source has one decoder, a
// pure function from bytes to [Event] values; [Decode] chooses it and applies what
// all of them share.
//
// # Whose alert it is
//
// A source only ever speaks of its own alerts. Each alert gets the label
// watchbill_source with the name of the source, which no body can set, and an
// alert's identity is its label set: what one source sends cannot end or change
// an alert of another. The labels of [Source.Labels] are set on every alert and
// win over those of the body; with [Source.Allow], other labels of the body become
// annotations.
//
// # What ends
//
// An event with a key ([Event.Dedup]) is told once: its alert ends when its end is
// told under the same key, when a person resolves its incident, or when the source's
// expiry has passed. One without is sent again while it lasts; what its sender leaves
// out of a body goes on.
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

// Limits on one body. Its size is limited where it is read.
const (
	maxDepth      = 16
	maxAlerts     = 10_000
	maxLabels     = 62 // beside the key: 64 at most
	maxLabelName  = 256
	maxLabelValue = 2 << 10
	maxAnnotation = 16 << 10
	maxDedup      = 255
)

// How long an alert is kept whose end is never told.
const (
	DefaultExpire = 7 * 24 * time.Hour
	falcoExpire   = time.Hour                 // Falco tells of no end
	caseExpire    = 10 * 365 * 24 * time.Hour // a case ends when a person says so
)

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

	// AlertmanagerAPI pushes to /api/v2/alerts; see [Source.Own].
	AlertmanagerAPI Kind = "alertmanager_api"
	// Mail sends mails; see the package mail.
	Mail Kind = "mail"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{Generic, Alertmanager, Grafana, PagerDuty, Falco, CloudEvents, AlertmanagerAPI, Mail}
}

// Source is one sender.
type Source struct {
	Name       string
	Kind       Kind
	Labels     watchbill.Labels // set on every alert
	Allow      []string         // the labels of the body that are taken; nil for all
	Expire     time.Duration    // zero for the kind's own
	PerMinute  int              // alerts a minute, as many at once; zero for any number
	Recipients []string         // of mails: addresses, in lower case
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
// firing alert of its source with that key, whatever its other labels; one without
// speaks of the alert with exactly its labels.
type Event struct {
	Action Action
	Dedup  string
	Case   bool // it has an incident of its own, which only a person ends
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
	case AlertmanagerAPI:
		err = watchbill.Invalidf("push to /api/v2/alerts with a token of the scope alerts", "%s is of the kind %s, which has no webhook", s.Name, s.Kind)
	case Mail:
		err = watchbill.Invalidf("send a mail to one of its recipients", "%s is of the kind %s, which has no webhook", s.Name, s.Kind)
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
		if err := s.Finish(&events[i], now); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// Finish applies to an event what all kinds share: the source's labels, the
// limits, a start and an end.
func (s Source) Finish(e *Event, now time.Time) error {
	if len(e.Dedup) > maxDedup {
		return watchbill.Invalidf("shorten it", "dedup: the key is over %d bytes", maxDedup)
	}
	if err := s.Own(&e.Alert); err != nil {
		return err
	}
	switch {
	case e.Dedup == "":
	case e.Case:
		e.Alert.Labels[watchbill.LabelCase] = e.Dedup
	default:
		e.Alert.Labels[watchbill.LabelDedup] = e.Dedup
	}
	return s.times(e, now)
}

// Own makes an alert the source's: it gets its labels, and loses those that it may
// not set. Labels that are not allowed become annotations, so that nothing that
// differs each time makes an alert a new one and nothing is lost to who reads it.
func (s Source) Own(a *watchbill.Alert) error {
	labels, annotations := watchbill.Labels{}, watchbill.Labels{}
	for name, value := range a.Annotations {
		if value != "" {
			annotations[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		value := a.Labels[name]
		switch {
		case value == "":
		case s.Allow == nil || slices.Contains(s.Allow, name) || name == "alertname":
			labels[name] = value
		case annotations[name] == "" && len(annotations) < maxLabels:
			annotations[name] = text(value)
		}
	}
	maps.Copy(labels, s.Labels)
	for _, name := range watchbill.ReservedLabels() {
		delete(labels, name)
	}
	labels[watchbill.LabelSource] = s.Name
	if labels["alertname"] == "" {
		labels["alertname"] = s.Name
	}
	if err := checkTexts("labels", labels, maxLabelValue); err != nil {
		return err
	}
	if err := checkTexts("annotations", annotations, maxAnnotation); err != nil {
		return err
	}
	a.Labels, a.Annotations = labels, annotations
	return nil
}

// times gives an event its start and its end. Stored instants are nanoseconds in
// 64 bits, hence the years.
func (s Source) times(e *Event, now time.Time) error {
	a := &e.Alert
	if err := watchbill.CheckTime("startsAt", a.StartsAt); err != nil {
		return err
	}
	if err := watchbill.CheckTime("endsAt", a.EndsAt); err != nil {
		return err
	}
	a.StartsAt, a.EndsAt = a.StartsAt.UTC(), a.EndsAt.UTC()
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
	a.EndsAt = now.Add(s.expire(e.Case))
	return nil
}

func (s Source) expire(isCase bool) time.Duration {
	switch {
	case isCase:
		return caseExpire
	case s.Expire > 0:
		return s.Expire
	case s.Kind == Falco:
		return falcoExpire
	}
	return DefaultExpire
}

func checkTexts(field string, texts watchbill.Labels, limit int) error {
	if len(texts) > maxLabels {
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
	return cutText(s, maxAnnotation)
}

// cutText cuts a text to at most n bytes, between two characters.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
