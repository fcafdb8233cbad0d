package auth

import (
	"context"
	"slices"
	"time"

	"watchbill"
)

// warnBefore is how long before its end a token is said to end soon.
const warnBefore = 14 * 24 * time.Hour

// State is whether a token is good. The strings are part of the API.
type State string

// The states of a token.
const (
	StateValid    State = "valid"
	StateExpiring State = "expiring" // valid, and ends within 14 days
	StateExpired  State = "expired"
	StateRevoked  State = "revoked"
	StateGone     State = "person_gone" // its person is not configured
)

// Good reports whether a token in this state is accepted.
func (s State) Good() bool { return s == StateValid || s == StateExpiring }

// View is what may be shown of a token: neither the secret nor its hash.
type View struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Person     watchbill.PersonID `json:"person,omitempty"`
	Machine    bool               `json:"machine,omitempty"`
	Scopes     []Scope            `json:"scopes,omitempty"`
	State      State              `json:"state"`
	CreatedAt  time.Time          `json:"created_at"`
	CreatedBy  string             `json:"created_by"`
	ExpiresAt  time.Time          `json:"expires_at"`
	LastUsedAt time.Time          `json:"last_used_at,omitzero"` // at most an hour behind
	RevokedAt  time.Time          `json:"revoked_at,omitzero"`
	RevokedBy  string             `json:"revoked_by,omitempty"`
}

// ExpiresSoon reports whether something that ends then ends soon enough to warn.
func ExpiresSoon(now, end time.Time) bool { return !end.IsZero() && end.Sub(now) <= warnBefore }

func (a *Auth) view(now time.Time, t Token) View {
	v := View{
		ID: t.ID, Name: t.Name, Person: t.Person, Machine: t.Machine, Scopes: t.Scopes, State: StateValid,
		CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt, LastUsedAt: t.LastUsedAt, RevokedAt: t.RevokedAt, RevokedBy: t.RevokedBy,
	}
	_, known := a.people(t.Person)
	switch {
	case !t.RevokedAt.IsZero():
		v.State = StateRevoked
	case !t.ExpiresAt.After(now):
		v.State = StateExpired
	case !t.Machine && !known:
		v.State = StateGone
	case ExpiresSoon(now, t.ExpiresAt):
		v.State = StateExpiring
	}
	return v
}

// List returns a person's tokens, oldest first; everybody's and those of machines
// if person is empty.
func (a *Auth) List(ctx context.Context, now time.Time, person watchbill.PersonID) ([]View, error) {
	all, err := a.tokens.ListTokens(ctx)
	if err != nil {
		return nil, err
	}
	views := []View{}
	for _, t := range all {
		if person == "" || t.Person == person {
			views = append(views, a.view(now, t))
		}
	}
	return views, nil
}

// Revocation says which token is to stop working, and in whose name.
type Revocation struct {
	ID     string
	By     string
	Person watchbill.PersonID // only if it belongs to them
	Any    bool               // whoever it belongs to
}

// Revoke ends a token. This Auth refuses it from now on. One that is not the
// person's is answered as one that is not there.
func (a *Auth) Revoke(ctx context.Context, now time.Time, r Revocation) (View, error) {
	unknown := watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill token list", "there is no token %q", r.ID)
	var revoked Token
	found, err := a.tokens.ChangeToken(ctx, r.ID, func(t *Token) error {
		if !r.Any && (r.Person == "" || t.Person != r.Person) {
			return unknown
		}
		if t.RevokedAt.IsZero() {
			t.RevokedAt, t.RevokedBy = now, r.By
		}
		revoked = *t
		return nil
	})
	switch {
	case err != nil:
		return View{}, err
	case !found:
		return View{}, unknown
	}
	a.recent.drop(revoked.Hash)
	return a.view(now, revoked), nil
}

// Live leaves the tokens that are accepted.
func Live(all []View) []View {
	return slices.DeleteFunc(slices.Clone(all), func(v View) bool { return !v.State.Good() })
}
