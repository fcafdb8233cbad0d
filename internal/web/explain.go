package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"watchbill"
)

// maxFiring bounds the other alerts of a question.
const maxFiring = 1000

// ExplainRequest asks who would be paged for an alert.
type ExplainRequest struct {
	Labels watchbill.Labels `json:"labels"`
	At     time.Time        `json:"at,omitzero"` // when it begins to fire; zero is now
	// Firing are the labels of other alerts that are supposed to fire then, beside
	// those that do.
	Firing []watchbill.Labels `json:"firing,omitempty"`
}

// explain answers a question in the address.
func (s *Server) explain(w http.ResponseWriter, c call) error {
	q := ExplainRequest{Labels: watchbill.Labels{}}
	for _, pair := range c.URL.Query()["label"] {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return watchbill.Invalidf("write it as label=name=value", "label: %q names no value", pair)
		}
		q.Labels[name] = value
	}
	if v := c.FormValue("at"); v != "" {
		var err error
		if q.At, err = time.Parse(time.RFC3339, v); err != nil {
			return watchbill.Invalidf("write it as 2026-11-29T03:15:00Z", "at: %q is not a time", v)
		}
	}
	return s.answer(w, c, q)
}

// explainWith answers a question in the body, which may name other alerts.
func (s *Server) explainWith(w http.ResponseWriter, c call) error {
	var q ExplainRequest
	if err := read(c, &q); err != nil {
		return err
	}
	if len(q.Labels) == 0 {
		return watchbill.Invalidf("name the labels of the alert", "labels: there are none")
	}
	if len(q.Firing) > maxFiring {
		return watchbill.Errorf(watchbill.CodeTooLarge, "name fewer", "firing: %d alerts are over the limit of %d", len(q.Firing), maxFiring)
	}
	for i, l := range append([]watchbill.Labels{q.Labels}, q.Firing...) {
		field := "labels"
		if i > 0 {
			field = fmt.Sprintf("firing[%d]", i-1)
		}
		if len(l) == 0 || len(l) > maxLabels {
			return watchbill.Invalidf(fmt.Sprintf("use 1 to %d labels", maxLabels), "%s: has %d labels", field, len(l))
		}
	}
	return s.answer(w, c, q)
}

func (s *Server) answer(w http.ResponseWriter, c call, q ExplainRequest) error {
	if q.At.IsZero() {
		q.At = time.Now()
	}
	if err := watchbill.CheckTime("at", q.At); err != nil {
		return err
	}
	q.At = q.At.UTC()
	x, err := s.o.Explain(c.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, x)
}

// Explain asks who would be paged for labels at an instant, and decodes the
// answer into out.
func (c *Client) Explain(ctx context.Context, labels watchbill.Labels, at time.Time, out any) error {
	return c.ExplainWith(ctx, ExplainRequest{Labels: labels, At: at}, out)
}

// ExplainWith is Explain for a question that may name other alerts.
func (c *Client) ExplainWith(ctx context.Context, q ExplainRequest, out any) error {
	return c.do(ctx, http.MethodPost, "/api/ops/v1/explain", q, out)
}
