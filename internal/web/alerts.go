package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"

	"watchbill"
)

// Limits on what one request may bring in.
const (
	maxAlerts     = 10_000
	maxLabels     = 64
	maxLabelName  = 256
	maxLabelValue = 2 << 10
	maxAnnotation = 16 << 10
	maxMatchers   = 64
	maxProblems   = 20 // that one answer tells
)

// postableAlert is an alert in the format of Alertmanager's API v2
// (api/v2/openapi.yaml, postableAlert). Unknown fields are ignored, as there.
type postableAlert struct {
	Labels       watchbill.Labels `json:"labels"`
	Annotations  watchbill.Labels `json:"annotations"`
	StartsAt     stamp            `json:"startsAt"`
	EndsAt       stamp            `json:"endsAt"`
	GeneratorURL string           `json:"generatorURL"`
}

// stamp is an instant that a caller wrote. One that cannot be read fails with
// the name of its field, once that is known, and not while the body is decoded.
type stamp struct {
	time.Time
	wrong string
}

// UnmarshalJSON implements [json.Unmarshaler] and takes any value.
func (s *stamp) UnmarshalJSON(b []byte) error {
	*s = stamp{}
	if text := string(b); text == "null" || text == `""` {
		return nil
	}
	var t time.Time
	if err := t.UnmarshalJSON(b); err == nil {
		s.Time = t.UTC()
	} else {
		s.wrong = fmt.Sprintf("%.40s is not a time like 2026-11-29T03:15:00Z", b)
	}
	return nil
}

// check refuses what is not a time, or one that cannot be stored.
func (s stamp) check(field string) error {
	if s.wrong != "" {
		return watchbill.Invalidf("correct it", "%s: %s", field, s.wrong)
	}
	return watchbill.CheckTime(field, s.Time)
}

func (s *Server) postAlerts(w http.ResponseWriter, c call) error {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return bodyError(err)
	}
	body, err := readAlerts(text)
	if err != nil {
		return bodyError(err)
	}
	alerts, err := toAlerts(body)
	if err != nil {
		return err
	}
	source := c.id.Machine
	if c.id.Person.ID != "" {
		source = string(c.id.Person.ID)
	}
	err = s.o.Receive(c.Context(), source, alerts)
	if _, coded := errors.AsType[*watchbill.Error](err); err != nil && !coded {
		return &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: "the alerts cannot be stored now",
			Hint: "send them again; watchbill's log says what is wrong", Err: err,
		}
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// toAlerts checks a body and returns its alerts. One bad alert refuses the whole
// request, with every field that is wrong, so that nothing is half taken.
func toAlerts(body []postableAlert) ([]watchbill.Alert, error) {
	if len(body) > maxAlerts {
		return nil, watchbill.Errorf(watchbill.CodeTooLarge, "send them in several requests", "%d alerts are over the limit of %d", len(body), maxAlerts)
	}
	var wrong []string
	alerts := make([]watchbill.Alert, len(body))
	for i, p := range body {
		if !p.sound() {
			for _, reason := range p.problems() {
				wrong = append(wrong, fmt.Sprintf("[%d].%s", i, reason))
			}
			// An empty value is the same as no label, in Prometheus' data model.
			maps.DeleteFunc(p.Labels, func(_, value string) bool { return value == "" })
		}
		alerts[i] = watchbill.Alert{
			Labels: p.Labels, Annotations: p.Annotations, StartsAt: p.StartsAt.Time, EndsAt: p.EndsAt.Time, GeneratorURL: p.GeneratorURL,
		}
	}
	if more := len(wrong) - maxProblems; more > 0 {
		wrong = append(wrong[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	if len(wrong) > 0 {
		return nil, watchbill.Invalidf("correct them and send all alerts again; none was taken", "%s", strings.Join(wrong, "; "))
	}
	return alerts, nil
}

// sound reports whether nothing about the alert needs a second look. It is what
// nearly every alert is, and costs nothing to find out.
func (p postableAlert) sound() bool {
	if len(p.Labels) == 0 || len(p.Labels) > maxLabels || len(p.Annotations) > maxLabels {
		return false
	}
	for name, value := range p.Labels {
		if name == "" || len(name) > maxLabelName || value == "" || len(value) > maxLabelValue {
			return false
		}
	}
	for name, value := range p.Annotations {
		if len(name) > maxLabelName || len(value) > maxAnnotation {
			return false
		}
	}
	for _, at := range []stamp{p.StartsAt, p.EndsAt} {
		if at.wrong != "" || watchbill.CheckTime("", at.Time) != nil {
			return false
		}
	}
	return p.EndsAt.IsZero() || p.StartsAt.IsZero() || !p.EndsAt.Before(p.StartsAt.Time)
}

func (p postableAlert) problems() []string {
	var wrong []string
	n := 0
	for _, name := range slices.Sorted(maps.Keys(p.Labels)) {
		value := p.Labels[name]
		if value != "" {
			n++
		}
		switch {
		case name == "" || len(name) > maxLabelName:
			wrong = append(wrong, fmt.Sprintf("labels: the name %.40q is empty or over %d bytes", name, maxLabelName))
		case len(value) > maxLabelValue:
			wrong = append(wrong, fmt.Sprintf("labels.%s: the value is over %d KB", name, maxLabelValue>>10))
		}
	}
	switch {
	case n == 0:
		wrong = append(wrong, "labels: at least one is needed")
	case n > maxLabels:
		wrong = append(wrong, fmt.Sprintf("labels: %d are over the limit of %d", n, maxLabels))
	}
	if len(p.Annotations) > maxLabels {
		wrong = append(wrong, fmt.Sprintf("annotations: %d are over the limit of %d", len(p.Annotations), maxLabels))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Annotations)) {
		switch {
		case len(name) > maxLabelName:
			wrong = append(wrong, fmt.Sprintf("annotations: the name %.40q is over %d bytes", name, maxLabelName))
		case len(p.Annotations[name]) > maxAnnotation:
			wrong = append(wrong, fmt.Sprintf("annotations.%s: the value is over %d KB", name, maxAnnotation>>10))
		}
	}
	for _, err := range []error{p.StartsAt.check("startsAt"), p.EndsAt.check("endsAt")} {
		if e, ok := errors.AsType[*watchbill.Error](err); ok {
			wrong = append(wrong, e.Message)
		}
	}
	if !p.EndsAt.IsZero() && !p.StartsAt.IsZero() && p.EndsAt.Before(p.StartsAt.Time) {
		wrong = append(wrong, "endsAt: is before startsAt")
	}
	return wrong
}

// gettableSilence is a silence in the format of Alertmanager's API v2.
type gettableSilence struct {
	watchbill.Silence
	Status silenceStatus `json:"status"`
}

type silenceStatus struct {
	State string `json:"state"` // pending, active or expired
}

func gettable(s watchbill.Silence, now time.Time) gettableSilence {
	state := "pending"
	switch {
	case !s.EndsAt.After(now):
		state = "expired"
	case s.Active(now):
		state = "active"
	}
	return gettableSilence{s, silenceStatus{state}}
}

// listSilences lists the silences that every filter= matches, as Alertmanager
// does: a filter is a matcher, and is compared with the value of the silence's
// own matcher of the same label.
func (s *Server) listSilences(w http.ResponseWriter, c call) error {
	var filter labels.Matchers
	query := c.URL.Query()
	parse := compat.FallbackMatcherParser(slog.New(slog.DiscardHandler))
	for _, text := range query["filter"] {
		m, err := parse(text, "api")
		if err != nil {
			return watchbill.Invalidf(`write it as name="value", with =, !=, =~ or !~`, "filter: %q: %v", text, err)
		}
		filter = append(filter, m)
	}
	all, err := s.o.Silences.Silences(c.Context())
	if err != nil {
		return err
	}
	out := []gettableSilence{}
	now := time.Now()
	for _, x := range all {
		// ?expired=false and its like leave a state out, as in newer Alertmanagers.
		if g := gettable(x, now); about(x, filter) && query.Get(g.Status.State) != "false" {
			out = append(out, g)
		}
	}
	return reply(w, http.StatusOK, out)
}

// about reports whether all matchers of a filter match the values that a silence
// names. A label that it does not name has the empty value.
func about(x watchbill.Silence, filter labels.Matchers) bool {
	values := watchbill.Labels{}
	for _, m := range x.Matchers {
		values[m.Name] = m.Value
	}
	for _, m := range filter {
		if !m.Matches(values[m.Name]) {
			return false
		}
	}
	return true
}

func (s *Server) getSilence(w http.ResponseWriter, c call) error {
	x, err := s.o.Silences.Silence(c.Context(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, gettable(x, time.Now()))
}

// postableMatcher has isEqual as a pointer: left out it is true.
type postableMatcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual"`
}

type postableSilence struct {
	ID       string            `json:"id"`
	Matchers []postableMatcher `json:"matchers"`
	StartsAt stamp             `json:"startsAt"`
	EndsAt   stamp             `json:"endsAt"`
	Comment  string            `json:"comment"`
}

func (p postableSilence) check() error {
	for _, err := range []error{checkText("comment", p.Comment), p.StartsAt.check("startsAt"), p.EndsAt.check("endsAt")} {
		if err != nil {
			return err
		}
	}
	if len(p.Matchers) > maxMatchers {
		return watchbill.Invalidf("make several silences", "matchers: %d are over the limit of %d", len(p.Matchers), maxMatchers)
	}
	for i, m := range p.Matchers {
		if m.Name == "" || len(m.Name) > maxLabelName || len(m.Value) > maxLabelValue {
			return watchbill.Invalidf("correct it", "matchers[%d]: the name is empty or too long, or the value is", i)
		}
	}
	return nil
}

// readSilence reads the silence of a request's body.
func readSilence(c call) (watchbill.Silence, error) {
	var body postableSilence
	if err := decode(json.NewDecoder(c.Body), &body); err != nil {
		return watchbill.Silence{}, bodyError(err)
	}
	if err := body.check(); err != nil {
		return watchbill.Silence{}, err
	}
	x := watchbill.Silence{ID: body.ID, StartsAt: body.StartsAt.Time, EndsAt: body.EndsAt.Time, Comment: body.Comment}
	if x.StartsAt.IsZero() {
		x.StartsAt = time.Now().UTC()
	}
	for _, m := range body.Matchers {
		x.Matchers = append(x.Matchers, watchbill.Matcher{Name: m.Name, Value: m.Value, IsRegex: m.IsRegex, IsEqual: m.IsEqual == nil || *m.IsEqual})
	}
	return x, nil
}

func (s *Server) postSilence(w http.ResponseWriter, c call) error {
	x, err := readSilence(c)
	if err != nil {
		return err
	}
	x, err = s.o.Silences.PutSilence(c.Context(), c.actor(), x)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"silenceID": x.ID})
}

func (s *Server) deleteSilence(w http.ResponseWriter, c call) error {
	if err := s.o.Silences.ExpireSilence(c.Context(), c.actor(), c.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
