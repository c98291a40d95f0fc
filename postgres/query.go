package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// text returns a query of the stores as PostgreSQL takes it. Queries are constants
// of package sqlstore, so the cache is bounded.
func (db *DB) text(query string) string {
	if text, ok := db.texts.Load(query); ok {
		return text.(string)
	}
	text := db.dialect.Text(query)
	db.texts.Store(query, text)
	return text
}

// unprepared puts before the arguments of a statement that it is to be sent with
// them, in one message and without a name.
func unprepared(args []any) []any {
	return append([]any{pgx.QueryExecModeExec}, args...)
}

// reading is unprepared, or what the connection URL says of queries.
func (db *DB) reading(args []any) []any {
	return append([]any{db.mode}, args...)
}

// each runs a reading query, one consistent snapshot, and calls row for each
// row. Errors of row stop it and are returned as they are.
func (db *DB) each(ctx context.Context, row func(scan sqlstore.Scanner) error, query string, args ...any) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Read(ctx, func(t *tx) error { return t.Each(row, query, args...) })
	}
	read, err := db.read(ctx, db.text(query), db.reading(args)...)
	if err != nil {
		return explain(err)
	}
	types := db.types.Get().(*pgtype.Map)
	defer db.types.Put(types)
	for _, values := range read.rows {
		scan := func(dest ...any) error { return scanRow(types, read.fields, values, dest) }
		if err := row(scan); err != nil {
			return err
		}
	}
	return nil
}

// one runs a reading query that yields at most one row and scans it into dest;
// sql.ErrNoRows if there is none.
func (db *DB) one(ctx context.Context, dest []any, query string, args ...any) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Read(ctx, func(t *tx) error { return t.One(dest, query, args...) })
	}
	return reads{db}.QueryRow(ctx, db.text(query), db.reading(args)...).Scan(dest...)
}

// reads is a DB that is asked as a pool is.
type reads struct{ db *DB }

// QueryRow implements queryer.
func (r reads) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return row(func(dest ...any) error {
		read, err := r.db.read(ctx, query, args...)
		switch {
		case err != nil:
			return explain(err)
		case len(read.rows) == 0:
			return sql.ErrNoRows
		}
		types := r.db.types.Get().(*pgtype.Map)
		defer r.db.types.Put(types)
		return scanRow(types, read.fields, read.rows[0], dest)
	})
}

type row func(dest ...any) error

// Scan implements pgx.Row.
func (scan row) Scan(dest ...any) error { return scan(dest...) }

// read runs a reading query. A caller whose context ends leaves at once, but the
// query goes on to its end, for endPatience at most: to break it off is to end its
// session, and behind PgBouncer one of the few that all share. So what is read is
// the caller's only when it is complete. Those that are left alone have connections
// of the pool, which bounds how many there are, and Close waits for them.
func (db *DB) read(ctx context.Context, query string, args ...any) (answer, error) {
	leave, err := db.enter(ctx)
	if err != nil {
		return answer{}, err
	}
	conn, err := db.session(ctx)
	if err != nil {
		leave()
		return answer{}, err
	}
	staying, cut := context.WithCancel(context.WithoutCancel(ctx))
	answered := make(chan answer, 1)
	go func() {
		defer leave()
		defer cut()
		a := ask(staying, conn, query, args)
		conn.Release() // first, for who asks next
		answered <- a
	}()
	select {
	case a := <-answered:
		return a, a.err
	case <-ctx.Done():
		last := time.AfterFunc(db.patience, cut)
		context.AfterFunc(staying, func() { last.Stop() })
		return answer{}, ctx.Err()
	}
}

// session returns a connection of the pool, to be released. Of ctx the pool is not
// told the deadline: it would end what looks whether an idle connection is still
// alive, and the connection with it.
func (db *DB) session(ctx context.Context) (*pgxpool.Conn, error) {
	waiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	conn, err := db.pool.Acquire(waiting)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return conn, err
}

// eachRow calls row for each of rows, of a transaction.
func eachRow(rows pgx.Rows, row func(scan sqlstore.Scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}
