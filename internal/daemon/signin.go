package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/store"
)

// accounts is the store as sign-ins see it.
type accounts struct{ *store.Store }

// decoded reads what a row holds as JSON.
func decoded[T any](what string, body []byte, found bool, err error) (v T, _ bool, _ error) {
	if err != nil || !found {
		return v, false, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, false, fmt.Errorf("read %s: %w", what, err)
	}
	return v, true, nil
}

// SessionByHash returns the session whose cookie has a hash.
func (a accounts) SessionByHash(ctx context.Context, hash string) (s auth.Session, found bool, err error) {
	err = a.View(ctx, func(tx *store.Tx) error {
		body, ok, rerr := tx.Session(hash)
		s, found, err = decoded[auth.Session]("session", body, ok, rerr)
		return err
	})
	return s, found, err
}

// PutSession stores a new session, or the use of one that is still there.
func (a accounts) PutSession(ctx context.Context, s auth.Session, isNew bool) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode session: %w", err)
	}
	return a.Update(ctx, func(tx *store.Tx) error {
		if !isNew {
			return tx.UpdateSession(s.Hash, body)
		}
		err := recordAccess(tx, s.CreatedAt, access{
			by: string(s.Person), via: "console", what: accessSignedIn, object: s.ID, text: "signed in by " + s.How, detail: s.Address + " " + s.Agent,
		})
		return errors.Join(err, tx.InsertSession(s.Hash, s.Person, body))
	})
}

// ListSessions returns a person's sessions, or everybody's, the newest first.
func (a accounts) ListSessions(ctx context.Context, person watchbill.PersonID) (all []auth.Session, err error) {
	err = a.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Sessions(person)
		for _, row := range rows {
			s, _, derr := decoded[auth.Session]("session", row, true, err)
			if derr != nil {
				return derr
			}
			all = append(all, s)
		}
		return err
	})
	slices.SortStableFunc(all, func(a, b auth.Session) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return all, err
}

// EndSessions removes sessions.
func (a accounts) EndSessions(ctx context.Context, now time.Time, ended []auth.Session, e auth.Ending) error {
	return a.Update(ctx, func(tx *store.Tx) error {
		for _, s := range ended {
			there, err := tx.DeleteSession(s.Hash)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			if err := recordAccess(tx, now, access{by: e.By, via: e.Via, what: accessSessionEnded, object: s.ID, text: fmt.Sprintf("%s: %s", s, e.Why)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Password returns a person's password.
func (a accounts) Password(ctx context.Context, person watchbill.PersonID) (p auth.Password, found bool, err error) {
	err = a.View(ctx, func(tx *store.Tx) error {
		body, ok, rerr := tx.Password(person)
		p, found, err = decoded[auth.Password]("password", body, ok, rerr)
		return err
	})
	return p, found, err
}

// PutPassword stores a password, ends the person's sessions, and uses an invitation
// up if there is one.
func (a accounts) PutPassword(ctx context.Context, p auth.Password, invitation string, e auth.Ending) (ok bool, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return false, fmt.Errorf("encode password: %w", err)
	}
	err = a.Update(ctx, func(tx *store.Tx) error {
		how := "changed their password"
		if invitation != "" {
			how = "chose a password with an invitation"
			if ok, err = tx.TakeInvitation(invitation); err != nil || !ok {
				return err
			}
		}
		ended, err := tx.DeleteSessions(p.Person)
		if err != nil {
			return err
		}
		ok = true
		err = recordAccess(tx, p.ChangedAt, access{
			by: e.By, via: e.Via, what: accessPasswordSet, object: string(p.Person), text: fmt.Sprintf("%s %s; %d sessions ended", p.Person, how, ended),
		})
		return errors.Join(err, tx.PutPassword(p.Person, body))
	})
	return ok, err
}

// Invitation returns the invitation whose code has a hash.
func (a accounts) Invitation(ctx context.Context, hash string) (i auth.Invitation, found bool, err error) {
	err = a.View(ctx, func(tx *store.Tx) error {
		body, ok, rerr := tx.Invitation(hash)
		i, found, err = decoded[auth.Invitation]("invitation", body, ok, rerr)
		return err
	})
	return i, found, err
}

// PutInvitation stores an invitation.
func (a accounts) PutInvitation(ctx context.Context, i auth.Invitation) error {
	body, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("encode invitation: %w", err)
	}
	return a.Update(ctx, func(tx *store.Tx) error {
		err := recordAccess(tx, i.CreatedAt, access{by: i.CreatedBy, via: "cli", what: accessInvited, object: string(i.Person), text: "invited to choose a password"})
		return errors.Join(err, tx.PutInvitation(i.Person, i.Hash, body))
	})
}

// directory is the people of the configuration in force.
type directory struct{ d *Daemon }

// Person returns a person by id.
func (x directory) Person(id watchbill.PersonID) (watchbill.Person, bool) { return x.d.person(id) }

// Identified returns the person of an identity.
func (x directory) Identified(claim, value string) (watchbill.Person, bool) {
	for _, p := range x.d.rooms.Load().people {
		if p.HasIdentity(claim, value) {
			return p, true
		}
	}
	return watchbill.Person{}, false
}

// fixedPeople is the people of a configuration, for a verb that runs beside the
// daemon.
type fixedPeople struct{ auth.People }

// Person returns a person by id.
func (x fixedPeople) Person(id watchbill.PersonID) (watchbill.Person, bool) { return x.People(id) }

// Identified finds nobody: no browser signs in here.
func (fixedPeople) Identified(string, string) (watchbill.Person, bool) {
	return watchbill.Person{}, false
}

// Invite makes an invitation in the store of a configuration, and returns its link.
// The daemon may run meanwhile or not.
func Invite(ctx context.Context, cfg *config.Config, person watchbill.PersonID, by string) (link string, i auth.Invitation, err error) {
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return "", i, err
	}
	in := auth.NewSignIn(auth.Config{}, accounts{s}, fixedPeople{configured(cfg)}, nil)
	code, i, err := in.Invite(ctx, time.Now().UTC(), person, by)
	return strings.TrimSuffix(cfg.ExternalURL, "/") + "/invite/" + code.Reveal(), i, errors.Join(err, s.Close())
}

// Limits on what the identity provider answers, and how long it takes.
const (
	providerTimeout = 10 * time.Second
	maxProvider     = 1 << 20
)

// providerClient reaches the identity provider.
func providerClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	t := &http.Transport{DialContext: dial, TLSHandshakeTimeout: providerTimeout, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true}
	return &http.Client{Timeout: providerTimeout, Transport: bounded{t}}
}

// bounded cuts answers off that are too large to be meant.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxProvider), resp.Body}
	}
	return resp, err
}

// sweepSessions ends the sessions of people who left, and forgets those that are
// over.
func (d *Daemon) sweepSessions(ctx context.Context) {
	if err := d.signIn.Sweep(ctx, time.Now().UTC()); err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot end the sessions that are over; they are refused all the same", "err", err)
	}
}
