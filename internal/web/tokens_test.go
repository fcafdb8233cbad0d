package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/auth"
	"watchbill/internal/web"
)

func (w *world) tokensOf(t *testing.T, caller, query string) (all []auth.View) {
	t.Helper()
	rec := w.call(caller, http.MethodGet, "/api/ops/v1/tokens"+query, "")
	require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all))
	return all
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	mine := w.tokensOf(t, "support", "")
	require.Len(t, mine, 1)
	require.Equal(t, "support", string(mine[0].Person))
	require.NotContains(t, w.call("support", http.MethodGet, "/api/ops/v1/tokens", "").Body.String(), "hash")
	require.Equal(t, http.StatusForbidden, w.call("support", http.MethodGet, "/api/ops/v1/tokens?all=true", "").Code)
	all := w.tokensOf(t, "manager", "?all=true")
	require.Greater(t, len(all), 10)

	id := func(name string) string {
		for _, v := range all {
			if v.Name == name {
				return v.ID
			}
		}
		return ""
	}
	// People revoke their own, the manager anybody's; it counts from the next request.
	for _, name := range []string{"manager", "security", "machine:read"} {
		require.Equal(t, http.StatusNotFound, w.call("support", http.MethodDelete, "/api/ops/v1/tokens/"+id(name), "").Code, name)
	}
	require.Equal(t, http.StatusOK, w.call("machine:read", http.MethodGet, "/api/ops/v1/incidents", "").Code)
	rec := w.call("manager", http.MethodDelete, "/api/ops/v1/tokens/"+id("machine:read"), "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), `"revoked_by":"manager"`)
	require.Equal(t, http.StatusUnauthorized, w.call("machine:read", http.MethodGet, "/api/ops/v1/incidents", "").Code)
	require.Equal(t, http.StatusOK, w.call("support", http.MethodDelete, "/api/ops/v1/tokens/"+id("support"), "").Code)
	require.Equal(t, http.StatusUnauthorized, w.call("support", http.MethodGet, "/api/ops/v1/tokens", "").Code)
}

// Whoever uses a token that ends soon is told.
func TestTokenThatEndsSoon(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	srv := httptest.NewServer(w.server.Handler())
	defer srv.Close()
	var said []string
	client := func(ttl time.Duration) *web.Client {
		secret, _, err := w.auth.Create(t.Context(), time.Now(), auth.Spec{Name: "x", Person: "support", TTL: ttl})
		require.NoError(t, err)
		return &web.Client{URL: srv.URL, Token: secret.Reveal(), HTTP: srv.Client(), Warn: func(s string) { said = append(said, s) }}
	}
	_, err := client(15 * 24 * time.Hour).MyTokens(t.Context())
	require.NoError(t, err)
	require.Empty(t, said)
	c := client(13 * 24 * time.Hour)
	list, err := c.MyTokens(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^your token ends at \d{4}-.*; whoever runs the daemon makes another with: watchbill token create$`, said[0])
	v, err := c.RevokeToken(t.Context(), list[0].ID)
	require.NoError(t, err)
	require.Equal(t, auth.StateRevoked, v.State)
}
