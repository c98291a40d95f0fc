package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Tokens returns the store of connections, flows and their history.
func Tokens(e Engine) tokenstore.Store { return tokens{checked{e}} }

type tokens struct{ engine Engine }

const (
	byKey = `definition = $1 AND org = $2 AND user_id = $3 AND account = $4`

	// loadQuery has no row, and so no clock, where there is no record: a join that always
	// has one takes PostgreSQL twice as long to plan.
	loadQuery    = `SELECT {now}, ` + connectionColumns + ` FROM bifrost_connections WHERE ` + byKey
	clockQuery   = `SELECT {now}`
	lockQuery    = `SELECT 1 FROM bifrost_connections WHERE ` + byKey + ` {lock}`
	tryLockQuery = `SELECT 1 FROM bifrost_connections WHERE ` + byKey + ` {skip}`
)

// insertQuery and updateQuery write a whole record and its position in the change
// feed, if the stored one is the version before. Neither waits for a record that it
// does not write.
var insertQuery, updateQuery = func() (insert, update string) {
	columns := strings.Split(strings.Join(strings.Fields(connectionColumns), ""), ",")
	columns = append(columns, "change")
	var values, sets []string
	for i, c := range columns {
		values = append(values, fmt.Sprintf("$%d", i+1))
		if i >= 4 {
			sets = append(sets, fmt.Sprintf("%s = $%d", c, i+1))
		}
	}
	insert = `INSERT INTO bifrost_connections (` + strings.Join(columns, ", ") + `)
		VALUES (` + strings.Join(values, ", ") + `) ON CONFLICT DO NOTHING`
	update = `UPDATE bifrost_connections SET ` + strings.Join(sets, ", ") + ` WHERE ` + byKey + ` AND version + 1 = $5`
	return insert, update
}()

func parts(k tokenstore.Key) []any { return []any{k.Definition, k.Org, k.User, k.Account} }

// Load implements tokenstore.Store.
func (s tokens) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	var r record
	err := s.engine.One(ctx, r.dest(), loadQuery, parts(key)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.engine.One(ctx, r.clock(), clockQuery)
	}
	if err != nil {
		return nil, err
	}
	c := r.connection()
	c.Key = key
	return c, nil
}

// Update implements tokenstore.Store. Changes of one record run one after the
// other under its lock. Only where there is no row to lock yet may two meet; one of
// them is run again then.
func (s tokens) Update(ctx context.Context, key tokenstore.Key, change func(c *tokenstore.Connection, now time.Time) error) (*tokenstore.Connection, error) {
	var was, stored *tokenstore.Connection
	var refused bool
	into := func(dest func(r *record) []any) func(Scanner) error {
		return func(scan Scanner) error {
			var r record
			if err := scan(dest(&r)...); err != nil {
				return err
			}
			was = r.connection()
			was.Key = key
			return nil
		}
	}
	err := s.engine.Change(ctx, Change{
		Key:  [4]string{key.Definition, key.Org, key.User, key.Account},
		Lock: lockQuery, TryLock: tryLockQuery, Load: loadQuery, Clock: clockQuery,
		Found: into((*record).dest), Missing: into((*record).clock),
		Decide: func() ([]Statement, error) {
			c, now := was.Clone(), was.ReadAt
			err := change(c, now)
			if refused = err != nil; refused {
				return nil, err
			}
			c = c.Clone() // change may have kept what it was given
			c.Key, c.Version, c.UpdatedAt, c.ReadAt = key, was.Version+1, now, now
			statements, err := storing(c)
			c.Pending = nil
			stored = c
			return statements, err
		},
	})
	switch {
	case refused && !errors.Is(err, ErrUnconfirmed):
		return was, err
	case err != nil:
		return nil, err
	}
	return stored, nil
}

// storing returns what writes a record and its pending events.
func storing(c *tokenstore.Connection) ([]Statement, error) {
	if err := texts.Check(c); err != nil {
		return nil, err
	}
	values, err := connectionValues(c)
	if err != nil {
		return nil, err
	}
	query := updateQuery
	if c.Version == 1 {
		query = insertQuery
	}
	statements := []Statement{{Query: query, Args: values, Feed: &Changes}}
	for _, e := range c.Pending {
		statements = append(statements, Statement{Query: insertEvent, Args: eventValues(c.Key, e, micros(c.UpdatedAt))})
	}
	return statements, nil
}

// List implements tokenstore.Store.
func (s tokens) List(ctx context.Context, match tokenstore.Match, after *tokenstore.Key, limit int) ([]*tokenstore.Connection, error) {
	q := &conditions{text: `SELECT {now}, ` + connectionColumns + ` FROM bifrost_connections WHERE true`}
	q.match(match)
	if after != nil {
		q.add(` AND (definition, org, user_id, account) > (?, ?, ?, ?)`, parts(*after)...)
		if match.Definition != "" && match.Definition == after.Definition {
			q.add(` AND org >= ?`, after.Org) // implied, but not to the query planner
		}
	}
	q.add(` ORDER BY definition, org, user_id, account LIMIT ?`, max(limit, 0))

	var found []*tokenstore.Connection
	err := s.engine.Each(ctx, func(scan Scanner) error {
		var r record
		if err := scan(r.dest()...); err != nil {
			return err
		}
		found = append(found, r.connection())
		return nil
	}, q.text, q.args...)
	return found, err
}

// Due implements tokenstore.Store.
func (s tokens) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	var keys []tokenstore.Key
	err := s.engine.Each(ctx, func(scan Scanner) error {
		var k tokenstore.Key
		if err := scan(&k.Definition, &k.Org, &k.User, &k.Account); err != nil {
			return err
		}
		keys = append(keys, k)
		return nil
	}, `SELECT definition, org, user_id, account FROM bifrost_connections
		WHERE due_at <= {now} ORDER BY due_at LIMIT $1`, max(limit, 0))
	return keys, err
}

var connectionChanges = `SELECT change, definition, org, user_id, account FROM bifrost_connections
	WHERE ` + behind(Changes) + ` ORDER BY change LIMIT $2`

// Changes implements tokenstore.Store.
func (s tokens) Changes(ctx context.Context, after int64, limit int) (keys []tokenstore.Key, next int64, err error) {
	if after < 0 {
		err := s.engine.One(ctx, []any{&next}, `SELECT value FROM bifrost_counters WHERE name = 'changes'`)
		return nil, next, err
	}
	next = after
	err = s.engine.Each(ctx, func(scan Scanner) error {
		var k tokenstore.Key
		if err := scan(position(&next), &k.Definition, &k.Org, &k.User, &k.Account); err != nil {
			return err
		}
		keys = append(keys, k)
		return nil
	}, connectionChanges, after, max(limit, 0))
	if err != nil {
		return nil, after, err
	}
	return keys, next, nil
}

// KeyCheck implements tokenstore.Store.
func (s tokens) KeyCheck(ctx context.Context, keyID string, check []byte) (map[string][]byte, error) {
	all, err := s.keyChecks(ctx)
	if err != nil || keyID == "" || all[keyID] != nil {
		return all, err
	}
	if err := texts.Check(keyID); err != nil {
		return nil, err
	}
	err = s.engine.Write(ctx, func(t Tx) error {
		_, err := t.Exec(`INSERT INTO bifrost_key_checks (key_id, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING`, keyID, check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.keyChecks(ctx)
}

// DeleteKeyCheck implements tokenstore.Store.
func (s tokens) DeleteKeyCheck(ctx context.Context, keyID string) error {
	return s.engine.Write(ctx, func(t Tx) error {
		_, err := t.Exec(`DELETE FROM bifrost_key_checks WHERE key_id = $1`, keyID)
		return err
	})
}

func (s tokens) keyChecks(ctx context.Context) (map[string][]byte, error) {
	all := make(map[string][]byte)
	err := s.engine.Each(ctx, func(scan Scanner) error {
		var id string
		var sealed []byte
		if err := scan(&id, &sealed); err != nil {
			return err
		}
		all[id] = sealed
		return nil
	}, `SELECT key_id, sealed FROM bifrost_key_checks`)
	return all, err
}
