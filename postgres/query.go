package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

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

// each runs a reading query, one consistent snapshot, and calls row for each
// row. Errors of row stop it and are returned as they are.
func (db *DB) each(ctx context.Context, row func(scan sqlstore.Scanner) error, query string, args ...any) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Read(ctx, func(t *tx) error { return t.Each(row, query, args...) })
	}
	leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	rows, err := db.pool.Query(ctx, db.text(query), unprepared(args)...)
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
	leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return explain(db.pool.QueryRow(ctx, db.text(query), unprepared(args)...).Scan(dest...))
}

func eachRow(rows pgx.Rows, row func(scan sqlstore.Scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}
