package web

import (
	"bytes"
	_ "embed" // the pages
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

// The pages by which people sign in. They need no script, and none would run.
//
// # Cookies
//
// The cookie of a session is out of reach for scripts (HttpOnly) and is not sent
// with the requests of other sites, but for links that are followed (SameSite=Lax;
// with Strict a link in a chat would lead to the sign-in page). On https its name
// begins with __Host-, which keeps other hosts of the same domain from setting it.
// On plain http people sign in only where nobody listens: on the machine itself.

const (
	sessionCookie = "watchbill_session"
	journeyCookie = "watchbill_journey" // while a person is at the identity provider
	hostPrefix    = "__Host-"

	// accountPage is where people land who wanted to go nowhere else.
	accountPage  = "/account"
	callbackPath = "/login/callback"
)

func (s *Server) signRoutes() []Route {
	open := Need{Open: true}
	return []Route{
		{"GET", "/login", open, "The page to sign in with a browser: ?next=/…", s.loginPage},
		{"POST", "/login", open, "Sign in: the form's fields account, password, next", s.login},
		{"GET", "/login/oidc", open, "Go to the identity provider: ?next=/…", s.toProvider},
		{"GET", callbackPath, open, "Come back from the identity provider; it needs the cookie that the way there set", s.fromProvider},
		{"POST", "/logout", open, "Sign out of this browser", s.logout},
		{"GET", "/invite/{code}", open, "The page of an invitation; it changes nothing", s.invitePage},
		{"POST", "/invite/{code}", open, "Choose a password with an invitation, once: the form's fields new, again", s.acceptInvite},
		{"GET", accountPage, Need{}, "Your sessions and tokens, and your password, as a page", s.accountPage},
		{"POST", "/account/password", Need{}, "Change your password: the form's fields old, new, again", s.changePassword},
		{"POST", "/account/end", Need{}, "End a session of yours: the form's field session", s.endFromPage},
		{"POST", "/account/revoke", Need{}, "Revoke a token of yours: the form's field token", s.revokeFromPage},
	}
}

//go:embed sign.html
var signPage string

//go:embed sign.css
var signStyle string

// signView is what a page of this file shows.
type signView struct {
	Title   string
	Problem string
	Hint    string
	Said    string
	SignIn  *signInForm
	Invited *watchbill.Person
	Account *accountView
}

type signInForm struct {
	Account, Next string
	Provider      string
	ProviderLink  string
}

// renderSign shows a page with the status that an error has.
func (s *Server) renderSign(w http.ResponseWriter, c call, v signView, err error) error {
	code := http.StatusOK
	if err != nil {
		e, ok := errors.AsType[*watchbill.Error](err)
		if !ok || e.Code == watchbill.CodeInternal || e.Code == watchbill.CodeUnavailable {
			s.o.Logger.ErrorContext(c.Context(), "request failed", "method", c.Method, "path", pagePath(c.URL.Path), "err", err)
			if !ok {
				e = &watchbill.Error{Code: watchbill.CodeUnavailable, Message: "this did not work", Hint: "try again; the daemon's log says why"}
			}
		}
		if e.Code == watchbill.CodeUnauthenticated {
			s.o.Logger.InfoContext(c.Context(), "sign-in was refused", "path", pagePath(c.URL.Path), "remote", c.RemoteAddr, "reason", errors.Unwrap(err))
		}
		v.Problem, v.Hint, code = e.Message, e.Hint, status(e.Code)
		if e.Code == watchbill.CodeTooMany {
			retryAfter(w, err)
		}
	}
	t, policy := htmlPage("sign", signPage, actStyle+signStyle)
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	w.WriteHeader(code)
	_, err = w.Write(b.Bytes())
	return err
}

// pagePath is a path as it may be logged: the code of an invitation is a secret.
func pagePath(path string) string {
	if strings.HasPrefix(path, "/invite/") {
		return "/invite/…"
	}
	return path
}

// secure reports whether people reach the daemon by https. On plain http they may
// sign in only on the machine itself.
func (s *Server) secure() (https bool, err error) {
	u, perr := url.Parse(s.o.External())
	if perr == nil && u.Scheme == "https" {
		return true, nil
	}
	if perr == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()) {
		return false, nil
	}
	return false, watchbill.Invalidf("serve it by https, and say so with external_url: https://…; until then use a token",
		"nobody can sign in here: what is typed would cross the network in the clear")
}

func (s *Server) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	https, _ := s.secure()
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", HttpOnly: true, Secure: https, SameSite: http.SameSiteLaxMode, MaxAge: int(age.Seconds())}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) cookieName(name string) string {
	if https, _ := s.secure(); https {
		return hostPrefix + name
	}
	return name
}

// cookie returns the value of a cookie, empty if there is none, or more than one.
func (s *Server) cookie(r *http.Request, name string) string {
	all := r.CookiesNamed(s.cookieName(name))
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

// nextPage returns where somebody goes after signing in: a path of this daemon, and
// never another site.
func nextPage(next string) string {
	u, err := url.Parse(next)
	switch {
	case err != nil, len(next) > 1024, u.Scheme != "", u.Host != "", u.User != nil, u.Opaque != "":
	case !strings.HasPrefix(next, "/"), strings.HasPrefix(next, "//"), strings.ContainsAny(next, "\\\r\n\t"), strings.Contains(u.Path, "//"), strings.Contains(u.Path, "\\"):
	case strings.HasPrefix(u.Path, "/login"), strings.HasPrefix(u.Path, "/logout"), strings.HasPrefix(u.Path, "/invite/"):
	default:
		return u.RequestURI()
	}
	return accountPage
}

// toLogin reports whether whoever is not let in is a person with a browser, and
// sends them to the sign-in page.
func (s *Server) toLogin(w http.ResponseWriter, c call) bool {
	if s.o.SignIn == nil || c.Header.Get("Authorization") != "" || !strings.Contains(c.Header.Get("Accept"), "text/html") {
		return false
	}
	next := accountPage
	if c.Method == http.MethodGet {
		next = nextPage(c.URL.RequestURI())
	}
	http.Redirect(w, c.Request, "/login?"+url.Values{"next": {next}}.Encode(), http.StatusSeeOther)
	return true
}

// bySession says who a browser's session belongs to. A request that changes
// something must show that it comes from a page of ours: browsers say where a
// request comes from, and a request that does not say so is not taken.
func (s *Server) bySession(c *call) (auth.Identity, bool, error) {
	if s.o.SignIn == nil || c.Header.Get("Authorization") != "" {
		return auth.Identity{}, false, nil
	}
	cookie := s.cookie(c.Request, sessionCookie)
	if cookie == "" {
		return auth.Identity{}, false, nil
	}
	safe := c.Method == http.MethodGet || c.Method == http.MethodHead
	if !safe && c.Header.Get("Sec-Fetch-Site") == "" && c.Header.Get("Origin") == "" {
		return auth.Identity{}, false, watchbill.Errorf(watchbill.CodeDenied, "use a browser of this decade, or a token", "the browser does not say which page this comes from")
	}
	id, err := s.o.SignIn.Session(c.Context(), time.Now(), cookie)
	return id, err == nil, err
}

func (s *Server) client(r *http.Request) auth.Client {
	return auth.Client{Address: source(r), Agent: r.UserAgent(), Cookie: s.cookie(r, sessionCookie)}
}

// fields reads a form.
func fields(w http.ResponseWriter, c call) (url.Values, error) {
	c.Body = http.MaxBytesReader(w, c.Body, maxForm)
	if err := c.ParseForm(); err != nil {
		return nil, watchbill.Invalidf("send the form of the page", "the form is not valid")
	}
	return c.PostForm, nil
}

// newPassword takes the two fields of a new password.
func newPassword(f url.Values) (string, error) {
	if f.Get("new") != f.Get("again") {
		return "", watchbill.Invalidf("type it again in both", "the two new passwords differ")
	}
	return f.Get("new"), nil
}

func (s *Server) loginView(account, next string) signView {
	f := &signInForm{Account: account, Next: nextPage(next), Provider: s.o.SignIn.Provider()}
	f.ProviderLink = "/login/oidc?" + url.Values{"next": {f.Next}}.Encode()
	return signView{Title: "Sign in", SignIn: f}
}

func (s *Server) loginPage(w http.ResponseWriter, c call) error {
	_, err := s.secure()
	return s.renderSign(w, c, s.loginView("", c.URL.Query().Get("next")), err)
}

// begin lets the browser in that a session began for.
func (s *Server) begin(w http.ResponseWriter, c call, started auth.Started, next string) error {
	s.setCookie(w, sessionCookie, started.Cookie.Reveal(), time.Until(started.Session.ExpiresAt))
	http.Redirect(w, c.Request, nextPage(next), http.StatusSeeOther)
	return nil
}

// notIn has it recorded that somebody was not let in.
func (s *Server) notIn(c call, account string, err error) {
	if e, ok := errors.AsType[*watchbill.Error](err); ok && (e.Code == watchbill.CodeUnauthenticated || e.Code == watchbill.CodeTooMany) {
		s.o.AuditLog.SignInRefused(c.Context(), SignInRefusal{Account: watchbill.PersonID(account), Address: source(c.Request), Why: e.Message})
	}
}

func (s *Server) login(w http.ResponseWriter, c call) error {
	var started auth.Started
	f, err := fields(w, c)
	if err == nil {
		_, err = s.secure()
	}
	if err == nil && f.Get("account") == "" {
		err = watchbill.Invalidf("type it", "the name is missing")
	}
	if err == nil {
		started, err = s.o.SignIn.WithPassword(c.Context(), time.Now().UTC(), auth.Attempt{Account: f.Get("account"), Password: f.Get("password"), Client: s.client(c.Request)})
	}
	if err != nil {
		s.notIn(c, f.Get("account"), err)
		return s.renderSign(w, c, s.loginView(f.Get("account"), f.Get("next")), err)
	}
	return s.begin(w, c, started, f.Get("next"))
}

func (s *Server) logout(w http.ResponseWriter, c call) error {
	if err := s.o.SignIn.SignOut(c.Context(), time.Now().UTC(), s.cookie(c.Request, sessionCookie)); err != nil {
		return err
	}
	s.setCookie(w, sessionCookie, "", 0)
	http.Redirect(w, c.Request, "/login", http.StatusSeeOther)
	return nil
}

func (s *Server) redirectURL() string { return strings.TrimSuffix(s.o.External(), "/") + callbackPath }

func (s *Server) toProvider(w http.ResponseWriter, c call) error {
	next := nextPage(c.URL.Query().Get("next"))
	_, err := s.secure()
	address, cookie := "", ""
	if err == nil {
		address, cookie, err = s.o.SignIn.Begin(c.Context(), time.Now(), s.redirectURL(), next)
	}
	if err != nil {
		return s.renderSign(w, c, s.loginView("", next), err)
	}
	s.setCookie(w, journeyCookie, cookie, 10*time.Minute)
	http.Redirect(w, c.Request, address, http.StatusSeeOther)
	return nil
}

func (s *Server) fromProvider(w http.ResponseWriter, c call) error {
	q := c.URL.Query()
	started, next, err := s.o.SignIn.Finish(c.Context(), time.Now().UTC(), auth.Callback{
		Journey: s.cookie(c.Request, journeyCookie), State: q.Get("state"), Code: q.Get("code"), Error: q.Get("error"),
		Redirect: s.redirectURL(), Client: s.client(c.Request),
	})
	s.setCookie(w, journeyCookie, "", 0)
	if err != nil {
		s.notIn(c, "", err)
		return s.renderSign(w, c, s.loginView("", ""), err)
	}
	return s.begin(w, c, started, next)
}

func (s *Server) invitePage(w http.ResponseWriter, c call) error {
	v := signView{Title: "Welcome"}
	_, err := s.secure()
	if err == nil {
		var p watchbill.Person
		if p, err = s.o.SignIn.Invited(c.Context(), time.Now(), c.PathValue("code")); err == nil {
			v.Invited = &p
		}
	}
	return s.renderSign(w, c, v, err)
}

func (s *Server) acceptInvite(w http.ResponseWriter, c call) error {
	v := signView{Title: "Welcome"}
	p, err := s.o.SignIn.Invited(c.Context(), time.Now(), c.PathValue("code"))
	if err == nil {
		v.Invited = &p
		_, err = s.secure()
	}
	var f url.Values
	if err == nil {
		f, err = fields(w, c)
	}
	password := ""
	if err == nil {
		password, err = newPassword(f)
	}
	var started auth.Started
	if err == nil {
		started, err = s.o.SignIn.Accept(c.Context(), time.Now().UTC(), c.PathValue("code"), password, s.client(c.Request))
	}
	if err != nil {
		return s.renderSign(w, c, v, err)
	}
	return s.begin(w, c, started, accountPage)
}
