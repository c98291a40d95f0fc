package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const flowColumns = `definition, org, user_id, account, state_hash, cookie_hash, cookie_name,
	principal, entity_id, verifier, redirect_uri, return_to, scopes, created_at, expires_at`

const (
	// lockPrincipal makes those who open flows of one principal wait for each other:
	// each must see all to know which are too many. It locks a number that stands for
	// the text, because there may be no row.
	lockPrincipal = `SELECT pg_advisory_xact_lock(hashtextextended($1, 7160394))`

	deleteExpired = `DELETE FROM bifrost_flows WHERE id IN (SELECT id FROM bifrost_flows WHERE expires_at <= {now} {skip})`
)

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
	if err := texts.Check(flow); err != nil {
		return tokenstore.Flow{}, err
	}
	scopes, err := list(flow.Scopes)
	if err != nil {
		return tokenstore.Flow{}, err
	}
	args := append(parts(flow.Key), flow.StateHash, flow.CookieHash, flow.CookieName, flow.Principal,
		flow.EntityID, flow.Verifier, flow.RedirectURI, flow.ReturnTo, scopes, life.Microseconds())
	var stored tokenstore.Flow
	err = s.engine.Write(ctx, func(t Tx) error {
		stored = tokenstore.Flow{}
		if err := t.Lock(lockPrincipal, flow.Principal); err != nil {
			return err
		}
		// With a new id: a flow that is put again is the newest.
		if _, err := t.Exec(`DELETE FROM bifrost_flows WHERE state_hash = $1`, flow.StateHash); err != nil {
			return err
		}
		err := t.One(flowDest(&stored), `INSERT INTO bifrost_flows (`+flowColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, {now}, {now} + $14)
			RETURNING `+flowColumns, args...)
		if err != nil {
			return err
		}
		if _, err := t.Exec(deleteExpired); err != nil || maxOpen < 1 {
			return err
		}
		_, err = t.Exec(`DELETE FROM bifrost_flows WHERE principal = $1 AND id NOT IN
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
	err := s.engine.One(ctx, flowDest(&f), `SELECT `+flowColumns+` FROM bifrost_flows
		WHERE state_hash = $1 AND expires_at > {now}`, stateHash)
	return found(f, err)
}

// TakeFlow implements tokenstore.Store.
func (s tokens) TakeFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	var f tokenstore.Flow
	err := s.engine.Write(ctx, func(t Tx) error {
		f = tokenstore.Flow{}
		return t.One(flowDest(&f), `DELETE FROM bifrost_flows
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
	return s.engine.Write(ctx, func(t Tx) error {
		_, err := t.Exec(q.text, q.args...)
		return err
	})
}

// HasFlow implements tokenstore.Store.
func (s tokens) HasFlow(ctx context.Context, key tokenstore.Key) (bool, error) {
	var has bool
	err := s.engine.One(ctx, []any{&has}, `SELECT EXISTS (SELECT 1 FROM bifrost_flows WHERE `+byKey+` AND expires_at > {now})`,
		parts(key)...)
	return has, err
}
