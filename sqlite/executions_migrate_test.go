package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// Statements of programs that know schema 2.
const (
	insertBefore3 = `INSERT INTO bifrost_executions
			(id, workflow, org, status, input, attempt, takeovers, principal, created_at, started_at, lease_until)
		VALUES ($1, 'work', 'org-1', $2, '{}', $3, 0, 'alice', 1, NULL, CASE WHEN $3 = 1 THEN 1 END)`
	nextBefore3 = `SELECT id FROM bifrost_executions INDEXED BY bifrost_executions_open
		WHERE status IN ('pending', 'running') AND (status = 'pending' OR lease_until <= 9999999999999999)
		ORDER BY id LIMIT 1`
)

// A file of schema 2 keeps its executions, and programs that know no more than
// that schema go on beside a newer one.
func TestExecutionsOfSchema2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	pool := openPool(t, path)
	require.NoError(t, checkDatabase(t.Context(), pool))
	require.NoError(t, migrate(t.Context(), pool, only(t, 2), systemClock))
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := pool.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
	}
	exec(insertBefore3, "1", "running", 1)
	exec(insertBefore3, "2", "pending", 0)
	exec(insertBefore3, "3", "succeeded", 2)
	exec(`UPDATE bifrost_executions SET result = '7', finished_at = 2 WHERE id = '3'`)

	db, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s := db.Executions()
	got, err := s.Get(t.Context(), "3")
	require.NoError(t, err)
	assert.Equal(t, &workflow.Record{
		ID: "3", Workflow: "work", Scope: workflow.Org("org-1"), Status: workflow.Succeeded, Principal: "alice",
		Input: []byte(`{}`), Result: []byte(`7`), Attempt: 2,
		CreatedAt: time.UnixMicro(1).UTC(), FinishedAt: time.UnixMicro(2).UTC(),
	}, got)
	claim := workflow.Claim{Workflows: []string{"work"}, Lease: time.Hour}
	for _, want := range []struct {
		id                 string
		attempt, takeovers int
	}{{"1", 2, 1}, {"2", 1, 0}} {
		r, err := s.Claim(t.Context(), claim)
		require.NoError(t, err)
		require.NotNil(t, r)
		assert.Equal(t, want.id, r.ID)
		assert.Equal(t, []int{want.attempt, want.takeovers, 0}, []int{r.Attempt, r.Takeovers, r.Retries})
	}

	// An older program beside this one submits, and sees nothing to do in what it
	// does not know.
	exec(insertBefore3, "4", "pending", 0)
	r, err := s.Claim(t.Context(), claim)
	require.NoError(t, err)
	require.NoError(t, s.Retry(t.Context(), workflow.Fence{ID: r.ID, Attempt: 1}, 0, workflow.Failure{Code: "error"}, nil))
	_, err = s.Cancel(t.Context(), "1", workflow.Failure{Code: workflow.CodeCancelled})
	require.NoError(t, err)
	exec(`UPDATE bifrost_executions SET lease_until = 1 WHERE id = '1'`)
	var next string
	require.NoError(t, pool.QueryRowContext(t.Context(), nextBefore3).Scan(&next))
	assert.Equal(t, "2", next, "neither the scheduled nor the cancelling one")
}
