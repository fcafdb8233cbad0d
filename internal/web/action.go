package web

import (
	"context"
	"net/http"
	"time"

	"watchbill"
)

// Actions is what is left to do of incidents.
type Actions interface {
	// OpenActions returns the incidents that have action items which are not done.
	OpenActions(ctx context.Context) ([]watchbill.Incident, error)
	ActOnActions(ctx context.Context, id watchbill.IncidentID, who Actor, r ActionRequest) (watchbill.Incident, error)
	Severity(ctx context.Context, id watchbill.IncidentID, who Actor, r SeverityRequest) (watchbill.Incident, error)
	Assign(ctx context.Context, id watchbill.IncidentID, who Actor, r AssignRequest) (watchbill.Incident, error)
}

// ActionRequest adds an action item or, with the number of one, says that it is done.
type ActionRequest struct {
	Text  string             `json:"text,omitempty"`
	Owner watchbill.PersonID `json:"owner,omitempty"`
	Due   time.Time          `json:"due,omitzero"`
	Done  int                `json:"done,omitempty"`
	Note  string             `json:"note,omitempty"`
}

// SeverityRequest changes a severity by a person's word.
type SeverityRequest struct {
	Severity watchbill.Severity `json:"severity"`
	Reason   string             `json:"reason"`
}

// AssignRequest gives a person a part in an incident; nobody takes it back.
type AssignRequest struct {
	Role   watchbill.IncidentRole `json:"role"`
	Person watchbill.PersonID     `json:"person,omitempty"`
}

// ActionView is an action item with its incident.
type ActionView struct {
	Incident watchbill.IncidentID `json:"incident"`
	Title    string               `json:"title"`
	watchbill.ActionItem
}

func (s *Server) actionRoutes(read, act Need) []Route {
	const at = "/api/ops/v1/incidents/{id}/"
	return []Route{
		{"GET", "/api/ops/v1/actions", read, "Action items of all incidents that are not done", s.listActions},
		{"POST", at + "actions", act, "Add an action item: {\"text\": \"…\", \"owner\": \"…\", \"due\": \"…\"}; or {\"done\": 1, \"note\": \"…\"}", s.actOnActions},
		{"POST", at + "severity", act, "Change its severity: {\"severity\": \"sev1\", \"reason\": \"…\"}", s.setSeverity},
		{"POST", at + "role", act, "Give somebody a part in it: {\"role\": \"commander|responder|scribe\", \"person\": \"…\"}", s.assign},
	}
}

func (s *Server) listActions(w http.ResponseWriter, c call) error {
	incidents, err := s.o.Actions.OpenActions(c.Context())
	if err != nil {
		return err
	}
	all := []ActionView{}
	for _, inc := range incidents {
		for _, a := range inc.Actions {
			if !a.Done() {
				all = append(all, ActionView{inc.ID, inc.Title, a})
			}
		}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) actOnActions(w http.ResponseWriter, c call) error {
	var body ActionRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		if err := watchbill.CheckTime("due", body.Due); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Actions.ActOnActions(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) setSeverity(w http.ResponseWriter, c call) error {
	var body SeverityRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if body.Severity == 0 {
			return watchbill.Incident{}, watchbill.Invalidf("use sev1, sev2, sev3 or sev4", "severity: is missing")
		}
		if err := checkText("reason", body.Reason); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Actions.Severity(c.Context(), id, c.actor(), body)
	})
}

func (s *Server) assign(w http.ResponseWriter, c call) error {
	var body AssignRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		return s.o.Actions.Assign(c.Context(), id, c.actor(), body)
	})
}

// Actions lists the action items that are not done.
func (c *Client) Actions(ctx context.Context) (all []ActionView, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/actions", nil, &all)
	return all, err
}

// ActOnActions adds an action item, or says that one is done.
func (c *Client) ActOnActions(ctx context.Context, id watchbill.IncidentID, r ActionRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "actions", r)
}

// SetSeverity changes an incident's severity.
func (c *Client) SetSeverity(ctx context.Context, id watchbill.IncidentID, r SeverityRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "severity", r)
}

// Assign gives somebody a part in an incident.
func (c *Client) Assign(ctx context.Context, id watchbill.IncidentID, r AssignRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "role", r)
}
