package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"watchbill"
)

// Limits on what one request may bring in.
const (
	maxAlerts     = 10_000
	maxLabels     = 64
	maxLabelName  = 256
	maxLabelValue = 2 << 10
	maxAnnotation = 16 << 10
)

// postableAlert is an alert in the format of Alertmanager's API v2
// (api/v2/openapi.yaml, postableAlert). Unknown fields are ignored, as there.
type postableAlert struct {
	Labels       watchbill.Labels `json:"labels"`
	Annotations  watchbill.Labels `json:"annotations"`
	StartsAt     time.Time        `json:"startsAt"`
	EndsAt       time.Time        `json:"endsAt"`
	GeneratorURL string           `json:"generatorURL"`
}

func (s *Server) postAlerts(w http.ResponseWriter, c call) error {
	var body []postableAlert
	if err := json.NewDecoder(c.Body).Decode(&body); err != nil {
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
	if err := s.o.Receive(c.Context(), source, alerts); err != nil {
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
		for _, reason := range p.problems() {
			if len(wrong) < 20 {
				wrong = append(wrong, fmt.Sprintf("[%d].%s", i, reason))
			}
		}
		// An empty value is the same as no label, in Prometheus' data model.
		for name, value := range p.Labels {
			if value == "" {
				delete(p.Labels, name)
			}
		}
		alerts[i] = watchbill.Alert{
			Labels: p.Labels, Annotations: p.Annotations, StartsAt: p.StartsAt.UTC(), EndsAt: p.EndsAt.UTC(), GeneratorURL: p.GeneratorURL,
		}
	}
	if len(wrong) > 0 {
		return nil, watchbill.Invalidf("correct them and send all alerts again; none was taken", "%s", strings.Join(wrong, "; "))
	}
	return alerts, nil
}

func (p postableAlert) problems() []string {
	var wrong []string
	n := 0
	for name, value := range p.Labels {
		if value != "" {
			n++
		}
		switch {
		case name == "" || len(name) > maxLabelName || !utf8.ValidString(name):
			wrong = append(wrong, fmt.Sprintf("labels: the name %.40q is not valid", name))
		case len(value) > maxLabelValue || !utf8.ValidString(value):
			wrong = append(wrong, fmt.Sprintf("labels.%s: the value is over %d bytes or not UTF-8", name, maxLabelValue))
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
	for name, value := range p.Annotations {
		if len(name) > maxLabelName || len(value) > maxAnnotation {
			wrong = append(wrong, fmt.Sprintf("annotations.%.40s: is too long", name))
		}
	}
	if !p.EndsAt.IsZero() && !p.StartsAt.IsZero() && p.EndsAt.Before(p.StartsAt) {
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

func (s *Server) listSilences(w http.ResponseWriter, c call) error {
	all, err := s.o.Silences.Silences(c.Context())
	if err != nil {
		return err
	}
	out := make([]gettableSilence, len(all))
	now := time.Now()
	for i, x := range all {
		out[i] = gettable(x, now)
	}
	return reply(w, http.StatusOK, out)
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
	StartsAt time.Time         `json:"startsAt"`
	EndsAt   time.Time         `json:"endsAt"`
	Comment  string            `json:"comment"`
}

func (s *Server) postSilence(w http.ResponseWriter, c call) error {
	var body postableSilence
	if err := json.NewDecoder(c.Body).Decode(&body); err != nil {
		return bodyError(err)
	}
	if err := checkText("comment", body.Comment); err != nil {
		return err
	}
	x := watchbill.Silence{ID: body.ID, StartsAt: body.StartsAt.UTC(), EndsAt: body.EndsAt.UTC(), Comment: body.Comment}
	if x.StartsAt.IsZero() {
		x.StartsAt = time.Now().UTC()
	}
	for _, m := range body.Matchers {
		x.Matchers = append(x.Matchers, watchbill.Matcher{Name: m.Name, Value: m.Value, IsRegex: m.IsRegex, IsEqual: m.IsEqual == nil || *m.IsEqual})
	}
	x, err := s.o.Silences.PutSilence(c.Context(), c.actor(), x)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"silenceID": x.ID})
}

func (s *Server) deleteSilence(w http.ResponseWriter, c call) error {
	if err := s.o.Silences.ExpireSilence(c.Context(), c.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
