package sqlstore

import (
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
// They are written for SQLite; another engine puts its own type names in.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Migration is one of them.
type Migration struct {
	Version int
	Name    string
	Oldest  int
	Script  string
}

const (
	// MigrationsTable is the script of the table that says which are done.
	MigrationsTable = `CREATE TABLE bifrost_migrations (
		version    INTEGER PRIMARY KEY,
		name       TEXT NOT NULL,
		oldest     INTEGER NOT NULL,
		applied_at INTEGER NOT NULL
	) STRICT`
	// RecordMigration adds one: version, name, oldest.
	RecordMigration = `INSERT INTO bifrost_migrations (version, name, oldest, applied_at) VALUES ($1, $2, $3, {now})`
)

// LoadMigrations reads the migrations in order.
func LoadMigrations(fsys fs.FS) ([]Migration, error) {
	names, err := fs.Glob(fsys, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	all := make([]Migration, 0, len(names))
	for i, path := range names { // Glob sorts
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		script, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, err
		}
		m := Migration{Version: i + 1, Name: name, Script: string(script)}
		first, _, _ := strings.Cut(m.Script, "\n")
		oldest, found := strings.CutPrefix(first, "-- oldest: ")
		m.Oldest, err = strconv.Atoi(strings.TrimSpace(oldest))
		if !found || err != nil || m.Oldest < 1 || m.Oldest > m.Version {
			return nil, fmt.Errorf("migration %s does not begin with a line \"-- oldest: N\"", name)
		}
		if prefix := fmt.Sprintf("%04d_", m.Version); !strings.HasPrefix(name, prefix) {
			return nil, fmt.Errorf("migration %s should be named %s…", name, prefix)
		}
		all = append(all, m)
	}
	return all, nil
}

// CheckVersion returns the schema's version, 0 if it has no table of migrations,
// and refuses one that has left programs of version latest behind.
func CheckVersion(exists bool, latest int, one func(dest []any, query string) error) (version int, err error) {
	if !exists {
		return 0, nil
	}
	var oldest int
	err = one([]any{&version, &oldest}, `SELECT version, oldest FROM bifrost_migrations ORDER BY version DESC LIMIT 1`)
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

// Outdated is the error for a schema that must not be upgraded here.
func Outdated(name string, version, latest int) error {
	return fmt.Errorf("%w: it has version %d and this program needs %d; run %s.Migrate, or open it without WithoutMigration",
		ErrSchema, version, latest, name)
}
