package perf_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/sqlite"
)

// backend is a kind of database.
type backend struct {
	name  string
	fresh func(b *testing.B) string // makes a database, and returns where it is
}

// eachBackend runs a benchmark on every kind of database.
func eachBackend(b *testing.B, do func(b *testing.B, k backend)) {
	b.Run("SQLite", func(b *testing.B) {
		do(b, backend{"sqlite", func(b *testing.B) string { return filepath.Join(b.TempDir(), "bifrost.db") }})
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		server, made := pgtest.Durable(b), 0
		do(b, backend{"postgres", func(b *testing.B) string {
			pool, err := pgxpool.New(b.Context(), server)
			require.NoError(b, err)
			defer pool.Close()
			made++
			name := fmt.Sprintf("%s_perf_%d", pool.Config().ConnConfig.Database, made)
			_, err = pool.Exec(b.Context(), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
			require.NoError(b, err)
			_, err = pool.Exec(b.Context(), `CREATE DATABASE `+name)
			require.NoError(b, err)
			return pgtest.WithDatabase(server, name)
		}})
	})
}

// openStore opens the database at a place that fresh has returned.
func openStore(ctx context.Context, at string) (bifrost.Store, error) {
	if strings.HasPrefix(at, "postgres") {
		return postgres.Open(ctx, at)
	}
	return sqlite.Open(at)
}

func (k backend) store(b *testing.B, at string) bifrost.Store {
	b.Helper()
	s, err := openStore(b.Context(), at)
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// raw is a database without Bifrost, through the driver that Bifrost uses.
type raw interface {
	// row reads one row, prepared, to its last column.
	row(ctx context.Context, query string, args ...any) ([]any, error)
	columns(ctx context.Context, table string) ([]string, error)
	exec(ctx context.Context, statement string) error
}

func (k backend) raw(b *testing.B, at string) raw {
	b.Helper()
	if k.name == "sqlite" {
		db, err := sql.Open("sqlite", "file://"+at+"?_pragma=busy_timeout(10000)")
		require.NoError(b, err)
		b.Cleanup(func() { _ = db.Close() })
		return &rawSQLite{db: db, stmts: map[string]*sql.Stmt{}}
	}
	pool, err := pgxpool.New(b.Context(), at)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	return rawPostgres{pool}
}

type rawSQLite struct {
	db    *sql.DB
	stmts map[string]*sql.Stmt
}

func (r *rawSQLite) row(ctx context.Context, query string, args ...any) ([]any, error) {
	stmt := r.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = r.db.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		r.stmts[query] = stmt
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	if !rows.Next() {
		return nil, sql.ErrNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	return values, rows.Err()
}

func (r *rawSQLite) columns(ctx context.Context, table string) ([]string, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT * FROM `+table+` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	return names, rows.Err()
}

func (r *rawSQLite) exec(ctx context.Context, statement string) error {
	_, err := r.db.ExecContext(ctx, statement)
	return err
}

type rawPostgres struct{ pool *pgxpool.Pool }

// unprepared is a row read as behind a pooler, where sessions have nothing prepared.
func (r rawPostgres) unprepared(ctx context.Context, query string, args ...any) ([]any, error) {
	return r.row(ctx, query, append([]any{pgx.QueryExecModeExec}, args...)...)
}

func (r rawPostgres) row(ctx context.Context, query string, args ...any) ([]any, error) {
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, sql.ErrNoRows
	}
	values, err := rows.Values()
	if err != nil {
		return nil, err
	}
	rows.Close()
	return values, rows.Err()
}

func (r rawPostgres) columns(ctx context.Context, table string) ([]string, error) {
	rows, err := r.pool.Query(ctx, `SELECT * FROM `+table+` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for _, f := range rows.FieldDescriptions() {
		names = append(names, f.Name)
	}
	rows.Close()
	return names, rows.Err()
}

func (r rawPostgres) exec(ctx context.Context, statement string) error {
	_, err := r.pool.Exec(ctx, statement)
	return err
}
