package sqlite

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// Looking for work and reading the history must not cost more as the history
// grows.
func TestExecutionQueriesUseIndexes(t *testing.T) {
	db := openTemp(t)
	s := executions{db}
	org := workflow.Org("o")
	calls := map[string]func() error{
		"Claim": func() error { _, err := s.Claim(t.Context(), workflow.Claim{Workflows: []string{"w"}}); return err },
		"Get":   func() error { _, _ = s.Get(t.Context(), "x"); return nil },
		"Logs":  func() error { _, err := s.Logs(t.Context(), "x"); return err },
	}
	for name, m := range map[string]workflow.Match{
		"all": {}, "workflow": {Workflow: "w"}, "status": {Status: workflow.Failed}, "org": {Scope: org},
		"org and workflow": {Scope: org, Workflow: "w"}, "all three": {Scope: org, Workflow: "w", Status: workflow.Failed},
	} {
		for _, before := range []string{"", "x"} {
			calls["List, "+name+before] = func() error { _, err := s.List(t.Context(), m, before, 1); return err }
		}
	}
	for name, call := range calls {
		before := len(db.stmts)
		require.NoError(t, call(), name)
		require.Len(t, db.stmts, before+1, name)
	}
	for query := range db.stmts {
		rows, err := db.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+db.text(query), make([]any, 8)...)
		require.NoError(t, err)
		require.NoError(t, eachRow(rows, func(scan scanner) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			if strings.Contains(detail, "bifrost_") {
				assert.True(t, strings.HasPrefix(detail, "SEARCH") || strings.Contains(detail, "USING INDEX"), "%s\n%s", query, detail)
			}
			assert.NotContains(t, detail, "TEMP B-TREE", query)
			t.Log(detail)
			return err
		}))
	}
}
