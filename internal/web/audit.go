package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"watchbill"
)

// AuditLog is the record of what was done that no incident tells of.
type AuditLog interface {
	AuditLog(ctx context.Context, q AuditQuery) (AuditPage, error)
	// EraseAudit erases the details of a person's entries.
	EraseAudit(ctx context.Context, who Actor, person watchbill.PersonID, reason string) (erased int, err error)
	// Refused records that somebody may not do what they asked for.
	Refused(ctx context.Context, r Refusal)
	// SignInRefused records that somebody was not let in.
	SignInRefused(ctx context.Context, r SignInRefusal)
}

// SignInRefusal is a sign-in that failed.
type SignInRefusal struct {
	Account watchbill.PersonID // as it was typed; empty at the identity provider
	Address string
	Why     string
}

// Refusal is a request that was denied to somebody who is known.
type Refusal struct {
	Who     Actor
	Machine string // instead of a person
	What    string // method and path
	Why     string
}

// AuditQuery says which entries are wanted; empty is any.
type AuditQuery struct {
	After  int64 // the number of the last one that is known
	Kind   watchbill.AuditKind
	Actor  string
	Object string
	Since  time.Time
	Oldest bool // the oldest first
	Limit  int
}

// AuditPage is a part of the audit log, and the head of all of it.
type AuditPage struct {
	Entries []watchbill.AuditEntry `json:"entries"`
	Head    watchbill.AuditHead    `json:"head"`
}

// EraseRequest asks for the details of a person's entries to be erased.
type EraseRequest struct {
	Person watchbill.PersonID `json:"person"`
	Reason string             `json:"reason"`
}

// Erased says how many details were erased.
type Erased struct {
	Entries int `json:"entries"`
}

func (s *Server) auditRoutes() []Route {
	return []Route{
		{"GET", "/api/ops/v1/audit", Need{Activity: watchbill.ActivitySecurity}, "The audit log, newest first: ?kind=, ?actor=, ?object=, ?since=, ?after=, ?order=oldest, ?limit=100", s.listAudit},
		{"POST", "/api/ops/v1/audit/erase", Need{Manager: true}, "Erase the details of a person's entries; the chain still verifies: {\"person\": \"ana\", \"reason\": \"…\"}", s.eraseAudit},
	}
}

func (s *Server) listAudit(w http.ResponseWriter, c call) error {
	q, err := auditQuery(c.URL.Query())
	if err != nil {
		return err
	}
	page, err := s.o.AuditLog.AuditLog(c.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, page)
}

func auditQuery(v url.Values) (q AuditQuery, err error) {
	q = AuditQuery{Kind: watchbill.AuditKind(v.Get("kind")), Actor: v.Get("actor"), Object: v.Get("object")}
	for _, n := range []struct {
		name string
		into func(int64)
	}{{"after", func(n int64) { q.After = n }}, {"limit", func(n int64) { q.Limit = int(n) }}} {
		if text := v.Get(n.name); text != "" {
			number, err := strconv.ParseInt(text, 10, 32)
			if err != nil || number < 0 {
				return q, watchbill.Invalidf("write a number", "%s: %q is not a number", n.name, text)
			}
			n.into(number)
		}
	}
	switch order := v.Get("order"); order {
	case "", "newest":
	case "oldest":
		q.Oldest = true
	default:
		return q, watchbill.Invalidf("write newest or oldest", "order: there is no order %q", order)
	}
	if text := v.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return q, watchbill.Invalidf("write it like 2026-11-29T03:15:00Z", "since: %q is not a time", text)
		}
	}
	return q, nil
}

func (s *Server) eraseAudit(w http.ResponseWriter, c call) error {
	var r EraseRequest
	if err := read(c, &r); err != nil {
		return err
	}
	if r.Person == "" {
		return watchbill.Invalidf("name whose", "person: it is missing")
	}
	if err := checkText("reason", r.Reason); err != nil {
		return err
	}
	n, err := s.o.AuditLog.EraseAudit(c.Context(), c.actor(), r.Person, r.Reason)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, Erased{n})
}

// refused has a denial recorded. That somebody reads what they may not is as much
// worth knowing as that they try to change it.
func (s *Server) refused(c call, e *watchbill.Error) {
	if c.id.Person.ID == "" && c.id.Machine == "" {
		return
	}
	s.o.AuditLog.Refused(c.Context(), Refusal{Who: c.actor(), Machine: c.id.Machine, What: c.Method + " " + c.URL.Path, Why: e.Message})
}

// AuditLog returns a part of the audit log.
func (c *Client) AuditLog(ctx context.Context, q AuditQuery) (AuditPage, error) {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" && value != "0" {
			v.Set(name, value)
		}
	}
	set("kind", string(q.Kind))
	set("actor", q.Actor)
	set("object", q.Object)
	set("after", strconv.FormatInt(q.After, 10))
	set("limit", strconv.Itoa(q.Limit))
	if !q.Since.IsZero() {
		set("since", q.Since.UTC().Format(time.RFC3339))
	}
	if q.Oldest {
		set("order", "oldest")
	}
	var page AuditPage
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/audit?"+v.Encode(), nil, &page)
	return page, err
}

// EraseAudit erases the details of a person's entries.
func (c *Client) EraseAudit(ctx context.Context, r EraseRequest) (Erased, error) {
	var out Erased
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/audit/erase", r, &out)
	return out, err
}
