package auth

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func TestListAndRevoke(t *testing.T) {
	t.Parallel()
	a, s, known := world("ana", "ben")
	create := func(spec Spec) (string, Token) {
		secret, tok, err := a.Create(t.Context(), start, spec)
		require.NoError(t, err)
		return "Bearer " + secret.Reveal(), tok
	}
	ana, mine := create(Spec{Name: "ana", Person: "ana", TTL: 30 * 24 * time.Hour})
	_, bens := create(Spec{Name: "ben", Person: "ben", TTL: 24 * time.Hour})
	machine, prom := create(Spec{Name: "prom", Scopes: []Scope{ScopeAlerts}, TTL: time.Hour})

	states := func(now time.Time) (out []State) {
		all, err := a.List(t.Context(), now, "")
		require.NoError(t, err)
		for _, v := range all {
			out = append(out, v.State)
		}
		return out
	}
	require.Equal(t, []State{StateValid, StateExpiring, StateExpiring}, states(start))
	require.Equal(t, []State{StateValid, StateExpiring, StateExpired}, states(start.Add(time.Hour)))
	require.Equal(t, []State{StateExpiring, StateExpired, StateExpired}, states(start.Add(16*24*time.Hour)))
	delete(known, "ben")
	require.Equal(t, []State{StateValid, StateGone, StateExpiring}, states(start))
	own, err := a.List(t.Context(), start, "ana")
	require.NoError(t, err)
	require.Len(t, own, 1)
	require.Equal(t, mine.ID, own[0].ID)

	// Somebody else's token is answered as one that is not there.
	for _, r := range []Revocation{{ID: bens.ID, Person: "ana"}, {ID: prom.ID, Person: "ana"}, {ID: prom.ID}, {ID: "t-none", Any: true}, {ID: "t-none", Person: "ana"}} {
		_, err := a.Revoke(t.Context(), start, r)
		require.ErrorContains(t, err, "there is no token")
		require.Equal(t, watchbill.CodeNotFound, code(err))
	}
	for _, header := range []string{ana, machine} {
		_, err := a.Authenticate(t.Context(), start, header)
		require.NoError(t, err)
	}

	// From the moment it is revoked a token is refused, although it was used just now.
	v, err := a.Revoke(t.Context(), start, Revocation{ID: mine.ID, Person: "ana", By: "ana"})
	require.NoError(t, err)
	require.Equal(t, StateRevoked, v.State)
	_, err = a.Authenticate(t.Context(), start, ana)
	require.ErrorIs(t, err, ErrRevoked)
	again, err := a.Revoke(t.Context(), start.Add(time.Hour), Revocation{ID: mine.ID, Any: true, By: "frank"})
	require.NoError(t, err)
	require.Equal(t, v, again, "who revoked it first, and when, stays")
	_, err = a.Revoke(t.Context(), start, Revocation{ID: prom.ID, Any: true, By: "frank"})
	require.NoError(t, err)
	_, err = a.Authenticate(t.Context(), start, machine)
	require.ErrorIs(t, err, ErrRevoked)

	all, err := a.List(t.Context(), start, "")
	require.NoError(t, err)
	require.Empty(t, Live(all))
	s.err = errors.New("disk on fire")
	_, err = a.List(t.Context(), start, "")
	require.Error(t, err)
	_, err = a.Revoke(t.Context(), start, Revocation{ID: mine.ID, Any: true})
	require.ErrorContains(t, err, "disk on fire")
}

func code(err error) watchbill.Code {
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		return e.Code
	}
	return ""
}

func TestExpiresSoon(t *testing.T) {
	t.Parallel()
	require.False(t, ExpiresSoon(start, time.Time{}))
	require.False(t, ExpiresSoon(start, start.Add(14*24*time.Hour+1)))
	require.True(t, ExpiresSoon(start, start.Add(14*24*time.Hour)))
}
