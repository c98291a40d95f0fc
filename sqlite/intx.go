package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// InTx calls fn with a context in which everything that this DB's stores write is
// one transaction: on stable storage when InTx returns nil, and without a trace if
// fn returns an error, which is returned unchanged, or panics. What the stores read
// with that context includes what fn has written so far.
//
// Fn runs while it holds the lock that every other write waits for, so it must be
// quick, and do no I/O of its own. It uses the context it is given for every call
// of this DB: with another one a write waits for itself. Of the stores' errors it
// may take those that say that nothing was written (integrations.ErrConflict, say)
// for an answer; any other it must return.
//
// Called with such a context, InTx joins that transaction: if its fn fails, the
// whole transaction does. After the outermost fn has returned, calls with its
// context fail, with an error that is [sql.ErrTxDone]. Another DB's calls with the
// context are not part of the transaction.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if s := db.seamOf(ctx); s != nil {
		return s.join(ctx, fn)
	}
	return db.write(ctx, func(t *tx) (err error) {
		s := &seam{tx: t}
		defer func() { // also if fn panics: nobody may use t then
			if fault := s.end(); err == nil {
				err = fault
			}
		}()
		return fn(context.WithValue(ctx, seamKey{db}, s))
	})
}

var errEnded = fmt.Errorf("sqlite: this context's transaction has ended; after InTx use the context that InTx was given: %w", sql.ErrTxDone)

// seam is a transaction of InTx while it is open to the stores.
type seam struct {
	mu sync.Mutex // fn may use its context from several goroutines
	tx *tx        // nil once ended
	// fault is why nothing more may be done: a part has failed that cannot be taken
	// back alone. SQLite may have ended the transaction by then, and what came after
	// would be committed on its own.
	fault error
}

// seamKey is where a context carries the seam of one DB.
type seamKey struct{ db *DB }

// seamOf returns the transaction that ctx belongs to, or nil.
func (db *DB) seamOf(ctx context.Context) *seam {
	s, _ := ctx.Value(seamKey{db}).(*seam)
	return s
}

// enter locks the seam if it can be used.
func (s *seam) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	switch {
	case s.tx == nil:
		s.mu.Unlock()
		return errEnded
	case s.fault != nil:
		defer s.mu.Unlock()
		return s.fault
	}
	return nil
}

// end closes the seam and returns what must keep the transaction from being
// committed.
func (s *seam) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = nil
	return s.fault
}

func (s *seam) read(ctx context.Context, fn func(t *tx) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return fn(s.tx)
}

// write runs fn as a part of the transaction, of which nothing is kept if fn
// returns an error or panics.
func (s *seam) write(ctx context.Context, fn func(t *tx) error) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.exec("SAVEPOINT bifrost_part"); err != nil {
		return err
	}
	kept := false
	defer func() {
		if kept {
			return
		}
		if fault := s.exec("ROLLBACK TO bifrost_part; RELEASE bifrost_part"); fault != nil && err != nil {
			err = fmt.Errorf("%w (after: %s)", fault, err.Error())
		}
	}()
	if err := fn(s.tx); err != nil {
		return err
	}
	kept = true
	return s.exec("RELEASE bifrost_part")
}

// exec runs a statement without which the transaction is broken.
func (s *seam) exec(statement string) error {
	_, err := s.tx.conn.ExecContext(s.tx.ctx, statement)
	if err != nil {
		s.fault = unconfirmed(err)
		return s.fault
	}
	return nil
}

// join runs fn as a part of the transaction that cannot fail alone: fn's own
// writes and the outer fn's may be mixed.
func (s *seam) join(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	err = errors.New("it panicked")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil && s.fault == nil {
			s.fault = fmt.Errorf("sqlite: nothing of this transaction is kept, because a function given to InTx within it failed: %w", err)
		}
	}()
	err = fn(ctx)
	return err
}
