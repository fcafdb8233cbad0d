package daemon

import (
	"context"
	"encoding/json"
	"fmt"

	"watchbill/internal/auth"
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
	return t.Update(ctx, func(tx *store.Tx) error { return tx.PutToken(tok.ID, tok.Hash, body) })
}
