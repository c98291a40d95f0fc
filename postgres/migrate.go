package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// oldestServer is the oldest major version of PostgreSQL that is supported.
const oldestServer = 14

// migrationLock is the number whose lock migrations wait for.
const migrationLock = `SELECT pg_advisory_xact_lock(7160393)`

// script makes a migration that is written for SQLite one for PostgreSQL. Texts
// are compared by their bytes. The positions of a feed are not declared unique: they
// are, but two transactions may have the same provisional one.
var script = strings.NewReplacer(
	"INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	"INTEGER", "BIGINT",
	"TEXT", `TEXT COLLATE "C"`,
	"BLOB", "BYTEA",
	") STRICT, WITHOUT ROWID", ")",
	") STRICT", ")",
	"CREATE UNIQUE INDEX bifrost_connections_change", "CREATE INDEX bifrost_connections_change",
	"CREATE UNIQUE INDEX bifrost_definitions_change", "CREATE INDEX bifrost_definitions_change",
	"CREATE UNIQUE INDEX bifrost_settings_change", "CREATE INDEX bifrost_settings_change",
)

// Migrate brings the schema in a database up to date and does nothing if it is.
// All pending migrations are one transaction, under a lock, so any number of
// processes may call it at once. Tables are made in the first schema of the
// search_path, where the role needs the privilege CREATE.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	if err := checkServer(ctx, pool); err != nil {
		return fmt.Errorf("postgres: %w", explain(err))
	}
	if err := migrate(ctx, pool, sqlstore.Migrations, systemClock); err != nil {
		return fmt.Errorf("postgres: %w", explain(err))
	}
	return nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS, now string) (err error) {
	all, err := sqlstore.LoadMigrations(files)
	if err != nil {
		return err
	}
	if version, err := checkVersion(ctx, pool, len(all)); err != nil || version >= len(all) {
		return err // the common case takes no lock
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	t := &tx{ctx: ctx, conn: conn}
	defer t.end()
	if _, err := conn.Exec(ctx, begin); err != nil {
		return err
	}
	if err := migrateLocked(ctx, conn, all, now); err != nil {
		return err
	}
	return t.commit()
}

func migrateLocked(ctx context.Context, conn *pgxpool.Conn, all []sqlstore.Migration, now string) error {
	if _, err := conn.Exec(ctx, migrationLock); err != nil {
		return err
	}
	// Once more under the lock: another process may have been faster.
	version, err := checkVersion(ctx, conn, len(all))
	if err != nil {
		return err
	}
	if version == 0 {
		if _, err := conn.Exec(ctx, script.Replace(sqlstore.MigrationsTable)); err != nil {
			return err
		}
	}
	for _, m := range all[min(version, len(all)):] {
		if _, err := conn.Exec(ctx, script.Replace(m.Script)); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
		record := dialect(now).Text(sqlstore.RecordMigration)
		if _, err := conn.Exec(ctx, record, unprepared([]any{m.Version, m.Name, m.Oldest})...); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
	}
	return nil
}

// checkSchema reports whether this package can use the schema as it is.
func checkSchema(ctx context.Context, q queryer) error {
	all, err := sqlstore.LoadMigrations(sqlstore.Migrations)
	if err != nil {
		return err
	}
	version, err := checkVersion(ctx, q, len(all))
	if err == nil && version < len(all) {
		err = sqlstore.Outdated("postgres", version, len(all))
	}
	return err
}

// queryer is a pool or one connection of it, or what asks a DB.
type queryer interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

// checkVersion returns the schema's version, 0 if there is none, and refuses one
// that has left programs of version latest behind.
func checkVersion(ctx context.Context, q queryer, latest int) (version int, err error) {
	one := func(dest []any, query string) error {
		return q.QueryRow(ctx, query, pgx.QueryExecModeExec).Scan(dest...)
	}
	var exists bool
	// Not to_regclass: within a transaction it may answer from before a wait for the
	// migration lock.
	err = one([]any{&exists}, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relname = 'bifrost_migrations' AND n.nspname = ANY (current_schemas(false)))`)
	if err != nil {
		return 0, err
	}
	return sqlstore.CheckVersion(exists, latest, one)
}

// checkPrimary makes sure that the database is the one that is written to.
func checkPrimary(ctx context.Context, q queryer) error {
	var recovering bool
	err := q.QueryRow(ctx, `SELECT pg_is_in_recovery()`, pgx.QueryExecModeExec).Scan(&recovering)
	if err == nil && recovering {
		err = errors.New(standby)
	}
	return err
}

// checkServer makes sure that the database is one that can keep what it is given.
func checkServer(ctx context.Context, pool *pgxpool.Pool) error {
	var version int
	var stored, sent string
	var schema *string
	err := pool.QueryRow(ctx, `SELECT CAST(current_setting('server_version_num') AS integer) / 10000,
		current_setting('server_encoding'), current_setting('client_encoding'), current_schema()`, pgx.QueryExecModeExec).
		Scan(&version, &stored, &sent, &schema)
	switch {
	case err != nil:
		return err
	case version < oldestServer:
		return fmt.Errorf("the server is PostgreSQL %d; Bifrost needs %d or later", version, oldestServer)
	case stored != "UTF8":
		return fmt.Errorf("the database's encoding is %s; Bifrost needs UTF8, which must be chosen when a database is made", stored)
	case sent != "UTF8":
		return fmt.Errorf("the connection's client_encoding is %s; Bifrost needs UTF8", sent)
	case schema == nil:
		return errors.New("the search_path names no schema that exists and may be used; set one (ALTER ROLE … SET search_path = …)")
	}
	return checkPrimary(ctx, pool)
}
