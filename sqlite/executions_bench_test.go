package sqlite_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/workflow"
)

// From submission to finished history, on stable storage twice: 20 callers that
// wait for an empty function.
func BenchmarkExecutions(b *testing.B) {
	db, err := sqlite.Open(filepath.Join(b.TempDir(), "bifrost.db"))
	require.NoError(b, err)
	r, err := workflow.New(workflow.Config{Store: db.Executions(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	workflow.MustRegister(r, "work", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	require.NoError(b, r.Start(b.Context()))
	b.SetParallelism(10) // times GOMAXPROCS
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			rec, err := r.Execute(context.Background(), "work", workflow.ExecuteRequest{Scope: workflow.Org("org-1")})
			if err != nil || rec.Status != workflow.Succeeded {
				b.Error(rec, err)
				return
			}
		}
	})
	b.StopTimer()
	require.NoError(b, r.Close())
	require.NoError(b, db.Close())
}
