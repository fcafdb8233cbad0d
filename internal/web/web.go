// Package web is the daemon's HTTP side: health, metrics, the intake of alerts,
// silences, and the API by which people act on incidents. It also holds the Go
// client of that API, [Client].
//
// # Who may call
//
// Every route is a line of one table ([Server.Routes]) with what it needs.
// Health is open; everything else needs a token, as "Authorization: Bearer …" or
// as the password of HTTP Basic, which is how amtool, Prometheus and a browser
// send it. A machine's token may do what its scopes say. A person's token may do
// what the responsibility matrix allows that person ([watchbill.Matrix.May]).
//
// # Requests and answers
//
// Bodies are JSON, at most 4 MB, with known fields only where the API is ours;
// the routes under /api/v2 have Alertmanager's formats and ignore what they do
// not know, those under /api/v1 have Prometheus' formats, errors included. A write is answered 2xx only after it is on disk. An error is
//
//	{"error": {"code": "denied", "message": "…", "hint": "…"}}
//
// with the status that belongs to its code: invalid 400, unauthenticated 401,
// denied 403, not_found 404, conflict 409, too_large 413, too_many 429,
// unavailable 503, internal 500.
package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

// maxBody bounds a request body, in bytes.
const maxBody = 4 << 20

// Actor is who acts, and by which means.
type Actor struct {
	Person watchbill.PersonID
	Via    string
}

// Incidents is what the API shows of incidents.
type Incidents interface {
	List(ctx context.Context, state string, limit int) ([]watchbill.Incident, error)
	Show(ctx context.Context, id watchbill.IncidentID) (IncidentView, error)
}

// Acts is what people do to incidents.
type Acts interface {
	Acknowledge(ctx context.Context, id watchbill.IncidentID, who Actor, note string) (watchbill.Incident, error)
	Note(ctx context.Context, id watchbill.IncidentID, who Actor, text string) (watchbill.Incident, error)
	Resolve(ctx context.Context, id watchbill.IncidentID, who Actor, r ResolveRequest) (watchbill.Incident, error)
}

// Silences is the store of silences.
type Silences interface {
	Silences(ctx context.Context) ([]watchbill.Silence, error)
	Silence(ctx context.Context, id string) (watchbill.Silence, error)
	PutSilence(ctx context.Context, who Actor, s watchbill.Silence) (watchbill.Silence, error)
	ExpireSilence(ctx context.Context, who Actor, id string) error
}

// Approvals is what a silence takes besides its author.
type Approvals interface {
	Reach(ctx context.Context, s watchbill.Silence) (watchbill.SilenceReach, error)
	ApproveSilence(ctx context.Context, who Actor, id string) (watchbill.Silence, error)
}

// Options is what the server serves. All fields are required.
type Options struct {
	Authenticate func(ctx context.Context, now time.Time, header string) (auth.Identity, error)
	Matrix       func() watchbill.Matrix
	Receive      func(ctx context.Context, source string, alerts []watchbill.Alert) error
	Incidents    Incidents
	Acts         Acts
	Moves        Moves
	Drills       Drills
	Plans        Plans
	Actions      Actions
	Responders   Responders
	Pages        Pages
	Texts        Texts
	Contacts     Contacts
	ContactActs  ContactActs
	Silences     Silences
	Approvals    Approvals
	Alertmanager Alertmanager
	AlertHistory AlertHistory
	Hold         Hold
	Changes      Changes
	Ledger       ChangeLedger
	AuditLog     AuditLog
	Services     Services
	Heartbeats   Heartbeats
	Alarm        Alarm
	Why          Why
	Oncall       Oncall
	DutyChanges  DutyChanges
	Explain      func(ctx context.Context, q ExplainRequest) (any, error)
	Runbook      func(name string) ([]byte, bool)
	Reload       func(ctx context.Context, who Actor) error
	Ready        func(ctx context.Context) error
	Metrics      http.Handler
	Probe        http.Handler
	Query        http.Handler                                                                    // Prometheus' API, below /api/v1
	Hook         func(ctx context.Context, source string, body []byte) (dedup string, err error) // nil error once it is on disk
	Raise        func(ctx context.Context, who Actor, r RaiseRequest) (Raised, error)
	Write        func(w http.ResponseWriter, r *http.Request, source string)
	Logger       *slog.Logger
}

// Server answers HTTP requests. It holds no state of its own.
type Server struct {
	o Options
}

// New returns a server.
func New(o Options) *Server { return &Server{o: o} }

// call is one authenticated request.
type call struct {
	*http.Request
	id auth.Identity
}

// actor is the person behind the call.
func (c call) actor() Actor {
	via := "api"
	if c.Header.Get("X-Watchbill-Via") == "cli" {
		via = "cli"
	}
	return Actor{Person: c.id.Person.ID, Via: via}
}

// Need is what a route asks of its caller: Open asks nothing. A person must be
// allowed Activity; with an empty Activity any person may. A machine must have
// Scope; with an empty Scope no machine may.
type Need struct {
	Open     bool
	Activity watchbill.ActivityID
	Manager  bool // only the manager role
	Machine  bool // no person, whatever the matrix says
	Scope    auth.Scope
}

// Route is one line of the table.
type Route struct {
	Method, Path string
	Need         Need
	Doc          string
	handle       func(http.ResponseWriter, call) error
}

// Routes returns the table of everything that is served.
func (s *Server) Routes() []Route {
	read := Need{Scope: auth.ScopeRead}
	raise := Need{Activity: watchbill.ActivityRaiseAlerts, Scope: auth.ScopeAlerts}
	mute := Need{Activity: watchbill.ActivityStates}
	return slices.Concat([]Route{
		{"GET", "/-/healthy", Need{Open: true}, "200 while the process runs", s.healthy},
		{"GET", "/-/ready", Need{Open: true}, "200 while the store can be written", s.ready},
		{"POST", "/-/reload", Need{Manager: true}, "Read the configuration again; nothing changes if it has mistakes", s.reload},
		{"GET", "/metrics", Need{Scope: auth.ScopeMetrics}, "The daemon's own metrics, in Prometheus' format", s.metrics},
		{"GET", "/probe", Need{Scope: auth.ScopeMetrics}, "Probe a target, as blackbox_exporter does: ?module=…&target=…, &hostname=…, &debug=true", s.probe},
		{"POST", "/api/v2/alerts", raise, "Take alerts in, in Alertmanager's format; 200 once they are on disk", s.postAlerts},
		{"GET", "/api/v2/silences", read, "List silences, in Alertmanager's format: ?filter=name=value, more than once", s.listSilences},
		{"POST", "/api/v2/silences", mute, "Create or change a silence; the author is the caller", s.postSilence},
		{"GET", "/api/v2/silence/{id}", read, "Show a silence", s.getSilence},
		{"DELETE", "/api/v2/silence/{id}", mute, "End a silence now", s.deleteSilence},
		{"GET", "/api/ops/v1/incidents", read, "List incidents: ?state=live|open|acknowledged|resolved|closed, ?limit=100", s.listIncidents},
		{"GET", "/api/ops/v1/incidents/{id}", read, "Show an incident with its timeline, alerts, pages and what is next", s.showIncident},
		{"POST", "/api/ops/v1/incidents/{id}/ack", raise.person(), "Acknowledge: {\"note\": \"…\"}", s.ackIncident},
		{"POST", "/api/ops/v1/incidents/{id}/note", raise.person(), "Record a note: {\"text\": \"…\"}", s.noteIncident},
		{"POST", "/api/ops/v1/incidents/{id}/resolve", raise.person(), "Resolve: {\"reason\": \"…\", \"quiet_until\": \"…\"}", s.resolveIncident},
		{"GET", "/api/ops/v1/explain", read, "Who would be paged, when and why: ?label=name=value&at=…", s.explain},
		{"POST", "/api/ops/v1/explain", read, "The same, with other alerts that are supposed to fire; nothing is changed", s.explainWith},
		{"GET", "/api/ops/v1/hold", read, "What a restore holds back, by incident", s.listHeld},
		{"POST", "/api/ops/v1/hold/release", Need{Manager: true}, "Let it go on: {\"incidents\": [1]}; without any, all of it", s.releaseHeld},
		{"POST", "/api/ops/v1/hold/drop", Need{Manager: true}, "End incidents without paging for them: {\"incidents\": [1]}", s.dropHeld},
		{"POST", "/api/ops/v1/alarm/test", mute, "Send a test through the second notifier now", s.testAlarm},
		{"POST", "/api/ops/v1/alarm/confirm", raise.person(), "Say that a test of the second notifier arrived", s.confirmAlarm},
		{"GET", "/i/{id}", read, "An incident as plain text, for a browser or curl", s.incidentText},
		{"GET", "/runbooks/{name}", read, "A runbook as Markdown", s.runbook},
	},
		s.alertmanagerRoutes(read),
		s.historyRoutes(read),
		s.serviceRoutes(read),
		s.heartbeatRoutes(read),
		s.silenceRoutes(read, mute),
		s.oncallRoutes(read, raise.person()), s.whyRoutes(read),
		s.queryRoutes(read),
		s.hookRoutes(),
		s.actRoutes(),
		s.contactRoutes(),
		s.moveRoutes(raise.person()),
		s.drillRoutes(read, raise.person()),
		s.planRoutes(read, raise.person()),
		s.actionRoutes(read, raise.person()),
		s.auditRoutes(),
		s.changeRoutes(read),
	)
}

func (n Need) person() Need {
	n.Scope = ""
	return n
}

// Handler returns the handler of all routes. Paths that are not in the table
// answer 404.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.Routes() {
		mux.HandleFunc(r.Method+" "+r.Path, s.serve(r))
	}
	return http.NewCrossOriginProtection().Handler(mux)
}

// serve authenticates, checks permission, calls the handler and renders its
// error: the only place that does any of these.
func (s *Server) serve(r Route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		c := call{Request: req}
		err := s.admit(&c, r.Need)
		if err == nil {
			req.Body = http.MaxBytesReader(w, req.Body, maxBody)
			err = r.handle(w, c)
		}
		if err != nil {
			s.fail(w, c, err)
		}
	}
}

// admit checks what a route needs of its caller.
func (s *Server) admit(c *call, need Need) error {
	if need.Open {
		return nil
	}
	id, err := s.o.Authenticate(c.Context(), time.Now(), c.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	c.id = id
	if id.Person.ID == "" {
		if need.Scope != "" && id.Has(need.Scope) {
			return nil
		}
		return watchbill.Errorf(watchbill.CodeDenied, "make one with: watchbill token create --scope …, or use a person's token",
			"the token of %s does not allow %s %s", id.Machine, c.Method, c.URL.Path)
	}
	if need.Machine {
		return watchbill.Errorf(watchbill.CodeDenied, "make a machine's token with: watchbill token create --scope …", "%s %s is for machines", c.Method, c.URL.Path)
	}
	m := s.o.Matrix()
	if need.Manager && !id.Person.Holds(m.Manager) {
		return watchbill.Errorf(watchbill.CodeDenied, "ask whoever holds it", "%s is for the role %s", c.URL.Path, m.Manager)
	}
	if need.Activity == "" {
		return nil
	}
	if p := m.May(id.Person, need.Activity, watchbill.Place{}, time.Now()); !p.OK {
		return watchbill.Errorf(watchbill.CodeDenied, "the matrix decides; see matrix: in the configuration", "%s", p.Reason)
	}
	return nil
}

func status(code watchbill.Code) int {
	switch code {
	case watchbill.CodeInvalid:
		return http.StatusBadRequest
	case watchbill.CodeUnauthenticated:
		return http.StatusUnauthorized
	case watchbill.CodeDenied:
		return http.StatusForbidden
	case watchbill.CodeNotFound:
		return http.StatusNotFound
	case watchbill.CodeConflict:
		return http.StatusConflict
	case watchbill.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case watchbill.CodeTooMany:
		return http.StatusTooManyRequests
	case watchbill.CodeUnavailable:
		return http.StatusServiceUnavailable
	case watchbill.CodeInternal:
	}
	return http.StatusInternalServerError
}

// problem is the body of an error.
type problem struct {
	Error problemBody `json:"error"`
}

type problemBody struct {
	Code    watchbill.Code `json:"code"`
	Message string         `json:"message"`
	Hint    string         `json:"hint,omitempty"`
}

func (s *Server) fail(w http.ResponseWriter, c call, err error) {
	body := problemBody{Code: watchbill.CodeInternal, Message: "something failed inside watchbill", Hint: "its log says what"}
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		body = problemBody{Code: e.Code, Message: e.Message, Hint: e.Hint}
		if e.Code == watchbill.CodeDenied {
			s.refused(c, e)
		}
	}
	switch body.Code {
	case watchbill.CodeInternal, watchbill.CodeUnavailable:
		s.o.Logger.ErrorContext(c.Context(), "request failed", "method", c.Method, "path", c.URL.Path, "err", err)
		w.Header().Set("Retry-After", "5")
	case watchbill.CodeUnauthenticated:
		s.o.Logger.InfoContext(c.Context(), "caller was refused", "method", c.Method, "path", c.URL.Path, "remote", c.RemoteAddr, "reason", errors.Unwrap(err))
		w.Header().Set("WWW-Authenticate", `Basic realm="watchbill: any user name, a token as the password"`)
	case watchbill.CodeTooMany:
		retryAfter(w, err)
	case watchbill.CodeInvalid, watchbill.CodeDenied, watchbill.CodeNotFound, watchbill.CodeConflict, watchbill.CodeTooLarge:
	}
	if err := reply(w, status(body.Code), problem{body}); err != nil {
		s.o.Logger.DebugContext(c.Context(), "caller went away", "err", err)
	}
}

func reply(w http.ResponseWriter, code int, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, err = w.Write(append(b, '\n'))
	return err
}

// read decodes a body of the API of our own: JSON, known fields only, nothing
// after it. An empty body is an empty object.
func read(c call, into any) error {
	d := json.NewDecoder(c.Body)
	d.DisallowUnknownFields()
	if err := decode(d, into); !errors.Is(err, io.EOF) {
		return bodyError(err)
	}
	return nil
}

// decode reads one JSON value and refuses to drop anything after it.
func decode(d *json.Decoder, into any) error {
	if err := d.Decode(into); err != nil {
		return err
	}
	switch _, err := d.Token(); {
	case err == nil:
		return errors.New("there is more after the first value")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

func bodyError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return watchbill.Errorf(watchbill.CodeTooLarge, "send less at once", "the body is over %d MB", maxBody>>20)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return watchbill.Invalidf("correct it", "%s: %s stands where %s belongs", cmp.Or(e.Field, "the body"), e.Value, kind(e.Type))
	}
	if e, ok := errors.AsType[*time.ParseError](err); ok {
		return watchbill.Invalidf("correct it", "%q is not a time like 2026-11-29T03:15:00Z", strings.Trim(e.Value, `"`))
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	return watchbill.Invalidf("send one JSON value as the documentation shows it", "the body is not valid: %v", err)
}

// kind says what JSON value a Go type is read from.
func kind(t reflect.Type) string {
	values := map[reflect.Kind]string{
		reflect.Slice: "a list", reflect.Map: "an object", reflect.Struct: "an object", reflect.Bool: "true or false",
	}
	return cmp.Or(values[t.Kind()], "text")
}

func (s *Server) healthy(w http.ResponseWriter, _ call) error {
	_, err := io.WriteString(w, "watchbill is healthy\n")
	return err
}

func (s *Server) ready(w http.ResponseWriter, c call) error {
	if err := s.o.Ready(c.Context()); err != nil {
		return &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: "the store cannot be written",
			Hint: "alerts are refused and will be sent again; watchbill's log says what is wrong", Err: err,
		}
	}
	_, err := io.WriteString(w, "watchbill is ready\n")
	return err
}

func (s *Server) reload(w http.ResponseWriter, c call) error {
	if err := s.o.Reload(c.Context(), c.actor()); err != nil {
		return watchbill.Invalidf("run watchbill check on the file; the old configuration stays in force", "%v", err)
	}
	return reply(w, http.StatusOK, map[string]string{"status": "reloaded"})
}

func (s *Server) metrics(w http.ResponseWriter, c call) error {
	s.o.Metrics.ServeHTTP(w, c.Request)
	return nil
}

func (s *Server) probe(w http.ResponseWriter, c call) error {
	s.o.Probe.ServeHTTP(w, c.Request)
	return nil
}

func (s *Server) runbook(w http.ResponseWriter, c call) error {
	text, ok := s.o.Runbook(c.PathValue("name"))
	if !ok {
		return watchbill.Errorf(watchbill.CodeNotFound, "look at the folder runbooks: dir names", "there is no runbook %q", c.PathValue("name"))
	}
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, err := w.Write(text)
	return err
}
