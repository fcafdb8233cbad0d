package web

import (
	"context"
	"net/http"

	"watchbill"
)

// RaiseRequest is what a person brings up by hand.
type RaiseRequest struct {
	Kind        string           `json:"kind"`    // issue: a client's; anomaly: something odd was seen; request: of Dev or QA
	Summary     string           `json:"summary"` // one line
	Description string           `json:"description,omitempty"`
	Service     string           `json:"service,omitempty"`
	Environment string           `json:"environment,omitempty"` // needed for an anomaly
	Severity    string           `json:"severity,omitempty"`    // sev1 to sev4; sev3 if it is left out
	Reporter    string           `json:"reporter,omitempty"`    // in whose name, if not the caller's own
	Evidence    []string         `json:"evidence,omitempty"`    // addresses, lines of logs, ticket numbers
	Labels      watchbill.Labels `json:"labels,omitempty"`      // more of them, for the rules of activities
}

// Raised is what became of it. Without an incident, something mutes it, and the
// incident opens when that ends.
type Raised struct {
	Incident *watchbill.Incident `json:"incident,omitempty"`
	Muted    string              `json:"muted,omitempty"`
}

func (s *Server) raise(w http.ResponseWriter, c call) error {
	var body RaiseRequest
	if err := read(c, &body); err != nil {
		return err
	}
	raised, err := s.o.Raise(c.Context(), c.actor(), body)
	if err != nil {
		return unstored(err)
	}
	return reply(w, http.StatusCreated, raised)
}

// Raise brings something up by hand.
func (c *Client) Raise(ctx context.Context, r RaiseRequest) (Raised, error) {
	var raised Raised
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/raise", r, &raised)
	return raised, err
}
