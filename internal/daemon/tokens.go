package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// TouchToken records when a token was last used.
func (t tokens) TouchToken(ctx context.Context, hash string, at time.Time) error {
	return t.Update(ctx, func(tx *store.Tx) error {
		body, found, err := tx.Token(hash)
		if err != nil || !found {
			return err
		}
		var tok auth.Token
		if err := json.Unmarshal(body, &tok); err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		tok.LastUsedAt = at
		if body, err = json.Marshal(tok); err != nil {
			return fmt.Errorf("encode token: %w", err)
		}
		return tx.PutToken(tok.ID, hash, body)
	})
}

// CreateToken makes a token in the store of a configuration. The daemon may run
// meanwhile or not.
func CreateToken(ctx context.Context, cfg *config.Config, spec auth.Spec) (auth.Secret, auth.Token, error) {
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return auth.Secret{}, auth.Token{}, err
	}
	people := func(id watchbill.PersonID) (watchbill.Person, bool) {
		for _, p := range cfg.People {
			if p.ID == id {
				return p, true
			}
		}
		return watchbill.Person{}, false
	}
	secret, tok, err := auth.New(cfg.Auth, tokens{s}, people).Create(ctx, time.Now().UTC(), spec)
	return secret, tok, errors.Join(err, s.Close())
}

// CreateToken makes a token for a person in the running daemon's store.
func (d *Daemon) CreateToken(ctx context.Context, spec auth.Spec) (auth.Secret, auth.Token, error) {
	return d.auth.Create(ctx, time.Now().UTC(), spec)
}
