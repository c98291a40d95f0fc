package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/workflow"
	"github.com/bifrost-go/bifrost/workflow/storetest"
)

// openExecutions opens the file at path for the length of the test.
func openExecutions(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestExecutions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) workflow.Store {
		return openExecutions(t, filepath.Join(t.TempDir(), "bifrost.db")).Executions()
	})
}

func TestExecutionsShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) (a, b workflow.Store) {
		path := filepath.Join(t.TempDir(), "bifrost.db")
		return openExecutions(t, path).Executions(), openExecutions(t, path).Executions()
	})
}
