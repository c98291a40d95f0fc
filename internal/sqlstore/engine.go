package sqlstore

import (
	"context"
	"errors"
)

// Engine runs statements on one database. Within a context of its InTx all of them
// are part of that transaction.
type Engine interface {
	// Each runs a reading query, one consistent snapshot, and calls row for each
	// row. Errors of row stop it and are returned as they are.
	Each(ctx context.Context, row func(scan Scanner) error, query string, args ...any) error
	// One runs a reading query that yields at most one row and scans it into dest;
	// sql.ErrNoRows if there is none.
	One(ctx context.Context, dest []any, query string, args ...any) error
	// Write runs fn in a transaction, and returns when that is on stable storage.
	// Nothing of it is kept if fn returns an error, which is returned unchanged, or
	// panics. Errors that are [ErrUnconfirmed] mean that it may have been kept. Fn is
	// run again where another transaction was in its way: [ErrAgain], a uniqueness
	// that was not given when it looked, a deadlock.
	Write(ctx context.Context, fn func(t Tx) error) error
	// Change is Write of c.Run, perhaps together with the changes of others.
	Change(ctx context.Context, c Change) error
	// Any returns the argument for {any $n}.
	Any(texts []string) (any, error)
}

// Tx is a transaction that writes.
type Tx interface {
	// Exec runs a statement and returns how many rows it changed.
	Exec(query string, args ...any) (changed int64, err error)
	// One scans the only row of a query (or of a statement with RETURNING) into
	// dest; sql.ErrNoRows if there is none.
	One(dest []any, query string, args ...any) error
	// Each calls row for each row of a query, as Engine.Each does.
	Each(row func(scan Scanner) error, query string, args ...any) error
	// Lock runs a query for the locks that it takes until the transaction ends. A
	// database with one writer at a time need not.
	Lock(query string, args ...any) error
	// Position gives a record that this transaction writes its position in a feed,
	// to be stored with it. Positions of one transaction rise. They are in the order
	// of the commits, so an engine whose transactions run side by side gives
	// [Provisional] ones, which only this transaction sees, and the final ones when it
	// commits.
	Position(f Feed) (int64, error)
}

// Scanner scans the columns of a row.
type Scanner = func(dest ...any) error

// Feed is a table whose rows have positions, and the counter that gives them.
type Feed struct{ Counter, Table string }

// The feeds, in the order in which an engine takes their counters.
var (
	Changes     = Feed{"changes", "bifrost_connections"}
	Definitions = Feed{"definitions", "bifrost_definitions"}
	Settings    = Feed{"settings", "bifrost_settings"}

	Feeds = []Feed{Changes, Definitions, Settings}
)

// behind is the condition for what was written behind position $1. A reader who is
// ahead of the counter has it from a history that was lost: with a primary whose last
// writes were not replicated, or by restoring a backup. He begins anew, or he would
// miss all that is written until the counter is where he is.
func behind(f Feed) string {
	return `change > CASE WHEN $1 > (SELECT value FROM bifrost_counters WHERE name = '` + f.Counter + `') THEN 0 ELSE $1 END`
}

// Provisional is what positions that are not final are greater than.
const Provisional = 1 << 62

var (
	// ErrAgain says that what a transaction has read is no longer so.
	ErrAgain = errors.New("changed by another transaction meanwhile")
	// ErrUnconfirmed says that it is not known whether a transaction was kept.
	ErrUnconfirmed = errors.New("the write was not confirmed")
	// ErrSchema says that this version cannot use the schema.
	ErrSchema = errors.New("schema does not fit")
)
