package postgres_test

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore/storetest"
	"github.com/bifrost-go/bifrost/postgres"
)

// There are two ways to a DB. In the second, whoever asks the pool for another
// connection while a transaction is open waits for ever, and the pool would prepare
// statements, in serializable transactions that nobody waits for.
func TestInTx(t *testing.T) {
	storetest.Run(t, map[string]func(t *testing.T) storetest.DB{
		"Open": func(t *testing.T) storetest.DB {
			t.Helper()
			return open(t, pgtest.Database(t))
		},
		"New, one connection": func(t *testing.T) storetest.DB {
			t.Helper()
			cfg, err := pgxpool.ParseConfig(pgtest.Database(t))
			require.NoError(t, err)
			cfg.MaxConns = 1
			maps.Copy(cfg.ConnConfig.RuntimeParams, map[string]string{
				"default_transaction_isolation": "serializable", "synchronous_commit": "off",
			})
			return adopt(t, cfg)
		},
	}, func(t *testing.T) (storetest.DB, storetest.DB) {
		t.Helper()
		a, b := pair(t)
		return a, b
	})
}

// adopt gives postgres.New a pool of the test's.
func adopt(t *testing.T, cfg *pgxpool.Config) *postgres.DB {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db, err := postgres.New(t.Context(), pool)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}
