// Package pgtest gives tests a real PostgreSQL: a throw-away cluster on a loopback
// port, started when the first test asks for a database and stopped with the test
// binary, or the server that the environment variable BIFROST_POSTGRES names, a URL
// of a role that may create databases.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestX(t *testing.T) { db, err := postgres.Open(t.Context(), pgtest.Database(t)) … }
//
// Where there is no PostgreSQL, tests are skipped; with CI=true or BIFROST_E2E=1
// they fail instead.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds everything that is waited for here.
const patience = 30 * time.Second

// Password is what the throw-away cluster's role has; tests look for it where it
// must not be.
const Password = "canary-7f3a-password"

// errMissing says what is not installed.
var errMissing = errors.New("is not installed")

// shared is what the tests of one binary share.
var shared struct {
	mu      sync.Mutex
	started bool
	server  string // URL of its database "postgres"
	durable string // the same of the server that waits for the disk
	err     error
	stop    []func() // last started, first stopped
	made    int
	free    []string // databases that are empty again
}

// Main runs the tests, stops what they have started, and returns the exit code.
func Main(m *testing.M) int {
	defer func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		for i := len(shared.stop) - 1; i >= 0; i-- {
			shared.stop[i]()
		}
	}()
	return m.Run()
}

// Database makes an empty database for the length of the test, and returns its URL.
func Database(t testing.TB) string {
	t.Helper()
	server := Server(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if n := len(shared.free); n > 0 { // much quicker than making one
		url := shared.free[n-1]
		shared.free = shared.free[:n-1]
		t.Cleanup(func() { empty(t, url) })
		return url
	}
	shared.made++
	name := fmt.Sprintf("bifrost_test_%d_%d", os.Getpid(), shared.made)
	// From template0, which nobody is connected to.
	if err := run(server, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'UTF8'`); err != nil {
		t.Fatal(err)
	}
	shared.stop = append(shared.stop, func() { _ = run(server, `DROP DATABASE `+name+` WITH (FORCE)`) })
	url := WithDatabase(server, name)
	t.Cleanup(func() { empty(t, url) })
	return url
}

// Durable makes an empty database on a server that waits for the disk as one in
// earnest does, for figures: a cluster of its own, or BIFROST_POSTGRES.
func Durable(t testing.TB) string {
	t.Helper()
	if os.Getenv("BIFROST_POSTGRES") != "" {
		return Database(t)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.durable == "" {
		server, stop, err := startCluster("fsync=on")
		need(t, err, "apt-get install postgresql, or set BIFROST_POSTGRES to the URL of a role that may create databases")
		shared.durable, shared.stop = server, append(shared.stop, stop)
	}
	shared.made++
	name := fmt.Sprintf("bifrost_test_%d_%d", os.Getpid(), shared.made)
	// The checkpoint writes what a new cluster has not written yet, lest it be measured.
	for _, statement := range []string{`CREATE DATABASE ` + name, `CHECKPOINT`} {
		if err := run(shared.durable, statement); err != nil {
			t.Fatal(err)
		}
	}
	return WithDatabase(shared.durable, name)
}

// empty prepares a database for the next test.
func empty(t testing.TB, url string) {
	t.Helper()
	// Idle sessions may be a pooler's, for the next test.
	err := run(url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle';
		DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	if err != nil {
		t.Error(err)
		return
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.free = append(shared.free, url)
}

// Server returns the URL of a database on the server that is there already.
func Server(t testing.TB) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.started {
		shared.started = true
		if shared.server = os.Getenv("BIFROST_POSTGRES"); shared.server == "" {
			var stop func()
			if shared.server, stop, shared.err = startCluster(); shared.err == nil {
				shared.stop = append(shared.stop, stop)
			}
		}
	}
	need(t, shared.err, "apt-get install postgresql, or set BIFROST_POSTGRES to the URL of a role that may create databases")
	return shared.server
}

// need skips or fails a test that cannot run without what err says is missing.
func need(t testing.TB, err error, how string) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && os.Getenv("CI") != "true" && os.Getenv("BIFROST_E2E") != "1":
		t.Skipf("%v: %s", err, how)
	default:
		t.Fatalf("%v: %s", err, how)
	}
}

// WithDatabase returns the URL of another database of the same server.
func WithDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic("BIFROST_POSTGRES is not a URL")
	}
	u.Path = "/" + name
	return u.String()
}

// run runs statements on a connection of their own.
func run(url, statements string) error {
	// Not the test's context, which has ended when it cleans up.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statements)
	return errors.Join(err, conn.Close(ctx))
}
