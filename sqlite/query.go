package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// text returns a query of the stores as SQLite takes it.
func (db *DB) text(query string) string {
	return sqlstore.Dialect{Now: db.now, Any: `IN (SELECT value FROM json_each($))`, By: `INDEXED BY $`}.Text(query)
}

// prepared returns query prepared on the read pool. Queries are constants of
// package sqlstore, so the cache is bounded.
func (db *DB) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	db.mu.RLock()
	stmt, closed := db.stmts[query], db.stmts == nil
	db.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if stmt != nil {
		return stmt, nil
	}
	// Not under the lock: preparing waits for a connection of the pool.
	fresh, err := db.reader.PrepareContext(ctx, db.text(query))
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	switch stmt = db.stmts[query]; {
	case db.stmts == nil:
		return nil, errors.Join(ErrClosed, fresh.Close())
	case stmt != nil:
		return stmt, fresh.Close()
	}
	db.stmts[query] = fresh
	return fresh, nil
}

// each runs a reading query, one consistent snapshot, and calls row for each
// row. Errors of row stop it and are returned as they are.
func (db *DB) each(ctx context.Context, row func(scan scanner) error, query string, args ...any) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Read(ctx, func(t *tx) error { return t.Each(row, query, args...) })
	}
	stmt, err := db.prepared(ctx, query)
	if err != nil {
		return explain(err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return explain(err)
	}
	return eachRow(rows, row)
}

// one runs a reading query that yields at most one row and scans it into dest;
// sql.ErrNoRows if there is none.
func (db *DB) one(ctx context.Context, dest []any, query string, args ...any) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Read(ctx, func(t *tx) error { return t.One(dest, query, args...) })
	}
	stmt, err := db.prepared(ctx, query)
	if err != nil {
		return explain(err)
	}
	return explain(stmt.QueryRowContext(ctx, args...).Scan(dest...))
}

type scanner = sqlstore.Scanner

func eachRow(rows *sql.Rows, row func(scan scanner) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// tx is an open write transaction. Its statements ignore the caller's context:
// an interrupted statement would roll back everybody's work in the same commit.
type tx struct {
	db      *DB
	ctx     context.Context
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt // nil on borrowed connections
	restore []string             // pragmas that undo borrow
}

func (t *tx) prepared(query string) (stmt *sql.Stmt, done func() error, err error) {
	if stmt := t.stmts[query]; stmt != nil {
		return stmt, func() error { return nil }, nil
	}
	stmt, err = t.conn.PrepareContext(t.ctx, t.db.text(query))
	if err != nil {
		return nil, nil, err
	}
	if t.stmts == nil {
		return stmt, stmt.Close, nil
	}
	t.stmts[query] = stmt
	return stmt, func() error { return nil }, nil
}

// Exec runs a statement and returns how many rows it changed.
func (t *tx) Exec(query string, args ...any) (changed int64, err error) {
	stmt, done, err := t.prepared(query)
	if err != nil {
		return 0, explain(err)
	}
	defer func() { _ = done() }()
	res, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// One scans the only row of a query (or of a statement with RETURNING) into
// dest; sql.ErrNoRows if there is none.
func (t *tx) One(dest []any, query string, args ...any) error {
	stmt, done, err := t.prepared(query)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = done() }()
	return explain(stmt.QueryRowContext(t.ctx, args...).Scan(dest...))
}

// Each calls row for each row of a query, as DB.each does.
func (t *tx) Each(row func(scan scanner) error, query string, args ...any) error {
	stmt, done, err := t.prepared(query)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = done() }()
	rows, err := stmt.QueryContext(t.ctx, args...)
	if err != nil {
		return explain(err)
	}
	return eachRow(rows, row)
}

// Lock implements sqlstore.Tx: a write transaction of SQLite is alone.
func (t *tx) Lock(string, ...any) error { return nil }

// Position implements sqlstore.Tx. It is final, because transactions run one after
// the other.
func (t *tx) Position(f sqlstore.Feed) (position int64, err error) {
	err = t.One([]any{&position}, `UPDATE bifrost_counters SET value = value + 1 WHERE name = $1 RETURNING value`, f.Counter)
	return position, err
}

// Run implements sqlstore.Part.
func (t *tx) Run(statement string) error {
	if _, err := t.conn.ExecContext(t.ctx, statement); err != nil {
		return unconfirmed(err)
	}
	return nil
}
