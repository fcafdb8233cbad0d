package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/golden"
	"watchbill/internal/web"
)

const password = "seven quiet herons wade"

// browser is somebody's browser: it keeps cookies and says where requests come from.
type browser struct {
	t       *testing.T
	w       *world
	cookies map[string]*http.Cookie
	header  map[string]string
}

func (w *world) browser(t *testing.T) *browser {
	return &browser{t: t, w: w, cookies: map[string]*http.Cookie{}, header: map[string]string{"Sec-Fetch-Site": "same-origin", "Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}}
}

func (b *browser) do(method, path string, form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range b.header {
		req.Header.Set(k, v)
	}
	for _, c := range b.cookies {
		req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	rec := httptest.NewRecorder()
	b.w.server.Handler().ServeHTTP(rec, req)
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
	return rec
}

func (b *browser) get(path string) *httptest.ResponseRecorder { return b.do(http.MethodGet, path, nil) }

func (b *browser) post(path string, form ...string) *httptest.ResponseRecorder {
	v := url.Values{}
	for i := 0; i < len(form); i += 2 {
		v.Set(form[i], form[i+1])
	}
	return b.do(http.MethodPost, path, v)
}

// signIn signs support in, who got a password by an invitation.
func (b *browser) signIn() {
	b.t.Helper()
	b.join("support")
	clear(b.cookies)
	rec := b.post("/login", "account", "support", "password", password)
	require.Equal(b.t, http.StatusSeeOther, rec.Code, "%s", rec.Body)
}

func (b *browser) join(person string) {
	b.t.Helper()
	secret, _, err := b.w.signIn.Invite(b.t.Context(), time.Now(), watchbill.PersonID(person), "cli:root")
	require.NoError(b.t, err)
	rec := b.post("/invite/"+secret.Reveal(), "new", password, "again", password)
	require.Equal(b.t, http.StatusSeeOther, rec.Code, "%s", rec.Body)
	require.Equal(b.t, "/account", rec.Header().Get("Location"))
}

const cookieName = "__Host-watchbill_session"

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	require.Equal(t, http.StatusUnauthorized, w.call("nobody", http.MethodGet, "/i/INC-1", "").Code, "curl is told")
	rec := b.get("/i/INC-1?x=1")
	require.Equal(t, http.StatusSeeOther, rec.Code, "a browser is sent to the page")
	require.Equal(t, "/login?next=%2Fi%2FINC-1%3Fx%3D1", rec.Header().Get("Location"))
	rec = b.get(rec.Header().Get("Location"))
	require.Contains(t, rec.Body.String(), `name="next" value="/i/INC-1?x=1"`)
	golden.Compare(t, "login.html", rec.Body.String())

	b.join("support")
	clear(b.cookies)
	rec = b.post("/login", "account", "support", "password", "wrong")
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	require.Empty(t, rec.Header().Get("WWW-Authenticate"), "a browser would ask in a window of its own")
	require.Contains(t, rec.Body.String(), "the name or the password is not right")
	require.Contains(t, rec.Body.String(), `value="support"`)
	require.Empty(t, b.cookies)
	require.Equal(t, []web.SignInRefusal{{Account: "support", Address: "192.0.2.1", Why: "the name or the password is not right"}}, w.failed)

	rec = b.post("/login", "account", "support", "password", password, "next", "/i/INC-1?x=1")
	require.Equal(t, http.StatusSeeOther, rec.Code)
	require.Equal(t, "/i/INC-1?x=1", rec.Header().Get("Location"))
	c := b.cookies[cookieName]
	require.NotNil(t, c)
	require.Equal(t, []any{true, true, http.SameSiteLaxMode, "/", ""}, []any{c.HttpOnly, c.Secure, c.SameSite, c.Path, c.Domain})
	require.InDelta(t, 12*3600, c.MaxAge, 5)
	require.Equal(t, http.StatusOK, b.get("/i/INC-1").Code)

	// It does what the matrix allows support, and says that it came from the console.
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, "/api/ops/v1/incidents/INC-1/ack", nil).Code)
	require.Equal(t, []string{"ack INC-1 by support via console: "}, w.done())
	require.Equal(t, http.StatusForbidden, b.post("/-/reload").Code)

	old := *c
	require.Equal(t, "/login", b.post("/logout").Header().Get("Location"))
	require.Empty(t, b.cookies)
	b.cookies[cookieName] = &old
	require.Equal(t, http.StatusSeeOther, b.get("/i/INC-1").Code, "the cookie is worth nothing any more")
	require.Equal(t, http.StatusSeeOther, b.post("/logout").Code)
}

// Another site cannot act with somebody's cookie, nor sign them in as somebody else.
func TestSessionAndOtherSites(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	b.signIn()
	const ack = "/api/ops/v1/incidents/INC-1/ack"
	for name, header := range map[string]map[string]string{
		"another site":        {"Sec-Fetch-Site": "cross-site"},
		"a neighbour":         {"Sec-Fetch-Site": "same-site"},
		"a foreign origin":    {"Origin": "https://evil.example"},
		"an origin of no one": {"Origin": "null"},
		"nothing is said":     {},
	} {
		b.header = header
		require.Equal(t, http.StatusForbidden, b.post(ack).Code, name)
		require.Equal(t, http.StatusForbidden, b.post("/account/revoke", "token", "x").Code, name)
		if name != "nothing is said" { // curl may sign in
			require.Equal(t, http.StatusForbidden, b.post("/login", "account", "support", "password", password).Code, name)
			require.Equal(t, http.StatusForbidden, b.post("/logout").Code, name)
		}
	}
	require.Empty(t, w.done())
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://example.com"}} {
		b.header = header
		require.Equal(t, http.StatusOK, b.post(ack).Code, "%v", header)
	}
	// A token is no cookie: scripts send it as before, whatever else they have.
	b.header = map[string]string{"Authorization": w.headers["support"]}
	require.Equal(t, http.StatusOK, b.post(ack).Code)
	b.header = map[string]string{"Authorization": "Bearer x"}
	require.Equal(t, http.StatusUnauthorized, b.post(ack).Code, "a wrong token is not made up for by a cookie")
}

// Nobody can plant a cookie and be signed in when its victim is.
func TestSessionFixation(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	attacker := w.browser(t)
	attacker.join("roleless")
	planted := *attacker.cookies[cookieName]
	victim := w.browser(t)
	victim.join("support")
	clear(victim.cookies)
	victim.cookies[cookieName] = &planted
	require.Equal(t, http.StatusSeeOther, victim.post("/login", "account", "support", "password", password).Code)
	require.NotEqual(t, planted.Value, victim.cookies[cookieName].Value)
	require.Equal(t, http.StatusSeeOther, attacker.get("/account").Code, "the planted one is over")

	// Two cookies of one name are none: one of them is from elsewhere.
	req := httptest.NewRequest(http.MethodGet, "/api/ops/v1/sessions", nil)
	req.AddCookie(&http.Cookie{Name: cookieName, Value: "x"})
	req.AddCookie(&http.Cookie{Name: cookieName, Value: victim.cookies[cookieName].Value})
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	// And a name without its prefix, which any host of the domain could set, is nothing.
	victim.cookies = map[string]*http.Cookie{"watchbill_session": {Name: "watchbill_session", Value: victim.cookies[cookieName].Value}}
	require.Equal(t, http.StatusSeeOther, victim.get("/account").Code)
}

func TestNextIsHere(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	b.join("support")
	for next, want := range map[string]string{
		"": "/account", "/i/INC-1": "/i/INC-1", "/i/INC-1?a=b&c=d": "/i/INC-1?a=b&c=d", "/runbooks/x%20y": "/runbooks/x%20y",
		"https://evil.example": "/account", "//evil.example": "/account", "/\\evil.example": "/account", "\\\\evil.example": "/account", "/%2F/evil.example": "/account",
		"javascript:alert(1)": "/account", "data:text/html,x": "/account", "evil.example": "/account", "/\t/evil.example": "/account", "/\n//evil.example": "/account",
		" //evil.example": "/account", "/%5Cevil.example": "/account", "http:///evil.example": "/account", "/login?next=/login": "/account", "/logout": "/account",
		"/" + strings.Repeat("x", 2000): "/account", "/@evil.example": "/@evil.example", "///evil.example": "/account", "/.//evil.example": "/account",
	} {
		clear(b.cookies)
		rec := b.post("/login", "account", "support", "password", password, "next", next)
		require.Equal(t, http.StatusSeeOther, rec.Code)
		require.Equal(t, want, rec.Header().Get("Location"), "%q", next)
		require.Contains(t, b.get("/login?"+url.Values{"next": {next}}.Encode()).Body.String(), `name="next" value="`+strings.ReplaceAll(want, "&", "&amp;")+`"`, "%q", next)
	}
}

func FuzzNext(f *testing.F) {
	for _, s := range []string{"/i/INC-1", "//x", "/\\x", "http://x", "/%2fx", "/a?b#c", "\x00", "/x\r\ny: z", "/..//x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := web.NextPage(next)
		base, err := url.Parse("https://watchbill.example.com/login")
		require.NoError(t, err)
		u, err := base.Parse(got)
		require.NoError(t, err)
		require.Equal(t, "watchbill.example.com", u.Host)
		require.Equal(t, "https", u.Scheme)
		require.True(t, strings.HasPrefix(got, "/") && !strings.HasPrefix(got, "//") && !strings.ContainsAny(got, "\\\r\n\t"), "%q", got)
	})
}

// On plain http people sign in on the machine itself, and nowhere else.
func TestSignInOnPlainHTTP(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	w.external = "http://127.0.0.1:9095"
	b := w.browser(t)
	b.signIn()
	require.False(t, b.cookies["watchbill_session"].Secure)
	require.True(t, b.cookies["watchbill_session"].HttpOnly)
	for _, external := range []string{"http://watchbill.example.com", "http://10.0.0.1", "http://127.0.0.1.evil.example", "ftp://localhost", ""} {
		w.external = external
		clear(b.cookies)
		for _, rec := range []*httptest.ResponseRecorder{b.get("/login"), b.post("/login", "account", "support", "password", password), b.get("/login/oidc"), b.get("/invite/x")} {
			require.Equal(t, http.StatusBadRequest, rec.Code, external)
			require.Contains(t, rec.Body.String(), "nobody can sign in here")
		}
		require.Empty(t, b.cookies)
	}
}

func TestInvitation(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	secret, _, err := w.signIn.Invite(t.Context(), time.Now(), "support", "cli:root")
	require.NoError(t, err)
	path := "/invite/" + secret.Reveal()
	rec := b.get(path)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), "Choose the password of support")
	golden.Compare(t, "invite.html", rec.Body.String())
	for _, rec := range []*httptest.ResponseRecorder{b.post(path, "new", password, "again", password+"x"), b.post(path, "new", "short", "again", "short"), b.post(path)} {
		require.Equal(t, http.StatusBadRequest, rec.Code)
		require.Contains(t, rec.Body.String(), "Choose the password of support", "it can be tried again")
	}
	require.Equal(t, http.StatusSeeOther, b.post(path, "new", password, "again", password).Code)
	require.Equal(t, http.StatusOK, b.get("/account").Code)
	for _, rec := range []*httptest.ResponseRecorder{b.get(path), b.post(path, "new", password+"x", "again", password+"x"), b.get("/invite/nothing")} {
		require.Equal(t, http.StatusNotFound, rec.Code)
		require.Contains(t, rec.Body.String(), "there is no such invitation")
		require.NotContains(t, rec.Body.String(), "support")
	}
}

func TestAccountPage(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	here, there := w.browser(t), w.browser(t)
	here.signIn()
	there.header["User-Agent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) <script>alert(1)</script> Safari/605"
	require.Equal(t, http.StatusSeeOther, there.post("/login", "account", "support", "password", password).Code)
	page := here.get("/account").Body.String()
	require.Contains(t, page, "Firefox Linux · this one")
	require.Contains(t, page, "Safari iPhone")
	require.NotContains(t, page, "<script")
	id := regexp.MustCompile(`name="session" value="(s-[a-z2-7]+)"`).FindStringSubmatch(page)
	require.Len(t, id, 2)

	// Sessions end by the page, one's own only.
	other := w.browser(t)
	other.join("manager")
	require.Equal(t, http.StatusNotFound, other.post("/account/end", "session", id[1]).Code, "the page is for one's own")
	require.Equal(t, http.StatusBadRequest, here.post("/account/end").Code)
	require.Equal(t, "/account?done=session", here.post("/account/end", "session", id[1]).Header().Get("Location"))
	require.Equal(t, http.StatusSeeOther, there.get("/account").Code)
	require.Contains(t, here.get("/account?done=session").Body.String(), "The session is ended.")
	require.NotContains(t, here.get("/account?done=<b>x").Body.String(), `role="status"`)

	// And so do tokens.
	token := regexp.MustCompile(`name="token" value="(t-[a-z2-7]+)"`).FindStringSubmatch(page)
	require.Equal(t, http.StatusNotFound, other.post("/account/revoke", "token", token[1]).Code)
	require.Equal(t, http.StatusSeeOther, here.post("/account/revoke", "token", token[1]).Code)
	require.Equal(t, http.StatusUnauthorized, w.call("support", http.MethodGet, "/api/ops/v1/incidents", "").Code)

	// The password.
	const next = "nine calm otters swim"
	require.Contains(t, here.post("/account/password", "old", password, "new", next, "again", "x").Body.String(), "the two new passwords differ")
	require.Contains(t, here.post("/account/password", "old", "wrong", "new", next, "again", next).Body.String(), "the current password is not right")
	old := *here.cookies[cookieName]
	require.Equal(t, "/account?done=password", here.post("/account/password", "old", password, "new", next, "again", next).Header().Get("Location"))
	require.NotEqual(t, old.Value, here.cookies[cookieName].Value)
	require.Equal(t, http.StatusOK, here.get("/account").Code)
	here.cookies[cookieName] = &old
	require.Equal(t, http.StatusSeeOther, here.get("/account").Code)
}

func TestSessionsByTheAPI(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	b.signIn()
	manager := w.browser(t)
	manager.join("manager")
	sessions := func(caller, query string) (all []auth.SessionView) {
		rec := w.call(caller, http.MethodGet, "/api/ops/v1/sessions"+query, "")
		require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all))
		require.NotContains(t, rec.Body.String(), "hash")
		return all
	}
	mine := sessions("support", "")
	require.Len(t, mine, 2, "that of the invitation, and the other one")
	require.Len(t, sessions("manager", "?all=true"), 3)
	require.Equal(t, http.StatusForbidden, w.call("support", http.MethodGet, "/api/ops/v1/sessions?all=true", "").Code)
	managers := sessions("manager", "")[0]
	require.Equal(t, http.StatusNotFound, w.call("support", http.MethodDelete, "/api/ops/v1/sessions/"+managers.ID, "").Code)
	require.Equal(t, http.StatusForbidden, w.call("support", http.MethodDelete, "/api/ops/v1/sessions?person=manager", "").Code)
	require.JSONEq(t, `{"ended":1}`, w.call("manager", http.MethodDelete, "/api/ops/v1/sessions/"+mine[1].ID, "").Body.String())
	// Everything but the one that asks.
	rec := b.do(http.MethodDelete, "/api/ops/v1/sessions", nil)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, http.StatusOK, b.get("/account").Code)
	require.JSONEq(t, `{"ended":1}`, w.call("manager", http.MethodDelete, "/api/ops/v1/sessions?person=support", "").Body.String())
	require.Equal(t, http.StatusSeeOther, b.get("/account").Code)
	require.Len(t, sessions("manager", "?all=true"), 1)

	srv := httptest.NewServer(w.server.Handler())
	defer srv.Close()
	c := &web.Client{URL: srv.URL, Token: strings.TrimPrefix(w.headers["manager"], "Bearer "), HTTP: srv.Client()}
	list, err := c.Sessions(t.Context(), true)
	require.NoError(t, err)
	n, err := c.EndSession(t.Context(), list[0].ID)
	require.NoError(t, err)
	require.Equal(t, 1, n.Ended)
	n, err = c.EndSessions(t.Context(), "support")
	require.NoError(t, err)
	require.Zero(t, n.Ended)
}

// Whoever is signed in acts from a page without its code.
func TestActFromAPageWhenSignedIn(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	require.Contains(t, b.get("/act/7/tok").Body.String(), "Code from your message")
	b.signIn()
	page := b.get("/act/7/tok").Body.String()
	require.Contains(t, page, "You are signed in as support: no code is needed.")
	require.NotContains(t, page, "Code from your message")
	require.Equal(t, http.StatusOK, b.post("/act/7/tok", "note", "on it").Code)
	require.Equal(t, []string{`ack page 7 as "support" from 192.0.2.1: on it`}, w.done())
	b.header = map[string]string{"Sec-Fetch-Site": "cross-site"}
	require.Equal(t, http.StatusForbidden, b.post("/act/7/tok").Code)
	b.header = map[string]string{}
	require.Equal(t, http.StatusBadRequest, b.post("/act/7/tok").Code, "a request that does not say where it comes from needs the code")
}

// Pages load nothing, run nothing, and can be used without a mouse: every field has a
// label, no id is there twice.
func TestSignPagesAreSound(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	b := w.browser(t)
	secret, _, err := w.signIn.Invite(t.Context(), time.Now(), "manager", "cli:root")
	require.NoError(t, err)
	b.signIn()
	for _, path := range []string{"/login", "/invite/" + secret.Reveal(), "/invite/x", "/account"} {
		rec := b.get(path)
		page := rec.Body.String()
		require.Equal(t, "text/html; charset=utf-8", rec.Header().Get("Content-Type"))
		require.NotRegexp(t, regexp.MustCompile(`(?i)<script|\son[a-z]+=|\sstyle=|\ssrc=|url\(|@import|<link|<iframe|<img`), page)
		doc, err := html.Parse(strings.NewReader(page))
		require.NoError(t, err)
		var ids, labels, fields []string
		for n := range doc.Descendants() {
			attr := map[string]string{}
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
			}
			if id := attr["id"]; id != "" {
				require.NotContains(t, ids, id, path)
				ids = append(ids, id)
			}
			switch {
			case n.Data == "label":
				labels = append(labels, attr["for"])
			case n.Data == "input" && attr["type"] != "hidden":
				fields = append(fields, attr["id"])
				require.NotEmpty(t, attr["autocomplete"], path)
			case n.Data == "form":
				require.Equal(t, "post", attr["method"])
			}
		}
		slices.Sort(labels)
		slices.Sort(fields)
		require.Equal(t, labels, fields, path)
	}
}

// Nothing that is typed or given as a secret reaches the log or a page.
func TestSignInSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	const canary = "canary heron 7d1f swims"
	w := setUp(t)
	var log, pages bytes.Buffer
	w.log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	b := w.browser(t)
	b.signIn()
	secret, _, err := w.signIn.Invite(t.Context(), time.Now(), "support", "cli:root")
	require.NoError(t, err)
	path := "/invite/" + secret.Reveal()
	try := func() {
		for _, rec := range []*httptest.ResponseRecorder{
			b.post("/login", "account", "support", "password", canary), b.post("/login", "account", "", "password", canary),
			b.post("/login", "account", "zoe", "password", canary), b.post("/account/password", "old", canary, "new", canary+"x", "again", canary+"x"),
			b.post("/account/password", "old", password, "new", canary, "again", "x"), b.post(path, "new", canary, "again", "x"), b.post(path, "new", "canary", "again", "canary"),
			b.get("/login/callback?state=" + url.QueryEscape(canary) + "&code=" + url.QueryEscape(canary)),
		} {
			pages.WriteString(rec.Body.String())
		}
	}
	try()
	cookie := b.cookies[cookieName].Value
	w.fail = fmt.Errorf("disk on fire")
	try()
	require.Contains(t, log.String(), "disk on fire")
	for _, where := range []string{log.String(), pages.String()} {
		require.NotContains(t, where, "canary")
		require.NotContains(t, where, "7d1f")
		require.NotContains(t, where, cookie)
		require.NotContains(t, where, secret.Reveal())
		require.NotContains(t, where, password)
	}
}
