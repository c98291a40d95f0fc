package postgres_test

import (
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore/storetest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// changed returns a URL of which a part is another one.
func changed(t *testing.T, text string, change func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	change(u)
	return u.String()
}

// What goes wrong is said so that it can be mended, and without a password.
func TestErrorsSayWhatToDo(t *testing.T) {
	const secret = "hunter2-canary"
	server := pgtest.Server(t)
	password := func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }
	for _, tt := range []struct {
		name, url string
		says      string
	}{
		{"not a URL", "postgres://bifrost:" + secret + "@host:port with spaces/x", "cannot be understood"},
		{"a number that is none", "postgres://bifrost:" + secret + "@host:99999999/x", "cannot be understood"},
		{"keywords", "host=/nowhere password='" + secret, "cannot be understood"},
		{"an option that is none", "postgres://bifrost:" + secret + "@127.0.0.1/x?sslmode=" + secret, "cannot be understood"},
		{"nobody there", "postgres://bifrost:" + secret + "@127.0.0.1:1/x", "cannot be reached"},
		{"a wrong password", changed(t, server, password), "password is not the right one"},
		{"an unknown user", changed(t, server, func(u *url.URL) { u.User = url.UserPassword("nobody-here", secret) }), ""},
		{"an unknown database", changed(t, server, func(u *url.URL) { u.Path = "/nothing-here" }), "does not exist; create it"},
		{"no schema", changed(t, server, func(u *url.URL) { u.RawQuery += "&search_path=nowhere" }), "search_path"},
		{"another encoding", changed(t, server, func(u *url.URL) { u.RawQuery += "&client_encoding=LATIN1" }), "needs UTF8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "a wrong password" && os.Getenv("BIFROST_POSTGRES") != "" {
				t.Skip("that server may take any")
			}
			_, err := postgres.Open(t.Context(), tt.url)
			require.ErrorContains(t, err, tt.says)
			require.ErrorContains(t, err, "postgres: ")
			for _, no := range []string{secret, pgtest.Password, tt.url} {
				assert.NotContains(t, err.Error(), no)
			}
		})
	}
	_, err := postgres.New(t.Context(), nil)
	require.ErrorContains(t, err, "use Open")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = postgres.Open(ctx, server)
	require.ErrorIs(t, err, context.Canceled)
}

// A role that may not make tables is told so, and one that need not can work.
func TestRoleWithoutPrivileges(t *testing.T) {
	owner := pgtest.Database(t)
	pool, err := pgxpool.New(t.Context(), owner)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	const role, password = "bifrost_test_worker", "worker-canary"
	_, err = pool.Exec(t.Context(), `DROP ROLE IF EXISTS `+role+`; CREATE ROLE `+role+` LOGIN PASSWORD '`+password+`'`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role)
		assert.NoError(t, err)
	})
	worker := changed(t, owner, func(u *url.URL) { u.User = url.UserPassword(role, password) })
	_, err = pool.Exec(t.Context(), `REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC`)
	require.NoError(t, err)
	_, err = postgres.Open(t.Context(), worker)
	require.ErrorContains(t, err, "needs CREATE on the schema")

	require.NoError(t, postgres.Migrate(t.Context(), pool))
	_, err = postgres.Open(t.Context(), worker, postgres.WithoutMigration())
	require.ErrorContains(t, err, "SELECT, INSERT, UPDATE and DELETE")
	_, err = pool.Exec(t.Context(), `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	require.NoError(t, err)
	db := open(t, worker, postgres.WithoutMigration())
	require.NoError(t, storetest.Mark(t.Context(), db, "x"))
	assert.Equal(t, storetest.EveryTrace, storetest.Traces(t.Context(), t, db, "x"))
}

func TestCloseWaitsAndEndsEverything(t *testing.T) {
	url := pgtest.Database(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	db, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, db.Ping(t.Context()))
	begun, finish, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	written := make(chan error, 1)
	go func() {
		written <- db.InTx(t.Context(), func(ctx context.Context) error {
			close(begun)
			<-finish
			return storetest.Mark(ctx, db, "x")
		})
	}()
	<-begun
	go func() { closed <- db.Close() }()
	require.Eventually(t, func() bool { return db.Ping(t.Context()) == postgres.ErrClosed }, 10*time.Second, time.Millisecond) //nolint:errorlint // it is that one
	assert.Empty(t, closed, "Close waits")
	close(finish)
	require.NoError(t, <-written, "what has begun goes on to its end")
	require.NoError(t, <-closed)
	require.NoError(t, db.Close())
	_, err = db.Tokens().Load(t.Context(), tokenstore.Key{})
	require.ErrorIs(t, err, postgres.ErrClosed)
	require.ErrorIs(t, db.InTx(t.Context(), func(context.Context) error { panic("not called") }), postgres.ErrClosed)
}

// A standby is not written to, and what it knows may be old.
func TestStandbyIsRefused(t *testing.T) {
	standby := pgtest.Standby(t, func(url string) {
		db, err := postgres.Open(t.Context(), url)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
	_, err := postgres.Open(t.Context(), standby)
	require.ErrorContains(t, err, "read only")
	pool, err := pgxpool.New(t.Context(), standby)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	for _, opts := range [][]postgres.Option{nil, {postgres.WithoutMigration()}} {
		_, err = postgres.New(t.Context(), pool, opts...)
		require.ErrorContains(t, err, "connect to the primary")
	}
}
