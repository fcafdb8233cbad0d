package daemon_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

const signInConfig = `
external_url: http://127.0.0.1:9095
self_monitoring: false
roles: {preset: operations}
auth:
  session: {idle: 5m, absolute: 20m}
  oidc: {issuer: "http://127.0.0.1:5556", client_id: watchbill, client_secret_file: secret, claim: sub}
people:
  - {name: ana, roles: [support], identities: [sub-1], contact: [{receiver: terminal}]}
  - {name: frank, roles: [manager, deployment, infrastructure, security], contact: [{receiver: terminal}]}
`

// another is a second account of ana's.
const another = "  - {name: ana-admin, roles: [support, security], same_as: ana, identities: [sub-1], contact: [{receiver: terminal}]}\n"

// visitor is a browser that follows nothing by itself.
type visitor struct {
	t       *testing.T
	http    *http.Client
	cookies map[string]string
}

func (v *visitor) ask(method, address string) (status int, location, body string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, http.NoBody)
	require.NoError(v.t, err)
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for k, c := range v.cookies {
		req.AddCookie(&http.Cookie{Name: k, Value: c})
	}
	resp, err := v.http.Do(req)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		v.cookies[c.Name] = c.Value
	}
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// A session by the provider, its idle and its absolute end in the daemon's own time,
// and what of it is in the record.
func TestSignInByTheProvider(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		w := testkit.New(t, t.TempDir())
		p := testkit.NewProvider(t, "http://127.0.0.1:5556")
		p.Says(map[string]any{"sub": "sub-1"})
		w.Write("watchbill.yaml", signInConfig)
		w.Write("secret", p.ClientSecret+"\n")
		w.Host("127.0.0.1", p)
		w.Start()
		defer w.Stop()
		frank := w.As("frank")
		stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		v := &visitor{t: t, http: &http.Client{Transport: frank.HTTP.Transport, CheckRedirect: stay}, cookies: map[string]string{}}
		signIn := func() {
			status, address, _ := v.ask(http.MethodGet, "http://watchbill.test/login/oidc?next=/runbooks/disk-full")
			require.Equal(t, http.StatusSeeOther, status)
			u, err := url.Parse(address)
			require.NoError(t, err)
			back := p.Visit(u.Query())
			require.Equal(t, "/login/callback", back.Path)
			status, address, _ = v.ask(http.MethodGet, "http://watchbill.test/login/callback?"+back.RawQuery)
			require.Equal(t, []any{http.StatusSeeOther, "/runbooks/disk-full"}, []any{status, address})
		}
		page := func() int {
			status, _, _ := v.ask(http.MethodGet, "http://watchbill.test/account")
			return status
		}
		signIn()
		for range 5 {
			require.Equal(t, http.StatusOK, page())
			time.Sleep(4 * time.Minute)
		}
		require.Equal(t, http.StatusSeeOther, page(), "after twenty minutes, however it was used")
		signIn()
		require.Equal(t, http.StatusOK, page())
		time.Sleep(5 * time.Minute)
		require.Equal(t, http.StatusSeeOther, page(), "after five minutes without use")

		signIn()
		list, err := frank.Sessions(t.Context(), true)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, []any{watchbill.PersonID("ana"), auth.ByProvider}, []any{list[0].Person, list[0].How})
		w.Write("watchbill.yaml", strings.Replace(signInConfig, "name: ana, roles", "name: anita, roles", 1))
		require.NoError(t, frank.Reload(t.Context()))
		require.Equal(t, http.StatusSeeOther, page(), "ana is not configured any more")
		w.Write("watchbill.yaml", signInConfig)
		require.NoError(t, frank.Reload(t.Context()))
		require.Equal(t, http.StatusSeeOther, page(), "and is signed out for good")

		log, err := frank.AuditLog(t.Context(), web.AuditQuery{Oldest: true, Limit: 1000})
		require.NoError(t, err)
		var signedIn, ended int
		for _, e := range log.Entries {
			if e.Kind == watchbill.AuditSignedIn {
				signedIn++
				require.Equal(t, "ana", e.Actor)
			}
			if e.Kind == watchbill.AuditSessionEnded {
				ended++
				require.Contains(t, e.Text, "the person left the configuration")
			}
			require.NotContains(t, e.Text+e.Detail, p.ClientSecret)
		}
		require.Equal(t, []int{3, 1}, []int{signedIn, ended})
	})
}

// A second account is no second person for a silence that takes two.
func TestAnotherAccountIsNoSecondPerson(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		w := testkit.New(t, t.TempDir())
		w.Write("watchbill.yaml", signInConfig+another)
		w.Write("secret", "x\n")
		w.Start()
		defer w.Stop()
		s := watchbill.Silence{Matchers: []watchbill.Matcher{{Name: "signal", Value: "security", IsEqual: true}}, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), Comment: "a test"}
		_, err := w.As("ana").Silence(t.Context(), s)
		require.ErrorContains(t, err, "second person")
		all, err := w.As("ana").Silences(t.Context())
		require.NoError(t, err)
		_, err = w.As("ana-admin").ApproveSilence(t.Context(), all[0].ID)
		require.ErrorContains(t, err, "it takes a second person")
		_, err = w.As("frank").ApproveSilence(t.Context(), all[0].ID)
		require.NoError(t, err)
	})
}
