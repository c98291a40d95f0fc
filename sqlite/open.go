package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// setupTimeout bounds what Open and New do before they return.
const setupTimeout = 30 * time.Second

// DB is Bifrost's storage in one SQLite file. It is safe for concurrent use, and
// any number of processes may have the same file open.
type DB struct {
	reader *sql.DB // statements outside transactions
	writer *writer
	owned  []*sql.DB // pools that Close closes
	now    string    // SQL expression: microseconds since 1970

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // prepared on reader, by query text

	closing sync.Once
	closed  error
}

// Option changes how Open and New work.
type Option func(*options)

type options struct {
	migrate bool
	now     string
}

// WithoutMigration makes Open and New refuse a schema that is older than this
// version of the package needs, instead of upgrading it. For processes that are
// not to change the schema; run [Migrate] elsewhere.
func WithoutMigration() Option {
	return func(o *options) { o.migrate = false }
}

// Clock replaces the SQL expression that yields the store's clock, in whole
// microseconds since 1970. It is for tests that need the database's clock to
// jump; every process on one file must use the same expression.
func Clock(expression string) Option {
	return func(o *options) { o.now = expression }
}

// systemClock has the resolution of SQLite's 'now', a millisecond.
const systemClock = `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`

func apply(opts []Option) options {
	o := options{migrate: true, now: systemClock}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Open opens the database file at path, creates it (mode 0600) if there is none,
// and brings its schema up to date. The path is a file name, not a DSN; every
// character in it is taken literally. Its directory must exist and be writable:
// SQLite keeps two more files beside it, path-wal and path-shm.
func Open(path string, opts ...Option) (*DB, error) {
	dsn, err := prepareFile(path)
	if err != nil {
		return nil, err
	}
	writes, err := sql.Open("sqlite", dsn+"&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	writes.SetMaxOpenConns(1)
	reads, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), writes.Close())
	}
	reads.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0)))
	reads.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))

	db := newDB(writes, reads, apply(opts))
	db.owned = []*sql.DB{writes, reads}
	db.writer.exclusive = true
	if err := db.setup(writes, apply(opts)); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %s: %w", path, err), db.Close())
	}
	return db, nil
}

// New uses a database of yours, opened with driver "sqlite" (modernc.org/sqlite),
// and brings Bifrost's tables in it (all named bifrost_…) up to date. It switches
// the file to WAL. Each write borrows one connection of the pool for a few
// milliseconds and leaves its settings as they were; who calls Bifrost while holding
// the pool's last connection waits for himself. Close does not close the pool.
func New(pool *sql.DB, opts ...Option) (*DB, error) {
	if pool == nil {
		return nil, errors.New("sqlite: New needs an open *sql.DB; to open a file use Open")
	}
	db := newDB(pool, pool, apply(opts))
	if err := db.setup(pool, apply(opts)); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %w", err), db.Close())
	}
	return db, nil
}

func newDB(writes, reads *sql.DB, o options) *DB {
	db := &DB{reader: reads, now: o.now, stmts: make(map[string]*sql.Stmt)}
	db.writer = &writer{db: db, pool: writes}
	return db
}

// setup checks that the database can hold Bifrost's data, and the schema.
func (db *DB) setup(pool *sql.DB, o options) error {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	if err := checkDatabase(ctx, pool); err != nil {
		return explain(err)
	}
	check := checkSchema
	if o.migrate {
		check = func(ctx context.Context, _ queryer) error { return migrate(ctx, pool, migrations, o.now) }
	}
	if err := check(ctx, pool); err != nil {
		return explain(err)
	}
	return explain(checkWritable(ctx, pool))
}

// checkWritable finds out now what the first write would: SQLite opens a file
// that it may only read without a word.
func checkWritable(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// BEGIN IMMEDIATE alone succeeds on a read-only file.
	_, err = conn.ExecContext(ctx, `BEGIN IMMEDIATE; UPDATE bifrost_counters SET value = value WHERE name = 'changes'`)
	_, _ = conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
	if isBusy(err) {
		return nil // somebody writes
	}
	return err
}

// Ping reports whether the database answers and its schema is one this package
// can use: what a readiness check asks.
func (db *DB) Ping(ctx context.Context) error {
	if db.isClosed() { // a pool that is not ours answers still
		return ErrClosed
	}
	return explain(checkSchema(ctx, db.reader))
}

func (db *DB) isClosed() bool {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.stmts == nil
}

// Close waits for writes that have begun and releases the file. Later calls
// return the same result, and later writes fail with [ErrClosed].
func (db *DB) Close() error {
	db.closing.Do(func() {
		errs := []error{db.writer.close()}
		db.mu.Lock()
		for _, s := range db.stmts {
			errs = append(errs, s.Close())
		}
		db.stmts = nil
		db.mu.Unlock()
		for _, pool := range db.owned {
			errs = append(errs, pool.Close())
		}
		db.closed = errors.Join(errs...)
	})
	return db.closed
}

// prepareFile checks path, creates the file if it is missing, and returns its
// DSN. An existing file is never opened here: closing the descriptor would drop
// every POSIX lock that this process holds on it through SQLite.
func prepareFile(path string) (dsn string, err error) {
	switch {
	case path == "" || path == ":memory:":
		return "", errors.New("sqlite: Open needs a file path; for storage in memory use bifrost.Memory()")
	case strings.HasPrefix(path, "file:"):
		return "", fmt.Errorf("sqlite: %q is a DSN, and Open takes a plain file path; open it yourself and use New", path)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("sqlite: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return "", fmt.Errorf("sqlite: %s is a directory; name a file in it, such as %s", path, filepath.Join(path, "bifrost.db"))
	case err == nil && !info.Mode().IsRegular():
		return "", fmt.Errorf("sqlite: %s is not a regular file", path)
	case errors.Is(err, os.ErrNotExist):
		if err := create(path); err != nil {
			return "", err
		}
	case err != nil:
		return "", fmt.Errorf("sqlite: %w", err)
	}
	uri := filepath.ToSlash(path)
	if !strings.HasPrefix(uri, "/") {
		uri = "/" + uri // a drive letter
	}
	return "file://" + (&url.URL{Path: uri}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)", nil
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrExist):
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("sqlite: %s is a symbolic link to a file that does not exist; create that file or remove the link", path)
		}
		return nil // another process was faster
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("sqlite: the directory %s does not exist; create it", filepath.Dir(path))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("sqlite: cannot create %s: no permission to write to the directory; "+
			"make it writable for this user, or choose another path", path)
	}
	return fmt.Errorf("sqlite: cannot create the database: %w", err)
}
