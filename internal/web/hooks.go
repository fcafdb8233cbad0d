package web

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

func (s *Server) hookRoutes() []Route {
	return []Route{
		{"POST", "/hooks/{source}", Need{Scope: auth.ScopeHooks, Machine: true}, "Take a webhook in; the token's name is that of the source; 202 once it is on disk", s.hook},
		{"POST", "/hooks/{source}/{token}", Need{Open: true}, "The same with the token in the address, for senders that can set no header", s.hookAddress},
		{"POST", "/v2/enqueue", Need{Open: true}, "Take an event in, as PagerDuty's Events API v2; routing_key is the source's token", s.enqueue},
		{"POST", "/api/ops/v1/raise", Need{}, "Raise an issue, an anomaly or a request by hand; any person may", s.raise},
	}
}

func (s *Server) hook(w http.ResponseWriter, c call) error {
	body, err := hookBody(c.Request, maxBody)
	if err != nil {
		return err
	}
	return s.take(w, c, c.PathValue("source"), body)
}

// hookAddress keeps the token out of whatever tells of the request from here on.
func (s *Server) hookAddress(w http.ResponseWriter, c call) error {
	c.URL.Path, c.URL.RawPath = "/hooks/"+c.PathValue("source")+"/…", ""
	if err := s.identify(&c, c.PathValue("token")); err != nil {
		return err
	}
	return s.hook(w, c)
}

// identify finds out whose token a request carries outside of its header.
func (s *Server) identify(c *call, token string) (err error) {
	if c.id, err = s.o.Authenticate(c.Context(), time.Now(), "Bearer "+token); err != nil {
		return err
	}
	if c.id.Machine == "" || !c.id.Has(auth.ScopeHooks) {
		return watchbill.Errorf(watchbill.CodeDenied, "make one with: watchbill token create SOURCE --scope hooks", "this is not the token of a source")
	}
	return nil
}

// take hands a body to the source whose token the request has.
func (s *Server) take(w http.ResponseWriter, c call, source string, body []byte) error {
	if c.id.Machine != source {
		return watchbill.Errorf(watchbill.CodeDenied, "use the token that has the name of the source", "the token of %s is not that of %s", c.id.Machine, source)
	}
	dedup, err := s.o.Hook(c.Context(), source, body)
	if err != nil {
		return unstored(err)
	}
	return reply(w, http.StatusAccepted, event{Status: "success", Message: "Event processed", Dedup: dedup})
}

// unstored is what a caller is told of alerts that were not taken in.
func unstored(err error) error {
	if _, coded := errors.AsType[*watchbill.Error](err); coded {
		return err
	}
	return &watchbill.Error{
		Code: watchbill.CodeUnavailable, Message: "the alerts cannot be stored now",
		Hint: "send them again; watchbill's log says what is wrong", Err: err,
	}
}

// maxEvent is the limit that PagerDuty documents for an event, in bytes.
const maxEvent = 512 << 10

// event is an answer in the format of PagerDuty's Events API v2.
type event struct {
	Status  string   `json:"status"`
	Message string   `json:"message"`
	Dedup   string   `json:"dedup_key,omitempty"`
	Errors  []string `json:"errors,omitempty"`
}

// enqueue answers as PagerDuty does: 202, 400 for what is wrong with the event or its
// key, and 429. Its clients send 429 and 5xx again.
func (s *Server) enqueue(w http.ResponseWriter, c call) error {
	err := s.enqueued(w, c)
	e, ok := errors.AsType[*watchbill.Error](err)
	if !ok {
		return err
	}
	if slices.Contains([]watchbill.Code{watchbill.CodeInvalid, watchbill.CodeDenied, watchbill.CodeUnauthenticated}, e.Code) {
		return reply(w, http.StatusBadRequest, event{Status: "invalid event", Message: "Event object is invalid", Errors: []string{e.Error()}})
	}
	if e.Code == watchbill.CodeTooMany {
		retryAfter(w, err)
		return reply(w, http.StatusTooManyRequests, event{Status: "throttle exceeded", Message: e.Error()})
	}
	return err
}

func (s *Server) enqueued(w http.ResponseWriter, c call) error {
	body, err := hookBody(c.Request, maxEvent)
	if err != nil {
		return err
	}
	var key struct {
		RoutingKey string `json:"routing_key"`
	}
	if err := json.Unmarshal(body, &key); err != nil {
		return bodyError(err)
	}
	if err := s.identify(&c, key.RoutingKey); err != nil {
		return err
	}
	return s.take(w, c, c.id.Machine, body)
}

// retryAfter says when a request that was too much may be sent again.
func retryAfter(w http.ResponseWriter, err error) {
	wait := time.Second
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
}

// hookBody reads a body, which may be compressed. The limit holds after
// decompression.
func hookBody(r *http.Request, limit int64) ([]byte, error) {
	in := io.Reader(r.Body)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		gz, err := gzip.NewReader(in)
		if err != nil {
			return nil, bodyError(err)
		}
		in = gz
	default:
		return nil, watchbill.Invalidf("use gzip, or none", "Content-Encoding: %.40q is not known", encoding)
	}
	body, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if int64(len(body)) > limit {
		return nil, watchbill.Errorf(watchbill.CodeTooLarge, "send less at once", "the body is over %d KB", limit>>10)
	}
	return body, nil
}
