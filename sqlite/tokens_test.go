package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/tokenstore/storetest"
)

// open opens path and closes it at the end of the test.
func open(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestTokens(t *testing.T) {
	storetest.Run(t, func(t *testing.T) tokenstore.Store {
		return open(t, filepath.Join(t.TempDir(), "bifrost.db")).Tokens()
	})
}

func TestTokensShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) (a, b tokenstore.Store) {
		path := filepath.Join(t.TempDir(), "bifrost.db")
		return open(t, path).Tokens(), open(t, path).Tokens()
	})
}
