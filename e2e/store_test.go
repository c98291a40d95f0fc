package e2e_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/sqlite"
)

// database is an open database.
type database interface {
	bifrost.Store
	Close() error
}

// databases make an empty database of each kind for the length of a test, and
// return what openDatabase takes.
var databases = map[string]func(t *testing.T) string{
	"sqlite":   func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "bifrost.db") },
	"postgres": func(t *testing.T) string { t.Helper(); return pgtest.Database(t) },
}

// openDatabase opens a PostgreSQL, by its URL, or else an SQLite file.
func openDatabase(ctx context.Context, where string) (database, error) {
	if strings.HasPrefix(where, "postgres://") {
		return postgres.Open(ctx, where)
	}
	return sqlite.Open(where)
}
