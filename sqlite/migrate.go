package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// migrations are written for SQLite as they are.
var migrations fs.FS = sqlstore.Migrations

// Migrate brings the schema in an open database up to date and does nothing if
// it is. All pending migrations are one transaction, under the database's write
// lock, so any number of processes may call it at once.
func Migrate(ctx context.Context, pool *sql.DB) error {
	if err := checkDatabase(ctx, pool); err != nil {
		return fmt.Errorf("sqlite: %w", explain(err))
	}
	if err := migrate(ctx, pool, migrations, systemClock); err != nil {
		return fmt.Errorf("sqlite: %w", explain(err))
	}
	return nil
}

func migrate(ctx context.Context, pool *sql.DB, files fs.FS, now string) error {
	all, err := sqlstore.LoadMigrations(files)
	if err != nil {
		return err
	}
	latest := len(all)
	if version, err := checkVersion(ctx, pool, latest); err != nil || version >= latest {
		return err // the common case takes no lock
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := beginImmediate(ctx, conn); err != nil {
		return err
	}
	err = migrateLocked(ctx, conn, all, now)
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// Not with ctx: it may be what ended the migration.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

func migrateLocked(ctx context.Context, conn *sql.Conn, all []sqlstore.Migration, now string) error {
	// Once more under the lock: another process may have been faster.
	version, err := checkVersion(ctx, conn, len(all))
	if err != nil {
		return err
	}
	if version == 0 {
		if _, err := conn.ExecContext(ctx, sqlstore.MigrationsTable); err != nil {
			return err
		}
	}
	for _, m := range all[min(version, len(all)):] {
		if _, err := conn.ExecContext(ctx, m.Script); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
		record := sqlstore.Dialect{Now: now}.Text(sqlstore.RecordMigration)
		if _, err := conn.ExecContext(ctx, record, m.Version, m.Name, m.Oldest); err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
	}
	return nil
}

// checkSchema reports whether this package can use the schema as it is.
func checkSchema(ctx context.Context, q queryer) error {
	all, err := sqlstore.LoadMigrations(migrations)
	if err != nil {
		return err
	}
	version, err := checkVersion(ctx, q, len(all))
	if err == nil && version < len(all) {
		err = sqlstore.Outdated("sqlite", version, len(all))
	}
	return err
}

// queryer is a pool or one connection of it.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// checkVersion returns the schema's version, 0 if there is none, and refuses one
// that has left programs of version latest behind.
func checkVersion(ctx context.Context, q queryer, latest int) (version int, err error) {
	var exists bool
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'bifrost_migrations')`).Scan(&exists)
	if err != nil {
		return 0, err
	}
	return sqlstore.CheckVersion(exists, latest, func(dest []any, query string) error {
		return q.QueryRowContext(ctx, query).Scan(dest...)
	})
}

// checkDatabase makes sure that the database is one that can keep what it is
// given: a file, in UTF-8, in WAL mode.
func checkDatabase(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var file, encoding, mode string
	err = conn.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&file)
	if err != nil {
		return err
	}
	if file == "" {
		return errors.New("the database is in memory, where each connection has another one; " +
			"open a file, or use bifrost.Memory() for storage in memory")
	}
	if err := conn.QueryRowContext(ctx, `PRAGMA encoding`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF-8" {
		return fmt.Errorf("the database's encoding is %s; Bifrost needs UTF-8, which must be chosen when a database is made", encoding)
	}
	// SQLite does not wait for locks when it changes the mode.
	err = patiently(ctx, func() error {
		return conn.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
	})
	if err == nil && mode != "wal" {
		err = fmt.Errorf("the file system does not support WAL (journal mode is %s); put the database on a local disk", mode)
	}
	return err
}
