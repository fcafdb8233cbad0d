package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// accounts is an Accounts in memory.
type accounts struct {
	mu        sync.Mutex
	sessions  map[string]Session // by hash
	passwords map[watchbill.PersonID]Password
	invited   map[string]Invitation // by hash
	ended     []string
	puts      int
	err       error
}

func (a *accounts) SessionByHash(_ context.Context, hash string) (Session, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[hash]
	return s, ok, a.err
}

func (a *accounts) PutSession(_ context.Context, s Session, isNew bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.puts++
	if _, there := a.sessions[s.Hash]; there || isNew {
		a.sessions[s.Hash] = s
	}
	return a.err
}

func (a *accounts) ListSessions(_ context.Context, person watchbill.PersonID) (all []Session, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if person == "" || s.Person == person {
			all = append(all, s)
		}
	}
	return all, a.err
}

func (a *accounts) EndSessions(_ context.Context, _ time.Time, ended []Session, e Ending) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range ended {
		delete(a.sessions, s.Hash)
		a.ended = append(a.ended, fmt.Sprintf("%s by %s: %s", s.Person, e.By, e.Why))
	}
	return a.err
}

func (a *accounts) Password(_ context.Context, person watchbill.PersonID) (Password, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.passwords[person]
	return p, ok, a.err
}

func (a *accounts) PutPassword(_ context.Context, p Password, invitation string, _ Ending) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.invited[invitation]; invitation != "" && !there {
		return false, a.err
	}
	delete(a.invited, invitation)
	for hash, s := range a.sessions {
		if s.Person == p.Person {
			delete(a.sessions, hash)
		}
	}
	a.passwords[p.Person] = p
	return true, a.err
}

func (a *accounts) Invitation(_ context.Context, hash string) (Invitation, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.invited[hash]
	return i, ok, a.err
}

func (a *accounts) PutInvitation(_ context.Context, i Invitation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for hash, old := range a.invited {
		if old.Person == i.Person {
			delete(a.invited, hash)
		}
	}
	a.invited[i.Hash] = i
	return a.err
}

// staff is a Directory.
type staff map[watchbill.PersonID]watchbill.Person

func (s staff) Person(id watchbill.PersonID) (watchbill.Person, bool) {
	p, ok := s[id]
	return p, ok
}

func (s staff) Identified(claim, value string) (watchbill.Person, bool) {
	for _, p := range s {
		if p.HasIdentity(claim, value) {
			return p, true
		}
	}
	return watchbill.Person{}, false
}

const good = "seven quiet herons wade"

// office is a SignIn with ana and ben, who have passwords unless they are left out.
func office(t *testing.T, cfg Config, with ...watchbill.PersonID) (*SignIn, *accounts, staff) {
	t.Helper()
	a := &accounts{sessions: map[string]Session{}, passwords: map[watchbill.PersonID]Password{}, invited: map[string]Invitation{}}
	people := staff{"ana": {ID: "ana", Name: "Ana Ruiz", Email: "ana@example.com", Identities: []string{"sub-1"}}, "ben": {ID: "ben"}}
	s := NewSignIn(cfg, a, people, http.DefaultClient)
	for _, id := range with {
		code, _, err := s.Invite(t.Context(), start, id, "cli:root")
		require.NoError(t, err)
		_, err = s.Accept(t.Context(), start, code.Reveal(), good, Client{})
		require.NoError(t, err)
	}
	clear(a.sessions)
	a.ended = nil
	return s, a, people
}

func (s *SignIn) as(t *testing.T, now time.Time, account string, c Client) Started {
	t.Helper()
	started, err := s.WithPassword(t.Context(), now, Attempt{Account: account, Password: good, Client: c})
	require.NoError(t, err)
	return started
}

func TestSessionLife(t *testing.T) {
	t.Parallel()
	s, a, people := office(t, Config{SessionIdle: 30 * time.Minute, SessionAbsolute: 2 * time.Hour}, "ana")
	started := s.as(t, start, " ana ", Client{Address: "192.0.2.7", Agent: "Fire\nfox" + strings.Repeat("é", 300)})
	cookie := started.Cookie.Reveal()
	require.Regexp(t, `^ws_[0-9A-Za-z]{49}$`, cookie)
	require.NotContains(t, fmt.Sprintf("%+v", a.sessions), cookie[3:20])
	require.LessOrEqual(t, len(started.Session.Agent), maxAgent)
	require.True(t, strings.HasPrefix(started.Session.Agent, "Firefoxé"))

	use := func(after time.Duration) error {
		id, err := s.Session(t.Context(), start.Add(after), cookie)
		if err == nil {
			require.Equal(t, watchbill.PersonID("ana"), id.Person.ID)
			require.Equal(t, started.Session.ID, id.SessionID)
		}
		return err
	}
	require.NoError(t, use(0))
	require.NoError(t, use(29*time.Minute))
	require.NoError(t, use(58*time.Minute), "each use starts the idle time again")
	require.NoError(t, use(87*time.Minute))
	require.NoError(t, use(116*time.Minute))
	require.ErrorIs(t, use(2*time.Hour), ErrSessionOver, "but not the absolute one")
	started = s.as(t, start, "ana", Client{})
	cookie = started.Cookie.Reveal()
	require.NoError(t, use(0))
	require.ErrorIs(t, use(30*time.Minute), ErrIdle)

	// Somebody who leaves is refused at once, and does not come back with the same cookie.
	started = s.as(t, start, "ana", Client{})
	cookie = started.Cookie.Reveal()
	gone := people["ana"]
	delete(people, "ana")
	require.ErrorIs(t, use(0), ErrPersonGone)
	require.NoError(t, s.Sweep(t.Context(), start))
	people["ana"] = gone
	require.ErrorIs(t, use(0), ErrNoSession)
	require.Contains(t, a.ended, "ana by watchbill: the person left the configuration")

	for _, bad := range []string{"", "x", cookie + "x", "wb_" + cookie[3:], newSecretOf(sessionPrefix).Reveal(), newSecret().Reveal()} {
		_, err := s.Session(t.Context(), start, bad)
		require.ErrorIs(t, err, ErrNoSession)
		require.Equal(t, watchbill.CodeUnauthenticated, code(err))
	}
	a.err = errors.New("disk on fire")
	_, err := s.Session(t.Context(), start, newSecretOf(sessionPrefix).Reveal())
	require.Equal(t, watchbill.CodeUnavailable, code(err))
}

// A use is written down once a minute, and never brings back a session that ended
// meanwhile.
func TestUseOfASession(t *testing.T) {
	t.Parallel()
	s, a, _ := office(t, Config{}, "ana")
	started := s.as(t, start, "ana", Client{})
	before := a.puts
	for i := range 120 {
		_, err := s.Session(t.Context(), start.Add(time.Duration(i)*time.Second), started.Cookie.Reveal())
		require.NoError(t, err)
	}
	require.Equal(t, before+1, a.puts)
	clear(a.sessions) // by another process
	_, _ = s.Session(t.Context(), start.Add(119*time.Second), started.Cookie.Reveal())
	require.Empty(t, a.sessions)
	_, err := s.Session(t.Context(), start.Add(121*time.Second), started.Cookie.Reveal())
	require.ErrorIs(t, err, ErrNoSession)
}

// Signing in makes a new cookie whatever the browser had, and ends what it had.
func TestSignInRotates(t *testing.T) {
	t.Parallel()
	s, a, _ := office(t, Config{}, "ana", "ben")
	planted := newSecretOf(sessionPrefix).Reveal()
	first := s.as(t, start, "ana", Client{Cookie: planted})
	require.NotEqual(t, planted, first.Cookie.Reveal())
	_, err := s.Session(t.Context(), start, planted)
	require.ErrorIs(t, err, ErrNoSession)

	second := s.as(t, start, "ben", Client{Cookie: first.Cookie.Reveal()})
	_, err = s.Session(t.Context(), start, first.Cookie.Reveal())
	require.ErrorIs(t, err, ErrNoSession)
	require.Equal(t, []string{"ana by ana: signed out"}, a.ended)
	require.NoError(t, s.SignOut(t.Context(), start, second.Cookie.Reveal()))
	require.NoError(t, s.SignOut(t.Context(), start, second.Cookie.Reveal()), "twice is no error")
	_, err = s.Session(t.Context(), start, second.Cookie.Reveal())
	require.ErrorIs(t, err, ErrNoSession)
}

func TestListAndEndSessions(t *testing.T) {
	t.Parallel()
	s, _, _ := office(t, Config{}, "ana", "ben")
	one, two, bens := s.as(t, start, "ana", Client{}), s.as(t, start, "ana", Client{}), s.as(t, start, "ben", Client{})
	list, err := s.Sessions(t.Context(), start, "ana")
	require.NoError(t, err)
	require.Len(t, list, 2)
	list, err = s.Sessions(t.Context(), start.Add(time.Hour), "")
	require.NoError(t, err)
	require.Empty(t, list, "those that are over are not shown")

	_, err = s.End(t.Context(), start, EndRequest{Person: "ana", ID: bens.Session.ID})
	require.ErrorContains(t, err, "there is no session")
	n, err := s.End(t.Context(), start, EndRequest{Person: "ana", Except: one.Session.ID})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = s.Session(t.Context(), start, two.Cookie.Reveal())
	require.ErrorIs(t, err, ErrNoSession, "at once, although it was used just now")
	_, err = s.Session(t.Context(), start, one.Cookie.Reveal())
	require.NoError(t, err)
	n, err = s.End(t.Context(), start, EndRequest{ID: bens.Session.ID})
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	s, a, people := office(t, Config{}, "ana")
	people["eve"] = watchbill.Person{ID: "eve"} // without a password
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, a.passwords["ana"].Hash)
	for name, at := range map[string]Attempt{
		"wrong":        {Account: "ana", Password: good + "x"},
		"nothing":      {Account: "ana"},
		"other case":   {Account: "ana", Password: strings.ToUpper(good)},
		"unknown":      {Account: "zoe", Password: good},
		"without one":  {Account: "eve", Password: good},
		"empty dummy":  {Account: "eve", Password: ""},
		"far too long": {Account: "ana", Password: strings.Repeat(good, 100)},
		"name of case": {Account: "Ana", Password: good},
	} {
		at.Address = name // each from elsewhere
		_, err := s.WithPassword(t.Context(), start, at)
		require.Equal(t, watchbill.CodeUnauthenticated, code(err), name)
		require.True(t, strings.HasPrefix(err.Error(), "the name or the password is not right; "), name)
		require.NotContains(t, fmt.Sprintf("%+v", errors.Unwrap(err)), good)
	}
	// Who left the configuration does not get in with the password that is still there.
	delete(people, "ana")
	_, err := s.WithPassword(t.Context(), start, Attempt{Account: "ana", Password: good})
	require.ErrorIs(t, err, ErrNoPassword)
	a.err = errors.New("disk on fire")
	_, err = s.WithPassword(t.Context(), start, Attempt{Account: "ben", Password: good})
	require.Equal(t, watchbill.CodeUnavailable, code(err))
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	s, a, people := office(t, Config{}, "ben")
	_, _, err := s.Invite(t.Context(), start, "zoe", "cli:root")
	require.ErrorContains(t, err, `there is no person "zoe"`)
	first, _, err := s.Invite(t.Context(), start, "ana", "cli:root")
	require.NoError(t, err)
	secret, i, err := s.Invite(t.Context(), start, "ana", "cli:root")
	require.NoError(t, err)
	require.Equal(t, start.Add(24*time.Hour), i.ExpiresAt)
	codeText := secret.Reveal()
	require.Regexp(t, `^wi_[0-9A-Za-z]{49}$`, codeText)
	require.NotContains(t, fmt.Sprintf("%+v", a.invited), codeText[3:20])

	for range 3 { // looking at it uses nothing up
		p, err := s.Invited(t.Context(), start, codeText)
		require.NoError(t, err)
		require.Equal(t, watchbill.PersonID("ana"), p.ID)
	}
	accept := func(now time.Time, codeText, password string) error {
		_, err := s.Accept(t.Context(), now, codeText, password, Client{})
		return err
	}
	for _, bad := range []string{first.Reveal(), "", "x", newSecretOf(invitePrefix).Reveal(), "wb_" + codeText[3:]} {
		require.ErrorContains(t, accept(start, bad, good), "there is no such invitation", "%q", bad)
	}
	require.ErrorContains(t, accept(start.Add(24*time.Hour), codeText, good), "there is no such invitation")
	require.ErrorContains(t, accept(start, codeText, "short"), "too short")
	delete(people, "ana")
	require.ErrorContains(t, accept(start, codeText, good), "there is no such invitation")
	people["ana"] = watchbill.Person{ID: "ana"}
	require.NoError(t, accept(start, codeText, good), "a mistake does not use it up")
	require.ErrorContains(t, accept(start, codeText, good+"x"), "there is no such invitation")
	s.as(t, start, "ana", Client{})

	// Two who use it at the same moment: one does.
	secret, _, err = s.Invite(t.Context(), start, "ana", "cli:root")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var errs [4]error
	for i := range errs {
		wg.Go(func() { errs[i] = accept(start, secret.Reveal(), fmt.Sprint(good, i)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	require.Equal(t, 1, won, "%v", errs)
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	s, _, people := office(t, Config{}, "ana", "ben")
	here, there, bens := s.as(t, start, "ana", Client{}), s.as(t, start, "ana", Client{}), s.as(t, start, "ben", Client{})
	change := func(before, after string) (Started, error) {
		return s.ChangePassword(t.Context(), start, people["ana"], Change{before, after, Client{Cookie: here.Cookie.Reveal()}})
	}
	_, err := change("wrong", "nine calm otters swim")
	require.Equal(t, watchbill.CodeInvalid, code(err), "whoever asks is signed in")
	require.ErrorContains(t, err, "the current password is not right")
	_, err = change(good, good)
	require.ErrorContains(t, err, "is the old one")
	_, err = change(good, "password1234")
	require.ErrorContains(t, err, "guessed first")
	started, err := change(good, "nine calm otters swim")
	require.NoError(t, err)
	for _, c := range []Started{here, there} {
		_, err = s.Session(t.Context(), start, c.Cookie.Reveal())
		require.ErrorIs(t, err, ErrNoSession)
	}
	for _, c := range []Started{started, bens} {
		_, err = s.Session(t.Context(), start, c.Cookie.Reveal())
		require.NoError(t, err)
	}
	_, err = s.WithPassword(t.Context(), start, Attempt{Account: "ana", Password: good})
	require.ErrorIs(t, err, ErrWrongPassword)
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	ana := watchbill.Person{ID: "ana", Name: "Ana Ruiz", Email: "ana.ruiz@example.com"}
	for _, bad := range []string{
		"", "short", "elevenchars", "password1234", "P@ssw0rd!2026", "123456789012", "aaaaaaaaaaaaaa", "abababababab", "Qwertyuiop123!", "qwerty123456",
		"letmeinletmein", "Administrator1!", "iloveyou2026", "AnaRuiz2026!!", "ana.ruiz@example.com", "watchbill2026", "Watchbill-Ana-1", "welcome12345678",
		"Summer2026!!", "111122223333", "correcthorsebatterystaple", "\x00valid otherwise\x00", "bad \xff bytes inside", strings.Repeat("é", 700),
		"passwordpasswordpassword", "2026-11-29 03:15",
	} {
		err := checkPassword(ana, bad)
		require.Error(t, err, "%q", bad)
		require.Equal(t, watchbill.CodeInvalid, code(err))
		if len(bad) > 5 {
			require.NotContains(t, err.Error(), bad)
		}
	}
	for _, fine := range []string{good, "nine calm otters swim", "kX9$vq2LmZp7", "Ana walks behind herons", "водяная крыса плывёт", "seven-herons-1", "ñandú y garza al alba"} {
		require.NoError(t, checkPassword(ana, fine), "%q", fine)
	}
}

// Guessing gets slower, by account and by address, and making the guesses at the
// same time does not help.
func TestThrottle(t *testing.T) {
	t.Parallel()
	s, a, _ := office(t, Config{}, "ana")
	guess := func(now time.Time, account, password, address string) error {
		_, err := s.WithPassword(t.Context(), now, Attempt{Account: account, Password: password, Client: Client{Address: address}})
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[watchbill.Code]int{}
	for i := range 60 {
		wg.Go(func() {
			err := guess(start, "ana", "wrong", fmt.Sprint("192.0.2.", i))
			mu.Lock()
			defer mu.Unlock()
			seen[code(err)]++
		})
	}
	wg.Wait()
	require.Equal(t, map[watchbill.Code]int{watchbill.CodeUnauthenticated: accountTries, watchbill.CodeTooMany: 60 - accountTries}, seen)
	err := guess(start, "ana", good, "198.51.100.1")
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok && e.Code == watchbill.CodeTooMany, "even the right one waits")
	require.Equal(t, time.Second, e.RetryAfter)
	now := start
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		require.Equal(t, watchbill.CodeTooMany, code(guess(now.Add(wait*time.Second-1), "ana", "wrong", "198.51.100.1")))
		now = now.Add(wait * time.Second)
		require.Equal(t, watchbill.CodeUnauthenticated, code(guess(now, "ana", "wrong", "198.51.100.1")), "%s", wait)
	}
	now = now.Add(time.Minute)
	require.NoError(t, guess(now, "ana", good, "198.51.100.1"), "the owner waits a minute at most")
	require.Equal(t, watchbill.CodeUnauthenticated, code(guess(now, "ana", "wrong", "198.51.100.1")), "and begins anew")

	// One address that tries many accounts, in one network of IPv6.
	for i := range addressTries {
		require.Equal(t, watchbill.CodeUnauthenticated, code(guess(start, fmt.Sprint("a", i), "wrong", fmt.Sprintf("2001:db8::%x", i))))
	}
	require.Equal(t, watchbill.CodeTooMany, code(guess(start, "another", "wrong", "2001:db8::ffff")))
	require.Equal(t, watchbill.CodeUnauthenticated, code(guess(start, "another", "wrong", "2001:db8:0:1::1")))
	require.Equal(t, watchbill.CodeUnauthenticated, code(guess(start.Add(forgetTries+time.Minute), "another", "wrong", "2001:db8::ffff")))

	// The current password of a session that was taken over cannot be guessed either.
	for range accountTries {
		_, err = s.ChangePassword(t.Context(), start, watchbill.Person{ID: "ben"}, Change{Old: "guess", New: good})
		require.Equal(t, watchbill.CodeInvalid, code(err))
	}
	_, err = s.ChangePassword(t.Context(), start, watchbill.Person{ID: "ben"}, Change{Old: "guess", New: good})
	require.Equal(t, watchbill.CodeTooMany, code(err))
	require.NotContains(t, a.passwords, watchbill.PersonID("ben"))
}

// What is remembered of tries is bounded.
func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	x := newTries()
	for i := range maxTries + 50 {
		require.Zero(t, x.begin(fmt.Sprint(i), 5, start.Add(time.Duration(i)*time.Nanosecond)))
	}
	require.LessOrEqual(t, len(x.m), maxTries)
	require.Contains(t, x.m, fmt.Sprint(maxTries+49))
	require.Zero(t, x.begin("later", 5, start.Add(time.Hour)))
	require.Len(t, x.m, 1)
}

// An account that is not there costs as much as one that is: the same hash is made.
func TestUnknownAccountsAreHashed(t *testing.T) {
	t.Parallel()
	s, _, _ := office(t, Config{}, "ana")
	for range hashesAtOnce { // nobody can hash
		s.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, account := range []string{"ana", "zoe", "ben"} {
		_, err := s.WithPassword(ctx, start, Attempt{Account: account, Password: good})
		require.Equal(t, watchbill.CodeTooMany, code(err), account)
		require.ErrorContains(t, err, "too many sign in at once")
	}
}

// Nothing that is typed is in what is logged or stored.
func TestPasswordIsNowhere(t *testing.T) {
	t.Parallel()
	const canary = "canary heron 7d1f swims"
	s, a, people := office(t, Config{}, "ana")
	secret, _, err := s.Invite(t.Context(), start, "ana", "cli:root")
	require.NoError(t, err)
	started, err := s.Accept(t.Context(), start, secret.Reveal(), canary, Client{})
	require.NoError(t, err)
	var log bytes.Buffer
	l := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, wrong := s.WithPassword(t.Context(), start, Attempt{Account: "ben", Password: canary})
	_, short := s.ChangePassword(t.Context(), start, people["ana"], Change{Old: canary, New: canary})
	_, bad := s.ChangePassword(t.Context(), start, people["ana"], Change{Old: canary + canary, New: "canary"})
	for _, v := range []any{wrong, short, bad, errors.Unwrap(wrong), started, a.passwords, a.sessions, a.invited} {
		l.Info("x", "v", v)
		fmt.Fprintf(&log, "%v %+v %#v\n", v, v, v)
	}
	require.NotContains(t, log.String(), "heron")
	require.NotContains(t, log.String(), "canary")
	require.NotContains(t, log.String(), started.Cookie.Reveal())
	require.NotContains(t, log.String(), secret.Reveal())
}

func FuzzParsePHC(f *testing.F) {
	salt, key := make([]byte, saltSize), make([]byte, hashSize)
	f.Add(phc(cost{hashMemory, hashTime, hashLanes}, salt, key))
	for _, s := range []string{"", "$", "$argon2id$v=19$m=19456,t=2,p=1$$", "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, salt, key, err := parsePHC(s)
		if err != nil {
			require.Equal(t, cost{}, c)
			return
		}
		require.Equal(t, s, phc(c, salt, key))
		require.LessOrEqual(t, c.memory, uint32(maxHashMemory))
	})
}
