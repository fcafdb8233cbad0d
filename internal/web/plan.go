package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"watchbill"
)

// Plans is how an incident comes to its end: by its plan, with its proof.
type Plans interface {
	ActOnPlan(ctx context.Context, id watchbill.IncidentID, who Actor, a watchbill.PlanAct) (watchbill.Incident, error)
	CloseIncident(ctx context.Context, id watchbill.IncidentID, who Actor, r CloseRequest) (watchbill.Incident, error)
}

func (s *Server) planRoutes(read, act Need) []Route {
	const at = "/api/ops/v1/incidents/{id}/plan"
	return []Route{
		{"GET", at, read, "The steps of its resolution plan, in order", s.showPlan},
		{"POST", at, act, "Act on its plan: {\"act\": \"add|import|edit|move|do|done|skip|block|handover\", \"step\": 1, …}", s.actOnPlan},
		{"POST", "/api/ops/v1/incidents/{id}/close", act, "Close it with its proof: {\"cause\": \"…\", \"verdict\": \"useful|noise|unclear\", \"signal\": \"…\"}", s.closeIncident},
		{"GET", "/api/ops/v1/incidents/{id}/export", read, "All that is known of it, as a record: ?format=markdown|json", s.exportIncident},
	}
}

func (s *Server) showPlan(w http.ResponseWriter, c call) error {
	v, err := s.show(c)
	if err != nil {
		return err
	}
	if v.Incident.Plan == nil {
		v.Incident.Plan = []watchbill.PlanStep{}
	}
	return reply(w, http.StatusOK, v.Incident.Plan)
}

func (s *Server) actOnPlan(w http.ResponseWriter, c call) error {
	var body watchbill.PlanAct
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		for field, text := range map[string]string{"text": body.Text, "note": body.Note} {
			if err := checkText(field, text); err != nil {
				return watchbill.Incident{}, err
			}
		}
		if err := watchbill.CheckTime("due", body.Due); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Plans.ActOnPlan(c.Context(), id, c.actor(), body)
	})
}

// PlanText is a plan as plain text; empty when there is none.
func PlanText(steps []watchbill.PlanStep) string {
	if len(steps) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nPlan\n")
	for _, s := range steps {
		fmt.Fprintf(&b, "  %2d  %-7s  %-11s  %s\n", s.N, s.State, s.Kind, s.Text)
		if more := stepNotes(s); more != "" {
			fmt.Fprintf(&b, "      %s\n", more)
		}
	}
	return b.String()
}

// stepNotes are whose a step is, until when, and what is known of it.
func stepNotes(s watchbill.PlanStep) string {
	var notes []string
	if s.Owner != "" {
		notes = append(notes, "owner "+string(s.Owner))
	}
	if s.From != "" {
		notes = append(notes, "handed over by "+string(s.From))
	}
	if !s.Due.IsZero() && !s.Over() {
		notes = append(notes, "due "+s.Due.UTC().Format(time.RFC3339))
	}
	if s.Change != 0 {
		notes = append(notes, s.Change.String())
	}
	if s.By != "" {
		notes = append(notes, fmt.Sprintf("%s by %s %s", s.State, s.By, s.At.UTC().Format(time.RFC3339)))
	}
	for _, said := range []string{s.Reason, s.Evidence} {
		if said != "" {
			notes = append(notes, said)
		}
	}
	return strings.Join(notes, ", ")
}

// Plan returns the steps of an incident's plan.
func (c *Client) Plan(ctx context.Context, id watchbill.IncidentID) (all []watchbill.PlanStep, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/incidents/"+id.String()+"/plan", nil, &all)
	return all, err
}

// ActOnPlan does one act to an incident's plan.
func (c *Client) ActOnPlan(ctx context.Context, id watchbill.IncidentID, a watchbill.PlanAct) (watchbill.Incident, error) {
	return c.act(ctx, id, "plan", a)
}
