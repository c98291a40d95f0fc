package sqlite

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// openPool opens path as sqlite.New would be given it.
func openPool(t *testing.T, path string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return pool
}

func tables(t *testing.T, pool *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_schema`).Scan(&n))
	return n
}

// only returns the first n embedded migrations.
func only(t *testing.T, n int) fs.FS {
	t.Helper()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	require.NoError(t, err)
	files := make(fstest.MapFS)
	for _, name := range names[:n] {
		data, err := fs.ReadFile(migrations, name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

func TestMigrationsAreWellFormed(t *testing.T) {
	all, err := sqlstore.LoadMigrations(migrations)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for i, m := range all[1:] {
		assert.GreaterOrEqual(t, m.Oldest, all[i].Oldest, "%s would let programs back in that an earlier migration shut out", m.Name)
	}
	tests := []struct{ name, file, content, says string }{
		{"no header", "0001_a.sql", "CREATE TABLE x (y)", "-- oldest: N"},
		{"not a number", "0001_a.sql", "-- oldest: one\n", "-- oldest: N"},
		{"older than the first", "0001_a.sql", "-- oldest: 0\n", "-- oldest: N"},
		{"newer than itself", "0001_a.sql", "-- oldest: 2\n", "-- oldest: N"},
		{"a gap", "0002_a.sql", "-- oldest: 1\n", "should be named 0001_"},
		{"no number", "a.sql", "-- oldest: 1\n", "should be named 0001_"},
	}
	for _, test := range tests {
		_, err := sqlstore.LoadMigrations(fstest.MapFS{"migrations/" + test.file: {Data: []byte(test.content)}})
		assert.ErrorContains(t, err, test.says, test.name)
	}
}

func TestMigrateTwiceIsOnce(t *testing.T) {
	pool := openPool(t, filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, Migrate(t.Context(), pool))
	n := tables(t, pool)
	require.NoError(t, Migrate(t.Context(), pool))
	assert.Equal(t, n, tables(t, pool))
}

func TestOldSchemaIsUpgradedWithItsData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	pool := openPool(t, path)
	require.NoError(t, checkDatabase(t.Context(), pool))
	require.NoError(t, migrate(t.Context(), pool, only(t, 1), systemClock))
	key := tokenstore.Key{Definition: "kept"}
	storeBefore4(t, pool, key, 1)

	_, err := Open(path, WithoutMigration())
	require.ErrorIs(t, err, ErrSchema)
	require.ErrorContains(t, err, "run sqlite.Migrate")
	db, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	c, err := db.Tokens().Load(t.Context(), key)
	require.NoError(t, err)
	assert.Equal(t, int64(1), c.Version)

	again, err := Open(path, WithoutMigration())
	require.NoError(t, err, "now it is new enough")
	require.NoError(t, again.Close())
}

func TestMissingSchemaIsNotMadeWithoutMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	_, err := Open(path, WithoutMigration())
	require.ErrorIs(t, err, ErrSchema)
	assert.Zero(t, tables(t, openPool(t, path)))
}

func TestNewSchemaIsRefusedOnlyIfItMustBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := Open(path)
	require.NoError(t, err)
	pool := openPool(t, path)
	future := func(version, oldest int) {
		t.Helper()
		_, err := pool.ExecContext(t.Context(), `INSERT INTO bifrost_migrations VALUES ($1, 'future', $2, 0)`, version, oldest)
		require.NoError(t, err)
	}
	future(1000, 1)
	require.NoError(t, db.Ping(t.Context()), "a newer program only added something")
	again, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, again.Close())

	future(1001, 1001)
	require.ErrorIs(t, db.Ping(t.Context()), ErrSchema, "a running program finds out too")
	require.NoError(t, db.Close())
	for _, opts := range [][]Option{nil, {WithoutMigration()}} {
		_, err = Open(path, opts...)
		require.ErrorIs(t, err, ErrSchema)
		require.ErrorContains(t, err, "version 1001")
		require.ErrorContains(t, err, "install the newer Bifrost")
	}
	require.ErrorIs(t, Migrate(t.Context(), pool), ErrSchema)

	_, err = pool.ExecContext(t.Context(), `DELETE FROM bifrost_migrations`)
	require.NoError(t, err)
	_, err = Open(path)
	require.ErrorContains(t, err, "bifrost_migrations is empty")
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	pool := openPool(t, path)
	broken := fstest.MapFS{
		"migrations/0001_good.sql": {Data: []byte("-- oldest: 1\nCREATE TABLE bifrost_x (y);")},
		"migrations/0002_bad.sql":  {Data: []byte("-- oldest: 1\nCREATE TABLE bifrost_z (y); SELECT nonsense;")},
	}
	require.NoError(t, checkDatabase(t.Context(), pool))
	require.ErrorContains(t, migrate(t.Context(), pool, broken, systemClock), "migration 0002_bad")
	assert.Zero(t, tables(t, pool))
	require.NoError(t, Migrate(t.Context(), pool), "no transaction was left open")
}

func TestCancelledMigrationLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	pool := openPool(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Migrate(ctx, pool), context.Canceled)
	assert.Zero(t, tables(t, pool))
	require.NoError(t, Migrate(t.Context(), pool))
}
