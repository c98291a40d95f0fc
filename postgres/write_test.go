package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func openTemp(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), pgtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// adopt gives New a pool whose sessions begin with these settings.
func adopt(t *testing.T, url string, settings map[string]string) *DB {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	for name, value := range settings {
		cfg.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db, err := New(t.Context(), pool)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func put(name string, value int) func(*tx) error {
	return func(t *tx) error {
		_, err := t.Exec(`INSERT INTO bifrost_counters (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = bifrost_counters.value + excluded.value`, name, value)
		return err
	}
}

func value(t *testing.T, db *DB, name string) (n int) {
	t.Helper()
	require.NoError(t, db.one(t.Context(), []any{&n}, `SELECT CAST(coalesce(sum(value), 0) AS bigint) FROM bifrost_counters WHERE name = $1`, name))
	return n
}

// A transaction is as isolated and as durable as ours must be, whatever the pool's
// sessions are set to, and leaves them as they were.
func TestTransactionsBringTheirSettings(t *testing.T) {
	url := pgtest.Database(t)
	for given, want := range map[string]string{
		"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply",
	} {
		db := adopt(t, url, map[string]string{"synchronous_commit": given, "default_transaction_isolation": "repeatable read"})
		show := func(one func(dest []any, query string, args ...any) error) (commit, isolation, idle string) {
			require.NoError(t, one([]any{&commit, &isolation, &idle}, `SELECT current_setting('synchronous_commit'),
				current_setting('transaction_isolation'), current_setting('idle_in_transaction_session_timeout')`))
			return commit, isolation, idle
		}
		require.NoError(t, db.write(t.Context(), func(tx *tx) error {
			commit, isolation, idle := show(tx.One)
			assert.Equal(t, []string{want, "read committed", "15s"}, []string{commit, isolation, idle}, given)
			return nil
		}))
		commit, isolation, idle := show(func(dest []any, query string, args ...any) error { return db.one(t.Context(), dest, query, args...) })
		assert.Equal(t, []string{given, "repeatable read", "0"}, []string{commit, isolation, idle})
	}
}

// A server that is read only by default is kept from being written to by its operator.
func TestAReadOnlyServerIsNotWrittenTo(t *testing.T) {
	url := pgtest.Database(t)
	fenced := map[string]string{"default_transaction_read_only": "on"}
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	maps.Copy(cfg.ConnConfig.RuntimeParams, fenced)
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	require.ErrorContains(t, Migrate(t.Context(), pool), standby)
	require.NoError(t, adopt(t, url, nil).Close())

	db := adopt(t, url, fenced)
	_, err = db.Tokens().Load(t.Context(), keyOf("d"))
	require.NoError(t, err)
	for name, write := range map[string]func(ctx context.Context) error{
		"shared": func(ctx context.Context) error { _, err := db.Tokens().Update(ctx, keyOf("d"), touch); return err },
		"alone":  func(ctx context.Context) error { return db.Tokens().AddEvents(ctx, tokenstore.Event{Kind: "k"}) },
		"in a transaction": func(ctx context.Context) error {
			return db.InTx(ctx, func(ctx context.Context) error { return db.Tokens().AddEvents(ctx, tokenstore.Event{Kind: "k"}) })
		},
	} {
		require.ErrorContains(t, write(t.Context()), standby, name)
	}
}

func TestWriteKeepsNothingOfWhatFails(t *testing.T) {
	db := openTemp(t)
	fault := errors.New("no")
	require.Same(t, fault, db.write(t.Context(), func(tx *tx) error {
		require.NoError(t, put("n", 1)(tx))
		return fault
	}))
	assert.PanicsWithValue(t, "boom", func() {
		_ = db.write(t.Context(), func(tx *tx) error { _ = put("n", 1)(tx); panic("boom") })
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = db.write(t.Context(), func(tx *tx) error {
			_ = put("n", 1)(tx)
			new(testing.T).SkipNow() // runtime.Goexit
			return nil
		})
	}()
	<-ended
	require.ErrorContains(t, db.write(t.Context(), func(tx *tx) error {
		_ = put("n", 1)(tx)
		_, _ = tx.Exec(`INSERT INTO nowhere VALUES (1)`) // swallowed
		return nil
	}), "a statement of the transaction failed")
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, db.write(ctx, func(tx *tx) error {
		_ = put("n", 1)(tx)
		cancel()
		return put("n", 1)(tx)
	}), context.Canceled)
	assert.Zero(t, value(t, db, "n"))
	require.NoError(t, db.write(t.Context(), put("n", 7)))
	assert.Equal(t, 7, value(t, db, "n"))
	assert.Zero(t, db.pool.Stat().AcquiredConns())
}

// A caller who leaves while his work is committed does not change how it ends.
func TestCommitIsNotInterrupted(t *testing.T) {
	db := openTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, db.write(ctx, func(tx *tx) error {
		defer cancel()
		return put("n", 1)(tx)
	}))
	assert.Equal(t, 1, value(t, db, "n"))
}

// When the connection is lost, nobody knows whether the commit arrived.
func TestLostCommitIsUnconfirmed(t *testing.T) {
	db := openTemp(t)
	err := db.write(t.Context(), func(tx *tx) error {
		require.NoError(t, put("n", 1)(tx))
		return tx.conn.Conn().PgConn().Conn().Close()
	})
	require.ErrorIs(t, err, errUnconfirmed)
	require.ErrorIs(t, err, sqlstore.ErrUnconfirmed)
	assert.NotContains(t, err.Error(), pgtest.Password)
	require.NoError(t, db.write(t.Context(), put("m", 1)), "and the store goes on")
}

// Two transactions that take two locks in opposite orders: PostgreSQL ends one of
// them, which is run again.
func TestDeadlockIsRunAgain(t *testing.T) {
	db := openTemp(t)
	require.NoError(t, put2(t, db, "a", "b", nil))
	var both, done sync.WaitGroup
	both.Add(2)
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		done.Go(func() {
			var once sync.Once
			assert.NoError(t, put2(t, db, names[0], names[1], func() { once.Do(func() { both.Done(); both.Wait() }) }))
		})
	}
	done.Wait()
	assert.Equal(t, 3, value(t, db, "a"))
	assert.Equal(t, 3, value(t, db, "b"))
}

func put2(t *testing.T, db *DB, first, second string, between func()) error {
	t.Helper()
	return db.write(t.Context(), func(tx *tx) error {
		if err := put(first, 1)(tx); err != nil {
			return err
		}
		if between != nil {
			between()
		}
		return put(second, 1)(tx)
	})
}

// Positions are in the order of the commits, whoever began first, and a reader who
// has read up to one misses nothing that is committed later.
func TestFeedIsInTheOrderOfTheCommits(t *testing.T) {
	db := openTemp(t)
	s := db.Tokens()
	touch := func(ctx context.Context, name string) error {
		_, err := s.Update(ctx, tokenstore.Key{Definition: name}, func(*tokenstore.Connection, time.Time) error { return nil })
		return err
	}
	_, start, err := s.Changes(t.Context(), -1, 0)
	require.NoError(t, err)
	position := start
	next := func(ctx context.Context) (names []string) {
		keys, n, err := s.Changes(ctx, position, 10)
		require.NoError(t, err)
		for _, key := range keys {
			names = append(names, key.Definition)
		}
		position = n
		return names
	}
	require.NoError(t, touch(t.Context(), "early"))
	require.NoError(t, touch(t.Context(), "late"))
	require.Equal(t, []string{"early", "late"}, next(t.Context()))
	require.NoError(t, db.write(t.Context(), func(tx *tx) error {
		for _, name := range []string{"early", "late", "early"} {
			at, err := tx.Position(sqlstore.Changes)
			require.NoError(t, err)
			_, err = tx.Exec(`UPDATE bifrost_connections SET change = $1 WHERE definition = $2`, at, name)
			require.NoError(t, err)
		}
		require.NoError(t, touch(t.Context(), "beside"), "nobody waits for an open transaction")
		assert.Equal(t, []string{"beside"}, next(t.Context()))
		return nil
	}))
	assert.Equal(t, []string{"late", "early"}, next(t.Context()))
	assert.Empty(t, next(t.Context()))
	_, end, err := s.Changes(t.Context(), -1, 0)
	require.NoError(t, err)
	assert.Equal(t, end, position)
	assert.Less(t, position, start+10)
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, touch(ctx, "own"))
		assert.Equal(t, []string{"own"}, next(ctx), "a transaction sees what it has written")
		assert.Equal(t, end, position, "which has no position yet")
		return nil
	}))
	assert.Equal(t, []string{"own"}, next(t.Context()))
	keys, _, err := s.Changes(t.Context(), start, 10)
	require.NoError(t, err)
	assert.Len(t, keys, 4)
}

// Many transactions with many records each, and a reader who takes small steps.
func TestFeedOfManyTransactions(t *testing.T) {
	db := openTemp(t)
	s := db.Definitions()
	const writers, rounds, each = 6, 8, 5
	written := make(chan struct{})
	go func() {
		defer close(written)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for round := range rounds {
					assert.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
						for i := range each {
							r := integrations.SettingsRecord{Version: int64(round)}
							r.Definition, r.Org = fmt.Sprint(w), fmt.Sprint(i)
							if _, err := s.PutSettings(ctx, r); err != nil {
								return err
							}
						}
						return nil
					}))
				}
			})
		}
		all.Wait()
	}()
	seen := make(map[integrations.SettingsKey]int64)
	var position int64
	for done := false; ; {
		keys, next, err := s.SettingsChanges(t.Context(), position, 3)
		require.NoError(t, err)
		require.GreaterOrEqual(t, next, position)
		position = next
		for _, key := range keys {
			r, err := s.Settings(t.Context(), key.Definition, key.Org)
			require.NoError(t, err)
			seen[key] = r.Version
		}
		if done && len(keys) == 0 {
			break
		}
		select {
		case <-written:
			done = true
		default:
		}
	}
	require.Len(t, seen, writers*each)
	for key, version := range seen {
		assert.Equal(t, int64(rounds), version, "%v", key)
	}
}

// What InTx reads and decides on stays true: nobody writes beside it, whatever he
// writes.
func TestInTxIsAlone(t *testing.T) {
	db := openTemp(t)
	counted := func(ctx context.Context) (n int) {
		list, err := db.Tokens().List(ctx, tokenstore.Match{Definition: "d"}, nil, 1000)
		require.NoError(t, err)
		return len(list)
	}
	var writers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := tokenstore.Key{Definition: "d", Org: fmt.Sprint(w, "-", i)}
				_, err := db.Tokens().Update(t.Context(), key, func(*tokenstore.Connection, time.Time) error { return nil })
				assert.NoError(t, err)
			}
		})
	}
	for range 10 {
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			n := counted(ctx)
			require.NoError(t, db.Tokens().AddEvents(ctx, tokenstore.Event{Kind: "counted"}))
			assert.Equal(t, n, counted(ctx))
			assert.Equal(t, n, counted(t.Context()))
			return nil
		}))
	}
	stop()
	writers.Wait()
}

// A server may speak any language, and a pooler may speak for it.
func TestCommitted(t *testing.T) {
	for name, c := range map[string]struct {
		fault   pgconn.PgError
		refused bool
	}{
		"deadlock":         {pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "40P01"}, true},
		"in German":        {pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: "40P01"}, true},
		"of a pooler":      {pgconn.PgError{Severity: "ERROR", Code: "40P01"}, true},
		"shut down":        {pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01"}, false},
		"server gone":      {pgconn.PgError{Severity: "ERROR", Code: "08P01"}, false},
		"FATAL, in German": {pgconn.PgError{Severity: "FATAL", Code: "57P01"}, false},
	} {
		err := committed(pgconn.CommandTag{}, &c.fault)
		require.Error(t, err, name)
		require.Equal(t, !c.refused, errors.Is(err, sqlstore.ErrUnconfirmed), name)
	}
	require.ErrorIs(t, committed(pgconn.CommandTag{}, io.EOF), sqlstore.ErrUnconfirmed)
	require.NoError(t, committed(pgconn.NewCommandTag("COMMIT"), nil))
	require.NotErrorIs(t, committed(pgconn.NewCommandTag("ROLLBACK"), nil), sqlstore.ErrUnconfirmed)
}
