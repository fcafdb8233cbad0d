package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"watchbill"
)

// Password is what is stored of a person's password.
type Password struct {
	Person    watchbill.PersonID `json:"person"`
	Hash      string             `json:"hash"` // argon2id, in the usual notation
	ChangedAt time.Time          `json:"changed_at"`
}

// Invitation is what is stored of an invitation: everything but its code.
type Invitation struct {
	Person    watchbill.PersonID `json:"person"`
	Hash      string             `json:"hash"` // SHA-256 of the code, in hexadecimal
	CreatedAt time.Time          `json:"created_at"`
	CreatedBy string             `json:"created_by"`
	ExpiresAt time.Time          `json:"expires_at"`
}

// Passwords is where passwords and invitations are stored.
type Passwords interface {
	Password(ctx context.Context, person watchbill.PersonID) (p Password, found bool, err error)
	// PutPassword stores a password and ends the person's sessions. If invitation is
	// not empty, it does so only if there is an invitation with this hash, and removes
	// it. All of it is one transaction.
	PutPassword(ctx context.Context, p Password, invitation string, e Ending) (ok bool, err error)
	Invitation(ctx context.Context, hash string) (i Invitation, found bool, err error)
	// PutInvitation replaces the person's last one.
	PutInvitation(ctx context.Context, i Invitation) error
}

// cost is what a hash takes: 19 MiB and two passes, which OWASP recommends. A
// daemon that pages must not run out of memory because many sign in.
type cost struct {
	memory uint32 // KiB
	time   uint32
	lanes  uint8
}

const (
	hashMemory = 19 * 1024
	hashTime   = 2
	hashLanes  = 1
	hashSize   = 32
	saltSize   = 16

	// hashesAtOnce bounds the memory that sign-ins take, and hashWait how long one
	// waits for its turn.
	hashesAtOnce = 4
	hashWait     = 5 * time.Second

	// What a stored hash may demand.
	maxHashMemory = 1 << 20 // KiB
	maxHashTime   = 100

	minPassword = 12   // characters
	maxPassword = 1024 // bytes

	invitationTTL = 24 * time.Hour
)

// phc writes a hash with its parameters.
func phc(c cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.lanes, b64.EncodeToString(salt), b64.EncodeToString(key))
}

// parsePHC reads what phc writes.
func parsePHC(s string) (c cost, salt, key []byte, err error) {
	bad := errors.New("not a hash of argon2id")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.lanes); err != nil {
		return c, nil, nil, bad
	}
	salt, serr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, kerr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case serr != nil || kerr != nil || len(salt) < 8 || len(key) < 16 || len(key) > 64 || len(salt) > 64:
	case c.memory < 8 || c.memory > maxHashMemory || c.time < 1 || c.time > maxHashTime || c.lanes < 1:
	case phc(c, salt, key) != s:
	default:
		return c, salt, key, nil
	}
	return cost{}, nil, nil, bad
}

// hash takes its turn among those that hash.
func (s *SignIn) hash(ctx context.Context, c cost, password string, salt []byte, size uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, hashWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		return argon2.IDKey([]byte(password), salt, c.time, c.memory, c.lanes, size), nil
	case <-ctx.Done():
		return nil, &watchbill.Error{Code: watchbill.CodeTooMany, Message: "too many sign in at once", Hint: "try again", RetryAfter: hashWait, Err: ctx.Err()}
	}
}

func (s *SignIn) newHash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // it never fails
	c := cost{hashMemory, hashTime, hashLanes}
	key, err := s.hash(ctx, c, password, salt, hashSize)
	if err != nil {
		return "", err
	}
	return phc(c, salt, key), nil
}

// matches reports whether a password is the stored one. For an account without one
// it takes as long.
func (s *SignIn) matches(ctx context.Context, stored, password string) (bool, error) {
	c, salt, want, err := parsePHC(stored)
	if err != nil {
		c, salt, want = cost{hashMemory, hashTime, hashLanes}, make([]byte, saltSize), make([]byte, hashSize)
	}
	known := err == nil
	got, err := s.hash(ctx, c, password, salt, uint32(len(want))) //nolint:gosec // at most 64
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// Attempt is a try to sign in.
type Attempt struct {
	Account  string
	Password string
	Client
}

func badPassword(reason error) error {
	return &watchbill.Error{
		Code: watchbill.CodeUnauthenticated, Message: "the name or the password is not right",
		Hint: "each further try takes longer; whoever runs the daemon invites you anew with: watchbill person invite NAME", Err: reason,
	}
}

// Why nobody was signed in, for the daemon's log.
var (
	ErrWrongPassword = errors.New("wrong password")
	ErrNoPassword    = errors.New("no such person, or no password")
)

// counted counts a try against an account from an address, or refuses it.
func (s *SignIn) counted(account, address string, now time.Time) error {
	wait := s.tries.begin("address "+network(address), addressTries, now)
	if wait == 0 {
		wait = s.tries.begin("account "+account[:min(len(account), maxName)], accountTries, now)
	}
	if wait == 0 {
		return nil
	}
	return &watchbill.Error{
		Code: watchbill.CodeTooMany, Message: "there were too many tries",
		Hint: fmt.Sprintf("wait %d seconds", int(wait.Seconds())+1), RetryAfter: wait,
	}
}

func (s *SignIn) wasGood(account, address string) {
	s.tries.good("account " + account[:min(len(account), maxName)])
	s.tries.giveBack("address " + network(address))
}

// network is what counts as one address: of IPv6, what one subscriber has.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// WithPassword signs a person in by name and password.
func (s *SignIn) WithPassword(ctx context.Context, now time.Time, a Attempt) (Started, error) {
	a.Account = strings.TrimSpace(a.Account)
	if err := s.counted(a.Account, a.Address, now); err != nil {
		return Started{}, err
	}
	if err := s.verify(ctx, watchbill.PersonID(a.Account), a.Password); err != nil {
		return Started{}, err
	}
	s.wasGood(a.Account, a.Address)
	return s.start(ctx, now, watchbill.PersonID(a.Account), ByPassword, a.Client)
}

// verify checks a person's password, in a time that tells nothing.
func (s *SignIn) verify(ctx context.Context, person watchbill.PersonID, password string) error {
	if len(password) > maxPassword {
		return badPassword(ErrWrongPassword)
	}
	_, known := s.people.Person(person)
	stored, found, err := s.accounts.Password(ctx, person)
	if err != nil {
		return &watchbill.Error{Code: watchbill.CodeUnavailable, Message: "passwords cannot be checked now", Hint: "try again; the daemon's log says what is wrong with its store", Err: err}
	}
	right, err := s.matches(ctx, stored.Hash, password)
	switch {
	case err != nil:
		return err
	case !known || !found:
		return badPassword(ErrNoPassword)
	case !right:
		return badPassword(ErrWrongPassword)
	}
	return nil
}

// Invite makes an invitation for a person. Its code is returned once.
func (s *SignIn) Invite(ctx context.Context, now time.Time, person watchbill.PersonID, by string) (Secret, Invitation, error) {
	if _, ok := s.people.Person(person); !ok {
		return Secret{}, Invitation{}, watchbill.Invalidf("use the name of somebody under people: in the configuration", "there is no person %q", person)
	}
	secret := newSecretOf(invitePrefix)
	i := Invitation{Person: person, Hash: secret.hash(), CreatedAt: now, CreatedBy: by, ExpiresAt: now.Add(invitationTTL)}
	if err := s.accounts.PutInvitation(ctx, i); err != nil {
		return Secret{}, Invitation{}, fmt.Errorf("store invitation: %w", err)
	}
	return secret, i, nil
}

// Invited says whose invitation a code is. It changes nothing.
func (s *SignIn) Invited(ctx context.Context, now time.Time, code string) (watchbill.Person, error) {
	_, p, err := s.invitation(ctx, now, code)
	return p, err
}

func (s *SignIn) invitation(ctx context.Context, now time.Time, code string) (Invitation, watchbill.Person, error) {
	refused := watchbill.Errorf(watchbill.CodeNotFound, "it works once, for a day; ask whoever runs the daemon for another", "there is no such invitation")
	secret, err := parseSecretOf(invitePrefix, code)
	if err != nil {
		return Invitation{}, watchbill.Person{}, refused
	}
	hash := secret.hash()
	i, found, err := s.accounts.Invitation(ctx, hash)
	if err != nil {
		return i, watchbill.Person{}, err
	}
	same := subtle.ConstantTimeCompare([]byte(i.Hash), []byte(hash)) == 1
	p, known := s.people.Person(i.Person)
	if !found || !same || !known || !i.ExpiresAt.After(now) {
		return i, watchbill.Person{}, refused
	}
	return i, p, nil
}

// Accept sets a person's password by an invitation and signs them in.
func (s *SignIn) Accept(ctx context.Context, now time.Time, code, password string, c Client) (Started, error) {
	i, p, err := s.invitation(ctx, now, code)
	if err != nil {
		return Started{}, err
	}
	if err := s.set(ctx, now, p, password, i.Hash); err != nil {
		return Started{}, err
	}
	s.tries.good("account " + string(p.ID))
	return s.start(ctx, now, p.ID, ByInvitation, c)
}

// Change is a new password in the place of an old one.
type Change struct {
	Old, New string
	Client
}

// ChangePassword sets a person's password. All their sessions end, and a new one
// begins for the browser that asks.
func (s *SignIn) ChangePassword(ctx context.Context, now time.Time, person watchbill.Person, c Change) (Started, error) {
	if err := s.counted(string(person.ID), c.Address, now); err != nil {
		return Started{}, err
	}
	if err := s.verify(ctx, person.ID, c.Old); err != nil {
		if errors.Is(err, ErrWrongPassword) || errors.Is(err, ErrNoPassword) {
			return Started{}, watchbill.Invalidf("type the one that you have now; whoever runs the daemon invites you anew with: watchbill person invite NAME", "the current password is not right")
		}
		return Started{}, err
	}
	s.wasGood(string(person.ID), c.Address)
	if c.Old == c.New {
		return Started{}, watchbill.Invalidf("choose another one", "the new password is the old one")
	}
	if err := s.set(ctx, now, person, c.New, ""); err != nil {
		return Started{}, err
	}
	return s.start(ctx, now, person.ID, ByPassword, c.Client)
}

// set stores a password, and uses an invitation up if its hash is not empty.
func (s *SignIn) set(ctx context.Context, now time.Time, p watchbill.Person, password, invitation string) error {
	if err := checkPassword(p, password); err != nil {
		return err
	}
	hash, err := s.newHash(ctx, password)
	if err != nil {
		return err
	}
	ok, err := s.accounts.PutPassword(ctx, Password{Person: p.ID, Hash: hash, ChangedAt: now}, invitation, Ending{By: string(p.ID), Via: "console", Why: "the password was changed"})
	s.recent.clear()
	switch {
	case err != nil:
		return fmt.Errorf("store password: %w", err)
	case !ok:
		return watchbill.Errorf(watchbill.CodeConflict, "ask whoever runs the daemon for another", "the invitation was used a moment ago")
	}
	return nil
}

// checkPassword refuses what is guessed first. It says nothing of the password
// itself.
func checkPassword(p watchbill.Person, password string) error {
	const hint = "a few words that do not belong together are long enough and easy to type"
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return watchbill.Invalidf("use letters, digits, signs and spaces", "the password has characters that cannot be typed")
	case utf8.RuneCountInString(password) < minPassword:
		return watchbill.Invalidf(hint, "the password is too short: it needs %d characters", minPassword)
	case len(password) > maxPassword:
		return watchbill.Invalidf("use fewer", "the password is over %d bytes", maxPassword)
	}
	plain := plainLetters(password)
	for _, own := range append(strings.FieldsFunc(p.Email, isSeparator), append(strings.FieldsFunc(p.Name, isSeparator), string(p.ID), "watchbill")...) {
		if own = plainLetters(own); len(own) >= 3 {
			plain = strings.ReplaceAll(plain, own, "")
		}
	}
	for _, word := range commonParts() {
		plain = strings.ReplaceAll(plain, word, "")
	}
	distinct := map[rune]bool{}
	for _, r := range password {
		distinct[unicode.ToLower(r)] = true
	}
	if len(distinct) < 5 || utf8.RuneCountInString(plain) < 5 {
		return watchbill.Invalidf(hint, "the password is one that is guessed first: there is little in it but common words, rows of keys, digits or your own name")
	}
	return nil
}

func isSeparator(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// plainLetters is a password as guessers see it: in lower case, with letters for
// the digits and signs that stand for them, and without all others.
func plainLetters(s string) string {
	as := map[rune]rune{'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', '$': 's', '!': 'i', '|': 'i'}
	trimmed := strings.TrimRightFunc(strings.TrimLeftFunc(s, isDecoration), isDecoration)
	return strings.Map(func(r rune) rune {
		if to, ok := as[r]; ok {
			return to
		}
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, trimmed)
}

// isDecoration is what people put before and behind a word to satisfy a rule.
func isDecoration(r rune) bool { return !unicode.IsLetter(r) && r != '@' && r != '$' }

// commonParts are what the passwords that are guessed first are made of, the longer
// before the shorter.
func commonParts() []string {
	return strings.Fields(`administrator correcthorsebatterystaple qwertyuiop asdfghjkl changemenow
		password passwort iloveyou superman starwars football baseball princess sunshine trustnoi changeme
		whatever computer internet security operation welcome willkommen letmein
		monkey dragon master shadow michael secret summer winter spring autumn hello admin login guest access
		qwertz azerty qwerty asdfgh zxcvbn qazwsx abcdefgh abcdef abcd test user pass root
		company january february march april june july august september october november december`)
}
