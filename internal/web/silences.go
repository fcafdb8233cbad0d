package web

import (
	"net/http"

	"watchbill"
)

// SilenceView is a silence with its state: pending, active or expired. One that
// waits for a second person is pending.
type SilenceView struct {
	watchbill.Silence
	Status struct {
		State string `json:"state"`
	} `json:"status"`
}

func (s *Server) silenceRoutes(read, mute Need) []Route {
	return []Route{
		{"POST", "/api/ops/v1/silences/reach", read, "What a silence would mute now and would have muted in 7 days; nothing is made of it", s.reach},
		{"POST", "/api/ops/v1/silences/{id}/approve", mute, "Approve a silence that needs a second person; not for its author", s.approveSilence},
	}
}

func (s *Server) reach(w http.ResponseWriter, c call) error {
	x, err := readSilence(c)
	if err != nil {
		return err
	}
	reach, err := s.o.Approvals.Reach(c.Context(), x)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, reach)
}

func (s *Server) approveSilence(w http.ResponseWriter, c call) error {
	x, err := s.o.Approvals.ApproveSilence(c.Context(), c.actor(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, x)
}
