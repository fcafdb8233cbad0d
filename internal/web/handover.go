package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"watchbill"
)

// Handovers is how the duty goes from one person to the next.
type Handovers interface {
	HandoverPack(ctx context.Context, role watchbill.RoleID) (watchbill.HandoverPack, error)
	AcceptHandover(ctx context.Context, who Actor, r AcceptRequest) (watchbill.Handover, error)
	ListHandovers(ctx context.Context, role watchbill.RoleID, limit int) ([]watchbill.Handover, error)
}

// AcceptRequest says that the caller comes on duty and has read the pack.
type AcceptRequest struct {
	Role watchbill.RoleID `json:"role"`
	Note string           `json:"note,omitempty"`
}

// maxHandovers is how many acceptances are listed at most.
const maxHandovers = 100

func (s *Server) handoverRoutes(read, act Need) []Route {
	return []Route{
		{"GET", "/api/ops/v1/oncall/handover", read, "What whoever comes on duty has to know: ?role=…", s.handoverPack},
		{"POST", "/api/ops/v1/oncall/handover", act, "Accept it, as whoever comes on duty: {\"role\": \"…\", \"note\": \"…\"}", s.acceptHandover},
		{"GET", "/api/ops/v1/oncall/handovers", read, "Who accepted which role, newest first: ?role=…&limit=100", s.listHandovers},
	}
}

func (s *Server) handoverPack(w http.ResponseWriter, c call) error {
	pack, err := s.o.Handovers.HandoverPack(c.Context(), watchbill.RoleID(c.URL.Query().Get("role")))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, pack)
}

func (s *Server) acceptHandover(w http.ResponseWriter, c call) error {
	var r AcceptRequest
	if err := read(c, &r); err != nil {
		return err
	}
	if err := checkText("note", r.Note); err != nil {
		return err
	}
	h, err := s.o.Handovers.AcceptHandover(c.Context(), c.actor(), r)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, h)
}

func (s *Server) listHandovers(w http.ResponseWriter, c call) error {
	limit := maxHandovers
	if v := c.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxHandovers {
			return watchbill.Invalidf("use 1 to 100", "limit: %q is not a count", v)
		}
		limit = n
	}
	all, err := s.o.Handovers.ListHandovers(c.Context(), watchbill.RoleID(c.URL.Query().Get("role")), limit)
	return replyList(w, all, err)
}

// HandoverPack asks what whoever comes on duty has to know.
func (c *Client) HandoverPack(ctx context.Context, role watchbill.RoleID) (p watchbill.HandoverPack, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/oncall/handover?role="+url.QueryEscape(string(role)), nil, &p)
	return p, err
}

// AcceptHandover accepts it.
func (c *Client) AcceptHandover(ctx context.Context, r AcceptRequest) (h watchbill.Handover, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/oncall/handover", r, &h)
	return h, err
}

// Handovers lists who accepted a role, or any, newest first.
func (c *Client) Handovers(ctx context.Context, role watchbill.RoleID) (all []watchbill.Handover, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/oncall/handovers?role="+url.QueryEscape(string(role)), nil, &all)
	return all, err
}
