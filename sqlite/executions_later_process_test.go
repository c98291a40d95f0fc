package sqlite_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/workflow"
)

// submitLater leaves what is not to be run at once: in the child, which says so
// once it is on disk.
func submitLater(t *testing.T, r *workflow.Registry) {
	t.Helper()
	say("running", submit(t, r, "block", true))
	for range 3 {
		rec, err := r.Execute(context.Background(), "quick", workflow.ExecuteRequest{
			Scope: workflow.Org("org-1"), Async: true, RunAt: time.Now().Add(3 * time.Second),
		})
		require.NoError(t, err)
		say("scheduled", rec.ID)
		id := submit(t, r, "flaky", true)
		require.Eventually(t, func() bool {
			rec, err := r.Execution(context.Background(), id)
			return err == nil && rec.Status == workflow.Scheduled
		}, 20*time.Second, time.Millisecond)
		say("back-off", id)
	}
	rec, err := r.Execute(context.Background(), "quick", workflow.ExecuteRequest{Scope: workflow.Org("org-1"), Key: "once"})
	require.NoError(t, err)
	say("keyed", rec.ID)
}

// A process is killed while executions wait for their time or for another try, and
// while one is told to stop: another process makes them begin when it is time, and
// the last one is not run again.
func TestExecutionsThatWaitOfAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := childConfig{
		Path: filepath.Join(dir, "bifrost.db"), Calls: filepath.Join(dir, "calls"),
		Lease: time.Second, Workers: 4, Submit: "later",
	}
	c := startChild(t, cfg)
	said := map[string]string{}
	var running, keyed string
	for line := range c.lines {
		switch line[0] {
		case "running":
			running = line[1]
		case "keyed":
			keyed = line[1]
		}
		if line[0] == "ready" {
			break
		}
		said[line[1]] = line[0]
	}
	db, err := sqlite.Open(cfg.Path)
	require.NoError(t, err)
	beside, err := workflow.New(workflow.Config{Store: db.Executions(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	rec, err := beside.Cancel(t.Context(), running)
	require.NoError(t, err)
	require.Contains(t, []workflow.Status{workflow.Cancelling, workflow.Cancelled}, rec.Status, "the latter if the lease ran out on a busy machine")
	c.kill(t)
	before := history(t, beside)
	require.NoError(t, db.Close())

	r, closeAll := openRunner(t, cfg)
	defer closeAll()
	again, err := r.Execute(t.Context(), "quick", workflow.ExecuteRequest{Scope: workflow.Org("org-1"), Key: "once"})
	require.NoError(t, err)
	assert.Equal(t, keyed, again.ID, "the key is kept")
	after := finished(t, r)
	require.Len(t, after, len(said))
	ran := calls(t, cfg.Calls)
	waited := map[string]int{}
	for id, word := range said {
		rec := after[id]
		require.NotNil(t, rec, word)
		status, retries := workflow.Succeeded, 0
		switch word {
		case "running":
			status = workflow.Cancelled
			assert.Equal(t, 1, ran[id+" 1"])
			assert.Zero(t, ran[id+" 2"], "what was cancelled is not run again")
		case "back-off":
			retries = 1
		}
		assert.Equal(t, status, rec.Status, word)
		assert.Equal(t, retries, rec.Retries, word)
		if was := before[id]; was.Status == workflow.Scheduled { // else the machine was slow, and the child not
			waited[word]++
			assert.False(t, rec.StartedAt.Before(was.RunAt), "%s: not before its time", word)
			assert.Zero(t, rec.Takeovers, word)
			assert.Equal(t, 1+retries, rec.Attempt, word)
			for attempt := range rec.Attempt {
				assert.Equal(t, 1, ran[fmt.Sprint(id, " ", attempt+1)], "%s, attempt %d", word, attempt+1)
			}
		}
	}
	assert.NotZero(t, waited["scheduled"])
	assert.NotZero(t, waited["back-off"])
}
