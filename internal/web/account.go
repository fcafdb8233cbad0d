package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

func (s *Server) sessionRoutes() []Route {
	return []Route{
		{"GET", "/api/ops/v1/sessions", Need{}, "List your sessions; ?all=true everybody's, for the manager", s.listSessions},
		{"DELETE", "/api/ops/v1/sessions", Need{}, "End your sessions, but for the one that asks; ?person=… somebody else's, for the manager", s.endSessions},
		{"DELETE", "/api/ops/v1/sessions/{id}", Need{}, "End a session of yours, or any if you are the manager", s.endSession},
	}
}

// mySessions lists a person's, and marks the one that asks.
func (s *Server) mySessions(c call, person watchbill.PersonID) ([]auth.SessionView, error) {
	all, err := s.o.SignIn.Sessions(c.Context(), time.Now().UTC(), person)
	for i := range all {
		all[i].Current = all[i].ID == c.id.SessionID
	}
	return all, err
}

func (s *Server) listSessions(w http.ResponseWriter, c call) error {
	person := c.id.Person.ID
	if c.FormValue("all") == "true" {
		if !s.manages(c) {
			return watchbill.Errorf(watchbill.CodeDenied, "leave all out to list your own", "everybody's sessions are for the role %s", s.o.Matrix().Manager)
		}
		person = ""
	}
	all, err := s.mySessions(c, person)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, all)
}

// SessionsEnded is the answer to whoever ends sessions.
type SessionsEnded struct {
	Ended int `json:"ended"`
}

func (s *Server) endThem(w http.ResponseWriter, c call, r auth.EndRequest) error {
	r.Ending = auth.Ending{By: string(c.id.Person.ID), Via: c.actor().Via, Why: "ended"}
	n, err := s.o.SignIn.End(c.Context(), time.Now().UTC(), r)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, SessionsEnded{n})
}

func (s *Server) endSession(w http.ResponseWriter, c call) error {
	r := auth.EndRequest{ID: c.PathValue("id"), Person: c.id.Person.ID}
	if s.manages(c) {
		r.Person = ""
	}
	return s.endThem(w, c, r)
}

func (s *Server) endSessions(w http.ResponseWriter, c call) error {
	person := watchbill.PersonID(cmp.Or(c.URL.Query().Get("person"), string(c.id.Person.ID)))
	if person != c.id.Person.ID && !s.manages(c) {
		return watchbill.Errorf(watchbill.CodeDenied, "leave person out to end your own", "the sessions of others are for the role %s", s.o.Matrix().Manager)
	}
	return s.endThem(w, c, auth.EndRequest{Person: person, Except: c.id.SessionID})
}

// accountView is what a person sees of their account.
type accountView struct {
	Person   watchbill.Person
	Roles    string
	Sessions []sessionRow
	Tokens   []tokenRow
}

type sessionRow struct {
	ID, Browser, Address, How, Used, Ends string
	Current                               bool
}

type tokenRow struct {
	ID, Name, Used, Ends string
	Soon                 bool
}

// showAccount shows the page of an account, with what was done or why it was not.
func (s *Server) showAccount(w http.ResponseWriter, c call, said string, problem error) error {
	p := c.id.Person
	v := accountView{Person: p, Roles: watchbill.JoinRoles(p.Roles, "")}
	zone := p.Zone()
	when := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.In(zone).Format("2 Jan 15:04 MST")
	}
	sessions, err := s.mySessions(c, p.ID)
	if err != nil {
		return err
	}
	for _, x := range sessions {
		v.Sessions = append(v.Sessions, sessionRow{x.ID, browser(x.Agent), x.Address, x.How, when(x.LastUsedAt), when(x.ExpiresAt), x.Current})
	}
	tokens, err := s.o.Tokens.List(c.Context(), time.Now(), p.ID)
	if err != nil {
		return err
	}
	for _, t := range auth.Live(tokens) {
		v.Tokens = append(v.Tokens, tokenRow{t.ID, t.Name, when(t.LastUsedAt), when(t.ExpiresAt), t.State == auth.StateExpiring})
	}
	return s.renderSign(w, c, signView{Title: cmp.Or(p.Name, string(p.ID)), Said: said, Account: &v}, problem)
}

// browser names a browser in two words, as far as it can be told.
func browser(agent string) string {
	find := func(names ...string) string {
		for _, n := range names {
			mark, name, _ := strings.Cut(n, "=")
			if strings.Contains(agent, mark) {
				return cmp.Or(name, mark)
			}
		}
		return ""
	}
	program := find("Edg=Edge", "OPR=Opera", "Firefox", "Chrome", "Safari", "curl")
	system := find("Android", "iPhone", "iPad", "Windows", "Macintosh=macOS", "Linux")
	return cmp.Or(strings.TrimSpace(program+" "+system), agent, "unknown browser")
}

func (s *Server) accountPage(w http.ResponseWriter, c call) error {
	return s.showAccount(w, c, map[string]string{
		"password": "Your password is changed. You are signed out everywhere else.",
		"session":  "The session is ended.",
		"token":    "The token is revoked.",
	}[c.URL.Query().Get("done")], nil)
}

func doneOn(w http.ResponseWriter, c call, what string) error {
	http.Redirect(w, c.Request, accountPage+"?done="+what, http.StatusSeeOther)
	return nil
}

func (s *Server) changePassword(w http.ResponseWriter, c call) error {
	f, err := fields(w, c)
	password := ""
	if err == nil {
		password, err = newPassword(f)
	}
	var started auth.Started
	if err == nil {
		started, err = s.o.SignIn.ChangePassword(c.Context(), time.Now().UTC(), c.id.Person, auth.Change{Old: f.Get("old"), New: password, Client: s.client(c.Request)})
	}
	if err != nil {
		return s.showAccount(w, c, "", err)
	}
	return s.begin(w, c, started, accountPage+"?done=password")
}

func (s *Server) endFromPage(w http.ResponseWriter, c call) error {
	f, err := fields(w, c)
	if err == nil && f.Get("session") == "" {
		err = watchbill.Invalidf("send the form of the page", "the session is missing")
	}
	if err == nil {
		_, err = s.o.SignIn.End(c.Context(), time.Now().UTC(), auth.EndRequest{
			ID: f.Get("session"), Person: c.id.Person.ID, Ending: auth.Ending{By: string(c.id.Person.ID), Via: c.actor().Via, Why: "ended"},
		})
	}
	if err != nil {
		return s.showAccount(w, c, "", err)
	}
	return doneOn(w, c, "session")
}

func (s *Server) revokeFromPage(w http.ResponseWriter, c call) error {
	f, err := fields(w, c)
	if err == nil {
		_, err = s.o.Tokens.Revoke(c.Context(), time.Now().UTC(), auth.Revocation{ID: f.Get("token"), Person: c.id.Person.ID, By: string(c.id.Person.ID)})
	}
	if err != nil {
		return s.showAccount(w, c, "", err)
	}
	return doneOn(w, c, "token")
}

// Sessions lists the caller's sessions, and everybody's with all.
func (c *Client) Sessions(ctx context.Context, all bool) (list []auth.SessionView, err error) {
	path := "/api/ops/v1/sessions"
	if all {
		path += "?all=true"
	}
	err = c.do(ctx, http.MethodGet, path, nil, &list)
	return list, err
}

// EndSession ends one session, and returns how many ended.
func (c *Client) EndSession(ctx context.Context, id string) (n SessionsEnded, err error) {
	err = c.do(ctx, http.MethodDelete, "/api/ops/v1/sessions/"+url.PathEscape(id), nil, &n)
	return n, err
}

// EndSessions ends all sessions of a person, the caller's if it is empty.
func (c *Client) EndSessions(ctx context.Context, person watchbill.PersonID) (n SessionsEnded, err error) {
	err = c.do(ctx, http.MethodDelete, "/api/ops/v1/sessions?"+url.Values{"person": {string(person)}}.Encode(), nil, &n)
	return n, err
}
