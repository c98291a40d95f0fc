package postgres_test

import (
	"testing"

	"github.com/bifrost-go/bifrost/integrations"
	definitionstest "github.com/bifrost-go/bifrost/integrations/storetest"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
	tokenstest "github.com/bifrost-go/bifrost/tokenstore/storetest"
	"github.com/bifrost-go/bifrost/workflow"
	workflowtest "github.com/bifrost-go/bifrost/workflow/storetest"
)

// pair opens one database twice.
func pair(t *testing.T, opts ...postgres.Option) (a, b *postgres.DB) {
	t.Helper()
	url := pgtest.Database(t)
	return open(t, url, opts...), open(t, url, opts...)
}

func TestTokens(t *testing.T) {
	tokenstest.Run(t, func(t *testing.T) tokenstore.Store { return open(t, pgtest.Database(t)).Tokens() })
}

func TestTokensShared(t *testing.T) {
	tokenstest.RunShared(t, func(t *testing.T) (a, b tokenstore.Store) {
		x, y := pair(t, postgres.Listen(""))
		return x.Tokens(), y.Tokens()
	})
}

func TestDefinitions(t *testing.T) {
	definitionstest.Run(t, func(t *testing.T) integrations.Store { return open(t, pgtest.Database(t)).Definitions() })
}

func TestDefinitionsShared(t *testing.T) {
	definitionstest.RunShared(t, func(t *testing.T) (a, b integrations.Store) {
		x, y := pair(t)
		return x.Definitions(), y.Definitions()
	})
}

func TestExecutions(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T) workflow.Store { return open(t, pgtest.Database(t)).Executions() })
}

func TestExecutionsShared(t *testing.T) {
	workflowtest.RunShared(t, func(t *testing.T) (a, b workflow.Store) {
		x, y := pair(t)
		return x.Executions(), y.Executions()
	})
}

// As without, but what is read is prepared.
func TestPreparedStatements(t *testing.T) {
	prepared := func(t *testing.T) *postgres.DB {
		t.Helper()
		return open(t, pgtest.Database(t)+"&default_query_exec_mode=cache_statement")
	}
	tokenstest.Run(t, func(t *testing.T) tokenstore.Store { return prepared(t).Tokens() })
	definitionstest.Run(t, func(t *testing.T) integrations.Store { return prepared(t).Definitions() })
	workflowtest.Run(t, func(t *testing.T) workflow.Store { return prepared(t).Executions() })
}
