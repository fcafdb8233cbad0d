package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"watchbill"
)

// Why a session was refused, for the daemon's log.
var (
	ErrNoSession   = errors.New("no session")
	ErrIdle        = errors.New("session was not used for too long")
	ErrSessionOver = errors.New("session is over")
)

// How a session began.
const (
	ByPassword   = "password"
	ByInvitation = "invitation"
	ByProvider   = "oidc"
)

// Session is what is stored of a session: everything but the secret.
type Session struct {
	ID         string             `json:"id"`
	Hash       string             `json:"hash"` // SHA-256 of the secret, in hexadecimal
	Person     watchbill.PersonID `json:"person"`
	How        string             `json:"how"`
	Address    string             `json:"address"` // where it began
	Agent      string             `json:"agent"`   // what its browser calls itself
	CreatedAt  time.Time          `json:"created_at"`
	LastUsedAt time.Time          `json:"last_used_at"` // at most a minute behind
	ExpiresAt  time.Time          `json:"expires_at"`   // at the latest
}

// String returns the id and whose it is.
func (s Session) String() string { return fmt.Sprintf("session %s of %s", s.ID, s.Person) }

// Ending is who ended something, and why. By is empty when time did.
type Ending struct {
	By  string
	Via string
	Why string
}

// Sessions is where sessions are stored.
type Sessions interface {
	SessionByHash(ctx context.Context, hash string) (s Session, found bool, err error)
	// PutSession stores a new session, or what changed of one that is still there:
	// the note of its use must not bring it back.
	PutSession(ctx context.Context, s Session, isNew bool) error
	// ListSessions returns a person's, and everybody's if person is empty.
	ListSessions(ctx context.Context, person watchbill.PersonID) ([]Session, error)
	EndSessions(ctx context.Context, now time.Time, ended []Session, e Ending) error
}

// Accounts is where sessions and passwords are stored.
type Accounts interface {
	Sessions
	Passwords
}

// SignIn lets people in who use a browser. It may be used by many goroutines at
// once.
type SignIn struct {
	cfg      Config
	accounts Accounts
	people   Directory
	recent   recent[Session]
	tries    *tries
	slots    chan struct{} // held while a password is hashed
	provider *provider     // nil: none
}

// Directory looks people up in the configuration that is in force.
type Directory interface {
	// Person returns a person by id.
	Person(id watchbill.PersonID) (watchbill.Person, bool)
	// Identified returns the person with a value of the provider's claim.
	Identified(claim, value string) (watchbill.Person, bool)
}

// NewSignIn returns a SignIn. People are looked up at every request. hc reaches
// the identity provider.
func NewSignIn(cfg Config, accounts Accounts, people Directory, hc *http.Client) *SignIn {
	s := &SignIn{cfg: cfg, accounts: accounts, people: people, tries: newTries(), slots: make(chan struct{}, hashesAtOnce)}
	if cfg.OIDC != nil {
		s.provider = newProvider(*cfg.OIDC, hc)
	}
	return s
}

// Client is where a request comes from.
type Client struct {
	Address string
	Agent   string
	Cookie  string // of the session that the browser has, if any
}

// Started is a session that began, with what its browser keeps.
type Started struct {
	Cookie  Secret
	Session Session
}

// maxAgent bounds what is kept of a browser's name.
const maxAgent = 200

// start begins a session. Whatever cookie the browser had is not used again, and
// its session ends: nobody can choose somebody else's.
func (s *SignIn) start(ctx context.Context, now time.Time, person watchbill.PersonID, how string, c Client) (Started, error) {
	if err := s.SignOut(ctx, now, c.Cookie); err != nil {
		return Started{}, err
	}
	secret := newSecretOf(sessionPrefix)
	agent := strings.Map(func(r rune) rune {
		if isUnprintable(r) {
			return -1
		}
		return r
	}, c.Agent)
	session := Session{
		ID: "s-" + strings.ToLower(rand.Text()[:12]), Hash: secret.hash(), Person: person, How: how, Address: c.Address,
		Agent: agent[:min(len(agent), maxAgent)], CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(s.cfg.absolute()),
	}
	session.Agent = strings.ToValidUTF8(session.Agent, "")
	if err := s.accounts.PutSession(ctx, session, true); err != nil {
		return Started{}, fmt.Errorf("store session: %w", err)
	}
	return Started{secret, session}, nil
}

// Session says whose session a cookie is.
func (s *SignIn) Session(ctx context.Context, now time.Time, cookie string) (Identity, error) {
	session, err := s.lookUp(ctx, now, cookie)
	if err != nil {
		return Identity{}, err
	}
	if err := s.live(now, session); err != nil {
		return Identity{}, notSignedIn(fmt.Errorf("%w: %s", err, session.ID))
	}
	p, ok := s.people.Person(session.Person)
	if !ok || p.ID == "" {
		return Identity{}, notSignedIn(fmt.Errorf("%w: %s", ErrPersonGone, session.ID))
	}
	if now.Sub(session.LastUsedAt) >= min(time.Minute, s.cfg.idle()/4) {
		// A session is good even when its use cannot be written down.
		session.LastUsedAt = now
		if s.accounts.PutSession(ctx, session, false) == nil {
			s.recent.put(session.Hash, session, now)
		}
	}
	return Identity{Person: p, SessionID: session.ID}, nil
}

func (s *SignIn) live(now time.Time, session Session) error {
	switch {
	case !session.ExpiresAt.After(now):
		return ErrSessionOver
	case now.Sub(session.LastUsedAt) >= s.cfg.idle():
		return ErrIdle
	}
	return nil
}

func (s *SignIn) lookUp(ctx context.Context, now time.Time, cookie string) (Session, error) {
	secret, err := parseSecretOf(sessionPrefix, cookie)
	if err != nil {
		return Session{}, notSignedIn(ErrNoSession)
	}
	hash := secret.hash()
	if session, ok := s.recent.get(hash, now); ok {
		return session, nil
	}
	session, found, err := s.accounts.SessionByHash(ctx, hash)
	if err != nil {
		return Session{}, &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: "sessions cannot be checked now",
			Hint: "try again; the daemon's log says what is wrong with its store", Err: fmt.Errorf("look up session: %w", err),
		}
	}
	if same := subtle.ConstantTimeCompare([]byte(session.Hash), []byte(hash)) == 1; !found || !same {
		return Session{}, notSignedIn(ErrNoSession)
	}
	s.recent.put(hash, session, now)
	return session, nil
}

func notSignedIn(reason error) error {
	return &watchbill.Error{Code: watchbill.CodeUnauthenticated, Message: "you are not signed in, or your session is over", Hint: "sign in at /login", Err: reason}
}

// SignOut ends the session of a cookie, if there is one.
func (s *SignIn) SignOut(ctx context.Context, now time.Time, cookie string) error {
	session, err := s.lookUp(ctx, now, cookie)
	if err != nil {
		if e, ok := errors.AsType[*watchbill.Error](err); ok && e.Code == watchbill.CodeUnauthenticated {
			return nil
		}
		return err
	}
	e := Ending{By: string(session.Person), Via: "console", Why: "signed out"}
	if s.live(now, session) != nil {
		e = Ending{} // it was over already
	}
	return s.end(ctx, now, []Session{session}, e)
}

func (s *SignIn) end(ctx context.Context, now time.Time, ended []Session, e Ending) error {
	if len(ended) == 0 {
		return nil
	}
	err := s.accounts.EndSessions(ctx, now, ended, e)
	for _, session := range ended {
		s.recent.drop(session.Hash)
	}
	return err
}

// SessionView is what may be shown of a session.
type SessionView struct {
	ID         string             `json:"id"`
	Person     watchbill.PersonID `json:"person"`
	How        string             `json:"how"`
	Address    string             `json:"address"`
	Agent      string             `json:"agent"`
	CreatedAt  time.Time          `json:"created_at"`
	LastUsedAt time.Time          `json:"last_used_at"`
	ExpiresAt  time.Time          `json:"expires_at"`
	Current    bool               `json:"current,omitempty"` // the one that asks
}

// Sessions lists a person's sessions that are not over, the newest first;
// everybody's if person is empty.
func (s *SignIn) Sessions(ctx context.Context, now time.Time, person watchbill.PersonID) ([]SessionView, error) {
	all, err := s.accounts.ListSessions(ctx, person)
	if err != nil {
		return nil, err
	}
	views := []SessionView{}
	for _, x := range all {
		if _, known := s.people.Person(x.Person); !known || s.live(now, x) != nil {
			continue
		}
		views = append(views, SessionView{x.ID, x.Person, x.How, x.Address, x.Agent, x.CreatedAt, x.LastUsedAt, x.ExpiresAt, false})
	}
	return views, nil
}

// EndRequest says which sessions are to end.
type EndRequest struct {
	Person watchbill.PersonID // whose; empty: anybody's
	ID     string             // empty: all of them
	Except string             // but this one
	Ending
}

// End ends sessions, and returns how many.
func (s *SignIn) End(ctx context.Context, now time.Time, r EndRequest) (int, error) {
	all, err := s.accounts.ListSessions(ctx, r.Person)
	if err != nil {
		return 0, err
	}
	var ended []Session
	for _, x := range all {
		if x.ID != r.Except && (r.ID == "" || x.ID == r.ID) {
			ended = append(ended, x)
		}
	}
	if len(ended) == 0 && r.ID != "" {
		return 0, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill session list", "there is no session %q", r.ID)
	}
	return len(ended), s.end(ctx, now, ended, r.Ending)
}

// Sweep ends the sessions of people who are not configured any more, and forgets
// those that are over.
func (s *SignIn) Sweep(ctx context.Context, now time.Time) error {
	all, err := s.accounts.ListSessions(ctx, "")
	if err != nil {
		return err
	}
	var gone, over []Session
	for _, x := range all {
		if _, known := s.people.Person(x.Person); !known {
			gone = append(gone, x)
		} else if s.live(now, x) != nil {
			over = append(over, x)
		}
	}
	return errors.Join(
		s.end(ctx, now, gone, Ending{By: watchbill.ActorSelf, Why: "the person left the configuration"}),
		s.end(ctx, now, over, Ending{}), // in nobody's name: time passed
	)
}
