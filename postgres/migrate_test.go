package postgres

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func tables(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relname LIKE 'bifrost\_%'`).Scan(&n))
	return n
}

// only returns the first n migrations.
func only(t *testing.T, n int) fs.FS {
	t.Helper()
	names, err := fs.Glob(sqlstore.Migrations, "migrations/*.sql")
	require.NoError(t, err)
	files := make(fstest.MapFS)
	for _, name := range names[:n] {
		data, err := fs.ReadFile(sqlstore.Migrations, name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

func TestMigrateTwiceIsOnce(t *testing.T) {
	pool := openPool(t, pgtest.Database(t))
	require.NoError(t, Migrate(t.Context(), pool))
	n := tables(t, pool)
	require.NoError(t, Migrate(t.Context(), pool))
	assert.Equal(t, n, tables(t, pool))
}

// Each migration is one step from a schema that an older program has made.
func TestOldSchemaIsUpgraded(t *testing.T) {
	all, err := sqlstore.LoadMigrations(sqlstore.Migrations)
	require.NoError(t, err)
	for n := 1; n < len(all); n++ {
		url := pgtest.Database(t)
		pool := openPool(t, url)
		require.NoError(t, migrate(t.Context(), pool, only(t, n), systemClock))
		_, err = pool.Exec(t.Context(), `INSERT INTO bifrost_events (at, definition, org, user_id, account, kind, reason, actor)
			VALUES (1, 'kept', '', '', '', '', '', '')`)
		require.NoError(t, err)

		_, err := Open(t.Context(), url, WithoutMigration())
		require.ErrorIs(t, err, ErrSchema)
		require.ErrorContains(t, err, "run postgres.Migrate")
		db, err := Open(t.Context(), url)
		require.NoError(t, err)
		events, err := db.Tokens().Events(t.Context(), tokenstore.Match{}, 0, 10)
		require.NoError(t, err)
		require.Len(t, events, 1)
		assert.Equal(t, "kept", events[0].Key.Definition)
		require.NoError(t, db.Close())
		again, err := Open(t.Context(), url, WithoutMigration())
		require.NoError(t, err, "now it is new enough")
		require.NoError(t, again.Close())
	}
}

func TestMissingSchemaIsNotMadeWithoutMigration(t *testing.T) {
	url := pgtest.Database(t)
	_, err := Open(t.Context(), url, WithoutMigration())
	require.ErrorIs(t, err, ErrSchema)
	assert.Zero(t, tables(t, openPool(t, url)))
}

func TestNewSchemaIsRefusedOnlyIfItMustBe(t *testing.T) {
	url := pgtest.Database(t)
	db, err := Open(t.Context(), url)
	require.NoError(t, err)
	pool := openPool(t, url)
	future := func(version, oldest int) {
		t.Helper()
		_, err := pool.Exec(t.Context(), `INSERT INTO bifrost_migrations VALUES ($1, 'future', $2, 0)`, version, oldest)
		require.NoError(t, err)
	}
	future(1000, 1)
	require.NoError(t, db.Ping(t.Context()), "a newer program only added something")
	again, err := Open(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, again.Close())

	future(1001, 1001)
	require.ErrorIs(t, db.Ping(t.Context()), ErrSchema, "a running program finds out too")
	require.NoError(t, db.Close())
	for _, opts := range [][]Option{nil, {WithoutMigration()}} {
		_, err = Open(t.Context(), url, opts...)
		require.ErrorIs(t, err, ErrSchema)
		require.ErrorContains(t, err, "version 1001")
	}
	require.ErrorIs(t, Migrate(t.Context(), pool), ErrSchema)
	_, err = pool.Exec(t.Context(), `DELETE FROM bifrost_migrations`)
	require.NoError(t, err)
	_, err = Open(t.Context(), url)
	require.ErrorContains(t, err, "bifrost_migrations is empty")
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	pool := openPool(t, pgtest.Database(t))
	broken := fstest.MapFS{
		"migrations/0001_good.sql": {Data: []byte("-- oldest: 1\nCREATE TABLE bifrost_x (y INTEGER);")},
		"migrations/0002_bad.sql":  {Data: []byte("-- oldest: 1\nCREATE TABLE bifrost_z (y INTEGER); SELECT nonsense;")},
	}
	require.ErrorContains(t, migrate(t.Context(), pool, broken, systemClock), "migration 0002_bad")
	assert.Zero(t, tables(t, pool))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Migrate(ctx, pool), context.Canceled)
	assert.Zero(t, tables(t, pool))
	require.NoError(t, Migrate(t.Context(), pool), "no transaction was left open")
}

// Tables are made in the first schema of the search_path, and found there.
func TestSchemaIsTheFirstOfTheSearchPath(t *testing.T) {
	url := pgtest.Database(t)
	pool := openPool(t, url)
	_, err := pool.Exec(t.Context(), `CREATE SCHEMA app; CREATE TABLE public.bifrost_counters (mine text)`)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = pool.Exec(context.Background(), `DROP SCHEMA app CASCADE`) })
	db, err := Open(t.Context(), url+"&search_path=app,public")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Tokens().AddEvents(t.Context(), tokenstore.Event{Kind: "x"}))
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM app.bifrost_events`).Scan(&n))
	assert.Equal(t, 1, n)
}
