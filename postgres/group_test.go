package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func keyOf(name string) tokenstore.Key { return tokenstore.Key{Definition: name} }

func touch(c *tokenstore.Connection, _ time.Time) error {
	c.Generation++
	c.Log("touched", fmt.Sprint(c.Generation), "")
	return nil
}

func generation(t *testing.T, db *DB, name string) int64 {
	t.Helper()
	c, err := db.Tokens().Load(t.Context(), keyOf(name))
	require.NoError(t, err)
	return c.Generation
}

// together makes the updates that are begun by begin wait until all n of them do,
// and lets them go in one shared transaction. It returns when begin's are done.
func together(t *testing.T, db *DB, n int, begin func(run func(func()))) {
	t.Helper()
	require.Eventually(t, func() bool { // what was told to its callers may not be over
		db.group.mu.Lock()
		defer db.group.mu.Unlock()
		if db.group.open > 0 {
			return false
		}
		db.group.open = db.group.atOnce // none may begin
		return true
	}, 10*time.Second, time.Millisecond)
	var all sync.WaitGroup
	begin(all.Go)
	require.Eventually(t, func() bool {
		db.group.mu.Lock()
		defer db.group.mu.Unlock()
		return len(db.group.queue) == n
	}, 10*time.Second, time.Millisecond)
	db.group.mu.Lock()
	db.group.open = 1
	db.group.mu.Unlock()
	db.users.Add(1)
	go db.group.loop()
	all.Wait()
	require.Eventually(t, func() bool {
		db.group.mu.Lock()
		defer db.group.mu.Unlock()
		return db.group.open == 0 && len(db.group.queue) == 0 && len(db.group.busy) == 0
	}, 10*time.Second, time.Millisecond)
	assert.Empty(t, db.writers)
}

// transactions returns how many have written connections, by what they have in common.
func transactions(t *testing.T, db *DB, names ...string) int {
	t.Helper()
	var n int
	require.NoError(t, db.one(t.Context(), []any{&n},
		`SELECT count(DISTINCT CAST(xmin AS text)) FROM bifrost_connections WHERE definition {any $1}`, names))
	return n
}

func TestUpdatesShareATransaction(t *testing.T) {
	db := openTemp(t)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("d", i))
	}
	for round := range 2 { // new, and there already
		together(t, db, len(names), func(run func(func())) {
			for _, name := range names {
				run(func() {
					c, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
					if assert.NoError(t, err) {
						assert.Equal(t, int64(round+1), c.Version)
					}
				})
			}
		})
		assert.Equal(t, 1, transactions(t, db, names...))
	}
	events, err := db.Tokens().Events(t.Context(), tokenstore.Match{}, 0, 100)
	require.NoError(t, err)
	assert.Len(t, events, 40)
}

// No two updates of one key are in one transaction, and they do not wait for each
// other within the database.
func TestUpdatesOfOneKeyFollowEachOther(t *testing.T) {
	db := openTemp(t)
	together(t, db, 10, func(run func(func())) {
		for range 10 {
			run(func() {
				_, err := db.Tokens().Update(t.Context(), keyOf("d"), touch)
				assert.NoError(t, err)
			})
		}
	})
	assert.Equal(t, int64(10), generation(t, db, "d"))
}

// Whatever happens to one, the others of the transaction are kept.
func TestFaultsInASharedTransactionAreOnesOwn(t *testing.T) {
	refused := errors.New("no")
	tests := map[string]struct {
		change func(c *tokenstore.Connection, now time.Time) error
		check  func(t *testing.T, c *tokenstore.Connection, err error)
	}{
		"it refuses": {
			func(*tokenstore.Connection, time.Time) error { return refused },
			func(t *testing.T, c *tokenstore.Connection, err error) {
				t.Helper()
				assert.Equal(t, refused, err)
				assert.NotNil(t, c)
			},
		},
		"it stores what cannot be stored": {
			func(c *tokenstore.Connection, _ time.Time) error { c.Reason = "\x00"; return nil },
			func(t *testing.T, _ *tokenstore.Connection, err error) {
				t.Helper()
				assert.ErrorContains(t, err, "NUL")
			},
		},
		"the database refuses": {
			func(c *tokenstore.Connection, _ time.Time) error { c.Reason = "bad"; return nil },
			func(t *testing.T, _ *tokenstore.Connection, err error) {
				t.Helper()
				assert.ErrorContains(t, err, "not_bad")
			},
		},
		"the database refuses its event": {
			func(c *tokenstore.Connection, _ time.Time) error { c.Log("bad", "", ""); return nil },
			func(t *testing.T, _ *tokenstore.Connection, err error) {
				t.Helper()
				assert.ErrorContains(t, err, "not_bad")
			},
		},
		"its goroutine ends": {
			func(*tokenstore.Connection, time.Time) error { runtime.Goexit(); return nil },
			func(t *testing.T, _ *tokenstore.Connection, _ error) { t.Helper(); t.Error("it goes on") },
		},
		"it panics": {
			func(*tokenstore.Connection, time.Time) error { panic("boom") },
			func(t *testing.T, _ *tokenstore.Connection, _ error) { t.Helper(); t.Error("it goes on") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := openTemp(t)
			for _, name := range []string{"a", "m", "z"} {
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				require.NoError(t, err)
			}
			_, err := db.pool.Exec(t.Context(), `ALTER TABLE bifrost_connections ADD CONSTRAINT not_bad CHECK (reason <> 'bad');
				ALTER TABLE bifrost_events ADD CONSTRAINT not_bad CHECK (kind <> 'bad')`)
			require.NoError(t, err)
			together(t, db, 4, func(run func(func())) {
				for _, name := range []string{"a", "new", "z"} {
					run(func() {
						_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
						assert.NoError(t, err, name)
					})
				}
				run(func() {
					defer func() {
						if fault := recover(); fault != nil {
							assert.Equal(t, "boom", fault)
						}
					}()
					c, err := db.Tokens().Update(t.Context(), keyOf("m"), tt.change)
					tt.check(t, c, err)
				})
			})
			for name, want := range map[string]int64{"a": 2, "new": 1, "z": 2, "m": 1} {
				assert.Equal(t, want, generation(t, db, name), name)
			}
			events, err := db.Tokens().Events(t.Context(), tokenstore.Match{}, 0, 100)
			require.NoError(t, err)
			assert.Len(t, events, 6)
		})
	}
}

// One who takes his time decides without the others, on what is there by then.
func TestWhoTakesLongIsNotWaitedFor(t *testing.T) {
	db := openTemp(t)
	others := make(chan struct{})
	together(t, db, 4, func(run func(func())) {
		var left sync.WaitGroup
		left.Add(3)
		for _, name := range []string{"a", "b", "c"} {
			run(func() {
				defer left.Done()
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				assert.NoError(t, err)
			})
		}
		go func() { left.Wait(); close(others) }()
		run(func() {
			calls := 0
			c, err := db.Tokens().Update(t.Context(), keyOf("slow"), func(c *tokenstore.Connection, now time.Time) error {
				if calls++; calls == 1 {
					<-others
				}
				return touch(c, now)
			})
			if assert.NoError(t, err) {
				assert.Equal(t, int64(1), c.Version)
			}
			assert.Equal(t, 2, calls)
		})
	})
	assert.Equal(t, int64(1), generation(t, db, "slow"))
}

// A record that another process has locked is waited for by those who want it.
func TestALockedRecordIsWaitedForAlone(t *testing.T) {
	db := openTemp(t)
	for _, name := range []string{"a", "locked"} {
		_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
		require.NoError(t, err)
	}
	holder, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), `SELECT 1 FROM bifrost_connections WHERE definition = 'locked' FOR UPDATE`)
	require.NoError(t, err)
	together(t, db, 3, func(run func(func())) {
		var free sync.WaitGroup
		free.Add(2)
		for _, name := range []string{"a", "b"} {
			run(func() {
				defer free.Done()
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				assert.NoError(t, err)
			})
		}
		run(func() {
			_, err := db.Tokens().Update(t.Context(), keyOf("locked"), touch)
			assert.NoError(t, err)
		})
		go func() {
			free.Wait()
			assert.NoError(t, holder.Rollback(context.Background()))
		}()
	})
	assert.Equal(t, int64(2), generation(t, db, "locked"))
}

// Who leaves before he was asked has written nothing, and keeps nobody waiting: in
// the queue, and in a transaction that waits for one of InTx.
func TestEndedContextsLeave(t *testing.T) {
	db := openTemp(t)
	inTx, end := make(chan struct{}), make(chan struct{})
	var alone sync.WaitGroup
	alone.Go(func() {
		assert.NoError(t, db.InTx(t.Context(), func(context.Context) error { close(inTx); <-end; return nil }))
	})
	<-inTx
	release := sync.OnceFunc(func() { close(end) })
	defer release()
	is := func(want func(g *group) bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			db.group.mu.Lock()
			defer db.group.mu.Unlock()
			return want(db.group)
		}, 10*time.Second, time.Millisecond)
	}
	inGroup := func(name string) {
		t.Helper()
		is(func(g *group) bool {
			return g.busy[[4]string{name}] || slices.ContainsFunc(g.queue, func(j *job) bool { return j.Key[0] == name })
		})
	}
	var all sync.WaitGroup
	stays := func(name string) {
		all.Go(func() {
			_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
			assert.NoError(t, err)
		})
		inGroup(name)
	}
	leaves := func(name string) {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := db.Tokens().Update(ctx, keyOf(name), touch)
			left <- err
		}()
		inGroup(name)
		cancel()
		require.ErrorIs(t, <-left, context.Canceled)
	}
	leaves("alone in its transaction, which ends")
	is(func(g *group) bool { return g.open == 0 })
	for i := range groupsAtOnce {
		stays(fmt.Sprint("under way ", i))
		is(func(g *group) bool { return g.open == i+1 && len(g.queue) == 0 })
	}
	leaves("queued")
	stays("queued and stays")
	release()
	alone.Wait()
	all.Wait()
	list, err := db.Tokens().List(t.Context(), tokenstore.Match{}, nil, 100)
	require.NoError(t, err)
	assert.Len(t, list, groupsAtOnce+1)
}

// A caller who leaves once he has decided is told how it ended.
func TestASharedCommitIsNotInterrupted(t *testing.T) {
	db := openTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := db.Tokens().Update(ctx, keyOf("d"), func(c *tokenstore.Connection, now time.Time) error {
		defer cancel()
		return touch(c, now)
	})
	require.NoError(t, err)
	assert.Equal(t, int64(1), generation(t, db, "d"))
}

// When the session is lost before the commit is answered, nobody knows; when it is
// lost before anything was written, it is done again.
func TestLostSessionsOfASharedTransaction(t *testing.T) {
	db := openTemp(t)
	end := func(ctx context.Context) {
		_, err := db.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		assert.NoError(t, err)
	}
	t.Run("while they decide", func(t *testing.T) {
		together(t, db, 5, func(run func(func())) {
			for i := range 5 {
				run(func() {
					_, err := db.Tokens().Update(t.Context(), keyOf(fmt.Sprint("d", i)), func(c *tokenstore.Connection, now time.Time) error {
						if i == 0 && c.Version == 0 {
							end(t.Context())
						}
						return touch(c, now)
					})
					require.ErrorIs(t, err, sqlstore.ErrUnconfirmed)
				})
			}
		})
		list, err := db.Tokens().List(t.Context(), tokenstore.Match{}, nil, 10)
		require.NoError(t, err)
		assert.Empty(t, list)
	})
	t.Run("while they wait for a lock", func(t *testing.T) {
		holder, err := db.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock(7160395)`)
		require.NoError(t, err)
		together(t, db, 5, func(run func(func())) {
			for i := range 5 {
				run(func() {
					_, err := db.Tokens().Update(t.Context(), keyOf(fmt.Sprint("d", i)), touch)
					assert.NoError(t, err)
				})
			}
			go func() {
				assert.Eventually(t, func() bool {
					var n int
					_ = holder.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&n)
					return n > 0
				}, 10*time.Second, time.Millisecond)
				assert.NoError(t, holder.Rollback(context.Background()))
			}()
		})
		list, err := db.Tokens().List(t.Context(), tokenstore.Match{}, nil, 10)
		require.NoError(t, err)
		assert.Len(t, list, 5)
	})
}

// The answer to a commit is lost and nothing else: it has to be taken for one that may
// have been kept, as it was, and nothing is done twice.
func TestALostAnswerToACommit(t *testing.T) {
	p := newProxy(t, pgtest.Database(t))
	defer p.close()
	db, err := Open(t.Context(), p.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	p.lose("COMMIT\x00")
	for name, write := range map[string]func() error{
		"shared": func() error { _, err := db.Tokens().Update(t.Context(), keyOf("shared"), touch); return err },
		"alone": func() error {
			return db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Tokens().Update(ctx, keyOf("alone"), touch)
				return err
			})
		},
	} {
		require.ErrorIs(t, write(), sqlstore.ErrUnconfirmed, name)
		require.Equal(t, int64(1), generation(t, db, name), name)
	}
	p.lose("")
	_, err = db.Tokens().Update(t.Context(), keyOf("shared"), touch)
	require.NoError(t, err)
}

// Who decides that nothing is to be written waits for nothing.
func TestAChangeOfNothing(t *testing.T) {
	db := openTemp(t)
	const query = `SELECT CAST($1 AS text), CAST($2 AS text), CAST($3 AS text), CAST($4 AS text)`
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, err := range []error{nil, errors.New("no")} {
		require.Equal(t, err, db.change(ctx, sqlstore.Change{
			Lock: query, TryLock: query, Load: query, Clock: `SELECT 1`,
			Found:  func(sqlstore.Scanner) error { return nil },
			Decide: func() ([]sqlstore.Statement, error) { return nil, err },
		}))
	}
}
