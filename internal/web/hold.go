package web

import (
	"context"
	"net/http"

	"watchbill"
)

// Hold is what a restore holds back until somebody says what to do about it.
type Hold interface {
	Held(ctx context.Context) ([]HeldView, error)
	ReleaseHeld(ctx context.Context, who Actor, ids []watchbill.IncidentID) ([]HeldView, error)
	DropHeld(ctx context.Context, who Actor, ids []watchbill.IncidentID) ([]HeldView, error)
}

// HeldView is what is held of one incident. Incident 0 stands for the muted
// alerts that belong to none.
type HeldView struct {
	Incident watchbill.IncidentID `json:"incident"`
	State    watchbill.State      `json:"state,omitempty"`
	Severity watchbill.Severity   `json:"severity,omitempty"`
	Title    string               `json:"title,omitempty"`
	Timers   []NextView           `json:"timers"`
	Pages    []PageView           `json:"pages"`
	Alerts   int                  `json:"alerts"` // that fired when the backup was made
}

// HoldRequest names incidents. None is all that are held, to release them.
type HoldRequest struct {
	Incidents []watchbill.IncidentID `json:"incidents"`
}

func (s *Server) listHeld(w http.ResponseWriter, c call) error {
	all, err := s.o.Hold.Held(c.Context())
	if err != nil {
		return err
	}
	return replyHeld(w, all)
}

func (s *Server) releaseHeld(w http.ResponseWriter, c call) error {
	var r HoldRequest
	if err := read(c, &r); err != nil {
		return err
	}
	done, err := s.o.Hold.ReleaseHeld(c.Context(), c.actor(), r.Incidents)
	if err != nil {
		return err
	}
	return replyHeld(w, done)
}

func (s *Server) dropHeld(w http.ResponseWriter, c call) error {
	var r HoldRequest
	if err := read(c, &r); err != nil {
		return err
	}
	if len(r.Incidents) == 0 {
		return watchbill.Invalidf("list them under incidents", "say which incidents to drop")
	}
	done, err := s.o.Hold.DropHeld(c.Context(), c.actor(), r.Incidents)
	if err != nil {
		return err
	}
	return replyHeld(w, done)
}

func replyHeld(w http.ResponseWriter, all []HeldView) error {
	if all == nil {
		all = []HeldView{}
	}
	return reply(w, http.StatusOK, all)
}

// Held lists what a restore holds back.
func (c *Client) Held(ctx context.Context) ([]HeldView, error) {
	var all []HeldView
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/hold", nil, &all)
	return all, err
}

// ReleaseHeld lets incidents go on that a restore holds back; all of them when
// none is named.
func (c *Client) ReleaseHeld(ctx context.Context, ids ...watchbill.IncidentID) ([]HeldView, error) {
	var done []HeldView
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/hold/release", HoldRequest{ids}, &done)
	return done, err
}

// DropHeld ends incidents that a restore holds back: nobody is paged for them.
func (c *Client) DropHeld(ctx context.Context, ids ...watchbill.IncidentID) ([]HeldView, error) {
	var done []HeldView
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/hold/drop", HoldRequest{ids}, &done)
	return done, err
}
