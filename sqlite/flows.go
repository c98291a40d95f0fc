package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const flowColumns = `definition, org, user_id, account, state_hash, cookie_hash, cookie_name,
	principal, entity_id, verifier, redirect_uri, return_to, scopes, created_at, expires_at`

// flowDest is where the columns of flowColumns go.
func flowDest(f *tokenstore.Flow) []any {
	return []any{
		&f.Key.Definition, &f.Key.Org, &f.Key.User, &f.Key.Account, &f.StateHash, &f.CookieHash, &f.CookieName,
		&f.Principal, &f.EntityID, &f.Verifier, &f.RedirectURI, &f.ReturnTo,
		intoJSON(&f.Scopes), intoTime(&f.CreatedAt), intoTime(&f.ExpiresAt),
	}
}

// PutFlow implements tokenstore.Store.
func (s tokens) PutFlow(ctx context.Context, flow tokenstore.Flow, life time.Duration, maxOpen int) (tokenstore.Flow, error) {
	scopes, err := list(flow.Scopes)
	if err != nil {
		return tokenstore.Flow{}, err
	}
	args := append(parts(flow.Key), flow.StateHash, flow.CookieHash, flow.CookieName, flow.Principal,
		flow.EntityID, flow.Verifier, flow.RedirectURI, flow.ReturnTo, scopes, life.Microseconds())
	var stored tokenstore.Flow
	err = s.db.write(ctx, func(t *tx) error {
		stored = tokenstore.Flow{}
		// REPLACE gives a new id, so a flow that is put again is the newest.
		err := t.one(flowDest(&stored), `INSERT OR REPLACE INTO bifrost_flows (`+flowColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, {now}, {now} + $14)
			RETURNING `+flowColumns, args...)
		if err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM bifrost_flows WHERE expires_at <= {now}`); err != nil || maxOpen < 1 {
			return err
		}
		_, err = t.exec(`DELETE FROM bifrost_flows WHERE principal = $1 AND id NOT IN
			(SELECT id FROM bifrost_flows WHERE principal = $1 ORDER BY id DESC LIMIT $2)`, flow.Principal, maxOpen)
		return err
	})
	if err != nil {
		return tokenstore.Flow{}, err
	}
	return stored, nil
}

// GetFlow implements tokenstore.Store.
func (s tokens) GetFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	var f tokenstore.Flow
	err := s.db.one(ctx, flowDest(&f), `SELECT `+flowColumns+` FROM bifrost_flows
		WHERE state_hash = $1 AND expires_at > {now}`, stateHash)
	return found(f, err)
}

// TakeFlow implements tokenstore.Store.
func (s tokens) TakeFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	var f tokenstore.Flow
	err := s.db.write(ctx, func(t *tx) error {
		f = tokenstore.Flow{}
		return t.one(flowDest(&f), `DELETE FROM bifrost_flows
			WHERE state_hash = $1 AND expires_at > {now} RETURNING `+flowColumns, stateHash)
	})
	return found(f, err)
}

func found(f tokenstore.Flow, err error) (tokenstore.Flow, error) {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return tokenstore.Flow{}, tokenstore.ErrNotFound
	case err != nil:
		return tokenstore.Flow{}, err
	}
	return f, nil
}

// DeleteFlows implements tokenstore.Store.
func (s tokens) DeleteFlows(ctx context.Context, match tokenstore.Match) error {
	q := &conditions{text: `DELETE FROM bifrost_flows WHERE true`}
	q.match(match)
	return s.db.write(ctx, func(t *tx) error {
		_, err := t.exec(q.text, q.args...)
		return err
	})
}

// HasFlow implements tokenstore.Store.
func (s tokens) HasFlow(ctx context.Context, key tokenstore.Key) (bool, error) {
	var has bool
	err := s.db.one(ctx, []any{&has}, `SELECT EXISTS (SELECT 1 FROM bifrost_flows WHERE `+byKey+` AND expires_at > {now})`,
		parts(key)...)
	return has, err
}
