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
	"watchbill/internal/web"
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
		_, err := tx.PutAudit(watchbill.AuditEntry{
			Kind: watchbill.AuditSignedIn, At: s.CreatedAt, Actor: string(s.Person), Via: "console", Object: s.ID, Text: "by " + s.How, Detail: s.Address + " " + s.Agent,
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
			if !there || e.By == "" { // that time passed is no news
				continue
			}
			_, err = tx.PutAudit(watchbill.AuditEntry{Kind: watchbill.AuditSessionEnded, At: now, Actor: e.By, Via: e.Via, Object: s.ID, Text: fmt.Sprintf("of %s: %s", s.Person, e.Why)})
			if err != nil {
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
		_, err = tx.PutAudit(watchbill.AuditEntry{
			Kind: watchbill.AuditPasswordSet, At: p.ChangedAt, Actor: e.By, Via: e.Via, Object: string(p.Person), Text: fmt.Sprintf("%s; %d sessions ended", how, ended),
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
		_, err := tx.PutAudit(watchbill.AuditEntry{
			Kind: watchbill.AuditInvited, At: i.CreatedAt, Actor: i.CreatedBy, Via: "cli", Object: string(i.Person), Text: "to choose a password until " + i.ExpiresAt.UTC().Format(time.RFC3339),
		})
		return errors.Join(err, tx.PutInvitation(i.Person, i.Hash, body))
	})
}

// directory is the people of the configuration in force.
type directory struct{ d *Daemon }

// Person returns a person by id.
func (x directory) Person(id watchbill.PersonID) (watchbill.Person, bool) { return x.d.person(id) }

// Identified returns the person of an identity. Of several accounts of one person it
// is the one that the others are the same as.
func (x directory) Identified(claim, value string) (found watchbill.Person, ok bool) {
	for _, p := range x.d.rooms.Load().people {
		if p.HasIdentity(claim, value) && (!ok || p.SameAs == "" || found.SameAs != "" && p.ID < found.ID) {
			found, ok = p, true
		}
	}
	return found, ok
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

// SignInRefused records that nobody was let in. What was typed as a name is kept
// only if there is such a person: it may be a password.
func (f *flow) SignInRefused(ctx context.Context, r web.SignInRefusal) {
	object := "nobody who is configured"
	if _, known := f.rooms.Load().people[r.Account]; known {
		object = string(r.Account)
	}
	if !f.refusals.news("sign-in "+object, time.Now()) {
		return
	}
	err := f.update(ctx, func(w *work) error {
		return w.audit(web.Actor{Person: "unknown", Via: "console"}, watchbill.AuditEntry{Kind: watchbill.AuditSignInRefused, Object: object, Text: r.Why, Detail: r.Address})
	})
	if err != nil {
		f.logger.ErrorContext(ctx, "a refused sign-in could not be recorded in the audit log", "err", err)
	}
}

// sweepSessions ends the sessions of people who left, and forgets those that are
// over.
func (d *Daemon) sweepSessions(ctx context.Context) {
	if err := d.signIn.Sweep(ctx, time.Now().UTC()); err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot end the sessions that are over; they are refused all the same", "err", err)
	}
}
