package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// storeBefore4 writes a record as programs do that know no more than schema 3.
func storeBefore4(t *testing.T, pool *sql.DB, key tokenstore.Key, version int64) {
	t.Helper()
	_, err := pool.ExecContext(t.Context(), `UPDATE bifrost_counters SET value = value + 1 WHERE name = 'changes'`)
	require.NoError(t, err)
	_, err = pool.ExecContext(t.Context(), `INSERT INTO bifrost_connections (definition, org, user_id, account,
			version, updated_at, generation, grant_id, status, reason, error_code, error_message, error_at,
			sealed, has_access_token, has_refresh_token, expires_at, obtained_at, last_refresh_at, due_at,
			entity_id, client_id, token_host, account_id, account_name, connected_by, connected_at,
			scopes_requested, scopes_granted, failures, first_failure_at, retry_at,
			attempt, parent_generation, parent_presentation, change)
		VALUES ($1, $2, $3, $4, $5, 1, 1, 'grant', 'active', '', NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL,
			'', '', '', '', '', '', NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, 0,
			(SELECT value FROM bifrost_counters WHERE name = 'changes'))
		ON CONFLICT (definition, org, user_id, account) DO UPDATE SET
			version = excluded.version, updated_at = excluded.updated_at, grant_id = excluded.grant_id, change = excluded.change`,
		key.Definition, key.Org, key.User, key.Account, version)
	require.NoError(t, err)
}

// An older program beside this one writes connections, new ones and those that
// this one has written.
func TestConnectionsOfSchema3(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	pool := openPool(t, path)
	require.NoError(t, checkDatabase(t.Context(), pool))
	require.NoError(t, migrate(t.Context(), pool, only(t, 3), systemClock))
	before, beside := tokenstore.Key{Definition: "before"}, tokenstore.Key{Definition: "beside"}
	storeBefore4(t, pool, before, 1)

	db, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	storeBefore4(t, pool, beside, 1)
	for _, key := range []tokenstore.Key{before, beside} {
		c, err := db.Tokens().Load(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, "grant", c.GrantID)
		assert.Empty(t, c.Fingerprint, "it was not recorded")
		_, err = db.Tokens().Update(t.Context(), key, func(c *tokenstore.Connection, _ time.Time) error {
			c.Fingerprint = "0f"
			return nil
		})
		require.NoError(t, err)
		storeBefore4(t, pool, key, 3)
		c, err = db.Tokens().Load(t.Context(), key)
		require.NoError(t, err)
		assert.Equal(t, int64(3), c.Version)
		assert.Equal(t, "0f", c.Fingerprint)
	}
}
