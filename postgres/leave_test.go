package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// sessions are the server's of a database, but for the one that asks.
func sessions(t *testing.T, direct *pgxpool.Pool) (pids []int) {
	t.Helper()
	rows, err := direct.Query(t.Context(), `SELECT pid FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var pid int
		require.NoError(t, rows.Scan(&pid))
		pids = append(pids, pid)
	}
	require.NoError(t, rows.Err())
	return pids
}

// paths are the ways to a database, by what is on them.
func paths(t *testing.T) map[string]func(direct string) string {
	t.Helper()
	bouncer := pgtest.Bouncer(t, pgtest.Server(t))
	return map[string]func(direct string) string{
		"direct": func(direct string) string { return direct },
		"PgBouncer": func(direct string) string {
			cfg, err := pgxpool.ParseConfig(direct)
			require.NoError(t, err)
			return pgtest.WithDatabase(bouncer, cfg.ConnConfig.Database)
		},
	}
}

// openFull opens a DB whose pool has that many connections, and will not have more.
func openFull(t *testing.T, url string, connections int) *DB {
	t.Helper()
	db, err := Open(t.Context(), fmt.Sprintf("%s&pool_max_conns=%d&pool_min_conns=%d", url, connections, connections))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.Eventually(t, func() bool { return int(db.pool.Stat().IdleConns()) == connections }, 10*time.Second, time.Millisecond)
	return db
}

// Callers who leave at any moment cost no connection, neither ours nor PgBouncer's
// few, and what they were to get is not written to when they are gone.
func TestCallersLeaveConnectionsAlone(t *testing.T) {
	for name, through := range paths(t) {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			direct, err := pgxpool.New(t.Context(), url+"&pool_max_conns=1")
			require.NoError(t, err)
			t.Cleanup(direct.Close)
			db := openFull(t, through(url), 8)
			s := db.Tokens()
			_, err = s.Update(t.Context(), keyOf("d"), touch)
			require.NoError(t, err)
			connections, before := db.pool.Stat().NewConnsCount(), sessions(t, direct)

			const callers, calls = 16, 1000
			var left int
			var mu sync.Mutex
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for range calls / callers {
						ctx, cancel := context.WithTimeout(t.Context(), rand.N(4*time.Millisecond))
						var err error
						switch rand.IntN(4) {
						case 0:
							_, err = s.List(ctx, tokenstore.Match{Definition: "d"}, nil, 10)
						case 1:
							_, err = s.Update(ctx, keyOf("d"), touch)
						case 2:
							err = s.AddEvents(ctx, tokenstore.Event{Kind: "left"})
						default:
							_, err = s.Load(ctx, keyOf("d"))
						}
						cancel()
						if err != nil {
							assert.ErrorIs(t, err, context.DeadlineExceeded)
							mu.Lock()
							left++
							mu.Unlock()
						}
					}
				})
			}
			all.Wait()
			t.Logf("%d of %d callers left", left, calls)
			assert.Greater(t, left, calls/20)
			assert.Equal(t, connections, db.pool.Stat().NewConnsCount(), "new connections")
			if name == "direct" { // PgBouncer replaces its sessions, and adds to them when it likes
				assert.Equal(t, before, sessions(t, direct))
			}
			c, err := s.Load(t.Context(), keyOf("d"))
			require.NoError(t, err)
			assert.Equal(t, "d", c.Definition)
		})
	}
}

// Who leaves while he waits for a lock is let go by the server, with his connection.
func TestWaitingForALockIsCancelled(t *testing.T) {
	for name, through := range paths(t) {
		t.Run(name, func(t *testing.T) {
			url := pgtest.Database(t)
			db := openFull(t, through(url), 3)
			_, err := db.Tokens().Update(t.Context(), keyOf("d"), touch)
			require.NoError(t, err)
			direct, err := pgxpool.New(t.Context(), url)
			require.NoError(t, err)
			t.Cleanup(direct.Close)
			holder, err := direct.Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = holder.Rollback(context.Background()) })
			_, err = holder.Exec(t.Context(), `SELECT 1 FROM bifrost_connections FOR UPDATE`)
			require.NoError(t, err)
			connections := db.pool.Stat().NewConnsCount()
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				_, err = db.Tokens().Update(ctx, keyOf("d"), touch)
				cancel()
				require.ErrorIs(t, err, context.DeadlineExceeded)
				ctx, cancel = context.WithCancel(t.Context())
				err = db.write(ctx, func(tx *tx) error {
					cancel() // while it waits, or before
					return tx.Lock(`SELECT 1 FROM bifrost_connections {lock}`)
				})
				require.ErrorIs(t, err, context.Canceled)
				ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
				err = db.write(ctx, func(tx *tx) error { return tx.Lock(`SELECT 1 FROM bifrost_connections {lock}`) })
				cancel()
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, db.write(t.Context(), put("n", 1)))
			}
			require.NoError(t, holder.Rollback(t.Context()))
			assert.Equal(t, connections, db.pool.Stat().NewConnsCount(), "new connections")
			assert.Equal(t, 3, value(t, db, "n"))
		})
	}
}

// A request to cancel that was not answered may arrive at any time: nobody else gets
// the session that it is for.
func TestALateCancelMeetsNobody(t *testing.T) {
	url := pgtest.Database(t)
	p := newProxy(t, url)
	defer p.close()
	db := openFull(t, p.url, 2)
	_, err := db.Tokens().Update(t.Context(), keyOf("d"), touch)
	require.NoError(t, err)
	direct, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	defer direct.Close()
	holder, err := direct.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.Background()) }()
	_, err = holder.Exec(t.Context(), `SELECT 1 FROM bifrost_connections FOR UPDATE`)
	require.NoError(t, err)

	p.keepCancels()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- db.write(ctx, func(tx *tx) error { return tx.Lock(`SELECT 1 FROM bifrost_connections {lock}`) })
	}()
	var pid int
	require.Eventually(t, func() bool {
		return direct.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&pid) == nil
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.Eventually(t, func() bool { return p.cancelsKept() > 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, holder.Rollback(t.Context())) // and the statement succeeds
	require.NoError(t, <-ended)
	require.Eventually(t, func() bool { return !slices.Contains(sessions(t, direct), pid) }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, db.write(t.Context(), put("n", 1)))
}

// A server that falls silent: readers leave at once and writers soon, and Close does
// not wait for what was left alone longer than endPatience.
func TestASilentServerKeepsNobody(t *testing.T) {
	direct := pgtest.Database(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := newProxy(t, direct)
	defer p.close()
	db, err := Open(t.Context(), p.url+"&pool_min_conns=2&pool_max_conns=2")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.Eventually(t, func() bool { return db.pool.Stat().IdleConns() == 2 }, 10*time.Second, time.Millisecond)
	db.patience = 200 * time.Millisecond
	p.silence()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = db.Tokens().Load(ctx, keyOf("d"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), db.patience, "a reader")
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = db.Tokens().Update(ctx, keyOf("d"), touch)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	db.users.Wait() // as Close does; the pool gives its connections a while to say goodbye
	assert.Less(t, time.Since(began), endPatience)
	p.close()
}
