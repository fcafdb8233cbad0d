package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"watchbill"
)

// Heartbeats is what reports by itself: pings come in, and people look.
type Heartbeats interface {
	// Ping takes a ping in. It returns nil once it is on disk, CodeNotFound for an
	// address that nobody has, and CodeInvalid for one that says nothing.
	Ping(ctx context.Context, p PingRequest) error
	Heartbeats(ctx context.Context) ([]HeartbeatView, error)
	Heartbeat(ctx context.Context, name string) (HeartbeatView, error)
}

// PingRequest is one request below /ping.
type PingRequest struct {
	Key    string
	Rest   []string // what follows the key: a slug, a kind of ping, or both
	Run    string   // the query's rid
	Method string
	Body   io.Reader
	Size   int64 // of the body, -1 if it was not said
}

// MaxPingBody is how much of a ping's body is kept, in bytes.
const MaxPingBody = 10_000

// HeartbeatView is one heartbeat and how it is. State is new, up, started, late,
// down, never, unfinished or failed; the last four are alerts.
type HeartbeatView struct {
	Name        string            `json:"name"`
	State       string            `json:"state"`
	Since       time.Time         `json:"since"`              // when it came into the state
	Schedule    string            `json:"schedule"`           // "every 1h", or a crontab's line and its zone
	Grace       string            `json:"grace"`              // as a duration, "5m"
	Due         time.Time         `json:"due"`                // when the next success is expected
	Limit       time.Time         `json:"limit"`              // when its absence is an alert
	LastSeen    time.Time         `json:"last_seen,omitzero"` // the last ping of any kind
	LastSuccess time.Time         `json:"last_success,omitzero"`
	Took        string            `json:"took,omitempty"`     // how long the last run took
	Configured  time.Time         `json:"configured"`         // since when it is expected
	Labels      map[string]string `json:"labels,omitempty"`   // of its alerts
	Pings       []HeartbeatPing   `json:"pings,omitempty"`    // the last ones, newest first; of a single heartbeat only
	Evidence    string            `json:"evidence,omitempty"` // what the last ping carried; of a single heartbeat only
}

// HeartbeatPing is one ping.
type HeartbeatPing struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // success, fail, start or log
	Exit int       `json:"exit_status,omitempty"`
	Run  string    `json:"run,omitempty"`
	Via  string    `json:"via"`
	Size int64     `json:"size,omitempty"` // bytes of its body
	Took string    `json:"took,omitempty"` // since its run started
}

// heartbeatRoutes are the pings, whose address is their secret, and what people
// see of them.
func (s *Server) heartbeatRoutes(read Need) []Route {
	const ping, more = "A heartbeat, as healthchecks.io takes it; HEAD too", "The same with what it says: [slug/]start, fail, log, or an exit status; ?rid=…"
	return []Route{
		{"GET", "/ping/{key}", Need{Open: true}, ping, s.ping},
		{"POST", "/ping/{key}", Need{Open: true}, ping, s.ping},
		{"GET", "/ping/{key}/{rest...}", Need{Open: true}, more, s.ping},
		{"POST", "/ping/{key}/{rest...}", Need{Open: true}, more, s.ping},
		{"GET", "/api/ops/v1/heartbeats", read, "List heartbeats and how they are", s.listHeartbeats},
		{"GET", "/api/ops/v1/heartbeats/{name}", read, "Show a heartbeat with its last pings and what the last one carried", s.showHeartbeat},
	}
}

// ping answers as healthchecks.io does. It answers every error itself: what logs a
// request's path would log the key.
func (s *Server) ping(w http.ResponseWriter, c call) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Access-Control-Allow-Origin", "*")
	say := func(code int, text string) error {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text) // a caller who went away has been heard
		return nil
	}
	run := c.URL.Query().Get("rid")
	if run != "" {
		id, err := uuid.Parse(run)
		if err != nil || len(run) != len(id.String()) {
			return say(http.StatusBadRequest, "invalid uuid format")
		}
		run = id.String()
	}
	p := PingRequest{Key: c.PathValue("key"), Run: run, Method: c.Method, Body: c.Body, Size: c.ContentLength}
	if rest := strings.Trim(c.PathValue("rest"), "/"); rest != "" {
		p.Rest = strings.Split(rest, "/")
	}
	err := s.o.Heartbeats.Ping(c.Context(), p)
	if err == nil {
		h.Set("Ping-Body-Limit", "10000")
		return say(http.StatusOK, "OK")
	}
	e, ok := errors.AsType[*watchbill.Error](err)
	switch {
	case ok && e.Code == watchbill.CodeNotFound:
		return say(http.StatusNotFound, "not found")
	case ok && e.Code == watchbill.CodeInvalid:
		return say(http.StatusBadRequest, "invalid url format")
	}
	s.o.Logger.ErrorContext(c.Context(), "a heartbeat could not be taken in", "err", err)
	h.Set("Retry-After", "5")
	return say(http.StatusServiceUnavailable, "try again")
}

func (s *Server) listHeartbeats(w http.ResponseWriter, c call) error {
	all, err := s.o.Heartbeats.Heartbeats(c.Context())
	if err != nil {
		return err
	}
	if all == nil {
		all = []HeartbeatView{}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) showHeartbeat(w http.ResponseWriter, c call) error {
	v, err := s.o.Heartbeats.Heartbeat(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

// Heartbeats lists heartbeats and how they are, by name.
func (c *Client) Heartbeats(ctx context.Context) ([]HeartbeatView, error) {
	var all []HeartbeatView
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/heartbeats", nil, &all)
	return all, err
}

// Heartbeat shows a heartbeat with its last pings.
func (c *Client) Heartbeat(ctx context.Context, name string) (HeartbeatView, error) {
	var v HeartbeatView
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/heartbeats/"+url.PathEscape(name), nil, &v)
	return v, err
}
