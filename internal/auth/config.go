package auth

import (
	"cmp"
	"net/url"
	"time"
)

// Config is how callers prove who they are.
type Config struct {
	// TokenTTL is how long a new token is valid when its maker states no time.
	// Default 90 d; at most two years.
	TokenTTL time.Duration
	// SessionIdle is how long a session lasts without being used. Default 30 m.
	SessionIdle time.Duration
	// SessionAbsolute is how long it lasts at most. Default 12 h.
	SessionAbsolute time.Duration
	// OIDC is the identity provider by which people sign in; nil: none.
	OIDC *OIDC
}

// Defaults of sessions.
const (
	DefaultSessionIdle     = 30 * time.Minute
	DefaultSessionAbsolute = 12 * time.Hour
)

func (c Config) idle() time.Duration { return cmp.Or(c.SessionIdle, DefaultSessionIdle) }

func (c Config) absolute() time.Duration { return cmp.Or(c.SessionAbsolute, DefaultSessionAbsolute) }

// OIDC is an identity provider that speaks OpenID Connect.
type OIDC struct {
	Name         string // as people call it, on the button
	Issuer       string
	ClientID     string
	ClientSecret Secret
	Scopes       []string // besides openid
	// Claim is the claim that names the person: email, which must be verified, or
	// any other, whose value is one of the person's identities.
	Claim string
}

// host is where the provider stands, for people.
func (o *OIDC) host() string {
	u, err := url.Parse(o.Issuer)
	if err != nil {
		return o.Issuer
	}
	return u.Host
}

// Title is what the provider is called.
func (o *OIDC) Title() string { return cmp.Or(o.Name, o.host()) }

// NewSecret returns text as a secret.
func NewSecret(text string) Secret { return Secret{&text} }
