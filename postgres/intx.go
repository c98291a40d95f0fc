package postgres

import (
	"context"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// InTx calls fn with a context in which everything that this DB's stores write is
// one transaction: on stable storage when InTx returns nil, and without a trace if
// fn returns an error, which is returned unchanged, or panics. What the stores read
// with that context includes what fn has written so far.
//
// Fn runs while it holds the lock that every other write waits for, so it must be
// quick, and do no I/O of its own; the server ends a transaction that does nothing
// for 15 seconds. It uses the context it is given for every call of this DB: with
// another one a write waits for itself. Of the stores' errors it may take those that say that nothing was
// written (integrations.ErrConflict, say) for an answer; any other it must return.
//
// Called with such a context, InTx joins that transaction: if its fn fails, the
// whole transaction does. After the outermost fn has returned, calls with its
// context fail, with an error that is [database/sql.ErrTxDone]. Another DB's calls
// with the context are not part of the transaction.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if s := db.seamOf(ctx); s != nil {
		return s.Join(ctx, fn)
	}
	leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return db.transaction(ctx, alone, func(t *tx) error { return sqlstore.InTx(ctx, "postgres", seamKey{db}, t, fn) })
}

// seamKey is where a context carries the transaction of one DB.
type seamKey struct{ db *DB }

// seamOf returns the transaction that ctx belongs to, or nil.
func (db *DB) seamOf(ctx context.Context) *sqlstore.Seam[*tx] {
	return sqlstore.SeamOf[*tx](ctx, seamKey{db})
}
