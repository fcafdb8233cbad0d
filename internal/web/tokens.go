package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

// Tokens is what people do with tokens that exist.
type Tokens interface {
	List(ctx context.Context, now time.Time, person watchbill.PersonID) ([]auth.View, error)
	Revoke(ctx context.Context, now time.Time, r auth.Revocation) (auth.View, error)
}

// tokenEnds is the header of an answer that says when the caller's token ends, if
// that is soon.
const tokenEnds = "Watchbill-Token-Ends"

func (s *Server) tokenRoutes() []Route {
	return []Route{
		{"GET", "/api/ops/v1/tokens", Need{}, "List your tokens; ?all=true everybody's and those of machines, for the manager", s.listTokens},
		{"DELETE", "/api/ops/v1/tokens/{id}", Need{}, "Revoke a token of yours, or any if you are the manager", s.revokeToken},
	}
}

// manages reports whether the caller holds the manager's role.
func (s *Server) manages(c call) bool {
	return c.id.IsPerson() && c.id.Person.Holds(s.o.Matrix().Manager)
}

func (s *Server) listTokens(w http.ResponseWriter, c call) error {
	person := c.id.Person.ID
	if c.FormValue("all") == "true" {
		if !s.manages(c) {
			return watchbill.Errorf(watchbill.CodeDenied, "leave all out to list your own", "everybody's tokens are for the role %s", s.o.Matrix().Manager)
		}
		person = ""
	}
	all, err := s.o.Tokens.List(c.Context(), time.Now().UTC(), person)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) revokeToken(w http.ResponseWriter, c call) error {
	v, err := s.o.Tokens.Revoke(c.Context(), time.Now().UTC(), auth.Revocation{
		ID: c.PathValue("id"), By: string(c.id.Person.ID), Person: c.id.Person.ID, Any: s.manages(c),
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

// MyTokens lists the caller's tokens.
func (c *Client) MyTokens(ctx context.Context) (all []auth.View, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/tokens", nil, &all)
	return all, err
}

// RevokeToken revokes a token of the caller's.
func (c *Client) RevokeToken(ctx context.Context, id string) (v auth.View, err error) {
	err = c.do(ctx, http.MethodDelete, "/api/ops/v1/tokens/"+url.PathEscape(id), nil, &v)
	return v, err
}
