package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"watchbill"
)

// Changes is what people do to changes of production. Who may is decided behind it,
// by change control.
type Changes interface {
	Changes(ctx context.Context, q ChangeQuery) ([]watchbill.Change, error)
	Change(ctx context.Context, id watchbill.ChangeID) (ChangeView, error)
	RequestChange(ctx context.Context, who Actor, r ChangeRequest) (watchbill.Change, error)
	ActOnChange(ctx context.Context, id watchbill.ChangeID, who Actor, a ChangeAct) (watchbill.Change, error)
}

// ChangeLedger is what pipelines and auditors ask.
type ChangeLedger interface {
	Permit(ctx context.Context, id watchbill.ChangeID, hash, environment string) (watchbill.ChangePermit, error)
	ChangeReport(ctx context.Context, since, until time.Time) (watchbill.ChangeReport, error)
}

// ChangeQuery selects changes. Empty fields select all.
type ChangeQuery struct {
	State       string // or "live"
	Service     string
	Environment string
	Incident    watchbill.IncidentID
	Limit       int
}

// ChangeView is a change with everything that happened to it, and who could do what
// is next.
type ChangeView struct {
	Change   watchbill.Change                `json:"change"`
	Could    map[string][]watchbill.PersonID `json:"could"` // by verb
	Timeline []watchbill.Event               `json:"timeline"`
}

// ChangeRequest is the body of a request. The same key makes no second change.
type ChangeRequest struct {
	Key      string `json:"key,omitempty"`
	Incident string `json:"incident,omitempty"`
	watchbill.ChangeContent
}

// ChangeAct is an act on a change. Its body has what the verb takes: the hash of
// what is approved, a reason or evidence as text, the content of an edit.
type ChangeAct struct {
	Verb    string                   `json:"-"`
	Hash    string                   `json:"hash,omitempty"`
	Text    string                   `json:"text,omitempty"`
	Content *watchbill.ChangeContent `json:"content,omitempty"`
}

// changeVerbs are the acts with what they do.
func changeVerbs() [][2]string {
	return [][2]string{
		{"edit", "Write it anew: {\"content\": {…}}; voids every approval"},
		{"approve", "Approve what has a hash: {\"hash\": \"…\", \"text\": \"…\"}; not for its authors and its performer"},
		{"reject", "Reject it, or take it back: {\"text\": \"…\"}"},
		{"perform", "Perform it, as soon as there is a witness; or take over"},
		{"witness", "Look on; with it the change begins"},
		{"done", "Say that it is done: {\"text\": \"…\"}, what was seen"},
		{"fail", "Say that it failed: {\"text\": \"…\"}"},
		{"rollback", "Say that it was rolled back: {\"text\": \"…\"}"},
		{"break-glass", "Begin without the people that it needs: {\"text\": \"…\"}; pages the manager and must be reviewed"},
		{"review", "Review a broken glass: {\"text\": \"…\"}"},
	}
}

func (s *Server) changeRoutes(read Need) []Route {
	anyone := Need{}
	routes := []Route{
		{"GET", "/api/ops/v1/changes", read, "List changes: ?state=live|requested|approved|performing|done|failed|rolled_back|rejected|expired, ?service=, ?environment=, ?incident=INC-1, ?limit=100", s.listChanges},
		{"POST", "/api/ops/v1/changes", anyone, "Ask for a change; change control decides who may", s.requestChange},
		{"GET", "/api/ops/v1/changes/{change}", read, "Show a change with its timeline, and who could do what is next", s.showChange},
		{"GET", "/api/ops/v1/changes/{change}/permit", read, "May a pipeline make it now? ?hash=…&environment=prod; 200 if so, else 409, both with the reason", s.permit},
		{"GET", "/api/ops/v1/reports/changes", read, "Every change of production, exceptions first: ?since=…&until=…", s.changeReport},
	}
	for _, v := range changeVerbs() {
		routes = append(routes, Route{"POST", "/api/ops/v1/changes/{change}/" + v[0], anyone, v[1], s.actOnChange(v[0])})
	}
	return routes
}

func (s *Server) listChanges(w http.ResponseWriter, c call) error {
	q := ChangeQuery{State: c.FormValue("state"), Service: c.FormValue("service"), Environment: c.FormValue("environment"), Limit: 100}
	if v := c.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxList {
			return watchbill.Invalidf(fmt.Sprintf("use 1 to %d", maxList), "limit: %q is not a count", v)
		}
		q.Limit = n
	}
	known := q.State == "" || q.State == "live"
	for _, state := range watchbill.ChangeStates() {
		known = known || q.State == string(state)
	}
	if !known {
		return watchbill.Invalidf("use live, requested, approved, performing, done, failed, rolled_back, rejected or expired", "state: %q is not a state", q.State)
	}
	if v := c.FormValue("incident"); v != "" {
		var err error
		if q.Incident, err = watchbill.ParseIncidentID(v); err != nil {
			return err
		}
	}
	all, err := s.o.Changes.Changes(c.Context(), q)
	if err != nil {
		return err
	}
	if all == nil {
		all = []watchbill.Change{}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) showChange(w http.ResponseWriter, c call) error {
	id, err := watchbill.ParseChangeID(c.PathValue("change"))
	if err != nil {
		return err
	}
	v, err := s.o.Changes.Change(c.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func checkContent(c watchbill.ChangeContent) error {
	for field, text := range map[string]string{
		"title": c.Title, "service": c.Service, "environment": c.Environment, "target": c.Target, "risk": c.Risk,
		"rollback": c.Rollback, "verification": c.Verification, "command": c.Command,
	} {
		if err := checkText(field, text); err != nil {
			return err
		}
	}
	if len(c.Diff) > maxDiff {
		return watchbill.Errorf(watchbill.CodeTooLarge, "name its commit in command instead", "diff: is over %d KB", maxDiff>>10)
	}
	if err := watchbill.CheckTime("not_before", c.NotBefore); err != nil {
		return err
	}
	return watchbill.CheckTime("not_after", c.NotAfter)
}

// maxDiff bounds a diff, in bytes.
const maxDiff = 256 << 10

// maxKey bounds the key of a request, in bytes.
const maxKey = 200

func (s *Server) requestChange(w http.ResponseWriter, c call) error {
	var body ChangeRequest
	if err := read(c, &body); err != nil {
		return err
	}
	if len(body.Key) > maxKey {
		return watchbill.Invalidf(fmt.Sprintf("use at most %d bytes", maxKey), "key: is too long")
	}
	if err := checkContent(body.ChangeContent); err != nil {
		return err
	}
	x, err := s.o.Changes.RequestChange(c.Context(), c.actor(), body)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, x)
}

func (s *Server) actOnChange(verb string) func(http.ResponseWriter, call) error {
	return func(w http.ResponseWriter, c call) error {
		id, err := watchbill.ParseChangeID(c.PathValue("change"))
		if err != nil {
			return err
		}
		body := ChangeAct{}
		if err := read(c, &body); err != nil {
			return err
		}
		body.Verb = verb
		if err := checkText("text", body.Text); err != nil {
			return err
		}
		if body.Content != nil {
			if err := checkContent(*body.Content); err != nil {
				return err
			}
		}
		x, err := s.o.Changes.ActOnChange(c.Context(), id, c.actor(), body)
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, x)
	}
}

func (s *Server) permit(w http.ResponseWriter, c call) error {
	id, err := watchbill.ParseChangeID(c.PathValue("change"))
	if err != nil {
		return err
	}
	p, err := s.o.Ledger.Permit(c.Context(), id, c.FormValue("hash"), c.FormValue("environment"))
	if err != nil {
		return err
	}
	code := http.StatusOK
	if !p.OK {
		code = http.StatusConflict
	}
	return reply(w, code, p)
}

func (s *Server) changeReport(w http.ResponseWriter, c call) error {
	now := time.Now().UTC()
	since, until := now.Add(-30*24*time.Hour), now
	for field, into := range map[string]*time.Time{"since": &since, "until": &until} {
		v := c.FormValue(field)
		if v == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return watchbill.Invalidf("write it like 2026-11-29T03:15:00Z", "%s: %q is not a time", field, v)
		}
		if err := watchbill.CheckTime(field, at); err != nil {
			return err
		}
		*into = at.UTC()
	}
	r, err := s.o.Ledger.ChangeReport(c.Context(), since, until)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, r)
}

// Text is the change as plain text: what it is, who takes part, what happened.
func (v ChangeView) Text() string {
	c := v.Change
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name+":", strings.ReplaceAll(strings.TrimRight(value, "\n"), "\n", "\n"+strings.Repeat(" ", 14)))
		}
	}
	fmt.Fprintf(&b, "%s  %s  %s %s/%s: %s\n", c.ID, c.State, c.Content.Kind, c.Content.Service, c.Content.Environment, c.Content.Title)
	if c.Incident != 0 {
		line("incident", c.Incident.String())
	}
	line("hash", c.Hash)
	line("target", c.Content.Target)
	line("command", c.Content.Command)
	line("diff", c.Content.Diff)
	line("risk", c.Content.Risk)
	line("rollback", c.Content.Rollback)
	line("verification", c.Content.Verification)
	if !c.Content.NotBefore.IsZero() {
		line("not before", c.Content.NotBefore.Format(time.RFC3339))
	}
	line("not after", c.Content.NotAfter.Format(time.RFC3339))
	line("requested by", string(c.Requester))
	for _, a := range c.Approvals {
		if a.Voided.IsZero() {
			line("approved by", fmt.Sprintf("%s until %s (%s)", a.Person, a.Until.Format(time.RFC3339), a.Why))
		}
	}
	line("performer", string(c.Performer))
	line("witness", string(c.Witness))
	if g := c.BreakGlass; g != nil {
		line("broken glass", fmt.Sprintf("%s: %s; review due %s", g.Person, g.Reason, g.ReviewDue.Format(time.RFC3339)))
	}
	for _, verb := range changeVerbs() {
		if who := v.Could[verb[0]]; len(who) > 0 {
			names := make([]string, len(who))
			for i, p := range who {
				names[i] = string(p)
			}
			line("next", fmt.Sprintf("%s: %s", verb[0], strings.Join(names, ", ")))
		}
	}
	b.WriteString("\nTimeline\n")
	for _, e := range v.Timeline {
		fmt.Fprintf(&b, "  %s  %-10s %s\n", e.At.UTC().Format("2006-01-02 15:04:05"), e.Actor, e.Text)
	}
	return b.String()
}

const changesPath = "/api/ops/v1/changes"

// Changes lists changes, newest first.
func (c *Client) Changes(ctx context.Context, q ChangeQuery) (all []watchbill.Change, err error) {
	v := url.Values{"state": {q.State}, "service": {q.Service}, "environment": {q.Environment}, "limit": {strconv.Itoa(q.Limit)}}
	if q.Incident != 0 {
		v.Set("incident", q.Incident.String())
	}
	err = c.do(ctx, http.MethodGet, changesPath+"?"+v.Encode(), nil, &all)
	return all, err
}

// Change shows a change.
func (c *Client) Change(ctx context.Context, id watchbill.ChangeID) (v ChangeView, err error) {
	err = c.do(ctx, http.MethodGet, changesPath+"/"+id.String(), nil, &v)
	return v, err
}

// RequestChange asks for a change.
func (c *Client) RequestChange(ctx context.Context, r ChangeRequest) (x watchbill.Change, err error) {
	err = c.do(ctx, http.MethodPost, changesPath, r, &x)
	return x, err
}

// ActOnChange does one act to a change.
func (c *Client) ActOnChange(ctx context.Context, id watchbill.ChangeID, a ChangeAct) (x watchbill.Change, err error) {
	err = c.do(ctx, http.MethodPost, changesPath+"/"+id.String()+"/"+url.PathEscape(a.Verb), a, &x)
	return x, err
}

// Permit asks whether a change may be made now. A no is no error.
func (c *Client) Permit(ctx context.Context, id watchbill.ChangeID, hash, environment string) (p watchbill.ChangePermit, err error) {
	err = c.do(ctx, http.MethodGet, changesPath+"/"+id.String()+"/permit?"+url.Values{"hash": {hash}, "environment": {environment}}.Encode(), nil, &p)
	if no, ok := errors.AsType[noPermitError](err); ok {
		return no.ChangePermit, nil
	}
	return p, err
}

// ChangeReport lists every change of production in a time.
func (c *Client) ChangeReport(ctx context.Context, since, until time.Time) (r watchbill.ChangeReport, err error) {
	q := url.Values{"since": {since.UTC().Format(time.RFC3339)}, "until": {until.UTC().Format(time.RFC3339)}}
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/reports/changes?"+q.Encode(), nil, &r)
	return r, err
}

// noPermitError is a no with the status of a conflict.
type noPermitError struct{ watchbill.ChangePermit }

func (noPermitError) Error() string { return "there is no permit" }

// asPermit reads a no out of an answer.
func asPermit(status int, text []byte) (noPermitError, bool) {
	var p watchbill.ChangePermit
	ok := status == http.StatusConflict && json.Unmarshal(text, &p) == nil && p.Change != 0 && !p.OK && p.Reason != ""
	return noPermitError{p}, ok
}
