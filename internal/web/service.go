package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"watchbill"
	"watchbill/internal/auth"
)

// Services is what the API shows and takes of services and their targets. What
// is not known is [watchbill.CodeNotFound].
type Services interface {
	Targets(ctx context.Context, service string) ([]watchbill.TargetStatus, error)
	Target(ctx context.Context, id string) (watchbill.TargetStatus, error)
	Gate(ctx context.Context, service string) (watchbill.Gate, error)
	Signals(ctx context.Context, service string, posts []watchbill.SignalPost) error
}

// Bounds of what is posted at once.
const (
	maxSignalBody  = 64 << 10
	maxPosts       = 100
	maxCount       = 1_000_000_000
	maxSignalLabel = 100
)

// SignalLabels are the labels that a signal may have. Each value makes a series,
// so that nothing is allowed that is new with every run.
func SignalLabels() []string { return []string{"branch", "pipeline", "stage", "suite"} }

// signalName is what signals and environments may be called.
var signalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// SignalsRequest is the body of POST /api/ops/v1/services/{name}/signals.
type SignalsRequest struct {
	Signals []watchbill.SignalPost `json:"signals"`
}

// serviceRoutes are what is asked and told about services and their targets.
func (s *Server) serviceRoutes(read Need) []Route {
	tell := Need{Activity: watchbill.ActivityRaiseAlerts, Scope: auth.ScopeSignals}
	return []Route{
		{"GET", "/api/ops/v1/targets", read, "List service targets with state, budget, burn and coverage: ?service=…", s.listTargets},
		{"GET", "/api/ops/v1/targets/{id}", read, "Show a service target", s.showTarget},
		{"GET", "/api/ops/v1/services/{name}/gate", read, "May the service be released? 200 if so, else 409, both with the reasons", s.gate},
		{"POST", "/api/ops/v1/services/{name}/signals", tell, `Post signals such as test results: {"signals": [{"name": "e2e", "passed": 41, "failed": 1}]}`, s.postSignals},
	}
}

func (s *Server) listTargets(w http.ResponseWriter, c call) error {
	all, err := s.o.Services.Targets(c.Context(), c.FormValue("service"))
	if err != nil {
		return err
	}
	if all == nil {
		all = []watchbill.TargetStatus{}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) showTarget(w http.ResponseWriter, c call) error {
	t, err := s.o.Services.Target(c.Context(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, t)
}

func (s *Server) gate(w http.ResponseWriter, c call) error {
	g, err := s.o.Services.Gate(c.Context(), c.PathValue("name"))
	if err != nil {
		return err
	}
	code := http.StatusOK
	if !g.Open {
		code = http.StatusConflict
	}
	return reply(w, code, g)
}

func (s *Server) postSignals(w http.ResponseWriter, c call) error {
	text, err := io.ReadAll(io.LimitReader(c.Body, maxSignalBody+1))
	if err != nil {
		return bodyError(err)
	}
	if len(text) > maxSignalBody {
		return watchbill.Errorf(watchbill.CodeTooLarge, "post less at once", "the body is over %d KB", maxSignalBody>>10)
	}
	body, err := ReadSignals(text)
	if err != nil {
		return err
	}
	if err := s.o.Services.Signals(c.Context(), c.PathValue("name"), body.Signals); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]int{"signals": len(body.Signals)})
}

// ReadSignals reads and checks a body of signals.
func ReadSignals(text []byte) (SignalsRequest, error) {
	var body SignalsRequest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := decode(d, &body); err != nil {
		return body, bodyError(err)
	}
	if n := len(body.Signals); n == 0 || n > maxPosts {
		return body, watchbill.Invalidf(fmt.Sprintf("post 1 to %d at once", maxPosts), "signals: there are %d", n)
	}
	for i, p := range body.Signals {
		if err := checkSignal(fmt.Sprintf("signals[%d]", i), p); err != nil {
			return body, err
		}
	}
	return body, nil
}

func checkSignal(at string, p watchbill.SignalPost) error {
	if !signalName.MatchString(p.Name) {
		return watchbill.Invalidf("use letters, digits and . _ - inside, at most 64", "%s.name: %q is not a name", at, p.Name)
	}
	if p.Environment != "" && !signalName.MatchString(p.Environment) {
		return watchbill.Invalidf("use letters, digits and . _ - inside, at most 64", "%s.environment: %q is not a name", at, p.Environment)
	}
	if p.Passed == nil && p.Failed == nil && p.Value == nil {
		return watchbill.Invalidf("give passed and failed, or value", "%s: it says nothing", at)
	}
	for field, n := range map[string]*int64{"passed": p.Passed, "failed": p.Failed} {
		if n != nil && (*n < 0 || *n > maxCount) {
			return watchbill.Invalidf(fmt.Sprintf("use 0 to %d", maxCount), "%s.%s: %d is not a count", at, field, *n)
		}
	}
	for name, value := range p.Labels {
		if !slices.Contains(SignalLabels(), name) {
			return watchbill.Invalidf("use only "+strings.Join(SignalLabels(), ", "), "%s.labels: %q is not allowed", at, name)
		}
		if value == "" || len(value) > maxSignalLabel || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return watchbill.Invalidf(fmt.Sprintf("use 1 to %d printable bytes", maxSignalLabel), "%s.labels.%s: %q is not a value", at, name, value)
		}
	}
	return nil
}

// Targets lists service targets, those of a service unless it is empty.
func (c *Client) Targets(ctx context.Context, service string) ([]watchbill.TargetStatus, error) {
	var all []watchbill.TargetStatus
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/targets?"+url.Values{"service": {service}}.Encode(), nil, &all)
	return all, err
}

// Target shows a service target.
func (c *Client) Target(ctx context.Context, id string) (watchbill.TargetStatus, error) {
	var t watchbill.TargetStatus
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/targets/"+url.PathEscape(id), nil, &t)
	return t, err
}

// Gate asks whether a service may be released. A closed gate is no error.
func (c *Client) Gate(ctx context.Context, service string) (watchbill.Gate, error) {
	var g watchbill.Gate
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/services/"+url.PathEscape(service)+"/gate", nil, &g)
	if closed, ok := errors.AsType[closedGateError](err); ok {
		return closed.Gate, nil
	}
	return g, err
}

// closedGateError is an answer with the status of a conflict.
type closedGateError struct{ watchbill.Gate }

func (closedGateError) Error() string { return "the gate is closed" }

// asGate reads a closed gate out of an answer.
func asGate(status int, text []byte) (closedGateError, bool) {
	var g watchbill.Gate
	ok := status == http.StatusConflict && json.Unmarshal(text, &g) == nil && g.Service != "" && !g.Open && len(g.Reasons) > 0
	return closedGateError{g}, ok
}

// PostSignals posts signals of a service.
func (c *Client) PostSignals(ctx context.Context, service string, posts []watchbill.SignalPost) error {
	return c.do(ctx, http.MethodPost, "/api/ops/v1/services/"+url.PathEscape(service)+"/signals", SignalsRequest{posts}, nil)
}
