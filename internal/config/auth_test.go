package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAuth(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{
		"watchbill.yaml": crew + `
auth:
  token_ttl: 30d
  session: {idle: 20m, absolute: 8h}
  oidc: {name: Example, issuer: "https://id.example.com/realm", client_id: watchbill, client_secret_file: secrets/oidc, scopes: [email, groups], claim: sub}
`,
		"more.yaml": "", "secrets/oidc": "canary-5e1d\n",
	})
	require.Empty(t, cfg.Warnings)
	a := cfg.Auth
	require.Equal(t, []time.Duration{30 * 24 * time.Hour, 20 * time.Minute, 8 * time.Hour}, []time.Duration{a.TokenTTL, a.SessionIdle, a.SessionAbsolute})
	require.Equal(t, []string{"Example", "https://id.example.com/realm", "watchbill", "sub"}, []string{a.OIDC.Name, a.OIDC.Issuer, a.OIDC.ClientID, a.OIDC.Claim})
	require.Equal(t, []string{"email", "groups"}, a.OIDC.Scopes)
	require.Equal(t, "canary-5e1d", a.OIDC.ClientSecret.Reveal())

	cfg = load(t, map[string]string{"watchbill.yaml": crew + "auth: {oidc: {issuer: 'http://127.0.0.1:5556', client_id: w}}\n"})
	require.Equal(t, "email", cfg.Auth.OIDC.Claim)
	require.Equal(t, []string{"email", "profile"}, cfg.Auth.OIDC.Scopes)
	require.Nil(t, load(t, map[string]string{"watchbill.yaml": crew}).Auth.OIDC)
}

func TestAuthMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"auth: {session: {idle: 10s}}":                                                   "nobody can work with a session that is over within a minute",
		"auth: {session: {absolute: 31d}}":                                               "a session cannot last that long",
		"auth: {session: {idle: 0s}}":                                                    "idle must be longer than nothing",
		"auth: {oidc: {client_id: w}}":                                                   "an identity provider without issuer",
		"auth: {oidc: {issuer: 'https://x.example.com'}}":                                "an identity provider without client_id",
		"auth: {oidc: {issuer: 'http://id.example.com', client_id: w}}":                  "issuer must be an https address",
		"auth: {oidc: {issuer: 'https://u:p@id.example.com', client_id: w}}":             "issuer must be an https address",
		"auth: {oidc: {issuer: 'https://id.example.com?x=1', client_id: w}}":             "issuer must be an https address",
		"auth: {oidc: {issuer: 'https://x.example.com', client: w}}":                     `unknown key`,
		"auth: {oidc: {issuer: 'https://x.example.com', client_id: w, scopes: ['a b']}}": `"a b" is not a scope`,
	} {
		problems := mistakes(t, map[string]string{"watchbill.yaml": crew + text + "\n"})
		require.Contains(t, problems.Error(), want, text)
	}
	// Nobody has somebody else's identity; two accounts of one person may share one.
	const people = "people:\n  - {name: ana, roles: [support], email: Ana@example.com, contact: [{receiver: terminal}]}\n  - {name: ben, roles: [support], identities: [ana@example.com], contact: [{receiver: terminal}]"
	files := func(more string) map[string]string {
		return map[string]string{"watchbill.yaml": "include: [more.yaml]\n" + crew + "auth: {oidc: {issuer: 'https://x.example.com', client_id: w}}\n", "more.yaml": people + more + "}\n"}
	}
	require.Contains(t, mistakes(t, files("")).Error(), "ana has the identity ana@example.com too: nobody could tell who signs in")
	require.Len(t, load(t, files(", same_as: ana")).People, 3)
}
