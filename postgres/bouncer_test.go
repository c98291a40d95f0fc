package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	definitionstest "github.com/bifrost-go/bifrost/integrations/storetest"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore/storetest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
	tokenstest "github.com/bifrost-go/bifrost/tokenstore/storetest"
	"github.com/bifrost-go/bifrost/workflow"
	workflowtest "github.com/bifrost-go/bifrost/workflow/storetest"
)

// Everything again behind PgBouncer in transaction mode, where the session of one
// statement is seldom that of the next: once with our own pool, and once with one
// that would prepare statements if we let it.
func TestBehindPgBouncer(t *testing.T) {
	bouncer := pgtest.Bouncer(t, pgtest.Server(t))
	direct := func(t *testing.T) (url, direct string) {
		t.Helper()
		direct = pgtest.Database(t)
		return pgtest.WithDatabase(bouncer, databaseOf(t, direct)), direct
	}
	through := func(t *testing.T) string {
		t.Helper()
		url, _ := direct(t)
		return url
	}
	pairs := map[string]func(t *testing.T) (a, b *postgres.DB){
		"Open": func(t *testing.T) (a, b *postgres.DB) {
			t.Helper()
			url, direct := direct(t)
			return open(t, url, postgres.Listen(direct)), open(t, url)
		},
		"New": func(t *testing.T) (a, b *postgres.DB) {
			t.Helper()
			cfg, err := pgxpool.ParseConfig(through(t))
			require.NoError(t, err)
			return adopt(t, cfg), adopt(t, cfg.Copy())
		},
	}
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Run("tokens", func(t *testing.T) {
				tokenstest.RunShared(t, func(t *testing.T) (a, b tokenstore.Store) {
					x, y := pair(t)
					return x.Tokens(), y.Tokens()
				})
			})
			t.Run("definitions", func(t *testing.T) {
				definitionstest.RunShared(t, func(t *testing.T) (a, b integrations.Store) {
					x, y := pair(t)
					return x.Definitions(), y.Definitions()
				})
			})
			t.Run("executions", func(t *testing.T) {
				workflowtest.Run(t, func(t *testing.T) workflow.Store {
					x, _ := pair(t)
					return x.Executions()
				})
				workflowtest.RunShared(t, func(t *testing.T) (a, b workflow.Store) {
					x, y := pair(t)
					return x.Executions(), y.Executions()
				})
			})
		})
	}
	t.Run("InTx", func(t *testing.T) {
		storetest.Run(t, map[string]func(t *testing.T) storetest.DB{
			"Open": func(t *testing.T) storetest.DB {
				t.Helper()
				return open(t, through(t))
			},
		}, func(t *testing.T) (storetest.DB, storetest.DB) {
			t.Helper()
			a, b := pairs["Open"](t)
			return a, b
		})
	})
}

// databaseOf returns the name of the database in a URL.
func databaseOf(t *testing.T, text string) (name string) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(text)
	require.NoError(t, err)
	return cfg.ConnConfig.Database
}
