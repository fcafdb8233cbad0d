package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/web"
	"watchbill/router"
)

// world is a server over fakes that remember what was done to them.
type world struct {
	server  *web.Server
	options web.Options
	headers map[string]string // by caller: the Authorization header

	mu       sync.Mutex
	acts     []string // everything that changed something, in order
	source   string   // of the alerts last received
	alerts   []watchbill.Alert
	list     string // how incidents were last listed
	labels   watchbill.Labels
	at       time.Time
	firing   []watchbill.Labels
	asked    watchbill.PersonID
	resolved web.ResolveRequest
	silences []watchbill.Silence
	fail     error // what everything behind the server returns
	tokens   map[string]auth.Token
	queried  web.AuditQuery
	refused  []web.Refusal
}

func (w *world) act(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.acts = append(w.acts, fmt.Sprintf(format, args...))
	return nil
}

func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acts
}

func (w *world) TokenByHash(_ context.Context, hash string) (auth.Token, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tok, ok := w.tokens[hash]
	return tok, ok, nil
}

func (w *world) PutToken(_ context.Context, tok auth.Token) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[tok.Hash] = tok
	return nil
}

func (w *world) TouchToken(context.Context, string, time.Time) error { return nil }

func (w *world) Receive(_ context.Context, source string, alerts []watchbill.Alert) error {
	if err := w.act("receive %d of %s", len(alerts), source); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.source, w.alerts = source, alerts
	return nil
}

func (w *world) List(_ context.Context, state string, limit int) ([]watchbill.Incident, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = fmt.Sprintf("%q %d", state, limit)
	if state == "closed" {
		return nil, w.fail
	}
	return []watchbill.Incident{incidentOne()}, w.fail
}

func (w *world) Show(_ context.Context, id watchbill.IncidentID) (web.IncidentView, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return web.IncidentView{}, w.fail
	}
	if id != 1 {
		return web.IncidentView{}, watchbill.Errorf(watchbill.CodeNotFound, "list them", "there is no incident %s", id)
	}
	return view(), nil
}

func (w *world) Acknowledge(_ context.Context, id watchbill.IncidentID, who web.Actor, note string) (watchbill.Incident, error) {
	return incidentOne(), w.act("ack %s by %s via %s: %s", id, who.Person, who.Via, note)
}

func (w *world) Note(_ context.Context, id watchbill.IncidentID, who web.Actor, text string) (watchbill.Incident, error) {
	return incidentOne(), w.act("note %s by %s via %s: %s", id, who.Person, who.Via, text)
}

func (w *world) Resolve(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.ResolveRequest) (watchbill.Incident, error) {
	w.mu.Lock()
	w.resolved = r
	w.mu.Unlock()
	return incidentOne(), w.act("resolve %s by %s via %s: %s", id, who.Person, who.Via, r.Reason)
}

func (w *world) Silences(context.Context) ([]watchbill.Silence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silences, w.fail
}

func (w *world) Silence(_ context.Context, id string) (watchbill.Silence, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.silences {
		if s.ID == id {
			return s, nil
		}
	}
	return watchbill.Silence{}, watchbill.Errorf(watchbill.CodeNotFound, "list them", "there is no silence %s", id)
}

func (w *world) PutSilence(_ context.Context, who web.Actor, s watchbill.Silence) (watchbill.Silence, error) {
	if err := w.act("silence by %s: %s", who.Person, s.Comment); err != nil {
		return s, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.ID, s.CreatedBy, s.UpdatedAt = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(w.silences)+1), string(who.Person), s.StartsAt
	w.silences = append(w.silences, s)
	return s, nil
}

func (w *world) Reach(context.Context, watchbill.Silence) (watchbill.SilenceReach, error) {
	return watchbill.SilenceReach{Now: 1, Week: 2}, w.failing()
}

func (w *world) ApproveSilence(_ context.Context, who web.Actor, id string) (watchbill.Silence, error) {
	return watchbill.Silence{ID: id, ApprovedBy: string(who.Person)}, w.act("approve %s by %s", id, who.Person)
}

func (w *world) ExpireSilence(_ context.Context, _ web.Actor, id string) error {
	if err := w.act("expire %s", id); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.silences {
		if w.silences[i].ID == id {
			w.silences[i].EndsAt = time.Now()
			return nil
		}
	}
	return watchbill.Errorf(watchbill.CodeNotFound, "list them", "there is no silence %s", id)
}

func (w *world) explain(_ context.Context, q web.ExplainRequest) (any, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.labels, w.at, w.firing = q.Labels, q.At, q.Firing
	return map[string]string{"activity": "performance"}, w.fail
}

func (w *world) failing() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail
}

func incidentOne() watchbill.Incident {
	return watchbill.Incident{
		ID: 1, State: watchbill.StateAcknowledged, Severity: watchbill.Sev2, Service: "checkout", Environment: "prod",
		Activity: watchbill.ActivityPerformance, Title: "Customers cannot pay", Runbook: "error-budget-burn",
		OpenedAt:       time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC),
		AcknowledgedBy: "ana", AckDeadline: time.Date(2026, 11, 29, 3, 46, 0, 0, time.UTC),
		Path: watchbill.Path{Name: "performance", Steps: []watchbill.PathStep{{Roles: []watchbill.RoleID{"support"}}}, Repeat: time.Minute},
	}
}

func view() web.IncidentView {
	inc := incidentOne()
	return web.IncidentView{
		Incident: inc,
		Alerts:   []watchbill.Alert{{Labels: watchbill.Labels{"alertname": "Burn"}}},
		Timeline: []watchbill.Event{{Incident: 1, Seq: 1, At: inc.OpenedAt, Kind: watchbill.EventOpened, Actor: watchbill.ActorSelf, Text: "opened"}},
		Next:     []web.NextView{{What: string(watchbill.TimerAck), At: inc.AckDeadline}},
	}
}

// roles are the roles of the preset, and "" for a person who holds none.
var roles = []watchbill.RoleID{"manager", "deployment", "infrastructure", "security", "support", ""}

// setUp returns a server with a caller of every kind, under these names: nobody,
// bad, machine:none, machine:<scope>, and the role of a person or "roleless".
func setUp(t testing.TB) *world {
	t.Helper()
	w := &world{tokens: map[string]auth.Token{}, headers: map[string]string{
		"nobody": "", "bad": "Bearer wb_" + strings.Repeat("A", 49),
	}}
	people := map[watchbill.PersonID]watchbill.Person{}
	a := auth.New(auth.Config{}, w, func(id watchbill.PersonID) (watchbill.Person, bool) {
		p, ok := people[id]
		return p, ok
	})
	create := func(caller string, spec auth.Spec) {
		spec.Name = caller
		secret, _, err := a.Create(t.Context(), time.Now(), spec)
		require.NoError(t, err)
		w.headers[caller] = "Bearer " + secret.Reveal()
	}
	for _, r := range roles {
		caller := string(r)
		p := watchbill.Person{ID: watchbill.PersonID(r), Roles: []watchbill.RoleID{r}}
		if r == "" {
			caller, p = "roleless", watchbill.Person{ID: "roleless"}
		}
		people[p.ID] = p
		create(caller, auth.Spec{Person: p.ID})
	}
	for _, s := range auth.Scopes() {
		create("machine:"+string(s), auth.Spec{Scopes: []auth.Scope{s}})
	}
	create("machine:none", auth.Spec{Scopes: []auth.Scope{auth.ScopeAlerts}})
	for hash, tok := range w.tokens {
		if tok.Name == "machine:none" {
			tok.Scopes = nil
			w.tokens[hash] = tok
		}
	}
	matrix, ok := router.Preset("operations")
	require.True(t, ok)
	w.options = web.Options{
		Authenticate: a.Authenticate,
		Matrix:       func() watchbill.Matrix { return matrix },
		Receive:      w.Receive,
		Incidents:    w,
		Acts:         w,
		Moves:        w,
		Drills:       w,
		Plans:        w,
		Actions:      w,
		Responders:   w,
		Pages:        w,
		Texts:        w,
		Contacts:     w,
		ContactActs:  w,
		Silences:     w,
		Approvals:    w,
		Alertmanager: w,
		AlertHistory: w,
		Hold:         w,
		Changes:      w,
		Ledger:       w,
		AuditLog:     w,
		Services:     w,
		Heartbeats:   w,
		Hook:         w.hook,
		Raise:        w.raise,
		Alarm:        alarm{w},
		Why:          w,
		Explain:      w.explain,
		Oncall:       w,
		DutyChanges:  w,
		Runbook:      func(name string) ([]byte, bool) { return []byte("# " + name), name == "disk-full" },
		Reload:       func(context.Context, web.Actor) error { return w.act("reload") },
		Ready:        func(context.Context) error { return w.failing() },
		Metrics:      http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "watchbill_up 1\n") }),
		Probe:        http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "probe_success 1\n") }),
		Query:        http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"status":"success"}`) }),
		Write:        func(rw http.ResponseWriter, _ *http.Request, _ string) { rw.WriteHeader(http.StatusNoContent) },
		Logger:       slog.New(slog.DiscardHandler),
	}
	w.server = web.New(w.options)
	return w
}

// log has the server log somewhere.
func (w *world) log(l *slog.Logger) {
	w.options.Logger = l
	w.server = web.New(w.options)
}

// call sends one request as a caller.
func (w *world) call(caller, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", w.headers[caller])
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	return rec
}

// problem decodes the body of an error.
func problem(t testing.TB, rec *httptest.ResponseRecorder) (code watchbill.Code, message, hint string) {
	t.Helper()
	var p struct {
		Error struct {
			Code          watchbill.Code
			Message, Hint string
		}
	}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &p), "%s", rec.Body)
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	return p.Error.Code, p.Error.Message, p.Error.Hint
}

func target(r web.Route) string {
	return strings.NewReplacer("{key}", "k", "{page}", "7", "{contact}", "3", "{duty}", "7", "{change}", "CHG-1", "{receiver}", "sms", "{rest...}", "fail", "{id}", "INC-1", "{name}", "disk-full", "{source}", "machine:hooks", "{token}", "wb_"+strings.Repeat("A", 49)).Replace(r.Path)
}

// Reading never changes anything, so that a link in a chat, a preview or a
// crawler cannot act.
func TestGetNeverActs(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	w.silences = []watchbill.Silence{{ID: "INC-1", EndsAt: time.Now().Add(time.Hour)}}
	for _, r := range w.server.Routes() {
		if strings.HasPrefix(r.Path, "/ping/") {
			continue // a job's own address; it says that the job ran and acts on nothing
		}
		query := target(r) + "?label=alertname=x&note=x&text=x&reason=x&id=1&_method=POST"
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			rec := w.call("manager", method, query, `{"note":"x"}`)
			if r.Method == http.MethodGet {
				require.Equal(t, http.StatusOK, rec.Code, "%s %s: %s", method, query, rec.Body)
			}
		}
	}
	require.Empty(t, w.done())
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for _, path := range []string{
		"/", "/x", "/api", "/api/", "/api/v1/", "/api/v1/read", "/api/v1/otlp/v1/metrics", "/api/v1/admin/tsdb/delete_series",
		"/api/v1/status/config", "/api/v1/status/flags", "/api/v1/scrape_pools/config", "/api/v1/search/metric_names", "/api/v2/", "/api/v2/alert", "/api/ops/v1/", "/api/ops/v1/incidents/INC-1/shut",
		"/alertmanager", "/alertmanager/api/v2/alerts", "/alertmanager/api/v2/status", "/-/quit", "/debug/pprof/", "/runbooks/", "/i/",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			require.Equal(t, http.StatusNotFound, w.call("manager", method, path, "").Code, "%s %s", method, path)
		}
	}
	require.Equal(t, http.StatusMethodNotAllowed, w.call("manager", http.MethodDelete, "/api/v2/alerts", "").Code)
	require.Empty(t, w.done())
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for _, r := range w.server.Routes() {
		for _, caller := range []string{"nobody", "manager"} {
			h := w.call(caller, r.Method, target(r), "").Header()
			require.Equal(t, "no-store", h.Get("Cache-Control"), r.Path)
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), r.Path)
			policy := h.Get("Content-Security-Policy")
			if strings.HasPrefix(r.Path, "/act/") { // it has a style of its own, and a form
				require.Regexp(t, `^default-src 'none'; style-src 'sha256-[^' ]+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$`, policy)
				continue
			}
			require.Equal(t, "default-src 'none'; frame-ancestors 'none'", policy, r.Path)
		}
	}
}

// Every code has its status; what has no code tells nothing but that.
func TestErrors(t *testing.T) {
	t.Parallel()
	for code, status := range map[watchbill.Code]int{
		watchbill.CodeInvalid: 400, watchbill.CodeUnauthenticated: 401, watchbill.CodeDenied: 403, watchbill.CodeNotFound: 404,
		watchbill.CodeConflict: 409, watchbill.CodeTooLarge: 413, watchbill.CodeUnavailable: 503, watchbill.CodeInternal: 500,
	} {
		w := setUp(t)
		w.fail = fmt.Errorf("show: %w", watchbill.Errorf(code, "next step", "what happened"))
		rec := w.call("support", http.MethodGet, "/api/ops/v1/incidents/INC-1", "")
		require.Equal(t, status, rec.Code)
		gotCode, message, hint := problem(t, rec)
		require.Equal(t, []string{string(code), "what happened", "next step"}, []string{string(gotCode), message, hint})
		require.Equal(t, status >= 500, rec.Header().Get("Retry-After") != "", "%s", code)
	}
	w := setUp(t)
	w.fail = errors.New("sqlite: /var/lib/secret is full")
	rec := w.call("support", http.MethodGet, "/api/ops/v1/incidents", "")
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.NotContains(t, rec.Body.String(), "secret")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	require.Equal(t, "watchbill is healthy\n", w.call("nobody", http.MethodGet, "/-/healthy", "").Body.String())
	require.Equal(t, "watchbill is ready\n", w.call("nobody", http.MethodGet, "/-/ready", "").Body.String())
	w.fail = errors.New("disk full")
	require.Equal(t, http.StatusOK, w.call("nobody", http.MethodGet, "/-/healthy", "").Code)
	rec := w.call("nobody", http.MethodGet, "/-/ready", "")
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.NotContains(t, rec.Body.String(), "disk full", "it is open to everybody")
	require.Equal(t, "watchbill_up 1\n", w.call("machine:metrics", http.MethodGet, "/metrics", "").Body.String())
}

func TestReload(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	require.JSONEq(t, `{"status":"reloaded"}`, w.call("manager", http.MethodPost, "/-/reload", "").Body.String())
	require.Equal(t, []string{"reload"}, w.done())
	w.fail = errors.New("watchbill.yaml:3:1: unknown key")
	rec := w.call("manager", http.MethodPost, "/-/reload", "")
	require.Equal(t, http.StatusBadRequest, rec.Code)
	_, message, hint := problem(t, rec)
	require.Equal(t, "watchbill.yaml:3:1: unknown key", message)
	require.Contains(t, hint, "the old configuration stays in force")
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for query, want := range map[string]string{
		"": `"" 100`, "?state=live&limit=5": `"live" 5`, "?state=acknowledged": `"acknowledged" 100`, "?limit=1000": `"" 1000`,
	} {
		rec := w.call("roleless", http.MethodGet, "/api/ops/v1/incidents"+query, "")
		require.Equal(t, http.StatusOK, rec.Code)
		require.Equal(t, want, w.list)
	}
	require.JSONEq(t, "[]", w.call("support", http.MethodGet, "/api/ops/v1/incidents?state=closed", "").Body.String(), "an empty list is no null")
	for query, field := range map[string]string{"?limit=0": "limit", "?limit=1001": "limit", "?limit=x": "limit", "?state=opened": "state"} {
		rec := w.call("support", http.MethodGet, "/api/ops/v1/incidents"+query, "")
		require.Equal(t, http.StatusBadRequest, rec.Code, query)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, field+": ")
	}
	for id, status := range map[string]int{"INC-1": 200, "1": 200, "inc-1": 200, "INC-2": 404, "INC-x": 400, "0": 400} {
		require.Equal(t, status, w.call("support", http.MethodGet, "/api/ops/v1/incidents/"+id, "").Code, id)
		require.Equal(t, status, w.call("support", http.MethodGet, "/i/"+id, "").Code, id)
	}
	var got web.IncidentView
	require.NoError(t, json.Unmarshal(w.call("support", http.MethodGet, "/api/ops/v1/incidents/1", "").Body.Bytes(), &got))
	require.Equal(t, view(), got)
	rec := w.call("support", http.MethodGet, "/i/1", "")
	require.Equal(t, "text/plain; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Equal(t, `INC-1  acknowledged  sev2 checkout/prod: Customers cannot pay
activity performance, opened 2026-11-29T03:15:00Z
acknowledged by ana until 2026-11-29T03:46:00Z
runbook: error-budget-burn
next: the acknowledgement by ana expires at 2026-11-29T03:46:00Z

Timeline
  2026-11-29 03:15:00  opened           watchbill  opened
`, rec.Body.String())
}

func TestWhatIsNext(t *testing.T) {
	t.Parallel()
	inc := incidentOne()
	for what, want := range map[watchbill.TimerKind]string{
		watchbill.TimerStep: "step 0 pages support", watchbill.TimerAck: "the acknowledgement by ana expires",
		watchbill.TimerQuiet: "the quiet time ends", watchbill.TimerClose: "it closes",
	} {
		require.Equal(t, want, web.NextView{What: string(what)}.Describe(inc))
	}
}

func TestActs(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	const base = "/api/ops/v1/incidents/INC-1/"
	until := time.Date(2026, 11, 29, 5, 0, 0, 0, time.UTC)
	for _, c := range []struct{ verb, body, want string }{
		{"ack", "", "ack INC-1 by support via api: "},
		{"ack", `{"note":"on it"}`, "ack INC-1 by support via api: on it"},
		{"note", `{"text":"é 🦀"}`, "note INC-1 by support via api: é 🦀"},
		{"resolve", `{"reason":"rolled back","quiet_until":"2026-11-29T05:00:00Z"}`, "resolve INC-1 by support via api: rolled back"},
	} {
		rec := w.call("support", http.MethodPost, base+c.verb, c.body)
		require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
		done := w.done()
		require.Equal(t, c.want, done[len(done)-1])
		var inc watchbill.Incident
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &inc))
		require.Equal(t, watchbill.IncidentID(1), inc.ID)
	}
	require.Equal(t, until, w.resolved.QuietUntil)
	before := len(w.done())
	for _, c := range []struct {
		verb, body string
		status     int
		message    string
	}{
		{"ack", `{"nots":"x"}`, 400, `unknown field "nots"`},
		{"ack", `{"note":1}`, 400, "note: number stands where text belongs"},
		{"ack", `[]`, 400, "the body: array stands where an object belongs"},
		{"ack", `{"note":"x"} {}`, 400, "there is more after the first value"},
		{"ack", `{"note":"x"`, 400, "unexpected EOF"},
		{"note", `{"text":"` + strings.Repeat("x", 16<<10+1) + `"}`, 413, "text: is over 16 KB"},
		{"note", `{"text":"` + strings.Repeat("x", 4<<20) + `"}`, 413, "the body is over 4 MB"},
		{"resolve", `{"reason":"x","quiet_until":"tomorrow"}`, 400, `"tomorrow" is not a time like`},
		{"resolve", `{"reason":"x","quiet_until":"9999-01-01T00:00:00Z"}`, 400, "quiet_until: is not within the years"},
	} {
		rec := w.call("support", http.MethodPost, base+c.verb, c.body)
		require.Equal(t, c.status, rec.Code, "%s %.60s: %s", c.verb, c.body, rec.Body)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, c.message)
	}
	require.Len(t, w.done(), before)
}

func TestRunbook(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", http.MethodGet, "/runbooks/disk-full", "")
	require.Equal(t, "text/markdown; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Equal(t, "# disk-full", rec.Body.String())
	require.Equal(t, http.StatusNotFound, w.call("support", http.MethodGet, "/runbooks/x", "").Code)
}
