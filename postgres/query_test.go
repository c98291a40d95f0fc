package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
)

// Nothing is prepared unless the URL given to Open says so.
func TestOnlyTheURLPrepares(t *testing.T) {
	url := pgtest.Database(t) + "&pool_max_conns=1"
	const mode = "&default_query_exec_mode="
	for given, want := range map[string]bool{
		"": false, mode + "cache_statement": true, mode + "exec": false, mode + "simple_protocol": false, mode + "cache_describe": false,
	} {
		db, err := Open(t.Context(), url+given)
		require.NoError(t, err, given)
		_, err = db.Tokens().Load(t.Context(), keyOf("d"))
		require.NoError(t, err, given)
		var prepared int
		row := db.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%bifrost_connections%'`)
		require.NoError(t, row.Scan(&prepared))
		assert.Equal(t, want, prepared > 0, given)
		require.NoError(t, db.Close())
	}
	pool, err := pgxpool.New(t.Context(), url+mode+"cache_statement")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db, err := New(t.Context(), pool)
	require.NoError(t, err)
	_, err = db.Tokens().Load(t.Context(), keyOf("d"))
	require.NoError(t, err)
	var prepared int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%bifrost_%'`).Scan(&prepared))
	assert.Equal(t, 1, prepared, "this query")
}
