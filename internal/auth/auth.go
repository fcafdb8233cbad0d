// Package auth answers who is calling. What the caller may do is not decided
// here: for a person the responsibility matrix decides, for a machine the
// scopes of its token.
//
// # Tokens
//
// A token belongs to a person or to a machine. A person's token carries no
// rights of its own: it does what [watchbill.Matrix.May] allows that person now,
// and it stops working when the person leaves the configuration. A machine's
// token carries scopes ([Scopes]) and does nothing else.
//
// Every token ends: after [Config.TokenTTL], or the time its maker states, at
// most [MaxTTL].
//
// # How a caller sends one
//
//	Authorization: Bearer wb_…
//	Authorization: Basic …        any user name, the token as the password
//
// Prometheus takes the first form as authorization.credentials_file, amtool
// either of them in the file named by --http.config.file, and curl the second
// as -u me:wb_….
//
// # What a token looks like
//
// wb_, 43 letters and digits that are 256 random bits, and 6 that are a check
// sum. A scanner for leaked secrets finds it with the expression
// wb_[0-9A-Za-z]{49}, and the check sum tells a mistyped token from a wrong one
// without asking the store.
//
// # What is kept
//
// The token is shown once, by [Auth.Create]. What is stored is its SHA-256: the
// secret is random enough that a slow hash would protect nothing more, and every
// request pays for it. In memory it travels as a [Secret], which no printing,
// logging or encoding reveals.
//
// A token that was looked up is trusted for a second without asking the store
// again. A revocation through the daemon takes effect at once, one that another
// process writes into the store within a second.
//
// # Sessions
//
// A person who signs in with a browser gets a session ([SignIn]): by a password,
// or by an identity provider that speaks OpenID Connect. What the browser holds is
// a cookie with 256 random bits, made anew at every sign-in; what is stored is its
// SHA-256. A session ends after a time without use, at the latest after another
// time, when its person signs out or leaves the configuration, and, but for the one
// that did it, when the password is changed.
//
// # Passwords
//
// A password is stored as argon2id with its parameters. The first one is chosen
// with an invitation: a link that works once, for a day. Whoever guesses waits
// longer with every try, by account and by address, also when the tries are made
// at the same time; an account that does not exist takes as long as one that does.
//
// # Refusals
//
// Every refused token gets the same answer, whether it is unknown, expired,
// revoked, or its person is gone. The reason is in the error's chain, for the
// daemon's log: [ErrUnknown], [ErrExpired], [ErrRevoked], [ErrPersonGone],
// [ErrMalformed], [ErrNoCredentials].
package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"watchbill"
)

const (
	// DefaultTTL is how long a token is valid when nobody states a time.
	DefaultTTL = 90 * 24 * time.Hour

	// MaxTTL is the longest life of a token.
	MaxTTL = 2 * 366 * 24 * time.Hour

	// touchEvery is how often the use of a token is written down. A write is an
	// fsync; once an hour tells whether a token is in use.
	touchEvery = time.Hour

	maxName = 100
)

// Why a token was refused. These are for the daemon's log: the caller is told
// none of them but the first.
var (
	ErrNoCredentials = errors.New("no credentials")
	ErrMalformed     = errors.New("malformed token")
	ErrUnknown       = errors.New("unknown token")
	ErrExpired       = errors.New("expired token")
	ErrRevoked       = errors.New("revoked token")
	ErrPersonGone    = errors.New("the token's person is not configured")
)

// Scope is one thing that a machine's token may do. The strings are stored:
// never change one.
type Scope string

// The scopes of a machine's token.
const (
	ScopeAlerts  Scope = "alerts"  // push alerts
	ScopeHooks   Scope = "hooks"   // push alerts as a source
	ScopeMetrics Scope = "metrics" // read /metrics
	ScopeRead    Scope = "read"    // read the API
	ScopeSignals Scope = "signals" // post signals of services, such as test results
	ScopeWrite   Scope = "write"   // write series
)

// Scopes returns every scope.
func Scopes() []Scope {
	return []Scope{ScopeAlerts, ScopeHooks, ScopeMetrics, ScopeRead, ScopeSignals, ScopeWrite}
}

// ParseScope reads the name of a scope, as [Scopes] returns them.
func ParseScope(s string) (Scope, error) {
	if scope := Scope(s); slices.Contains(Scopes(), scope) {
		return scope, nil
	}
	return "", watchbill.Invalidf("use alerts, metrics, read, signals or write", "%q is not a scope", s)
}

// Token is what is stored of a token: everything but the secret.
type Token struct {
	ID         string             `json:"id"`
	Hash       string             `json:"hash"` // SHA-256 of the secret, in hexadecimal
	Name       string             `json:"name"` // what it is for
	Person     watchbill.PersonID `json:"person,omitempty"`
	Machine    bool               `json:"machine,omitempty"`
	Scopes     []Scope            `json:"scopes,omitempty"` // of a machine
	CreatedAt  time.Time          `json:"created_at"`
	ExpiresAt  time.Time          `json:"expires_at"`
	RevokedAt  time.Time          `json:"revoked_at,omitzero"`
	RevokedBy  string             `json:"revoked_by,omitempty"`
	LastUsedAt time.Time          `json:"last_used_at,omitzero"` // at most an hour behind
	CreatedBy  string             `json:"created_by"`
}

// String returns the id and the name, and nothing that helps to guess.
func (t Token) String() string { return fmt.Sprintf("token %s (%s)", t.ID, t.Name) }

// Tokens is where tokens are stored. PutToken stores a new one. ChangeToken
// reads a token, has it changed and stores it, in one transaction, so that a note
// of its use cannot undo a revocation; it stores nothing when change fails, and
// found is false for an id that is not there.
type Tokens interface {
	TokenByHash(ctx context.Context, hash string) (t Token, found bool, err error)
	PutToken(ctx context.Context, t Token) error
	ListTokens(ctx context.Context) ([]Token, error)
	ChangeToken(ctx context.Context, id string, change func(*Token) error) (found bool, err error)
}

// People looks a person up in the configuration that is in force.
type People func(watchbill.PersonID) (watchbill.Person, bool)

// Identity is who is calling: a person or a machine.
type Identity struct {
	Person  watchbill.Person // with an empty ID for a machine
	Machine string           // the name of a machine's token
	Scopes  []Scope          // of a machine
	TokenID string

	ExpiresAt time.Time // of the token

	SessionID string // of a person who signed in with a browser
}

// IsPerson reports whether a person is calling.
func (id Identity) IsPerson() bool { return id.Person.ID != "" }

// Has reports whether a machine's token carries a scope. A person's never does.
func (id Identity) Has(s Scope) bool { return slices.Contains(id.Scopes, s) }

// String returns the person's id or the machine's name.
func (id Identity) String() string {
	if id.IsPerson() {
		return string(id.Person.ID)
	}
	return id.Machine
}

// Auth makes tokens and recognises them. It may be used by many goroutines at
// once.
type Auth struct {
	ttl    time.Duration
	tokens Tokens
	people People
	recent recent[Token]
}

// New returns an Auth. People is asked at every request, so that somebody who
// leaves the configuration is refused from the next one on.
func New(cfg Config, tokens Tokens, people People) *Auth {
	ttl := cfg.TokenTTL
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	return &Auth{ttl: min(ttl, MaxTTL), tokens: tokens, people: people}
}

// Spec says what token to make: a person's with Person, else a machine's with
// Scopes.
type Spec struct {
	Name      string // what it is for
	Person    watchbill.PersonID
	Scopes    []Scope
	TTL       time.Duration // zero: the configured one
	CreatedBy string
}

// Create makes a token and stores its hash. The secret is returned once and
// kept nowhere.
func (a *Auth) Create(ctx context.Context, now time.Time, spec Spec) (Secret, Token, error) {
	if err := a.validate(spec); err != nil {
		return Secret{}, Token{}, err
	}
	ttl := spec.TTL
	if ttl == 0 {
		ttl = a.ttl
	}
	secret := newSecret()
	t := Token{
		ID:        "t-" + strings.ToLower(rand.Text()[:12]),
		Hash:      secret.hash(),
		Name:      spec.Name,
		Person:    spec.Person,
		Machine:   spec.Person == "",
		Scopes:    slices.Compact(slices.Sorted(slices.Values(spec.Scopes))),
		CreatedAt: now,
		ExpiresAt: now.Add(ttl),
		CreatedBy: spec.CreatedBy,
	}
	if err := a.tokens.PutToken(ctx, t); err != nil {
		return Secret{}, Token{}, fmt.Errorf("store token: %w", err)
	}
	return secret, t, nil
}

func (a *Auth) validate(spec Spec) error {
	switch name := spec.Name; {
	case strings.TrimSpace(name) == "" || len(name) > maxName || strings.ContainsFunc(name, isUnprintable):
		return watchbill.Invalidf(fmt.Sprintf("name what it is for, in at most %d printable bytes", maxName),
			"%q is not a name for a token", name)
	case spec.TTL < 0 || spec.TTL > MaxTTL:
		return watchbill.Invalidf(fmt.Sprintf("use a time up to %d days", int(MaxTTL.Hours()/24)),
			"a token cannot be valid for %s", spec.TTL)
	case spec.Person != "" && len(spec.Scopes) > 0:
		return watchbill.Invalidf("leave the scopes out, or make a machine's token instead",
			"a person's token carries no scopes: the matrix decides what %s may do", spec.Person)
	case spec.Person == "" && len(spec.Scopes) == 0:
		return watchbill.Invalidf("name a person, or give scopes: alerts, metrics, read, signals, write",
			"the token would belong to nobody and be good for nothing")
	}
	for _, s := range spec.Scopes {
		if _, err := ParseScope(string(s)); err != nil {
			return err
		}
	}
	if spec.Person == "" {
		return nil
	}
	if _, ok := a.people(spec.Person); !ok {
		return watchbill.Invalidf("use the name of somebody under people: in the configuration",
			"there is no person %q", spec.Person)
	}
	return nil
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// Authenticate says who sent a request, from the value of its Authorization
// header.
func (a *Auth) Authenticate(ctx context.Context, now time.Time, header string) (Identity, error) {
	secret, err := parseHeader(header)
	if err != nil {
		return Identity{}, refuse(err)
	}
	hash := secret.hash()
	t, err := a.lookUp(ctx, now, hash)
	if err != nil {
		return Identity{}, err
	}
	id, err := a.identify(now, t)
	if err != nil {
		return Identity{}, refuse(fmt.Errorf("%w %s", err, t.ID))
	}
	if now.Sub(t.LastUsedAt) >= touchEvery {
		// A token is good even when its use cannot be written down: the next
		// request tries again.
		_, _ = a.tokens.ChangeToken(ctx, t.ID, func(t *Token) error { t.LastUsedAt = now; return nil })
		t.LastUsedAt = now
		a.recent.put(hash, t, now)
	}
	return id, nil
}

// lookUp returns the token of a hash, as the store knew it at most [trusted]
// ago.
func (a *Auth) lookUp(ctx context.Context, now time.Time, hash string) (Token, error) {
	if t, ok := a.recent.get(hash, now); ok {
		return t, nil
	}
	t, found, err := a.tokens.TokenByHash(ctx, hash)
	if err != nil {
		return Token{}, &watchbill.Error{
			Code:    watchbill.CodeUnavailable,
			Message: "tokens cannot be checked now",
			Hint:    "try again; the daemon's log says what is wrong with its store",
			Err:     fmt.Errorf("look up token: %w", err),
		}
	}
	// The store compares hashes as it likes. That this one is equal is checked
	// here, in a time that does not depend on where the two differ.
	same := subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hash)) == 1
	if !found || !same {
		return Token{}, refuse(ErrUnknown)
	}
	a.recent.put(hash, t, now)
	return t, nil
}

// identify says whose token it is, unless it is not good any more.
func (a *Auth) identify(now time.Time, t Token) (Identity, error) {
	switch {
	case !t.RevokedAt.IsZero() && !t.RevokedAt.After(now):
		return Identity{}, ErrRevoked
	case !t.ExpiresAt.After(now):
		return Identity{}, ErrExpired
	case t.Machine:
		return Identity{Machine: t.Name, Scopes: t.Scopes, TokenID: t.ID, ExpiresAt: t.ExpiresAt}, nil
	}
	p, ok := a.people(t.Person)
	if !ok || p.ID == "" {
		return Identity{}, ErrPersonGone
	}
	return Identity{Person: p, TokenID: t.ID, ExpiresAt: t.ExpiresAt}, nil
}

// refuse wraps a reason in the answer that the caller gets.
func refuse(reason error) error {
	e := &watchbill.Error{
		Code:    watchbill.CodeUnauthenticated,
		Message: "the token is not accepted",
		Hint:    "check that it was copied whole, or make a new one with: watchbill token create",
		Err:     reason,
	}
	if errors.Is(reason, ErrNoCredentials) {
		e.Message = "a token is needed"
		e.Hint = "send it as Authorization: Bearer wb_…, or as the password of HTTP Basic; make one with: watchbill token create"
	}
	return e
}
