package web_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// withProvider has people sign in at an identity provider, by a claim.
func (w *world) withProvider(t *testing.T, claim string) *testkit.Provider {
	t.Helper()
	p := testkit.NewProvider(t, "")
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.Issuer = srv.URL
	w.people["support"] = watchbill.Person{ID: "support", Roles: []watchbill.RoleID{"support"}, Email: "Ana@Example.com", Identities: []string{"sub-1"}}
	w.signIn = auth.NewSignIn(auth.Config{OIDC: &auth.OIDC{
		Name: "Example", Issuer: srv.URL, ClientID: p.ClientID, ClientSecret: auth.NewSecret(p.ClientSecret), Scopes: []string{"email"}, Claim: claim,
	}}, w, w.people, srv.Client())
	w.options.SignIn = w.signIn
	w.server = web.New(w.options)
	return p
}

// travel goes to the provider, and returns the address by which it sends the browser
// back.
func (b *browser) travel(next string) string {
	b.t.Helper()
	rec := b.get("/login/oidc?" + url.Values{"next": {next}}.Encode())
	require.Equal(b.t, http.StatusSeeOther, rec.Code, "%s", rec.Body)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(rec.Header().Get("Location"))
	require.NoError(b.t, err)
	defer resp.Body.Close()
	require.Equal(b.t, http.StatusFound, resp.StatusCode)
	back, ok := strings.CutPrefix(resp.Header.Get("Location"), "https://watchbill.example.com")
	require.True(b.t, ok)
	return back
}

const journey = "__Host-watchbill_journey"

func verified(email string) map[string]any {
	return map[string]any{"email": email, "email_verified": true}
}

func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	p := w.withProvider(t, "email")
	b := w.browser(t)
	require.Contains(t, b.get("/login?next=/i/INC-1").Body.String(), `<a class="other" href="/login/oidc?next=%2Fi%2FINC-1">Sign in with Example</a>`)
	p.Says(verified("ana@example.COM"))
	back := b.travel("/i/INC-1")
	c := b.cookies[journey]
	require.Equal(t, []any{true, true, http.SameSiteLaxMode, 600}, []any{c.HttpOnly, c.Secure, c.SameSite, c.MaxAge})
	b.header["Sec-Fetch-Site"] = "cross-site" // as it is when another site leads back
	rec := b.get(back)
	require.Equal(t, http.StatusSeeOther, rec.Code, "%s", rec.Body)
	require.Equal(t, "/i/INC-1", rec.Header().Get("Location"))
	require.NotContains(t, b.cookies, journey)
	require.Contains(t, b.get("/account").Body.String(), "by oidc")

	require.Equal(t, "/account", b.get(b.travel("//evil.example")).Header().Get("Location"))

	// Somebody who left is not let in, whatever the provider says; nor are passwords needed.
	delete(w.people, "support")
	require.Equal(t, http.StatusUnauthorized, b.get(b.travel("")).Code)
}

// What the provider's answer must not be.
func TestSingleSignOnRefuses(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	p := w.withProvider(t, "email")
	var log bytes.Buffer
	w.log(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	set := func(claim string, v any) func(_, claims map[string]any) *ecdsa.PrivateKey {
		return func(_, claims map[string]any) *ecdsa.PrivateKey {
			claims[claim] = v
			return nil
		}
	}
	for name, tc := range map[string]struct {
		says   map[string]any
		forge  func(header, claims map[string]any) *ecdsa.PrivateKey
		page   string
		reason string
	}{
		"unknown person":   {verified("eve@example.com"), nil, "you are not among the people", "nobody is configured"},
		"no e-mail":        {map[string]any{}, nil, "does not say who you are", "the claim email is missing"},
		"a list of them":   {map[string]any{"email": []string{"ana@example.com"}, "email_verified": true}, nil, "does not say who you are", "is missing or no text"},
		"not verified":     {map[string]any{"email": "ana@example.com", "email_verified": false}, nil, "is not verified", "is not verified"},
		"maybe verified":   {map[string]any{"email": "ana@example.com"}, nil, "is not verified", "is not verified"},
		"wrong nonce":      {verified("ana@example.com"), set("nonce", "another"), "was not accepted", "the nonce is not that of this sign-in"},
		"no nonce":         {verified("ana@example.com"), set("nonce", ""), "was not accepted", "the nonce is not that of this sign-in"},
		"wrong audience":   {verified("ana@example.com"), set("aud", "another"), "was not accepted", "expected audience"},
		"wrong issuer":     {verified("ana@example.com"), set("iss", "https://evil.example"), "was not accepted", "issued by a different provider"},
		"expired":          {verified("ana@example.com"), set("exp", time.Now().Add(-time.Minute).Unix()), "was not accepted", "token is expired"},
		"another key":      {verified("ana@example.com"), func(_, _ map[string]any) *ecdsa.PrivateKey { return stranger }, "was not accepted", "failed to verify signature"},
		"another key's id": {verified("ana@example.com"), func(h, _ map[string]any) *ecdsa.PrivateKey { h["kid"] = "x"; return stranger }, "was not accepted", "failed to verify signature"},
		"no signature":     {verified("ana@example.com"), func(h, _ map[string]any) *ecdsa.PrivateKey { h["alg"] = "none"; return nil }, "was not accepted", "verify the ID token"},
		"another kind":     {verified("ana@example.com"), func(h, _ map[string]any) *ecdsa.PrivateKey { h["alg"] = "HS256"; return nil }, "was not accepted", "verify the ID token"},
	} {
		log.Reset()
		b := w.browser(t)
		p.Says(tc.says)
		p.Forge(tc.forge)
		rec := b.get(b.travel("/i/INC-1"))
		require.Equal(t, http.StatusUnauthorized, rec.Code, name)
		require.Contains(t, rec.Body.String(), tc.page, name)
		require.Contains(t, log.String(), tc.reason, name)
		require.Empty(t, b.cookies, name)
		require.NotContains(t, log.String()+rec.Body.String(), p.ClientSecret)
	}
	require.Len(t, w.failed, 14)
	require.Empty(t, w.accounts.sessions)
}

// A sign-in is finished once, by the browser that began it, within ten minutes.
func TestSingleSignOnState(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	p := w.withProvider(t, "sub")
	p.Says(map[string]any{"sub": "sub-1"})
	b := w.browser(t)
	back := b.travel("")
	kept := *b.cookies[journey]

	other := w.browser(t) // that of a victim who follows the attacker's link
	require.Contains(t, other.get(back).Body.String(), "began elsewhere, or took too long")
	other.travel("")
	require.Contains(t, other.get(back).Body.String(), "began elsewhere, or took too long", "it has a journey of its own")
	require.Empty(t, other.cookies)
	for _, query := range []string{"", "?code=x", "?state=&code=x", "?state=x&code=x"} {
		b.cookies[journey] = &kept
		require.Equal(t, http.StatusUnauthorized, b.get("/login/callback"+query).Code)
	}
	b.cookies[journey] = &http.Cookie{Name: journey, Value: kept.Value[:len(kept.Value)-2] + "AA"}
	require.Contains(t, b.get(back).Body.String(), "began elsewhere, or took too long", "it is sealed")

	b.cookies[journey] = &kept
	require.Equal(t, http.StatusSeeOther, b.get(back).Code)
	b.cookies = map[string]*http.Cookie{journey: &kept}
	require.Contains(t, b.get(back).Body.String(), "was finished before")

	// The provider's own refusals.
	q, err := url.Parse(b.travel(""))
	require.NoError(t, err)
	rec := b.get("/login/callback?" + url.Values{"state": {q.Query().Get("state")}, "error": {"access_denied"}}.Encode())
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	require.Contains(t, rec.Body.String(), "Example did not let you in")
	q, err = url.Parse(b.travel(""))
	require.NoError(t, err)
	rec = b.get("/login/callback?" + url.Values{"state": {q.Query().Get("state")}, "code": {"stolen"}}.Encode())
	require.Contains(t, rec.Body.String(), "was not accepted")

	now := time.Now()
	address, cookie, err := w.signIn.Begin(t.Context(), now.Add(-10*time.Minute), "https://x.example/cb", "/")
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	_, _, err = w.signIn.Finish(t.Context(), now, auth.Callback{Journey: cookie, State: u.Query().Get("state"), Code: "x"})
	require.ErrorIs(t, err, auth.ErrForeignState)
	require.Equal(t, "S256", u.Query().Get("code_challenge_method"))
	require.Equal(t, "email openid", u.Query().Get("scope"))
}

// Until the provider is there people sign in by password; then it is asked again.
func TestProviderThatIsDown(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	p := w.withProvider(t, "sub")
	p.Says(map[string]any{"sub": "sub-1"})
	p.Down(true)
	b := w.browser(t)
	rec := b.get("/login/oidc?next=/i/INC-1")
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Contains(t, rec.Body.String(), "Example cannot be reached now")
	require.Contains(t, rec.Body.String(), `value="/i/INC-1"`)
	b.signIn()
	p.Down(false)
	back := b.travel("")
	p.Down(true)
	require.Contains(t, b.get(back).Body.String(), "was not accepted")
	p.Down(false)
	require.Equal(t, http.StatusSeeOther, b.get(b.travel("")).Code)

	_, _, err := setUp(t).signIn.Finish(t.Context(), time.Now(), auth.Callback{})
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok)
	require.Equal(t, watchbill.CodeNotFound, e.Code, "there is none")
}
