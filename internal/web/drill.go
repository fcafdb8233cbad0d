package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"watchbill"
)

// Drills is how a path is tried out on people.
type Drills interface {
	Drill(ctx context.Context, who Actor, r DrillRequest) (DrillView, error)
	ListDrills(ctx context.Context, limit int) ([]DrillView, error)
	ShowDrill(ctx context.Context, id watchbill.IncidentID) (DrillView, error)
}

// Span is a duration as people write it, like "30m".
type Span time.Duration

// Duration returns it as one of Go's.
func (s Span) Duration() time.Duration { return time.Duration(s) }

// MarshalText writes "30m0s".
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalJSON reads "30m".
func (s *Span) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is text like %q", "30m")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration like %q", text, "30m")
	}
	*s = Span(d)
	return nil
}

// DrillRequest asks for a drill of a role or of a service.
type DrillRequest struct {
	Role     watchbill.RoleID   `json:"role,omitempty"`
	Service  string             `json:"service,omitempty"`
	Severity watchbill.Severity `json:"severity,omitempty"` // sev2 if it is left out
	For      Span               `json:"for,omitempty"`      // how long people have; 30m if it is left out
	Note     string             `json:"note,omitempty"`
}

// DrillResult is what came of a drill.
type DrillResult string

// The results of a drill.
const (
	DrillRuns       DrillResult = "runs"
	DrillAnswered   DrillResult = "answered"
	DrillUnanswered DrillResult = "unanswered"
)

// DrillView is the report of a drill.
type DrillView struct {
	ID          watchbill.IncidentID `json:"id"`
	Of          string               `json:"of"` // "role support"
	By          string               `json:"by"`
	Severity    watchbill.Severity   `json:"severity"`
	Began       time.Time            `json:"began"`
	Until       time.Time            `json:"until"`
	Result      DrillResult          `json:"result"`
	AnsweredBy  watchbill.PersonID   `json:"answered_by,omitempty"`
	AnsweredVia string               `json:"answered_via,omitempty"` // "cli", "api"
	After       float64              `json:"after_seconds,omitempty"`
	Pages       []DrillPage          `json:"pages"`
}

// DrillPage is one page of a drill.
type DrillPage struct {
	Person watchbill.PersonID `json:"person"`
	Role   watchbill.RoleID   `json:"role,omitempty"`
	Step   int                `json:"step"`
	Method string             `json:"method"`
	Due    time.Time          `json:"due"`
	Sent   time.Time          `json:"sent,omitzero"`
	State  string             `json:"state"` // pending, delivered, dropped
	Detail string             `json:"detail,omitempty"`
}

// Line is the report in one line.
func (v DrillView) Line() string {
	text := fmt.Sprintf("%s  %s  %s  by %s  %s", v.ID, v.Began.UTC().Format(time.RFC3339), v.Of, v.By, v.Result)
	if v.Result == DrillAnswered {
		text += fmt.Sprintf(" by %s via %s after %s", v.AnsweredBy, v.AnsweredVia, time.Duration(v.After*float64(time.Second)).Round(time.Second))
	}
	return text
}

func (s *Server) drillRoutes(read, act Need) []Route {
	return []Route{
		{"POST", "/api/ops/v1/drills", act, "Try a path out: {\"role\": \"…\", \"for\": \"30m\"} or {\"service\": \"…\"}", s.startDrill},
		{"GET", "/api/ops/v1/drills", read, "List drills with their results, newest first: ?limit=100", s.listDrills},
		{"GET", "/api/ops/v1/drills/{id}", read, "Show a drill with whom it paged", s.showDrill},
	}
}

func (s *Server) startDrill(w http.ResponseWriter, c call) error {
	var body DrillRequest
	if err := read(c, &body); err != nil {
		return err
	}
	if err := checkText("note", body.Note); err != nil {
		return err
	}
	v, err := s.o.Drills.Drill(c.Context(), c.actor(), body)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, v)
}

func (s *Server) listDrills(w http.ResponseWriter, c call) error {
	limit := 100
	if v := c.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxList {
			return watchbill.Invalidf(fmt.Sprintf("use 1 to %d", maxList), "limit: %q is not a count", v)
		}
		limit = n
	}
	all, err := s.o.Drills.ListDrills(c.Context(), limit)
	if err != nil {
		return err
	}
	if all == nil {
		all = []DrillView{}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) showDrill(w http.ResponseWriter, c call) error {
	id, err := watchbill.ParseIncidentID(c.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := s.o.Drills.ShowDrill(c.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

// Drill tries a path out.
func (c *Client) Drill(ctx context.Context, r DrillRequest) (v DrillView, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/drills", r, &v)
	return v, err
}

// ListDrills lists drills, newest first.
func (c *Client) ListDrills(ctx context.Context) (all []DrillView, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/drills", nil, &all)
	return all, err
}

// ShowDrill shows a drill.
func (c *Client) ShowDrill(ctx context.Context, id watchbill.IncidentID) (v DrillView, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/drills/"+id.String(), nil, &v)
	return v, err
}
