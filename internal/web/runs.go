package web

import (
	"context"
	"net/http"
	"time"

	"watchbill"
)

// Runs is how people go through runbooks.
type Runs interface {
	RunRunbook(ctx context.Context, id watchbill.IncidentID, who Actor, r RunRequest) (RunbookRun, error)
}

// RunRequest begins a run of a runbook on an incident, or goes on with the one
// that is not at its end. With At it answers what is there.
type RunRequest struct {
	Runbook  string `json:"runbook,omitempty"`  // empty: the one that runs, or the incident's own
	At       string `json:"at,omitempty"`       // "question 2", "step 4": what was seen
	Answer   string `json:"answer,omitempty"`   // of a question its words or number; of a step done or skip; stuck
	Evidence string `json:"evidence,omitempty"` // what was seen, pasted
}

// RunbookRun is how far a run has come.
type RunbookRun struct {
	Runbook string        `json:"runbook"`
	Title   string        `json:"title"`
	Version string        `json:"version"` // the hash of the text that this run keeps to
	Ended   bool          `json:"ended"`
	Leads   string        `json:"leads,omitempty"` // the runbook to go on with
	Next    *RunbookNext  `json:"next,omitempty"`  // nil at the end
	Answers []RunbookStep `json:"answers"`
}

// RunbookNext is what is asked, or to be done, next.
type RunbookNext struct {
	At      string   `json:"at"`
	Text    string   `json:"text"`
	More    []string `json:"more,omitempty"`
	Answers []string `json:"answers,omitempty"` // of a question
	Change  bool     `json:"change,omitempty"`  // it changes production: two people
}

// RunbookStep is what somebody answered.
type RunbookStep struct {
	At       string    `json:"at"`
	Text     string    `json:"text"`
	Answer   string    `json:"answer"`
	By       string    `json:"by,omitempty"`
	When     time.Time `json:"when"`
	Evidence string    `json:"evidence,omitempty"`
}

func (s *Server) runRoutes(act Need) []Route {
	return []Route{
		{"POST", "/api/ops/v1/incidents/{id}/runbook", act, "Begin a runbook, or answer it: {\"runbook\": \"…\", \"at\": \"question 1\", \"answer\": \"yes\", \"evidence\": \"…\"}", s.runRunbook},
	}
}

func (s *Server) runRunbook(w http.ResponseWriter, c call) error {
	id, err := watchbill.ParseIncidentID(c.PathValue("id"))
	if err != nil {
		return err
	}
	var body RunRequest
	if err := read(c, &body); err != nil {
		return err
	}
	if err := checkText("evidence", body.Evidence); err != nil {
		return err
	}
	if body.At == "" && (body.Answer != "" || body.Evidence != "") {
		return watchbill.Invalidf("say what is answered, as in question 1", "at: is missing")
	}
	run, err := s.o.Runs.RunRunbook(c.Context(), id, c.actor(), body)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, run)
}

// RunRunbook begins a runbook on an incident, goes on with it, or answers it.
func (c *Client) RunRunbook(ctx context.Context, id watchbill.IncidentID, r RunRequest) (RunbookRun, error) {
	var run RunbookRun
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/incidents/"+id.String()+"/runbook", r, &run)
	return run, err
}
