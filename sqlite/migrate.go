package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Migrations are migrations/NNNN_name.sql, numbered from 0001 without gaps, and
// never changed once released. Each begins with the line
//
//	-- oldest: N
//
// where N is the oldest schema version whose program still works after it: a
// program made for schema N or later may use the new schema, older ones refuse.
// A migration that only adds keeps the N of the one before.
//
//go:embed migrations/*.sql
var migrations embed.FS

type migration struct {
	version int
	name    string
	oldest  int
	script  string
}

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
	all, err := load(files)
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

func migrateLocked(ctx context.Context, conn *sql.Conn, all []migration, now string) error {
	// Once more under the lock: another process may have been faster.
	version, err := checkVersion(ctx, conn, len(all))
	if err != nil {
		return err
	}
	if version == 0 {
		if _, err := conn.ExecContext(ctx, `CREATE TABLE bifrost_migrations (
			version    INTEGER PRIMARY KEY,
			name       TEXT NOT NULL,
			oldest     INTEGER NOT NULL,
			applied_at INTEGER NOT NULL
		) STRICT`); err != nil {
			return err
		}
	}
	for _, m := range all[min(version, len(all)):] {
		if _, err := conn.ExecContext(ctx, m.script); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := conn.ExecContext(ctx, strings.ReplaceAll(`INSERT INTO bifrost_migrations (version, name, oldest, applied_at)
			VALUES ($1, $2, $3, {now})`, "{now}", now), m.version, m.name, m.oldest); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// checkSchema reports whether this package can use the schema as it is.
func checkSchema(ctx context.Context, q queryer) error {
	all, err := load(migrations)
	if err != nil {
		return err
	}
	version, err := checkVersion(ctx, q, len(all))
	if err == nil && version < len(all) {
		err = fmt.Errorf("%w: it has version %d and this program needs %d; run sqlite.Migrate, or open it without WithoutMigration",
			ErrSchema, version, len(all))
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
	if err != nil || !exists {
		return 0, err
	}
	var oldest int
	err = q.QueryRowContext(ctx, `SELECT version, oldest FROM bifrost_migrations ORDER BY version DESC LIMIT 1`).Scan(&version, &oldest)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, fmt.Errorf("%w: bifrost_migrations is empty; restore a backup", ErrSchema)
	case err != nil:
		return 0, err
	case oldest > latest:
		return 0, fmt.Errorf("%w: the database has version %d, which needs a program that knows at least %d, and this one knows %d; "+
			"install the newer Bifrost, or restore a backup made before its first start", ErrSchema, version, oldest, latest)
	}
	return version, nil
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

// load reads the migrations in order.
func load(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	all := make([]migration, 0, len(names))
	for i, path := range names { // Glob sorts
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		script, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, err
		}
		m := migration{version: i + 1, name: name, script: string(script)}
		first, _, _ := strings.Cut(m.script, "\n")
		oldest, found := strings.CutPrefix(first, "-- oldest: ")
		m.oldest, err = strconv.Atoi(strings.TrimSpace(oldest))
		if !found || err != nil || m.oldest < 1 || m.oldest > m.version {
			return nil, fmt.Errorf("migration %s does not begin with a line \"-- oldest: N\"", name)
		}
		if prefix := fmt.Sprintf("%04d_", m.version); !strings.HasPrefix(name, prefix) {
			return nil, fmt.Errorf("migration %s should be named %s…", name, prefix)
		}
		all = append(all, m)
	}
	return all, nil
}
