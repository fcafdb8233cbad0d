package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/store"
)

// tokens is the store as auth sees it.
type tokens struct{ *store.Store }

// TokenByHash returns the token whose secret has a hash.
func (t tokens) TokenByHash(ctx context.Context, hash string) (tok auth.Token, found bool, err error) {
	var body []byte
	err = t.View(ctx, func(tx *store.Tx) error {
		body, found, err = tx.Token(hash)
		return err
	})
	if err != nil || !found {
		return tok, false, err
	}
	if err := json.Unmarshal(body, &tok); err != nil {
		return tok, false, fmt.Errorf("read token: %w", err)
	}
	return tok, true, nil
}

// PutToken stores a token.
func (t tokens) PutToken(ctx context.Context, tok auth.Token) error {
	body, err := json.Marshal(tok)
	if err != nil {
		return fmt.Errorf("encode token: %w", err)
	}
	return t.Update(ctx, func(tx *store.Tx) error {
		e := auditToken(tok)
		e.At = tok.CreatedAt
		if _, err := tx.PutAudit(e); err != nil {
			return err
		}
		return tx.PutToken(tok.ID, tok.Hash, body)
	})
}

// ListTokens returns all tokens, the oldest first.
func (t tokens) ListTokens(ctx context.Context) (all []auth.Token, err error) {
	err = t.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Tokens()
		if err != nil {
			return err
		}
		for _, row := range rows {
			var tok auth.Token
			if err := json.Unmarshal(row, &tok); err != nil {
				return fmt.Errorf("read token: %w", err)
			}
			all = append(all, tok)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b auth.Token) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return all, err
}

// ChangeToken changes a token in one transaction.
func (t tokens) ChangeToken(ctx context.Context, id string, change func(*auth.Token) error) (found bool, err error) {
	err = t.Update(ctx, func(tx *store.Tx) error {
		var body []byte
		if body, found, err = tx.TokenByID(id); err != nil || !found {
			return err
		}
		var tok auth.Token
		if err := json.Unmarshal(body, &tok); err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		was := tok.RevokedAt
		if err := change(&tok); err != nil {
			return err
		}
		if body, err = json.Marshal(tok); err != nil {
			return fmt.Errorf("encode token: %w", err)
		}
		if was.IsZero() && !tok.RevokedAt.IsZero() {
			if _, err := tx.PutAudit(watchbill.AuditEntry{Kind: watchbill.AuditTokenRevoked, At: tok.RevokedAt, Actor: tok.RevokedBy, Object: tok.ID, Text: "it was " + cmp.Or(string(tok.Person), "the machine "+tok.Name) + "'s"}); err != nil {
				return err
			}
		}
		return tx.PutToken(tok.ID, tok.Hash, body)
	})
	return found, err
}

// openAuth opens the tokens in the store of a configuration, for a verb that runs
// beside the daemon or without it.
func openAuth(ctx context.Context, cfg *config.Config) (*auth.Auth, func() error, error) {
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return nil, nil, err
	}
	return auth.New(cfg.Auth, tokens{s}, configured(cfg)), s.Close, nil
}

// configured looks people up in a configuration.
func configured(cfg *config.Config) auth.People {
	return func(id watchbill.PersonID) (watchbill.Person, bool) {
		for _, p := range cfg.People {
			if p.ID == id {
				return p, true
			}
		}
		return watchbill.Person{}, false
	}
}

// CreateToken makes a token in the store of a configuration. The daemon may run
// meanwhile or not.
func CreateToken(ctx context.Context, cfg *config.Config, spec auth.Spec) (auth.Secret, auth.Token, error) {
	a, done, err := openAuth(ctx, cfg)
	if err != nil {
		return auth.Secret{}, auth.Token{}, err
	}
	secret, tok, err := a.Create(ctx, time.Now().UTC(), spec)
	return secret, tok, errors.Join(err, done())
}

// ListTokens lists the tokens in the store of a configuration.
func ListTokens(ctx context.Context, cfg *config.Config) ([]auth.View, error) {
	a, done, err := openAuth(ctx, cfg)
	if err != nil {
		return nil, err
	}
	all, err := a.List(ctx, time.Now().UTC(), "")
	return all, errors.Join(err, done())
}

// RevokeToken revokes a token in the store of a configuration, in somebody's name.
func RevokeToken(ctx context.Context, cfg *config.Config, id, by string) (auth.View, error) {
	a, done, err := openAuth(ctx, cfg)
	if err != nil {
		return auth.View{}, err
	}
	v, err := a.Revoke(ctx, time.Now().UTC(), auth.Revocation{ID: id, By: by, Any: true})
	return v, errors.Join(err, done())
}

// CreateToken makes a token for a person in the running daemon's store.
func (d *Daemon) CreateToken(ctx context.Context, spec auth.Spec) (auth.Secret, auth.Token, error) {
	return d.auth.Create(ctx, time.Now().UTC(), spec)
}

// lookAtTokens warns of tokens that are in use and end soon.
func (d *Daemon) lookAtTokens(ctx context.Context) {
	now := time.Now().UTC()
	all, err := d.auth.List(ctx, now, "")
	if err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot look for tokens that end soon", "err", err)
		return
	}
	n := 0
	for _, t := range all {
		if t.State != auth.StateExpiring || t.LastUsedAt.IsZero() {
			continue
		}
		n++
		d.o.Logger.WarnContext(ctx, "a token that is in use ends soon; make another with: watchbill token create", "token", t.ID, "name", t.Name, "ends", t.ExpiresAt)
	}
	d.stats.expiring.Set(float64(n))
}
