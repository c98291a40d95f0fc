package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Query texts use $1, $2, … for arguments and {now} for the store's clock. Times
// are INTEGER microseconds since 1970, and NULL for the zero time.

// text puts the clock into a query.
func (db *DB) text(query string) string {
	return strings.ReplaceAll(query, "{now}", db.now)
}

// prepared returns query prepared on the read pool. Queries are constants of
// this package, so the cache is bounded.
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
		return s.read(ctx, func(t *tx) error { return t.each(row, query, args...) })
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
		return s.read(ctx, func(t *tx) error { return t.one(dest, query, args...) })
	}
	stmt, err := db.prepared(ctx, query)
	if err != nil {
		return explain(err)
	}
	return explain(stmt.QueryRowContext(ctx, args...).Scan(dest...))
}

// scanner is a row: (*sql.Rows).Scan.
type scanner func(dest ...any) error

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

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (changed int64, err error) {
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

// one scans the only row of a query (or of a statement with RETURNING) into
// dest; sql.ErrNoRows if there is none.
func (t *tx) one(dest []any, query string, args ...any) error {
	stmt, done, err := t.prepared(query)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = done() }()
	return explain(stmt.QueryRowContext(t.ctx, args...).Scan(dest...))
}

// each calls row for each row of a query, as DB.each does.
func (t *tx) each(row func(scan scanner) error, query string, args ...any) error {
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
