package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// setupTimeout bounds what Open and New do before they return.
const setupTimeout = 30 * time.Second

// connectTimeout bounds how long one address of a server is waited for. One that is
// switched off does not answer at all, and those after it are asked only then.
const connectTimeout = 5 * time.Second

// reachPrimary makes cfg pass over standbys, which can neither be written to nor
// listen, and wait for no address too long, unless it says otherwise.
func reachPrimary(cfg *pgx.ConnConfig) {
	if cfg.ValidateConnect == nil {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
}

// execMode is pgx's parameter of a URL that says how statements are sent.
const execMode = "default_query_exec_mode"

// DB is Bifrost's storage in one PostgreSQL database. It is safe for concurrent
// use, and any number of processes may use the same database.
type DB struct {
	pool    *pgxpool.Pool
	owned   bool // Close closes the pool
	dialect sqlstore.Dialect
	texts   sync.Map // queries as PostgreSQL takes them, by query text
	// types are *pgtype.Map, to scan what was read: they remember how to, for one user
	// at a time.
	types    sync.Pool
	patience time.Duration     // endPatience, of reads and shared transactions
	mode     pgx.QueryExecMode // of reads
	// writers holds a value for each transaction, and has room for all connections
	// of the pool but one: those who wait for a lock must not keep others from reading.
	writers chan struct{}
	// alone is held by changes that cannot share a transaction, which may have to wait
	// for a lock: what is left of writers is for those that can.
	alone chan struct{}
	group *group
	news  *listener // nil without Listen

	mu     sync.Mutex
	closed bool
	users  sync.WaitGroup // calls under way
}

// Option changes how Open and New work.
type Option func(*options)

type options struct {
	migrate bool
	now     string
	listen  *string
	log     *slog.Logger
}

// WithoutMigration makes Open and New refuse a schema that is older than this
// version of the package needs, instead of upgrading it. For roles that may not
// change the schema; run [Migrate] elsewhere.
func WithoutMigration() Option {
	return func(o *options) { o.migrate = false }
}

// Clock replaces the SQL expression that yields the store's clock, in whole
// microseconds since 1970, as a bigint. It is for tests that need the database's
// clock to jump; every process on one database must use the same expression.
func Clock(expression string) Option {
	return func(o *options) { o.now = expression }
}

// systemClock is the time at which a statement arrived. Locks are taken by
// statements of their own, so it is never older than the record it is read with,
// and unlike clock_timestamp() it is the same throughout a statement, and something
// that an index can be searched for.
const systemClock = `CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS bigint)`

func apply(opts []Option) options {
	o := options{migrate: true, now: systemClock}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Open connects to the database at url, such as
//
//	postgres://user:password@host:5432/database?sslmode=verify-full&pool_max_conns=20
//
// and brings its schema up to date. The url is what pgxpool takes, keyword/value
// form and the PG… environment variables included. Where several hosts are named,
// or a name has several addresses, the primary is found; each is waited for as long as
// connect_timeout says, by default 5 seconds.
//
// With default_query_exec_mode=cache_statement in it, what is read is prepared once
// in each session, and a record is read several times as fast. Not through PgBouncer in
// transaction mode, unless it keeps track of prepared statements
// (max_prepared_statements, from its version 1.21 on). Other modes change nothing.
func Open(ctx context.Context, url string, opts ...Option) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// Not with the parser's words, which repeat the url.
		return nil, errors.New("postgres: the connection URL cannot be understood; it should look like " +
			"postgres://user:password@host:5432/database?sslmode=verify-full (it is not shown, because it may hold a password)")
	}
	prepares := false
	if plain, err := pgconn.ParseConfig(url); err == nil { // pgx does not tell its default from what was given
		prepares = plain.RuntimeParams[execMode] == "cache_statement"
	}
	if !prepares {
		// Sessions behind a pooler are another's a moment later, with what is prepared there.
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
		cfg.ConnConfig.StatementCacheCapacity = 0
	}
	cfg.ConnConfig.DescriptionCacheCapacity = 0
	reachPrimary(cfg.ConnConfig)
	if cfg.PingTimeout == 0 {
		cfg.PingTimeout = endPatience
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", explain(err))
	}
	db, err := New(ctx, pool, opts...)
	if err != nil {
		pool.Close()
		return nil, err
	}
	db.owned = true
	if prepares {
		db.mode = pgx.QueryExecModeCacheStatement
	}
	return db, nil
}

// New uses a pool of yours, and brings Bifrost's tables in its database (all named
// bifrost_…) up to date. Whatever the pool's own settings are: Bifrost says of each
// statement that it is not to be prepared, and of each transaction how isolated and
// how durable it is. A write borrows one connection for some milliseconds; who calls
// Bifrost while holding the pool's last connection waits for himself. Close does not
// close the pool.
func New(ctx context.Context, pool *pgxpool.Pool, opts ...Option) (*DB, error) {
	if pool == nil {
		return nil, errors.New("postgres: New needs an open *pgxpool.Pool; to connect to a database use Open")
	}
	o := apply(opts)
	db := &DB{pool: pool, dialect: dialect(o.now), patience: endPatience, mode: pgx.QueryExecModeExec}
	db.writers = make(chan struct{}, max(1, pool.Config().MaxConns-1))
	db.alone = make(chan struct{}, max(1, cap(db.writers)/2))
	db.types.New = func() any { return pgtype.NewMap() }
	db.group = &group{db: db, atOnce: min(groupsAtOnce, cap(db.writers)), busy: make(map[[4]string]bool)}
	var err error
	if db.news, err = newListener(db, o); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := db.setup(ctx, o); err != nil {
		return nil, fmt.Errorf("postgres: %w", explain(err))
	}
	return db, nil
}

func dialect(now string) sqlstore.Dialect {
	return sqlstore.Dialect{Now: now, Any: `= ANY ($)`, Lock: `FOR UPDATE`, Skip: `FOR UPDATE SKIP LOCKED`}
}

// setup checks that the database can hold Bifrost's data, and the schema.
func (db *DB) setup(ctx context.Context, o options) error {
	if err := checkServer(ctx, db.pool); err != nil {
		return err
	}
	if o.migrate {
		return migrate(ctx, db.pool, sqlstore.Migrations, o.now)
	}
	return checkSchema(ctx, db.pool)
}

// Ping reports whether the database answers, is the primary, and has a schema that
// this package can use: what a readiness check asks.
func (db *DB) Ping(ctx context.Context) error {
	if err := checkPrimary(ctx, reads{db}); err != nil {
		return explain(err)
	}
	return explain(checkSchema(ctx, reads{db}))
}

// enter begins a call, which Close waits for until leave is called.
func (db *DB) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, ErrClosed
	}
	db.users.Add(1)
	return db.users.Done, nil
}

// Close waits for calls that have begun, and disconnects. Later calls do the same,
// and whatever else is called later fails with [ErrClosed].
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	db.users.Wait()
	db.news.close()
	if db.owned {
		db.pool.Close()
	}
	return nil
}
