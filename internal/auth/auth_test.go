package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// store is a Tokens in memory.
type store struct {
	mu      sync.Mutex
	tokens  map[string]Token // by hash
	touched int
	lookups int
	err     error
	lie     *Token // returned for every hash
}

func (s *store) TokenByHash(_ context.Context, hash string) (Token, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups++
	if s.lie != nil {
		return *s.lie, true, nil
	}
	t, ok := s.tokens[hash]
	return t, ok, s.err
}

func (s *store) PutToken(_ context.Context, t Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.tokens == nil {
		s.tokens = map[string]Token{}
	}
	s.tokens[t.Hash] = t
	return nil
}

func (s *store) ListTokens(context.Context) ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.tokens), func(a, b Token) int { return strings.Compare(a.Name, b.Name) }), s.err
}

func (s *store) ChangeToken(_ context.Context, id string, change func(*Token) error) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched++
	for hash, t := range s.tokens {
		if t.ID != id {
			continue
		}
		err := change(&t)
		if err == nil && s.err == nil {
			s.tokens[hash] = t
		}
		return true, errors.Join(err, s.err)
	}
	return false, s.err
}

var start = time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)

func world(people ...watchbill.PersonID) (*Auth, *store, map[watchbill.PersonID]watchbill.Person) {
	known := map[watchbill.PersonID]watchbill.Person{}
	for _, id := range people {
		known[id] = watchbill.Person{ID: id, Roles: []watchbill.RoleID{"support"}}
	}
	s := &store{}
	return New(Config{}, s, func(id watchbill.PersonID) (watchbill.Person, bool) {
		p, ok := known[id]
		return p, ok
	}), s, known
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestCreate(t *testing.T) {
	t.Parallel()
	a, s, _ := world("ana")
	secret, token, err := a.Create(t.Context(), start, Spec{Name: "ana's phone", Person: "ana", CreatedBy: "ana"})
	require.NoError(t, err)
	require.Regexp(t, `^wb_[0-9A-Za-z]{49}$`, secret.Reveal())
	require.Regexp(t, `^t-[a-z2-7]{12}$`, token.ID)
	require.False(t, token.Machine)
	require.Equal(t, start.Add(DefaultTTL), token.ExpiresAt)
	require.Equal(t, token, s.tokens[token.Hash])
	stored, err := json.Marshal(token)
	require.NoError(t, err)
	require.NotContains(t, string(stored), secret.Reveal()[3:20])
	var back Token
	require.NoError(t, json.Unmarshal(stored, &back))
	require.Equal(t, token, back)

	other, machine, err := a.Create(t.Context(), start, Spec{
		Name: "prom-eu", Scopes: []Scope{ScopeRead, ScopeAlerts, ScopeRead}, TTL: time.Hour, CreatedBy: "ana",
	})
	require.NoError(t, err)
	require.NotEqual(t, secret.Reveal(), other.Reveal())
	require.True(t, machine.Machine)
	require.Equal(t, []Scope{ScopeAlerts, ScopeRead}, machine.Scopes)
	require.Equal(t, start.Add(time.Hour), machine.ExpiresAt)

	s.err = errors.New("disk on fire")
	secret, _, err = a.Create(t.Context(), start, Spec{Name: "x", Person: "ana"})
	require.ErrorContains(t, err, "store token: disk on fire")
	require.Empty(t, secret.Reveal())
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spec Spec
		want string
	}{
		"no name":             {Spec{Person: "ana"}, `"" is not a name for a token; name what it is for`},
		"blank name":          {Spec{Name: "  ", Person: "ana"}, `is not a name for a token`},
		"a line in the name":  {Spec{Name: "a\nb", Person: "ana"}, `is not a name for a token`},
		"long name":           {Spec{Name: strings.Repeat("x", 101), Person: "ana"}, `is not a name for a token`},
		"person with scopes":  {Spec{Name: "x", Person: "ana", Scopes: []Scope{ScopeRead}}, "a person's token carries no scopes"},
		"nobody":              {Spec{Name: "x"}, "would belong to nobody and be good for nothing; name a person"},
		"unknown person":      {Spec{Name: "x", Person: "eve"}, `there is no person "eve"; use the name of somebody under people:`},
		"unknown scope":       {Spec{Name: "x", Scopes: []Scope{"root"}}, `"root" is not a scope; use alerts, metrics, read, signals or write`},
		"time in the past":    {Spec{Name: "x", Person: "ana", TTL: -time.Second}, "a token cannot be valid for -1s"},
		"practically forever": {Spec{Name: "x", Person: "ana", TTL: MaxTTL + 1}, "use a time up to 732 days"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, s, _ := world("ana")
			_, _, err := a.Create(t.Context(), start, tc.spec)
			require.ErrorContains(t, err, tc.want)
			e, ok := errors.AsType[*watchbill.Error](err)
			require.True(t, ok)
			require.Equal(t, watchbill.CodeInvalid, e.Code)
			require.Empty(t, s.tokens)
		})
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a, s, people := world("ana", "ben")
	create := func(spec Spec) (string, Token) {
		spec.Name = cmpOr(spec.Name, "test")
		secret, token, err := a.Create(t.Context(), start, spec)
		require.NoError(t, err)
		return secret.Reveal(), token
	}
	ana, anaToken := create(Spec{Person: "ana"})
	ben, _ := create(Spec{Person: "ben"})
	prom, promToken := create(Spec{Name: "prom-eu", Scopes: []Scope{ScopeAlerts}})
	short, _ := create(Spec{Person: "ana", TTL: time.Minute})
	revoked, revokedToken := create(Spec{Person: "ana"})
	revokedToken.RevokedAt = start
	require.NoError(t, s.PutToken(t.Context(), revokedToken))
	unknown := newSecret().Reveal()
	delete(people, "ben") // offboarded by a reload

	person := Identity{Person: people["ana"], TokenID: anaToken.ID, ExpiresAt: anaToken.ExpiresAt}
	machine := Identity{Machine: "prom-eu", Scopes: []Scope{ScopeAlerts}, TokenID: promToken.ID, ExpiresAt: promToken.ExpiresAt}
	for name, tc := range map[string]struct {
		header string
		after  time.Duration
		want   Identity
		reason error
	}{
		"bearer":                    {"Bearer " + ana, 0, person, nil},
		"the scheme's case":         {"bEARER  " + ana + " ", 0, person, nil},
		"basic":                     {basic("ana", ana), 0, person, nil},
		"basic, any user":           {basic("", ana), 0, person, nil},
		"machine":                   {"Bearer " + prom, 0, machine, nil},
		"at the last moment":        {"Bearer " + short, time.Minute - 1, Identity{}, nil},
		"nothing":                   {"", 0, Identity{}, ErrNoCredentials},
		"spaces":                    {"   ", 0, Identity{}, ErrNoCredentials},
		"another scheme":            {"Digest " + ana, 0, Identity{}, ErrNoCredentials},
		"no scheme":                 {ana, 0, Identity{}, ErrNoCredentials},
		"bearer of nothing":         {"Bearer", 0, Identity{}, ErrMalformed},
		"typo":                      {"Bearer " + typo(ana), 0, Identity{}, ErrMalformed},
		"cut off":                   {"Bearer " + ana[:len(ana)-1], 0, Identity{}, ErrMalformed},
		"two tokens":                {"Bearer " + ana + "," + prom, 0, Identity{}, ErrMalformed},
		"not base64":                {"Basic !", 0, Identity{}, ErrMalformed},
		"token as the user":         {basic(ana, ""), 0, Identity{}, ErrMalformed},
		"basic without a colon":     {"Basic " + base64.StdEncoding.EncodeToString([]byte(ana)), 0, Identity{}, ErrMalformed},
		"too long":                  {"Bearer " + strings.Repeat("x", maxHeader+1), 0, Identity{}, ErrMalformed},
		"the hash is no token":      {"Bearer " + anaToken.Hash, 0, Identity{}, ErrMalformed},
		"unknown":                   {"Bearer " + unknown, 0, Identity{}, ErrUnknown},
		"expired":                   {"Bearer " + short, time.Minute, Identity{}, ErrExpired},
		"revoked":                   {"Bearer " + revoked, 0, Identity{}, ErrRevoked},
		"offboarded":                {"Bearer " + ben, 0, Identity{}, ErrPersonGone},
		"valid until its last day":  {"Bearer " + prom, DefaultTTL - 1, machine, nil},
		"not valid after that time": {"Bearer " + prom, DefaultTTL, Identity{}, ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := a.Authenticate(t.Context(), start.Add(tc.after), tc.header)
			if tc.reason == nil {
				require.NoError(t, err)
				if tc.want.TokenID != "" {
					require.Equal(t, tc.want, got)
				}
				require.Equal(t, got.Machine == "", got.IsPerson())
				return
			}
			require.ErrorIs(t, err, tc.reason)
			require.Equal(t, Identity{}, got)
			e, ok := errors.AsType[*watchbill.Error](err)
			require.True(t, ok)
			require.Equal(t, watchbill.CodeUnauthenticated, e.Code)
			require.Contains(t, e.Hint, "watchbill token create")
			// What the caller reads must not depend on why.
			if errors.Is(tc.reason, ErrNoCredentials) {
				require.Equal(t, "a token is needed", e.Message)
			} else {
				require.Equal(t, "the token is not accepted; check that it was copied whole, "+
					"or make a new one with: watchbill token create", err.Error())
			}
			require.NotContains(t, fmt.Sprintf("%+v", errors.Unwrap(err)), "wb_")
		})
	}
	require.Equal(t, "ana", person.String())
	require.Equal(t, "prom-eu", machine.String())
	require.True(t, machine.Has(ScopeAlerts))
	require.False(t, machine.Has(ScopeRead))
	require.False(t, person.Has(ScopeRead))
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// typo replaces one letter in the middle.
func typo(s string) string {
	c := byte('a')
	if s[20] == c {
		c = 'b'
	}
	return s[:20] + string(c) + s[21:]
}

// What is malformed must not reach the store, and what the store returns is
// not believed: the hashes are compared here.
func TestStoreIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, s, _ := world("ana")
	secret, token, err := a.Create(t.Context(), start, Spec{Name: "x", Person: "ana"})
	require.NoError(t, err)
	_, err = a.Authenticate(t.Context(), start, "Bearer "+typo(secret.Reveal()))
	require.ErrorIs(t, err, ErrMalformed)
	require.Zero(t, s.lookups)

	s.lie = &token
	_, err = a.Authenticate(t.Context(), start, "Bearer "+secret.Reveal())
	require.NoError(t, err)
	_, err = a.Authenticate(t.Context(), start, "Bearer "+newSecret().Reveal())
	require.ErrorIs(t, err, ErrUnknown)
	s.lie = &Token{Machine: true, ExpiresAt: start.Add(time.Hour)}
	later := start.Add(trusted) // when the store is asked again
	_, err = a.Authenticate(t.Context(), later, "Bearer "+secret.Reveal())
	require.ErrorIs(t, err, ErrUnknown, "a token without a hash belongs to nobody")

	s.lie, s.err = nil, errors.New("disk on fire")
	_, err = a.Authenticate(t.Context(), later, "Bearer "+secret.Reveal())
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok)
	require.Equal(t, watchbill.CodeUnavailable, e.Code)
	require.ErrorIs(t, err, s.err)
	require.NotContains(t, e.Error(), "fire", "the caller is not told about our disks")
}

func TestUseIsWrittenOnceAnHour(t *testing.T) {
	t.Parallel()
	a, s, _ := world("ana")
	secret, token, err := a.Create(t.Context(), start, Spec{Name: "x", Person: "ana"})
	require.NoError(t, err)
	for _, tc := range []struct {
		after   time.Duration
		touched int
	}{{0, 1}, {time.Minute, 1}, {time.Hour - 1, 1}, {time.Hour, 2}, {time.Hour + time.Minute, 2}} {
		_, err := a.Authenticate(t.Context(), start.Add(tc.after), "Bearer "+secret.Reveal())
		require.NoError(t, err)
		require.Equal(t, tc.touched, s.touched, tc.after)
	}
	require.Equal(t, start.Add(time.Hour), s.tokens[token.Hash].LastUsedAt)
}

func TestConfiguredTTL(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]time.Duration{
		0: DefaultTTL, time.Hour: time.Hour, 100 * 365 * 24 * time.Hour: MaxTTL,
	} {
		a := New(Config{TokenTTL: in}, &store{}, nil)
		_, token, err := a.Create(t.Context(), start, Spec{Name: "x", Scopes: []Scope{ScopeMetrics}})
		require.NoError(t, err)
		require.Equal(t, want, token.ExpiresAt.Sub(token.CreatedAt))
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := newSecret()
	type holder struct {
		Open   Secret
		hidden Secret
		ptr    *Secret
	}
	h := holder{secret, secret, &secret}
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T"} {
		fmt.Fprintf(&b, verb+"\n", secret)
		fmt.Fprintf(&b, verb+"\n", &secret)
		fmt.Fprintf(&b, verb+"\n", h)
		fmt.Fprintf(&b, verb+"\n", &h)
		fmt.Fprintf(&b, verb+"\n", []Secret{secret})
		fmt.Fprintf(&b, verb+"\n", map[string]any{"a": h})
	}
	fmt.Fprintln(&b, errors.Join(fmt.Errorf("with %v", secret)))
	for _, logger := range []*slog.Logger{
		slog.New(slog.NewTextHandler(&b, nil)),
		slog.New(slog.NewJSONHandler(&b, nil)),
	} {
		logger.InfoContext(t.Context(), "made a token", "secret", secret, "holder", h, "pointer", &secret)
	}
	require.NoError(t, json.NewEncoder(&b).Encode(map[string]any{"a": secret, "b": h, "c": &secret}))

	out := b.String()
	require.Contains(t, out, redacted)
	for _, form := range []string{
		secret.Reveal()[3:20],
		fmt.Sprintf("%x", secret.Reveal()[3:20]),
		fmt.Sprintf("%X", secret.Reveal()[3:20]),
	} {
		require.NotContains(t, out, form)
	}
	require.Empty(t, Secret{}.Reveal())
	require.Equal(t, "token t-1 (x)", fmt.Sprintf("%v", Token{ID: "t-1", Name: "x", Hash: "abc"}))
}

func TestSecretForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^wb_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 1000 {
		s := newSecret().Reveal()
		require.Regexp(t, form, s)
		require.False(t, seen[s])
		seen[s] = true
		back, err := parseSecret(s)
		require.NoError(t, err)
		require.Equal(t, s, back.Reveal())
	}
	require.Equal(t, "000000", base62([]byte{0, 0, 0, 0}, checkSize))
	require.Len(t, base62(bytes.Repeat([]byte{0xff}, 32), bodySize), bodySize)
	require.Len(t, base62(bytes.Repeat([]byte{0xff}, 4), checkSize), checkSize)

	// Any single wrong character, and any two neighbours swapped, is noticed.
	s := newSecret().Reveal()
	for i := len(prefix); i < len(s); i++ {
		c := byte('x')
		if s[i] == c {
			c = 'y'
		}
		_, err := parseSecret(s[:i] + string(c) + s[i+1:])
		require.ErrorIs(t, err, ErrMalformed)
		if i+1 < len(s) && s[i] != s[i+1] {
			_, err := parseSecret(s[:i] + string(s[i+1]) + string(s[i]) + s[i+2:])
			require.ErrorIs(t, err, ErrMalformed)
		}
	}
}

// The comparison must look at every byte, however early the two differ.
func TestComparisonTakesNoShortcut(t *testing.T) {
	t.Parallel()
	a, s, _ := world("ana")
	secret, token, err := a.Create(t.Context(), start, Spec{Name: "x", Person: "ana"})
	require.NoError(t, err)
	for i := range len(token.Hash) {
		near := token
		c := byte('0')
		if token.Hash[i] == c {
			c = '1'
		}
		near.Hash = token.Hash[:i] + string(c) + token.Hash[i+1:]
		s.lie = &near
		_, err := a.Authenticate(t.Context(), start, "Bearer "+secret.Reveal())
		require.ErrorIs(t, err, ErrUnknown, "byte %d of the hash is not compared", i)
	}
}

func TestParseScope(t *testing.T) {
	t.Parallel()
	for _, s := range Scopes() {
		got, err := ParseScope(string(s))
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	_, err := ParseScope("Read")
	require.ErrorContains(t, err, `"Read" is not a scope; use alerts, metrics, read, signals or write`)
}

func FuzzParseHeader(f *testing.F) {
	s := newSecret().Reveal()
	for _, header := range []string{
		"", "Bearer " + s, "bearer\t" + s, basic("u", s), basic("u:v", s), "Basic Og==", "Bearer wb_", "Basic", "\x00", s,
		"Bearer " + strings.Repeat("0", 52), "Negotiate YII=",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		secret, err := parseHeader(header)
		if err != nil {
			require.True(t, errors.Is(err, ErrMalformed) || errors.Is(err, ErrNoCredentials))
			require.Empty(t, secret.Reveal())
			return
		}
		require.Regexp(t, `^wb_[0-9A-Za-z]{49}$`, secret.Reveal())
		again, err := parseHeader("Bearer " + secret.Reveal())
		require.NoError(t, err)
		require.Equal(t, secret.Reveal(), again.Reveal())
	})
}

// A token is looked up once a second, and a revocation takes effect within it.
func TestRecentTokensAreTrustedForASecond(t *testing.T) {
	t.Parallel()
	a, s, _ := world("ana")
	secret, token, err := a.Create(t.Context(), start, Spec{Name: "x", Person: "ana"})
	require.NoError(t, err)
	use := func(after time.Duration) error {
		_, err := a.Authenticate(t.Context(), start.Add(after), "Bearer "+secret.Reveal())
		return err
	}
	require.NoError(t, use(0))
	token.RevokedAt = start
	require.NoError(t, s.PutToken(t.Context(), token))
	asked := s.lookups
	require.NoError(t, use(trusted-1))
	require.Equal(t, asked, s.lookups, "the store is not asked twice in a second")
	require.ErrorIs(t, use(trusted), ErrRevoked)

	var r recent[Token]
	for i := range 3 * maxRecent {
		r.put(strconv.Itoa(i), Token{}, start)
	}
	require.LessOrEqual(t, len(r.m), maxRecent)
}
