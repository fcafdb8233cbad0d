package web

import (
	"context"
	"net/http"
	"time"

	"watchbill"
)

// Moves is how an incident goes from one person to the next.
type Moves interface {
	Escalate(ctx context.Context, id watchbill.IncidentID, who Actor, r EscalateRequest) (watchbill.Incident, error)
	HandOver(ctx context.Context, id watchbill.IncidentID, who Actor, r HandOverRequest) (watchbill.Incident, error)
	NotMine(ctx context.Context, id watchbill.IncidentID, who Actor, r NotMineRequest) (watchbill.Incident, error)
	Snooze(ctx context.Context, id watchbill.IncidentID, who Actor, r SnoozeRequest) (watchbill.Incident, error)
}

// Responders is who helps besides.
type Responders interface {
	Call(ctx context.Context, id watchbill.IncidentID, who Actor, r CallRequest) (watchbill.Incident, error)
	Status(ctx context.Context, id watchbill.IncidentID, who Actor, r StatusRequest) (watchbill.Incident, error)
}

// EscalateRequest has the next step fire now. With a generation it is the step
// that the caller saw: if the incident went on since then, nothing is done, so
// that the request can be repeated.
type EscalateRequest struct {
	Note       string `json:"note,omitempty"`
	Generation int    `json:"generation,omitempty"`
	Step       int    `json:"step,omitempty"`
}

// HandOverRequest asks a person to take an incident.
type HandOverRequest struct {
	To   watchbill.PersonID `json:"to"`
	Note string             `json:"note,omitempty"`
}

// NotMineRequest hands an incident to another role.
type NotMineRequest struct {
	Role watchbill.RoleID `json:"role"`
	Note string           `json:"note,omitempty"`
}

// SnoozeRequest puts a sev3 or sev4 off.
type SnoozeRequest struct {
	Until time.Time `json:"until"`
	Note  string    `json:"note,omitempty"`
}

// CallRequest pages people, or whoever is on duty for a role, in addition.
type CallRequest struct {
	People []watchbill.PersonID `json:"people,omitempty"`
	Role   watchbill.RoleID     `json:"role,omitempty"`
	Note   string               `json:"note,omitempty"`
}

// StatusRequest is a status update. With Plan it also says how the incident will
// be resolved.
type StatusRequest struct {
	Text string `json:"text"`
	Plan bool   `json:"plan,omitempty"`
}

func (s *Server) moveRoutes(act Need) []Route {
	const at = "/api/ops/v1/incidents/{id}/"
	return []Route{
		{"POST", at + "escalate", act, "Page the next step now: {\"note\": \"…\", \"generation\": 1, \"step\": 1}", s.escalate},
		{"POST", at + "handover", act, "Ask a person to take it over: {\"to\": \"…\", \"note\": \"…\"}", s.handOver},
		{"POST", at + "not-mine", act, "Hand it to another role: {\"role\": \"…\", \"note\": \"…\"}", s.notMine},
		{"POST", at + "snooze", act, "Put a sev3 or sev4 off: {\"until\": \"…\", \"note\": \"…\"}", s.snooze},
		{"POST", at + "call", act, "Page more people: {\"people\": [\"…\"], \"role\": \"…\", \"note\": \"…\"}", s.callResponder},
		{"POST", at + "status", act, "Record a status update: {\"text\": \"…\", \"plan\": true}", s.statusUpdate},
	}
}

func (s *Server) escalate(w http.ResponseWriter, c call) error {
	var body EscalateRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Moves.Escalate(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) handOver(w http.ResponseWriter, c call) error {
	var body HandOverRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Moves.HandOver(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) notMine(w http.ResponseWriter, c call) error {
	var body NotMineRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Moves.NotMine(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) snooze(w http.ResponseWriter, c call) error {
	var body SnoozeRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		if err := watchbill.CheckTime("until", body.Until); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Moves.Snooze(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) callResponder(w http.ResponseWriter, c call) error {
	var body CallRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Responders.Call(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) statusUpdate(w http.ResponseWriter, c call) error {
	var body StatusRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("text", body.Text); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Responders.Status(c.Context(), id, c.actor(), body)
	})
}

// Status records a status update.
func (c *Client) Status(ctx context.Context, id watchbill.IncidentID, r StatusRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "status", r)
}

// Escalate has an incident's next step fire now.
func (c *Client) Escalate(ctx context.Context, id watchbill.IncidentID, r EscalateRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "escalate", r)
}

// HandOver asks a person to take an incident.
func (c *Client) HandOver(ctx context.Context, id watchbill.IncidentID, r HandOverRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "handover", r)
}

// NotMine hands an incident to another role.
func (c *Client) NotMine(ctx context.Context, id watchbill.IncidentID, r NotMineRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "not-mine", r)
}

// Snooze puts an incident off.
func (c *Client) Snooze(ctx context.Context, id watchbill.IncidentID, r SnoozeRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "snooze", r)
}

// Call pages more people.
func (c *Client) Call(ctx context.Context, id watchbill.IncidentID, r CallRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "call", r)
}
