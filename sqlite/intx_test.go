package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/sqlstore/storetest"
	"github.com/bifrost-go/bifrost/sqlite"
)

// There are two ways to a DB. In the second, whoever asks the pool for another
// connection while a transaction is open waits for ever.
func TestInTx(t *testing.T) {
	storetest.Run(t, map[string]func(t *testing.T) storetest.DB{
		"Open": func(t *testing.T) storetest.DB {
			t.Helper()
			return open(t, filepath.Join(t.TempDir(), "bifrost.db"))
		},
		"New, one connection": func(t *testing.T) storetest.DB {
			t.Helper()
			p := pool(t, filepath.Join(t.TempDir(), "app.db"), "?_pragma=foreign_keys(OFF)")
			p.SetMaxOpenConns(1)
			db, err := sqlite.New(p)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return db
		},
	}, func(t *testing.T) (a, b storetest.DB) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "bifrost.db")
		return open(t, path), open(t, path)
	})
}
