package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// Seam is a transaction of InTx while it is open to the stores, T what an engine
// has of it.
type Seam[T Part] struct {
	name string     // the engine's package, for errors
	mu   sync.Mutex // fn may use its context from several goroutines
	tx   T
	open bool
	// fault is why nothing more may be done: a part has failed that cannot be taken
	// back alone. The database may have ended the transaction by then, and what came
	// after would be committed on its own.
	fault error
}

// Part is a transaction of which parts can be taken back.
type Part interface {
	// Run runs a statement without arguments. If it fails, the transaction is broken.
	Run(statement string) error
}

// InTx calls fn with a context that carries tx under key, and returns fn's error,
// or what must keep the transaction from being committed.
func InTx[T Part](ctx context.Context, name string, key any, tx T, fn func(ctx context.Context) error) (err error) {
	s := &Seam[T]{name: name, tx: tx, open: true}
	defer func() { // also if fn panics: nobody may use tx then
		if fault := s.end(); err == nil {
			err = fault
		}
	}()
	return fn(context.WithValue(ctx, key, s))
}

// SeamOf returns the transaction that ctx carries under key, or nil.
func SeamOf[T Part](ctx context.Context, key any) *Seam[T] {
	s, _ := ctx.Value(key).(*Seam[T])
	return s
}

// enter locks the seam if it can be used.
func (s *Seam[T]) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	switch {
	case !s.open:
		s.mu.Unlock()
		return fmt.Errorf("%s: this context's transaction has ended; after InTx use the context that InTx was given: %w", s.name, sql.ErrTxDone)
	case s.fault != nil:
		defer s.mu.Unlock()
		return s.fault
	}
	return nil
}

// end closes the seam and returns what must keep the transaction from being
// committed.
func (s *Seam[T]) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	return s.fault
}

// Read runs fn, which changes nothing.
func (s *Seam[T]) Read(ctx context.Context, fn func(t T) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return fn(s.tx)
}

// Write runs fn as a part of the transaction, of which nothing is kept if fn
// returns an error or panics.
func (s *Seam[T]) Write(ctx context.Context, fn func(t T) error) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if err := s.run("SAVEPOINT bifrost_part"); err != nil {
		return err
	}
	kept := false
	defer func() {
		if kept {
			return
		}
		if fault := s.run("ROLLBACK TO bifrost_part; RELEASE bifrost_part"); fault != nil && err != nil {
			err = fmt.Errorf("%w (after: %s)", fault, err.Error())
		}
	}()
	if err := fn(s.tx); err != nil {
		return err
	}
	kept = true
	return s.run("RELEASE bifrost_part")
}

// run runs a statement without which the transaction is broken.
func (s *Seam[T]) run(statement string) error {
	s.fault = s.tx.Run(statement)
	return s.fault
}

// Join runs fn as a part of the transaction that cannot fail alone: fn's own
// writes and the outer fn's may be mixed.
func (s *Seam[T]) Join(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	err = errors.New("it panicked")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil && s.fault == nil {
			s.fault = fmt.Errorf("%s: nothing of this transaction is kept, because a function given to InTx within it failed: %w", s.name, err)
		}
	}()
	err = fn(ctx)
	return err
}
