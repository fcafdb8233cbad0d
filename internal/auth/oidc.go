package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"watchbill"
)

// flowTTL is how long a person may take at the identity provider.
const flowTTL = 10 * time.Minute

// maxUsed bounds the states that are remembered as used. They come only from
// cookies that this process sealed.
const maxUsed = 10_000

// provider is the identity provider.
type provider struct {
	cfg  OIDC
	http *http.Client
	seal cipher.AEAD // of what a browser keeps meanwhile; its key dies with the process

	mu    sync.Mutex
	found *oidc.Provider       // nil until it was reached once
	used  map[string]time.Time // states that came back, and until when they could come again
}

func newProvider(cfg OIDC, hc *http.Client) *provider {
	key := make([]byte, 32)
	rand.Read(key) // it never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has a length that there is
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has blocks of the right size
	}
	return &provider{cfg: cfg, http: hc, seal: seal, used: map[string]time.Time{}}
}

// journey is what a browser keeps while its person is at the provider.
type journey struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // of PKCE
	Next     string    `json:"next"`
	Ends     time.Time `json:"ends"`
}

func (p *provider) pack(j journey) (string, error) {
	plain, err := json.Marshal(j)
	if err != nil {
		return "", fmt.Errorf("encode the journey: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(p.seal.Seal(nil, nil, plain, nil)), nil
}

func (p *provider) unpack(cookie string, now time.Time) (j journey, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return j, false
	}
	plain, err := p.seal.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(plain, &j) != nil {
		return journey{}, false
	}
	return j, now.Before(j.Ends)
}

// once reports whether a state comes back for the first time.
func (p *provider) once(j journey, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.used[j.State]; again {
		return false
	}
	if len(p.used) >= maxUsed {
		for state, until := range p.used {
			if !now.Before(until) {
				delete(p.used, state)
			}
		}
	}
	if len(p.used) >= maxUsed {
		return false
	}
	p.used[j.State] = j.Ends
	return true
}

// discover asks the provider where its doors are, once.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	found := p.found
	p.mu.Unlock()
	if found != nil {
		return found, nil
	}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.cfg.Issuer)
	if err != nil {
		return nil, &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: p.cfg.Title() + " cannot be reached now",
			Hint: "try again, or sign in with your password; the daemon's log says what it answered", Err: fmt.Errorf("discover the identity provider: %w", err),
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = found
	return found, nil
}

func (p *provider) client(found *oidc.Provider, redirect string) *oauth2.Config {
	scopes := append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...)
	slices.Sort(scopes)
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret.Reveal(), Endpoint: found.Endpoint(), RedirectURL: redirect,
		Scopes: slices.Compact(scopes),
	}
}

// Provider returns what the identity provider is called, empty if there is none.
func (s *SignIn) Provider() string {
	if s.provider == nil {
		return ""
	}
	return s.provider.cfg.Title()
}

func noProvider() error {
	return watchbill.Errorf(watchbill.CodeNotFound, "sign in with your password, or set auth: {oidc: …}", "no identity provider is configured")
}

// Begin returns where a browser goes to sign in at the provider, and the cookie
// that it keeps meanwhile. The provider sends it back to redirect.
func (s *SignIn) Begin(ctx context.Context, now time.Time, redirect, next string) (address, cookie string, err error) {
	p := s.provider
	if p == nil {
		return "", "", noProvider()
	}
	found, err := p.discover(ctx)
	if err != nil {
		return "", "", err
	}
	j := journey{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: next, Ends: now.Add(flowTTL)}
	if cookie, err = p.pack(j); err != nil {
		return "", "", err
	}
	return p.client(found, redirect).AuthCodeURL(j.State, oidc.Nonce(j.Nonce), oauth2.S256ChallengeOption(j.Verifier)), cookie, nil
}

// Callback is how a browser comes back from the provider.
type Callback struct {
	Journey  string // the cookie of [SignIn.Begin]
	State    string
	Code     string
	Error    string // the provider's, if it refused
	Redirect string
	Client
}

// Why the provider's answer was not taken, for the daemon's log.
var (
	ErrForeignState = errors.New("the state is not that of this browser, or it took too long")
	ErrReplayed     = errors.New("the state came back before")
	ErrNonce        = errors.New("the nonce is not that of this sign-in")
	ErrUnverified   = errors.New("the e-mail address is not verified")
	ErrNobody       = errors.New("nobody is configured with this identity")
)

func notTaken(message, hint string, reason error) error {
	return &watchbill.Error{Code: watchbill.CodeUnauthenticated, Message: message, Hint: hint, Err: reason}
}

// Finish signs a person in by what the provider says, and returns where they wanted
// to go.
func (s *SignIn) Finish(ctx context.Context, now time.Time, c Callback) (_ Started, next string, _ error) {
	p := s.provider
	if p == nil {
		return Started{}, "", noProvider()
	}
	j, ok := p.unpack(c.Journey, now)
	if !ok || c.State == "" || subtle.ConstantTimeCompare([]byte(j.State), []byte(c.State)) != 1 {
		return Started{}, "", notTaken("this sign-in began elsewhere, or took too long", "begin again", ErrForeignState)
	}
	if !p.once(j, now) {
		return Started{}, "", notTaken("this sign-in was finished before", "begin again", ErrReplayed)
	}
	if c.Error != "" {
		return Started{}, "", notTaken(p.cfg.Title()+" did not let you in", "ask whoever runs it", fmt.Errorf("the provider says %.100q", c.Error))
	}
	claims, err := p.claims(ctx, c, j)
	if err != nil {
		return Started{}, "", err
	}
	person, err := s.claimed(claims)
	if err != nil {
		return Started{}, "", err
	}
	started, err := s.start(ctx, now, person.ID, ByProvider, c.Client)
	return started, j.Next, err
}

// claims trades the code for the ID token and checks it: its signature, issuer,
// audience, times and nonce.
func (p *provider) claims(ctx context.Context, c Callback, j journey) (map[string]any, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	failed := func(reason error) error {
		return notTaken("the answer of "+p.cfg.Title()+" was not accepted", "try again; the daemon's log says why", reason)
	}
	ctx = oidc.ClientContext(ctx, p.http)
	tokens, err := p.client(found, c.Redirect).Exchange(ctx, c.Code, oauth2.VerifierOption(j.Verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // its text has the provider's whole answer
			err = fmt.Errorf("the provider answered %s %.100q", refused.Response.Status, refused.ErrorCode)
		}
		return nil, failed(fmt.Errorf("trade the code: %w", err))
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, failed(fmt.Errorf("verify the ID token: %w", err))
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(j.Nonce)) != 1 {
		return nil, failed(ErrNonce)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, failed(fmt.Errorf("read the ID token: %w", err))
	}
	return claims, nil
}

// claimed returns the person that claims are about.
func (s *SignIn) claimed(claims map[string]any) (watchbill.Person, error) {
	claim := s.provider.cfg.Claim
	value, _ := claims[claim].(string)
	if value == "" {
		return watchbill.Person{}, notTaken(s.provider.cfg.Title()+" does not say who you are", "whoever runs the daemon looks at auth.oidc.claim and scopes", fmt.Errorf("the claim %s is missing or no text", claim))
	}
	if verified := claims["email_verified"]; claim == "email" && verified != true && verified != "true" {
		return watchbill.Person{}, notTaken("your e-mail address is not verified at "+s.provider.cfg.Title(), "verify it there; or whoever runs the daemon names another claim with auth.oidc.claim", ErrUnverified)
	}
	p, ok := s.people.Identified(claim, value)
	if !ok || p.ID == "" {
		return watchbill.Person{}, notTaken("you are not among the people of this watchbill", "whoever runs the daemon adds your identity under people:", ErrNobody)
	}
	return p, nil
}
