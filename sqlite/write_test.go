package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func openTemp(t *testing.T) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "bifrost.db"))
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
	require.NoError(t, db.one(t.Context(), []any{&n}, `SELECT coalesce(sum(value), 0) FROM bifrost_counters WHERE name = $1`, name))
	return n
}

func TestWriteKeepsOrDropsAllOfOneWriteAlone(t *testing.T) {
	db := openTemp(t)
	fault := errors.New("no")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := db.write(t.Context(), func(tx *tx) error {
				if err := put("n", 1)(tx); err != nil {
					return err
				}
				if i%2 == 1 {
					return fault
				}
				return nil
			})
			if i%2 == 1 {
				assert.Same(t, fault, err)
			} else {
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 100, value(t, db, "n"))
}

func TestWriteSurvivesPanicAndGoexit(t *testing.T) {
	db := openTemp(t)
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
	require.NoError(t, db.write(t.Context(), put("n", 10)))
	assert.Equal(t, 10, value(t, db, "n"))
}

// A write that waits for another process's lock is withdrawn when its context
// ends, and nothing of it appears later.
func TestCancelledWriteIsWithdrawn(t *testing.T) {
	db := openTemp(t)
	other, err := db.reader.Conn(t.Context())
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), "PRAGMA query_only = 0; BEGIN IMMEDIATE")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, db.write(ctx, put("late", 1)), context.DeadlineExceeded)

	waiting := make(chan error, 1)
	go func() { waiting <- db.write(t.Context(), put("n", 1)) }()
	_, err = other.ExecContext(t.Context(), "ROLLBACK; PRAGMA query_only = 1")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, <-waiting)
	assert.Equal(t, 1, value(t, db, "n"))
	assert.Equal(t, 0, value(t, db, "late"))
}

func TestBrokenStatementFailsItsWriteOnly(t *testing.T) {
	db := openTemp(t)
	err := db.write(t.Context(), func(tx *tx) error {
		_, err := tx.Exec(`INSERT INTO nowhere VALUES (1)`)
		return err
	})
	require.ErrorContains(t, err, "nowhere")
	require.NoError(t, db.write(t.Context(), put("n", 1)))

	// A transaction that ended under a write's feet confirms nothing.
	err = db.write(t.Context(), func(tx *tx) error {
		_ = put("n", 1)(tx)
		_, err := tx.conn.ExecContext(tx.ctx, "ROLLBACK")
		return err
	})
	require.ErrorContains(t, err, "not confirmed")
	require.NoError(t, db.write(t.Context(), put("n", 1)))
	assert.Equal(t, 2, value(t, db, "n"))
}

// inOneBatch makes writes that share a transaction, in this order, and returns
// their errors.
func inOneBatch(t *testing.T, db *DB, writes ...func() error) []error {
	t.Helper()
	errs := make([]error, len(writes))
	var wg sync.WaitGroup
	_ = db.write(t.Context(), func(*tx) error {
		for i, write := range writes {
			wg.Go(func() { errs[i] = write() })
			require.Eventually(t, func() bool { return db.writer.waiting() == i+1 }, 10*time.Second, 50*time.Microsecond)
		}
		return nil
	})
	wg.Wait()
	return errs
}

// A write that refuses because of what another has written in the same transaction
// says so when that is on stable storage, and not if it never gets there.
func TestRefusalsWaitForWhatTheySaw(t *testing.T) {
	db := openTemp(t)
	seen := errors.New("it is there already")
	first := func(c **tokenstore.Connection) func() error {
		return func() (err error) {
			*c, err = db.Tokens().Update(t.Context(), tokenstore.Key{}, func(c *tokenstore.Connection, _ time.Time) error {
				if c.Version > 0 {
					return seen
				}
				return nil
			})
			return err
		}
	}
	var stored, was *tokenstore.Connection
	lose := func() error {
		return db.write(t.Context(), func(tx *tx) error {
			_, err := tx.conn.ExecContext(tx.ctx, "ROLLBACK")
			return err
		})
	}
	for _, err := range inOneBatch(t, db, first(&stored), first(&was), lose) {
		require.ErrorIs(t, err, errUnconfirmed)
		require.NotErrorIs(t, err, seen)
	}
	require.Nil(t, was)
	c, err := db.Tokens().Load(t.Context(), tokenstore.Key{})
	require.NoError(t, err)
	require.Zero(t, c.Version)

	errs := inOneBatch(t, db, first(&stored), first(&was))
	require.NoError(t, errs[0])
	require.Same(t, seen, errs[1])
	require.Equal(t, stored.Version, was.Version, "what it saw is there")
}

// A full disk fails the write that met it, whoever shares its commit hears that
// nothing was confirmed, and when there is room again all is well.
func TestFullDisk(t *testing.T) {
	db := openTemp(t)
	big := func(tx *tx) error {
		_, _ = tx.conn.ExecContext(tx.ctx, "PRAGMA max_page_count = 1") // as many as there are
		_, err := tx.Exec(`INSERT INTO bifrost_key_checks (key_id, sealed) VALUES ('big', zeroblob(1000000))`)
		_, _ = tx.conn.ExecContext(tx.ctx, "PRAGMA max_page_count = 1000000")
		return err
	}
	var confirmed atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if i%5 == 0 {
				assert.ErrorContains(t, db.write(t.Context(), big), "the disk is full")
			} else if db.write(t.Context(), put("n", 1)) == nil {
				confirmed.Add(1)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int(confirmed.Load()), value(t, db, "n"))
	require.NoError(t, db.write(t.Context(), put("n", 1)))
}

func TestPatienceEnds(t *testing.T) {
	db := openTemp(t)
	var busy error
	require.NoError(t, db.write(t.Context(), func(*tx) error {
		conn, err := db.reader.Conn(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, busy = conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 0; PRAGMA query_only = 0; BEGIN IMMEDIATE")
		_, err = conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 10000; PRAGMA query_only = 1")
		return err
	}))
	require.True(t, isBusy(busy), "%v", busy)
	require.ErrorContains(t, explain(busy), "another process has held the database's lock")
	synctest.Test(t, func(t *testing.T) {
		start, asked := time.Now(), 0
		err := patiently(t.Context(), func() error { asked++; return busy })
		assert.Same(t, busy, err)
		assert.InDelta(t, lockPatience, time.Since(start), float64(time.Second))
		assert.Greater(t, asked, 1000)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		require.Error(t, patiently(ctx, func() error { return busy }))
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// The lock that some waited for in vain is no fault of those who came since: a
// write whose caller has left must not count for one of theirs.
func TestAFailedBeginFailsOnlyWhoWaitedForIt(t *testing.T) {
	left, waits, later := &job{}, &job{}, &job{}
	require.True(t, left.claim())
	w := &writer{queue: []*job{left, waits, later}}
	require.Equal(t, []*job{waits}, w.first(2))
	require.Equal(t, 1, w.waiting())
	require.Same(t, later, w.next())
}

func TestClosedDatabase(t *testing.T) {
	db := openTemp(t)
	require.NoError(t, db.Close())
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.write(t.Context(), put("n", 1)), ErrClosed)
	require.ErrorIs(t, db.one(t.Context(), nil, `SELECT 1`), ErrClosed)
	require.ErrorIs(t, db.Ping(t.Context()), ErrClosed)
}

func TestConnectionSettings(t *testing.T) {
	db := openTemp(t)
	want := map[string]string{"synchronous": "2", "foreign_keys": "1", "journal_mode": "wal", "query_only": "0"}
	require.NoError(t, db.write(t.Context(), func(tx *tx) error {
		for pragma, value := range want {
			var got string
			require.NoError(t, tx.One([]any{&got}, "PRAGMA "+pragma))
			assert.Equal(t, value, got, pragma)
		}
		return nil
	}))
	want["query_only"], want["busy_timeout"] = "1", "10000"
	for pragma, value := range want {
		var got string
		require.NoError(t, db.one(t.Context(), []any{&got}, "PRAGMA "+pragma))
		assert.Equal(t, value, got, pragma)
	}

	// NORMAL is what hosts choose for WAL, and it loses commits on power loss.
	for _, theirs := range []string{"OFF", "NORMAL"} {
		borrowed, err := New(openPool(t, filepath.Join(t.TempDir(), "app.db")+"?_pragma=synchronous("+theirs+")"))
		require.NoError(t, err)
		require.NoError(t, borrowed.write(t.Context(), func(tx *tx) error {
			for _, pragma := range []string{"synchronous", "foreign_keys"} {
				var got string
				require.NoError(t, tx.One([]any{&got}, "PRAGMA "+pragma))
				assert.Equal(t, want[pragma], got, "%s of a borrowed connection, %s", pragma, theirs)
			}
			return nil
		}))
		require.NoError(t, borrowed.Close())
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	db, err := Open(filepath.Join(t.TempDir(), "bifrost.db"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := db.write(t.Context(), put("n", 1))
			assert.True(t, err == nil || errors.Is(err, ErrClosed), "%v", err)
		})
	}
	require.NoError(t, db.Close())
	wg.Wait()
	goleak.VerifyNone(t, ignore)
}
