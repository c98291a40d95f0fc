package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// channel is where every transaction that writes what has a feed notifies. It is
	// one for all schemas of a database: who hears of another's write looks in vain.
	channel = "bifrost_changes"
	// notify is sent with the commit.
	notify = `SELECT pg_notify('` + channel + `', '')`

	listenPatience = 10 * time.Second
	// listenCheck is how long a session may hear nothing before it is tried whether it
	// still would. One that is alive need not be on the server that is written to now.
	// What one process sends all others hear, so it is one a minute in all.
	listenCheck = time.Minute
	// listenBackoff is how long a lost session stays lost at least, and at most.
	listenBackoff, listenBackoffMost = 100 * time.Millisecond, 30 * time.Second
)

var errDeaf = errors.New("a notification does not arrive: the URL must lead to the same database, and not through a pooler in transaction mode")

// Listen makes the stores hear of other processes' writes at once, by NOTIFY, on one
// more connection. Its url must not lead through PgBouncer in transaction mode; "" is
// the one that Open was given, or that of New's pool. The connection is made when
// somebody wants to hear, and again when it is lost. Meanwhile changes are seen when
// they are looked for, as they are without Listen.
func Listen(url string) Option {
	return func(o *options) { o.listen = &url }
}

// Logger says where it is reported that listening has failed, and works again;
// default slog.Default().
func Logger(log *slog.Logger) Option {
	return func(o *options) { o.log = log }
}

// listener hears of writes while somebody wants to.
type listener struct {
	db  *DB
	cfg *pgx.ConnConfig
	// before changes cfg for each connection, as the pool does: a password may be
	// good for some minutes only. Nil: it stays as it is.
	before func(context.Context, *pgx.ConnConfig) error
	log    *slog.Logger
	// patience bounds everything that is waited for but a notification, and a server:
	// for each address of one there is cfg's ConnectTimeout.
	patience time.Duration
	check    time.Duration // listenCheck

	mu     sync.Mutex
	wanted map[chan struct{}]bool
	stop   context.CancelFunc // nil until somebody wants to hear
	closed bool
	loop   sync.WaitGroup
}

// newListener returns nil if nothing is to be heard.
func newListener(db *DB, o options) (*listener, error) {
	if o.listen == nil {
		return nil, nil
	}
	pool := db.pool.Config()
	cfg, before := pool.ConnConfig, pool.BeforeConnect
	if *o.listen != "" {
		own, err := pgxpool.ParseConfig(*o.listen) // which takes the pool's parameters out
		if err != nil {                            // not with the parser's words, which repeat the url
			return nil, errors.New("the URL for Listen cannot be understood; it should look like postgres://user:password@host:5432/database")
		}
		cfg, before = own.ConnConfig, nil
	}
	reachPrimary(cfg)
	log := o.log
	if log == nil {
		log = slog.Default()
	}
	return &listener{db: db, cfg: cfg, before: before, log: log, patience: listenPatience, check: listenCheck, wanted: make(map[chan struct{}]bool)}, nil
}

// notifications implements tokenstore.Notifier.
func (l *listener) notifications(ctx context.Context) <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	news := make(chan struct{}, 1)
	l.wanted[news] = true
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.wanted, news)
	})
	if l.stop == nil {
		var running context.Context
		running, l.stop = context.WithCancel(context.Background())
		l.loop.Go(func() { l.run(running) })
	}
	return news
}

// tell lets everybody know that something was written, or may have been.
func (l *listener) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for news := range l.wanted {
		select {
		case news <- struct{}{}:
		default: // it has not been looked at yet
		}
	}
}

// close ends the session and waits for that.
func (l *listener) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.closed = true
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	l.loop.Wait()
}

// run listens until ctx ends, and reports once when it cannot, and once when it can
// again.
func (l *listener) run(ctx context.Context) {
	failing, wait := false, listenBackoff
	for {
		var worked time.Time
		err := l.listen(ctx, func() {
			if failing {
				l.log.InfoContext(ctx, "postgres: listening for changes again")
			}
			failing, worked = false, time.Now()
		})
		if !worked.IsZero() && time.Since(worked) > l.check {
			wait = listenBackoff // not where each session is lost at once
		}
		if ctx.Err() != nil {
			return
		}
		if !failing {
			failing = true
			l.log.WarnContext(ctx, "postgres: cannot listen for changes; until it can, they are seen when they are looked for", "error", explain(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // spreads retries, no secret
		}
		wait = min(2*wait, listenBackoffMost)
	}
}

// listen tells of notifications until the session is lost. It calls works when it
// has heard one that was sent by way of the pool, as all others are.
func (l *listener) listen(ctx context.Context, works func()) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.patience)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if err := l.try(ctx, conn); err != nil {
		return err
	}
	works()
	for {
		l.tell() // the first time of what was written while nobody listened
		heard, err := l.hear(ctx, conn, l.check)
		if err == nil && !heard {
			err = l.try(ctx, conn)
		}
		if err != nil {
			return err
		}
	}
}

// try returns nil if a session hears what is sent by way of the pool.
func (l *listener) try(ctx context.Context, conn *pgx.Conn) error {
	err := l.bounded(ctx, func(ctx context.Context) error {
		_, err := l.db.pool.Exec(ctx, notify, pgx.QueryExecModeExec)
		return err
	})
	if err != nil {
		return err
	}
	heard, err := l.hear(ctx, conn, l.patience)
	if err == nil && !heard {
		err = errDeaf
	}
	return err
}

// connect returns a session that listens.
func (l *listener) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg := l.cfg.Copy()
	if l.before != nil {
		if err := l.bounded(ctx, func(ctx context.Context) error { return l.before(ctx, cfg) }); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	err = l.bounded(ctx, func(ctx context.Context) error {
		_, err := conn.Exec(ctx, `LISTEN `+channel, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, l.bounded(ctx, conn.Close))
	}
	return conn, nil
}

// hear waits for a notification, and reports whether one came.
func (l *listener) hear(ctx context.Context, conn *pgx.Conn, patience time.Duration) (bool, error) {
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := conn.WaitForNotification(short)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case short.Err() != nil && !conn.IsClosed():
		return false, nil
	}
	return false, fmt.Errorf("the listening session was lost: %w", err)
}

// bounded calls do with the listener's patience.
func (l *listener) bounded(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	return do(ctx)
}
