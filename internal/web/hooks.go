package web

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

func (s *Server) hookRoutes() []Route {
	return []Route{
		{"POST", "/hooks/{source}", Need{Scope: auth.ScopeHooks, Machine: true}, "Take a webhook in; the token's name is that of the source; 202 once it is on disk", s.hook},
		{"POST", "/v2/enqueue", Need{Open: true}, "Take an event in, as PagerDuty's Events API v2; routing_key is the source's token", s.enqueue},
	}
}

func (s *Server) hook(w http.ResponseWriter, c call) error {
	source := c.PathValue("source")
	if c.id.Machine != source {
		return watchbill.Errorf(watchbill.CodeDenied, "use the token that has the name of the source", "the token of %s is not that of %s", c.id.Machine, source)
	}
	body, err := hookBody(c.Request, maxBody)
	if err != nil {
		return err
	}
	return s.take(w, c, source, body)
}

// maxEvent is the limit that PagerDuty documents for an event, in bytes.
const maxEvent = 512 << 10

func (s *Server) enqueue(w http.ResponseWriter, c call) error {
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
	if c.id, err = s.o.Authenticate(c.Context(), time.Now(), "Bearer "+key.RoutingKey); err != nil {
		return err
	}
	if c.id.Machine == "" || !c.id.Has(auth.ScopeHooks) {
		return watchbill.Errorf(watchbill.CodeDenied, "make one with: watchbill token create SOURCE --scope hooks", "routing_key is not the token of a source")
	}
	return s.take(w, c, c.id.Machine, body)
}

func (s *Server) take(w http.ResponseWriter, c call, source string, body []byte) error {
	dedup, err := s.o.Hook(c.Context(), source, body)
	if _, coded := errors.AsType[*watchbill.Error](err); err != nil && !coded {
		return &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: "the alerts cannot be stored now",
			Hint: "send them again; watchbill's log says what is wrong", Err: err,
		}
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusAccepted, map[string]string{"status": "success", "message": "Event processed", "dedup_key": dedup})
}

// hookBody reads a body, which may be compressed. The limit holds after
// decompression.
func hookBody(r *http.Request, limit int64) ([]byte, error) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		gz, err := gzip.NewReader(in)
		if err != nil {
			return nil, bodyError(err)
		}
		in = gz
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
