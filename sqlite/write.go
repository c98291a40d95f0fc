package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

const (
	// lockPatience is how long a write waits for another process's transaction.
	lockPatience = 10 * time.Second
	// batchLimit bounds how many writes share one commit.
	batchLimit = 128
	// turnLength is how long this process may keep the write lock busy without
	// a pause. SQLite's lock is not fair: a process that writes without end would
	// starve the others, who only look now and then.
	turnLength = 50 * time.Millisecond
	turnPause  = 2 * time.Millisecond
)

// write runs fn in a write transaction (BEGIN IMMEDIATE) and returns when it is
// on stable storage. Nothing of it is kept if fn returns an error or panics. The
// error is returned unchanged once everything that fn may have seen is on stable
// storage, too.
//
// Writes that wait at the same time share a transaction, each in its own
// savepoint, because the sync to disk is what costs. They run one after the
// other, each on its caller's goroutine: fn must be quick, do no I/O of its own,
// and use nothing but its tx.
//
// A context that ends while the write waits its turn withdraws it. Once begun it
// goes on to its end, which takes milliseconds.
//
// With a context of InTx, fn runs within that transaction.
func (db *DB) write(ctx context.Context, fn func(t *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s := db.seamOf(ctx); s != nil {
		return s.Write(ctx, fn)
	}
	j := &job{turn: make(chan *tx, 1), ran: make(chan struct{}, 1), done: make(chan error, 1)}
	if err := db.writer.enqueue(j); err != nil {
		return err
	}
	var t *tx
	select {
	case t = <-j.turn:
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.claim() {
			return ctx.Err()
		}
		select {
		case t = <-j.turn:
		case err := <-j.done:
			return err
		}
	}
	if err := j.run(t, fn); err != nil {
		// What fn refused may be another's write in the same transaction: it is
		// told to nobody before it is on stable storage.
		if lost := <-j.done; lost != nil {
			return fmt.Errorf("%w (after: %s)", lost, err.Error())
		}
		return err
	}
	return <-j.done
}

// job is one call of write. Its fields after ran are handed over by channels.
type job struct {
	claimed atomic.Bool   // by the batch that runs it, or by its caller who left
	turn    chan *tx      // the batch: go ahead
	ran     chan struct{} // the caller: finished, keep says how
	done    chan error    // the batch: committed, or why not
	keep    bool
}

// claim reports whether the caller of claim now decides what becomes of j.
func (j *job) claim() bool { return j.claimed.CompareAndSwap(false, true) }

// run calls fn. Deferred, so that a panic or runtime.Goexit in fn (t.FailNow in
// a test) gives the transaction back.
func (j *job) run(t *tx, fn func(t *tx) error) (err error) {
	defer func() { j.ran <- struct{}{} }()
	err = fn(t)
	j.keep = err == nil
	return err
}

// writer commits queued jobs in batches, on a goroutine that exists only while
// there are some.
type writer struct {
	db        *DB
	pool      *sql.DB
	exclusive bool // the pool is ours: keep the connection and its statements

	mu     sync.Mutex
	queue  []*job
	active bool
	closed bool
	idle   sync.WaitGroup

	kept *tx // if exclusive; only the batch goroutine touches it
}

func (w *writer) enqueue(j *job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	w.queue = append(w.queue, j)
	if !w.active {
		w.active = true
		w.idle.Add(1)
		go w.loop()
	}
	return nil
}

func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.idle.Wait()
	return w.drop()
}

// next claims the oldest job whose caller still waits.
func (w *writer) next() *job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		j := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if j.claim() {
			return j
		}
	}
	return nil
}

// first takes the n oldest jobs off the queue, and claims those whose callers
// still wait.
func (w *writer) first(n int) (claimed []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.queue[:n] {
		if j.claim() {
			claimed = append(claimed, j)
		}
	}
	w.queue = slices.Delete(w.queue, 0, n)
	return claimed
}

// waiting returns how many jobs are queued.
func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// rest reports whether jobs are left, and ends the goroutine's life if not.
func (w *writer) rest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = len(w.queue) > 0
	return w.active
}

func (w *writer) loop() {
	defer w.idle.Done()
	began := time.Now()
	for w.rest() {
		if time.Since(began) > turnLength {
			<-time.After(turnPause)
			began = time.Now()
		}
		w.batch()
	}
}

// batch runs what is queued in one transaction. Jobs are claimed only once it is
// open, so that callers can leave while another process holds the lock.
func (w *writer) batch() {
	waiting := w.waiting()
	t, err := w.begin()
	if err != nil {
		for _, j := range w.first(waiting) { // the others came later, and have their own patience
			j.done <- explain(err)
		}
		return
	}
	var waits []*job // for the commit
	for n := 0; n < batchLimit && err == nil; n++ {
		j := w.next()
		if j == nil {
			break
		}
		var depends bool
		if depends, err = w.turn(t, j, len(waits) > 0); depends {
			waits = append(waits, j)
		}
	}
	if err == nil {
		_, err = t.conn.ExecContext(t.ctx, "COMMIT")
	}
	if err != nil {
		_, _ = t.conn.ExecContext(t.ctx, "ROLLBACK")
		err = unconfirmed(err)
	}
	w.release(t, err != nil)
	for _, j := range waits {
		j.done <- err
	}
}

// turn lets j run in a savepoint and reports whether its outcome depends on the
// commit: its work is in there, or it has seen the work of others that is. An error
// means that the transaction is broken.
func (w *writer) turn(t *tx, j *job, others bool) (depends bool, err error) {
	if _, err := t.conn.ExecContext(t.ctx, "SAVEPOINT bifrost"); err != nil {
		j.done <- unconfirmed(err)
		return false, err
	}
	j.turn <- t
	<-j.ran
	if !j.keep {
		_, err := t.conn.ExecContext(t.ctx, "ROLLBACK TO bifrost; RELEASE bifrost")
		switch {
		case err != nil:
			j.done <- unconfirmed(err)
		case !others:
			j.done <- nil // its caller returns its own error
		}
		return others && err == nil, err
	}
	if _, err := t.conn.ExecContext(t.ctx, "RELEASE bifrost"); err != nil {
		// SQLite ends the whole transaction on some faults, such as a full disk.
		j.done <- unconfirmed(err)
		return false, err
	}
	return true, nil
}

var errUnconfirmed = fmt.Errorf("sqlite: %w", sqlstore.ErrUnconfirmed)

func unconfirmed(err error) error { return fmt.Errorf("%w: %w", errUnconfirmed, explain(err)) }

// begin opens a write transaction.
func (w *writer) begin() (*tx, error) {
	t, err := w.connection()
	if err != nil {
		return nil, err
	}
	if err := beginImmediate(t.ctx, t.conn); err != nil {
		w.release(t, true)
		return nil, err
	}
	return t, nil
}

// connection returns a connection that is fit for writing.
func (w *writer) connection() (*tx, error) {
	if w.kept != nil {
		return w.kept, nil
	}
	ctx := context.Background()
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{db: w.db, ctx: ctx, conn: conn}
	if w.exclusive {
		t.stmts = make(map[string]*sql.Stmt)
		w.kept = t
		// Short, because beginImmediate asks again by itself and more often than
		// SQLite would: its delays grow to a tenth of a second.
		_, err = conn.ExecContext(ctx, "PRAGMA busy_timeout = 20")
	} else {
		err = t.borrow()
	}
	if err != nil {
		w.release(t, true)
		return nil, err
	}
	return t, nil
}

// release ends the use of t after its transaction; broken ones are not kept.
func (w *writer) release(t *tx, broken bool) {
	switch {
	case !w.exclusive:
		t.giveBack()
	case broken:
		_ = w.drop() // whatever state it is in, a new one is clean
	}
}

// drop closes the kept connection.
func (w *writer) drop() error {
	if w.kept == nil {
		return nil
	}
	var errs []error
	for _, s := range w.kept.stmts {
		errs = append(errs, s.Close())
	}
	// ErrBadConn makes the pool close it instead of keeping it.
	_ = w.kept.conn.Raw(func(any) error { return driver.ErrBadConn })
	errs = append(errs, ignoreDone(w.kept.conn.Close()))
	w.kept = nil
	return errors.Join(errs...)
}

// beginImmediate waits for the write lock, at most lockPatience.
func beginImmediate(ctx context.Context, conn *sql.Conn) error {
	return patiently(ctx, func() error {
		_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
		return err
	})
}

// patiently calls do again while another process holds a lock it needs.
func patiently(ctx context.Context, do func() error) error {
	start := time.Now()
	for {
		err := do()
		if err == nil || !isBusy(err) || time.Since(start) > lockPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond + rand.N(4*time.Millisecond)): //nolint:gosec // spreads retries, no secret
		}
	}
}
