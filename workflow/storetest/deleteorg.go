package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func testDeleteOrg(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	gone, line := workflow.Org("o_"), []workflow.Log{{Seq: 1, At: time.Now(), Message: "line"}}
	deleted := []*workflow.Record{
		insert(t, s, workflow.Record{Scope: gone, Key: "pending"}),
		insert(t, s, workflow.Record{Scope: gone, RunAt: time.Now().Add(time.Hour)}),
		insertLeased(t, s, workflow.Record{Scope: gone, Key: "running"}, lease),
		insertLeased(t, s, workflow.Record{Scope: gone}, lease),
		insertLeased(t, s, workflow.Record{Scope: gone, Key: "finished"}, lease),
		insertLeased(t, s, workflow.Record{Scope: gone}, over),
	}
	running, cancelling, finished := deleted[2], deleted[3], deleted[4]
	require.NoError(t, s.Append(ctx, fence(running), line))
	cancel(t, s, cancelling.ID)
	require.NoError(t, s.Finish(ctx, fence(finished), workflow.Outcome{Status: workflow.Succeeded, Result: []byte(`1`), Logs: line}))
	var kept []*workflow.Record // newest first
	for _, sc := range []workflow.Scope{workflow.Org("oo"), workflow.Org("O_"), workflow.Org("o_%"), workflow.Global()} {
		kept = append([]*workflow.Record{insertLeased(t, s, workflow.Record{Scope: sc, Key: "running"}, lease)}, kept...)
		require.NoError(t, s.Append(ctx, fence(kept[0]), line))
	}

	require.Error(t, s.DeleteOrg(ctx, ""), "the global ones are nobody's to delete")
	ended, end := context.WithCancel(ctx)
	end()
	require.ErrorIs(t, s.DeleteOrg(ended, "o_"), context.Canceled)
	list, err := s.List(ctx, workflow.Match{}, "", 100)
	require.NoError(t, err)
	require.Len(t, list, len(deleted)+len(kept))

	require.NoError(t, s.DeleteOrg(ctx, "o_"))
	require.NoError(t, s.DeleteOrg(ctx, "o_"), "none is no error")
	list, err = s.List(ctx, workflow.Match{}, "", 100)
	require.NoError(t, err)
	assert.Equal(t, kept, list)
	for _, r := range deleted {
		_, err := s.Get(ctx, r.ID)
		require.ErrorIs(t, err, workflow.ErrNotFound)
		_, err = s.Cancel(ctx, r.ID, cancelled)
		require.ErrorIs(t, err, workflow.ErrNotFound)
		logs, err := s.Logs(ctx, r.ID)
		require.NoError(t, err)
		assert.Empty(t, logs)
	}
	for _, r := range kept {
		logs, err := s.Logs(ctx, r.ID)
		require.NoError(t, err)
		assert.Len(t, logs, 1)
	}
	assert.Nil(t, claim(t, s, lease), "nothing is left to run")

	lost, stopping, err := s.Extend(ctx, []workflow.Fence{fence(running), fence(kept[0]), fence(cancelling)}, lease)
	require.NoError(t, err)
	assert.Equal(t, []workflow.Fence{fence(running), fence(cancelling)}, lost)
	assert.Empty(t, stopping)
	require.ErrorIs(t, s.Append(ctx, fence(running), line), workflow.ErrLost)
	require.ErrorIs(t, s.Release(ctx, fence(running), line), workflow.ErrLost)
	require.ErrorIs(t, s.Retry(ctx, fence(running), 0, broken, line), workflow.ErrLost)
	require.ErrorIs(t, s.Finish(ctx, fence(running), succeed(`1`)), workflow.ErrLost)

	for _, key := range []string{"pending", "running", "finished"} {
		r := insert(t, s, workflow.Record{Scope: gone, Key: key})
		assert.Equal(t, workflow.Pending, r.Status, "%s: its key is free", key)
	}
	assert.Equal(t, kept[3].ID, insert(t, s, workflow.Record{Scope: workflow.Org("oo"), Key: "running"}).ID, "others' keys are not")
}
