package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/integrations/storetest"
	"github.com/bifrost-go/bifrost/sqlite"
)

func TestDefinitions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) integrations.Store {
		return open(t, filepath.Join(t.TempDir(), "bifrost.db")).Definitions()
	})
}

func TestDefinitionsShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) (a, b integrations.Store) {
		path := filepath.Join(t.TempDir(), "bifrost.db")
		return open(t, path).Definitions(), open(t, path).Definitions()
	})
}

func TestDefinitionsOfABorrowedPool(t *testing.T) {
	storetest.Run(t, func(t *testing.T) integrations.Store {
		p := pool(t, filepath.Join(t.TempDir(), "app.db"), "")
		p.SetMaxOpenConns(1)
		db, err := sqlite.New(p)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db.Definitions()
	})
}
