package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/tokenstore/storetest"
)

func TestOpenCreatesAPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bifrost.db")
	db := open(t, path)
	require.NoError(t, db.Ping(t.Context()))
	touch(t, db)
	if runtime.GOOS == "windows" {
		t.Skip("file modes")
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

// touch makes sure that db can be written and read.
func touch(t *testing.T, db *sqlite.DB) {
	t.Helper()
	c, err := db.Tokens().Update(t.Context(), tokenstore.Key{Definition: "touched"}, func(c *tokenstore.Connection, _ time.Time) error {
		c.Failures++
		return nil
	})
	require.NoError(t, err)
	again, err := db.Tokens().Load(t.Context(), tokenstore.Key{Definition: "touched"})
	require.NoError(t, err)
	assert.Equal(t, c.Failures, again.Failures)
}

func TestOpenTakesPathsLiterally(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=memory", "a%20b", "a#b", "a&b=c;d", "ünï.db", "file.db?_pragma=x", "'quoted'\"", "no-extension", "a:b"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			touch(t, open(t, filepath.Join(dir, name)))
			_, err := os.Stat(filepath.Join(dir, name))
			assert.NoError(t, err)
		})
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		touch(t, open(t, "bifrost.db"))
		_, err := os.Stat("bifrost.db")
		assert.NoError(t, err)
	})
}

func TestOpenKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bifrost.db")
	for want := 1; want <= 3; want++ {
		db, err := sqlite.Open(path)
		require.NoError(t, err)
		touch(t, db)
		c, err := db.Tokens().Load(t.Context(), tokenstore.Key{Definition: "touched"})
		require.NoError(t, err)
		assert.Equal(t, want, c.Failures)
		require.NoError(t, db.Close())
	}
	_, err := os.Stat(path + "-wal")
	assert.ErrorIs(t, err, os.ErrNotExist, "the last to close leaves one file")
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	cut := filepath.Join(dir, "cut.db")
	db, err := sqlite.Open(cut)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, os.Truncate(cut, 5000))
	dangling := filepath.Join(dir, "link.db")
	require.NoError(t, os.Symlink(filepath.Join(dir, "gone.db"), dangling))

	tests := []struct{ name, path, says string }{
		{"no path", "", "use bifrost.Memory()"},
		{"memory", ":memory:", "use bifrost.Memory()"},
		{"a DSN", "file:x.db?cache=shared", "use New"},
		{"a directory", dir, "is a directory; name a file in it"},
		{"no directory", filepath.Join(dir, "none", "bifrost.db"), "does not exist; create it"},
		{"a file as directory", filepath.Join(file("plain", "x"), "bifrost.db"), "not a directory"},
		{"a device", os.DevNull, "not a regular file"},
		{"text", file("text.db", strings.Repeat("This is a letter, not a database.\n", 100)), "not an SQLite database"},
		{"almost", file("almost.db", "SQLite format 3\x00"+strings.Repeat("x", 4096)), "not an SQLite database"},
		{"damaged", cut, "the database is damaged; restore a backup"},
		{"a dangling link", dangling, "symbolic link to a file that does not exist"},
		{"NUL", dir + "/a\x00b", "invalid argument"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			db, err := sqlite.Open(test.path)
			require.Nil(t, db)
			require.ErrorContains(t, err, test.says)
		})
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 5, "nothing was created")
}

// pool opens path as a program with settings of its own does.
func pool(t *testing.T, path, params string) *sql.DB {
	t.Helper()
	p, err := sql.Open("sqlite", "file:"+path+params)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestNewPassesTheSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) tokenstore.Store {
		db, err := sqlite.New(pool(t, filepath.Join(t.TempDir(), "app.db"), ""))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db.Tokens()
	})
}

func TestNewSharesYourDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	p := pool(t, path, "?_pragma=synchronous(OFF)&_pragma=foreign_keys(OFF)")
	p.SetMaxOpenConns(1)
	_, err := p.ExecContext(t.Context(), `CREATE TABLE connections (x); INSERT INTO connections VALUES (1)`)
	require.NoError(t, err)
	db, err := sqlite.New(p)
	require.NoError(t, err)
	touch(t, db)
	for pragma, want := range map[string]int{"synchronous": 0, "foreign_keys": 0} {
		var got int
		require.NoError(t, p.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		assert.Equal(t, want, got, "%s is as it was", pragma)
	}
	touch(t, open(t, path)) // and another process may use Open
	require.NoError(t, db.Close())
	var n int
	require.NoError(t, p.QueryRowContext(t.Context(), `SELECT count(*) FROM connections`).Scan(&n), "the pool stays open")
	assert.Equal(t, 1, n)
	rows, err := p.QueryContext(t.Context(), `SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name != 'connections'`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		assert.True(t, strings.HasPrefix(name, "bifrost_"), name)
	}
	require.NoError(t, rows.Err())
}

func TestNewRefuses(t *testing.T) {
	_, err := sqlite.New(nil)
	require.ErrorContains(t, err, "use Open")
	for _, dsn := range []string{":memory:", "file::memory:?cache=shared"} {
		p, err := sql.Open("sqlite", dsn)
		require.NoError(t, err)
		_, err = sqlite.New(p)
		require.ErrorContains(t, err, "bifrost.Memory()")
		require.NoError(t, p.Close())
	}
	p := pool(t, filepath.Join(t.TempDir(), "utf16.db"), "")
	p.SetMaxOpenConns(1)
	_, err = p.ExecContext(t.Context(), `PRAGMA encoding = 'UTF-16le'; CREATE TABLE x (y)`)
	require.NoError(t, err)
	_, err = sqlite.New(p)
	require.ErrorContains(t, err, "UTF-8")
}

func TestClockIsReplaceable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bifrost.db")
	require.NoError(t, sqlite.Migrate(t.Context(), pool(t, path, "")))
	const clock = `(SELECT value FROM test_clock)`
	p := pool(t, path, "")
	set := func(at time.Time) {
		t.Helper()
		_, err := p.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS test_clock (id INTEGER PRIMARY KEY, value INTEGER);
			INSERT OR REPLACE INTO test_clock VALUES (1, $1)`, at.UnixMicro())
		require.NoError(t, err)
	}
	noon := time.Date(2030, 1, 1, 12, 0, 0, 123456000, time.UTC)
	set(noon)
	db, err := sqlite.Open(path, sqlite.Clock(clock))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s := db.Tokens()

	f, err := s.PutFlow(t.Context(), tokenstore.Flow{StateHash: "s"}, time.Minute, 1)
	require.NoError(t, err)
	assert.Equal(t, noon.Add(time.Minute), f.ExpiresAt)
	key := tokenstore.Key{Definition: "d"}
	_, err = s.Update(t.Context(), key, func(c *tokenstore.Connection, now time.Time) error {
		assert.Equal(t, noon, now)
		c.DueAt = now.Add(time.Minute)
		return nil
	})
	require.NoError(t, err)

	require.NoError(t, s.AddEvents(t.Context(), tokenstore.Event{Kind: "created"}))
	set(noon.Add(-time.Hour))
	n, err := s.DeleteEvents(t.Context(), tokenstore.Match{}, time.Microsecond, 10)
	require.NoError(t, err)
	assert.Zero(t, n)
	for _, age := range []time.Duration{time.Minute + time.Microsecond, time.Minute} {
		set(noon.Add(time.Minute))
		n, err = s.DeleteEvents(t.Context(), tokenstore.Match{}, age, 10)
		require.NoError(t, err)
		assert.Equal(t, age == time.Minute, n == 1, "%v", age)
	}

	for _, step := range []struct {
		at    time.Duration
		found bool
	}{{0, true}, {time.Minute - time.Microsecond, true}, {time.Minute, false}, {-time.Hour, true}} {
		set(noon.Add(step.at))
		c, err := s.Load(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, noon.Add(step.at), c.ReadAt)
		assert.Equal(t, noon, c.UpdatedAt)
		_, err = s.GetFlow(t.Context(), "s")
		assert.Equal(t, step.found, err == nil, "%v", step.at)
		due, err := s.Due(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, !step.found, len(due) == 1, "%v", step.at)
	}
}

func TestReadsObeyTheContext(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "bifrost.db")).Tokens()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		_, err := s.Load(ctx, tokenstore.Key{})
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err := s.Load(t.Context(), tokenstore.Key{})
	require.NoError(t, err, "no connection was lost to it")
}
