package sqlite

import (
	"testing"

	"github.com/bifrost-go/bifrost/workflow"
)

// Looking for work and reading the history must not cost more as the history
// grows.
func TestExecutionQueriesUseIndexes(t *testing.T) {
	db := openTemp(t)
	s := db.Executions()
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
	requireIndexes(t, db, calls)
}
