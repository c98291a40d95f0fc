package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

const (
	// endPatience bounds how long a commit or a rollback may take, whatever the
	// caller's context says: it is better to know how it ended. And for that long goes
	// on what is read for a caller who has left.
	endPatience = 10 * time.Second
	// conflictTries bounds how often a transaction is run that others are in the way
	// of: a deadlock, or a record that somebody else has made first.
	conflictTries = 20
	// uniqueTries is the same where something turned out to be there already. Once
	// more is enough to see it; a third time it is a fault.
	uniqueTries = 3
)

// A transaction is opened as all of ours are; read only where that is the default, by
// which a server is kept from being written to that is to be replaced. Who holds locks
// and falls silent (a suspended machine, a broken network) is cut off after some time.
const (
	readCommitted = `BEGIN ISOLATION LEVEL READ COMMITTED`
	settings      = `SELECT set_config('idle_in_transaction_session_timeout', '15s', true),
		set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
		current_setting('lock_timeout')`
	begin = readCommitted + `; ` + settings + `; `
)

// A write runs beside others, a transaction of InTx alone. What is read there and
// decided on is true until it commits: an organization's deletion has seen every
// connection that is stored before it, and whatever is stored after it can see that
// the organization is gone.
const (
	shareLock = `SELECT pg_advisory_xact_lock_shared(7160395)`
	beside    = begin + shareLock
	alone     = begin + `SELECT pg_advisory_xact_lock(7160395)`
)

// write runs fn in a transaction and returns when it is on stable storage. Nothing
// of it is kept if fn returns an error, which is returned unchanged, or panics. Fn is
// run again where another transaction was in its way.
//
// A context that ends while fn waits for a lock ends the transaction, some tenths of
// a second later; what it does to the commit is nothing.
//
// With a context of InTx, fn runs within that transaction.
func (db *DB) write(ctx context.Context, fn func(t *tx) error) error {
	if s := db.seamOf(ctx); s != nil {
		return again(ctx, func() error { return s.Write(ctx, fn) })
	}
	leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return again(ctx, func() error { return db.transaction(ctx, beside, fn) })
}

// again calls do until no other transaction is in its way.
func again(ctx context.Context, do func() error) error {
	for tries := 1; ; tries++ {
		err := do()
		most := 0
		switch c := code(err); {
		case err == nil, errors.Is(err, sqlstore.ErrUnconfirmed):
			return err
		case errors.Is(err, sqlstore.ErrAgain), c == serializationFailure, c == deadlockDetected:
			most = conflictTries
		case c == uniqueViolation:
			most = uniqueTries
		}
		if tries >= most {
			return err
		}
		if tries == 1 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(time.Duration(tries) * time.Millisecond)): //nolint:gosec // spreads retries, no secret
		}
	}
}

// transaction runs fn once, after begin, beside or alone.
func (db *DB) transaction(ctx context.Context, begin string, fn func(t *tx) error) error {
	t, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer t.end() // also if fn panics, or ends its goroutine (t.FailNow in a test)
	err = t.statement(func(ctx context.Context) error { _, err := t.conn.Exec(ctx, begin); return err })
	if err != nil {
		return explain(err)
	}
	if err := fn(t); err != nil {
		return err
	}
	return t.commit()
}

// acquire returns a session for a transaction, to be ended.
func (db *DB) acquire(ctx context.Context) (*tx, error) {
	select {
	case db.writers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := db.session(ctx)
	if err != nil {
		<-db.writers
		return nil, explain(err)
	}
	return &tx{db: db, ctx: ctx, conn: conn}, nil
}

// tx is an open transaction.
type tx struct {
	db   *DB // nil for a migration
	ctx  context.Context
	conn *pgxpool.Conn
	// spent: the connection must not be used again.
	spent bool

	last  int64                   // provisional position
	given map[sqlstore.Feed]int64 // how many
}

// Exec runs a statement and returns how many rows it changed.
func (t *tx) Exec(query string, args ...any) (changed int64, err error) {
	err = t.statement(func(ctx context.Context) error {
		tag, err := t.conn.Exec(ctx, t.db.text(query), unprepared(args)...)
		changed = tag.RowsAffected()
		return explain(err)
	})
	return changed, err
}

// One scans the only row of a query (or of a statement with RETURNING) into
// dest; sql.ErrNoRows if there is none.
func (t *tx) One(dest []any, query string, args ...any) error {
	return t.statement(func(ctx context.Context) error {
		return explain(t.conn.QueryRow(ctx, t.db.text(query), unprepared(args)...).Scan(dest...))
	})
}

// Each calls row for each row of a query, as DB.each does.
func (t *tx) Each(row func(scan sqlstore.Scanner) error, query string, args ...any) error {
	return t.statement(func(ctx context.Context) error {
		rows, err := t.conn.Query(ctx, t.db.text(query), unprepared(args)...)
		if err != nil {
			return explain(err)
		}
		return eachRow(rows, row)
	})
}

// Lock implements sqlstore.Tx.
func (t *tx) Lock(query string, args ...any) error {
	_, err := t.Exec(query, args...)
	return err
}

// Run implements sqlstore.Part.
func (t *tx) Run(statement string) error {
	err := t.statement(func(ctx context.Context) error { _, err := t.conn.Exec(ctx, statement); return err })
	if err != nil {
		return unconfirmed(err)
	}
	return nil
}

// Position implements sqlstore.Tx: commit gives the final ones.
func (t *tx) Position(f sqlstore.Feed) (int64, error) {
	if t.given == nil {
		t.given = make(map[sqlstore.Feed]int64)
	}
	t.given[f]++
	t.last++
	return sqlstore.Provisional + t.last, nil
}

// positions returns the statements that give rows their positions, and tell those who
// follow the feeds. Nobody else sees
// provisional ones, and counters are taken in one order. Where no row was written
// twice, they fail if one that should be was not written.
func (t *tx) positions(distinct bool) (statements []string) {
	for _, f := range sqlstore.Feeds {
		n := t.given[f]
		if n == 0 {
			continue
		}
		text := fmt.Sprintf(`WITH counter AS (UPDATE bifrost_counters SET value = value + %d WHERE name = '%s' RETURNING value - %d AS before)`,
			t.last, f.Counter, t.last)
		update := fmt.Sprintf(`UPDATE %s SET change = change - %d + counter.before FROM counter WHERE change > %d`,
			f.Table, int64(sqlstore.Provisional), int64(sqlstore.Provisional))
		if distinct {
			text += fmt.Sprintf(`, placed AS (%s RETURNING 1) SELECT 1 / CAST(count(*) = %d AS integer) FROM placed`, update, n)
		} else {
			text += ` ` + update
		}
		statements = append(statements, text)
	}
	if len(statements) > 0 {
		statements = append(statements, notify)
	}
	return statements
}

// commit gives rows their positions and commits, in one message: once the server
// has it, nobody needs this process to release the counters that all others wait for.
func (t *tx) commit() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), endPatience)
	defer cancel()
	return committed(t.conn.Exec(ctx, strings.Join(append(t.positions(false), `COMMIT`), `;`)))
}

// committed returns nil if a commit was answered with success, errUnconfirmed if it
// may have succeeded, and why it did not otherwise.
func committed(tag pgconn.CommandTag, err error) error {
	var fault *pgconn.PgError
	switch {
	case err == nil && tag.String() == "COMMIT":
		return nil
	case err == nil:
		return errors.New("postgres: nothing was kept, because a statement of the transaction failed")
	case errors.As(err, &fault) && refused(fault):
		return explain(err)
	}
	return unconfirmed(err)
}

// refused reports whether a fault is the server's answer to a statement, after which
// nothing is kept, and not the end of the session, of which some poolers tell in the
// same way.
func refused(fault *pgconn.PgError) bool {
	severity := fault.SeverityUnlocalized
	if severity == "" {
		severity = fault.Severity // in the server's language
	}
	return severity == "ERROR" && !strings.HasPrefix(fault.Code, "08")
}

// end takes back what was not committed, and returns the connection to its pool.
func (t *tx) end() {
	if t.conn.Conn().PgConn().TxStatus() != 'I' && !t.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), endPatience)
		defer cancel()
		_, _ = t.conn.Exec(ctx, `ROLLBACK`)
	}
	if t.spent {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), endPatience)
		defer cancel()
		_ = t.conn.Conn().Close(ctx)
	}
	t.conn.Release() // closes it if it is not as it was
	if t.db != nil {
		<-t.db.writers
	}
}
