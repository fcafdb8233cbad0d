package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Provider is an identity provider that speaks OpenID Connect: discovery, keys, the
// authorization code flow with PKCE. Whoever comes is somebody at once. What it says
// of them, and how honestly, the test sets.
type Provider struct {
	t   testing.TB
	key *ecdsa.PrivateKey

	Issuer       string // its own address
	ClientID     string
	ClientSecret string

	mu     sync.Mutex
	claims map[string]any // of whoever comes next
	forge  func(header, claims map[string]any) *ecdsa.PrivateKey
	codes  map[string]url.Values // what each code was asked for with
	down   bool
}

// NewProvider returns a provider that knows one client.
func NewProvider(t testing.TB, issuer string) *Provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &Provider{t: t, key: key, Issuer: issuer, ClientID: "watchbill", ClientSecret: "canary-secret-5e1d", codes: map[string]url.Values{}}
}

// Says sets what it says of whoever comes next.
func (p *Provider) Says(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims, p.forge = claims, nil
}

// Forge has the next tokens altered before they are signed, and signed with another
// key if forge returns one.
func (p *Provider) Forge(forge func(header, claims map[string]any) *ecdsa.PrivateKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forge = forge
}

// Down makes it answer nothing but 503, or work again.
func (p *Provider) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		p.write(w, map[string]any{
			"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token",
			"jwks_uri": p.Issuer + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	case "/keys":
		public, err := p.key.PublicKey.Bytes()
		if err != nil {
			p.t.Error(err)
		}
		p.write(w, map[string]any{"keys": []map[string]any{{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k", "x": b64(public[1:33]), "y": b64(public[33:])}}})
	case "/authorize":
		p.authorize(w, r)
	case "/token":
		p.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Visit is somebody's browser at the provider, which leads it back to where it says.
func (p *Provider) Visit(query url.Values) *url.URL {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, p.Issuer+"/authorize?"+query.Encode(), http.NoBody))
	back, err := url.Parse(w.Header().Get("Location"))
	require.NoError(p.t, err)
	return back
}

func (p *Provider) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	scopes := strings.Fields(q.Get("scope"))
	if q.Get("client_id") != p.ClientID || q.Get("response_type") != "code" || len(scopes) == 0 || q.Get("code_challenge_method") != "S256" ||
		q.Get("code_challenge") == "" || len(q.Get("state")) < 20 || len(q.Get("nonce")) < 20 || !strings.Contains(" "+q.Get("scope")+" ", " openid ") {
		http.Error(w, "this is not how it is asked", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.codes[code] = q
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if !ok {
		user, password = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	asked, known := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if user != p.ClientID || subtle.ConstantTimeCompare([]byte(password), []byte(p.ClientSecret)) != 1 || !known ||
		r.FormValue("redirect_uri") != asked.Get("redirect_uri") || b64(sum[:]) != asked.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		p.write(w, map[string]any{"error": "invalid_grant", "error_description": "you sent " + password})
		return
	}
	now := time.Now()
	claims := map[string]any{
		"iss": p.Issuer, "aud": p.ClientID, "sub": "somebody", "nonce": asked.Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, p.claims)
	header := map[string]any{"alg": "ES256", "kid": "k", "typ": "JWT"}
	key := p.key
	if p.forge != nil {
		if other := p.forge(header, claims); other != nil {
			key = other
		}
	}
	p.write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": p.sign(header, claims, key)})
}

func (p *Provider) sign(header, claims map[string]any, key *ecdsa.PrivateKey) string {
	h, herr := json.Marshal(header)
	c, cerr := json.Marshal(claims)
	text := b64(h) + "." + b64(c)
	if header["alg"] == "none" {
		return text + "."
	}
	sum := sha256.Sum256([]byte(text))
	r, s, serr := ecdsa.Sign(rand.Reader, key, sum[:])
	for _, err := range []error{herr, cerr, serr} {
		if err != nil {
			p.t.Error(err)
			return ""
		}
	}
	return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
