package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill/internal/auth"
)

// maxSession is the longest that a session may last.
const maxSession = 30 * 24 * time.Hour

// signIn reads how people and machines prove who they are.
func (b *builder) signIn() {
	f, c := &b.file.Auth, &b.cfg.Auth
	c.TokenTTL = b.positive(f.TokenTTL, "token_ttl")
	c.SessionIdle = b.positive(f.Session.Idle, "idle")
	c.SessionAbsolute = b.positive(f.Session.Absolute, "absolute")
	for _, d := range []duration{f.Session.Idle, f.Session.Absolute} {
		switch {
		case d.given() && d.v > maxSession:
			b.problem(d.n, "write 12h, or at most 30d", "a session cannot last that long")
		case d.given() && d.v > 0 && d.v < time.Minute:
			b.problem(d.n, "write 30m", "nobody can work with a session that is over within a minute")
		}
	}
	if keyNode(keyed(b.root, "auth"), "oidc") != nil {
		c.OIDC = b.oidc(f.OIDC)
	}
}

func keyed(n *yaml.Node, key string) *yaml.Node {
	if v := valueNode(n, key); v != nil && v.Kind == yaml.MappingNode {
		return v
	}
	return &yaml.Node{Kind: yaml.MappingNode}
}

// oidc reads the identity provider.
func (b *builder) oidc(e oidcSection) *auth.OIDC {
	if e.Node == nil || e.Node.Kind != yaml.MappingNode {
		return nil
	}
	for _, k := range []struct {
		key, advice string
		value       text
	}{
		{"issuer", "add issuer: https://… as the provider names itself in its tokens", e.Issuer},
		{"client_id", "add client_id: with the name under which watchbill is registered there", e.ClientID},
	} {
		if !k.value.given() && keyNode(e.Node, k.key) == nil {
			b.problem(e.Node, k.advice, "an identity provider without %s", k.key)
		}
	}
	if u, err := url.Parse(e.Issuer.v); e.Issuer.given() {
		loopback := err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
			b.problem(e.Issuer.n, "write https://… as the provider names itself in its tokens", "issuer must be an https address")
		}
	}
	o := &auth.OIDC{Name: e.Name.v, Issuer: e.Issuer.v, ClientID: e.ClientID.v, Scopes: values(e.Scopes), Claim: e.Claim.or("email")}
	if len(e.Scopes) == 0 {
		o.Scopes = []string{"email", "profile"}
	}
	for _, s := range e.Scopes {
		if s.given() && strings.ContainsAny(s.v, " \"\\") {
			b.problem(s.n, "write one scope an entry", "%q is not a scope", s.v)
		}
	}
	if e.ClientSecretFile.given() {
		o.ClientSecret = auth.NewSecret(b.secretText(e.ClientSecretFile))
	}
	return o
}

// identities checks that nobody's identity is that of somebody else.
func (b *builder) identities() {
	o := b.cfg.Auth.OIDC
	claim := "email"
	if o != nil {
		claim = o.Claim
	}
	owner := map[string]string{}
	for _, e := range b.file.People {
		if !e.Name.given() {
			continue
		}
		mine := slices.Clone(e.Identities)
		if claim == "email" && o != nil && e.Email.given() {
			mine = append(mine, e.Email)
		}
		for _, t := range mine {
			if !t.given() {
				continue
			}
			key := t.v
			if claim == "email" {
				key = strings.ToLower(key)
			}
			human := e.SameAs.or(e.Name.v) // accounts of one person may share it
			if other, taken := owner[key]; taken && other != human {
				b.problem(t.n, "keep it with one of the two; or, for two accounts of one person, write same_as: "+other, "%s has the identity %s too: nobody could tell who signs in", other, t.v)
				continue
			}
			owner[key] = human
		}
	}
}
