package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

var (
	broken    = workflow.Failure{Code: "error", Message: "broken"}
	cancelled = workflow.Failure{Code: workflow.CodeCancelled, Message: "not wanted any more"}
)

func get(t *testing.T, s workflow.Store, id string) *workflow.Record {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	require.NoError(t, err)
	return r
}

func cancel(t *testing.T, s workflow.Store, id string) *workflow.Record {
	t.Helper()
	r, err := s.Cancel(t.Context(), id, cancelled)
	require.NoError(t, err)
	assert.Equal(t, r, get(t, s, id), "what Cancel returns is what is stored")
	return r
}

func testScheduled(t *testing.T, s workflow.Store) {
	at := time.Now().UTC().Truncate(time.Microsecond)
	later := insert(t, s, workflow.Record{RunAt: at.Add(time.Hour)})
	assert.Equal(t, workflow.Scheduled, later.Status)
	assert.True(t, later.RunAt.Equal(at.Add(time.Hour)), later.RunAt)
	assert.Zero(t, later.Attempt)
	assert.True(t, later.StartedAt.IsZero())
	assert.Equal(t, later, get(t, s, later.ID))
	assert.Nil(t, claim(t, s, lease), "it is not time")

	before, due, after := newID(t), newID(t), newID(t)
	insert(t, s, workflow.Record{ID: before})
	insert(t, s, workflow.Record{ID: due, RunAt: at.Add(-time.Second)})
	insert(t, s, workflow.Record{ID: after})
	elsewhere := insert(t, s, workflow.Record{Workflow: "elsewhere", RunAt: at.Add(-time.Minute)})
	for _, id := range []string{before, due, after} {
		r := claim(t, s, lease)
		require.NotNil(t, r)
		assert.Equal(t, id, r.ID)
		assert.Equal(t, workflow.Running, r.Status)
		assert.Equal(t, 1, r.Attempt)
		assert.Zero(t, r.Retries, "it had not failed")
		assert.True(t, r.RunAt.IsZero())
		assert.Equal(t, r, get(t, s, id))
	}
	assert.Nil(t, claim(t, s, lease))
	assert.Equal(t, workflow.Scheduled, get(t, s, elsewhere.ID).Status)
	list, err := s.List(t.Context(), workflow.Match{Status: workflow.Scheduled}, "", 10)
	require.NoError(t, err)
	assert.Len(t, list, 2)

	leased := insertLeased(t, s, workflow.Record{RunAt: at.Add(time.Hour)}, lease)
	assert.Equal(t, workflow.Running, leased.Status)
	assert.True(t, leased.RunAt.IsZero())
}

func testRetry(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	r := insertLeased(t, s, workflow.Record{}, lease)
	line := workflow.Log{Attempt: 1, Seq: 1, At: time.Now().UTC().Truncate(time.Microsecond), Message: "again"}
	require.NoError(t, s.Retry(ctx, fence(r), over, broken, []workflow.Log{line}))
	got := get(t, s, r.ID)
	assert.Equal(t, workflow.Scheduled, got.Status)
	assert.Equal(t, &broken, got.Error)
	assert.True(t, got.StartedAt.IsZero())
	assert.Equal(t, 1, got.Attempt)
	recent(t, got.RunAt)
	logs, err := s.Logs(ctx, r.ID)
	require.NoError(t, err)
	assert.Equal(t, []workflow.Log{line}, logs)
	require.ErrorIs(t, s.Finish(ctx, fence(r), succeed(`1`)), workflow.ErrLost, "it has no attempt under way")
	require.ErrorIs(t, s.Retry(ctx, fence(r), 0, broken, nil), workflow.ErrLost)

	second := claim(t, s, over)
	require.NotNil(t, second)
	assert.Equal(t, 2, second.Attempt)
	assert.Equal(t, 1, second.Retries)
	assert.Zero(t, second.Takeovers)
	assert.Nil(t, second.Error, "the attempt under way has not failed")
	assert.True(t, second.RunAt.IsZero())

	third := claim(t, s, lease)
	require.NotNil(t, third)
	assert.Equal(t, []int{3, 1, 1}, []int{third.Attempt, third.Retries, third.Takeovers}, "a takeover is no retry")
	require.ErrorIs(t, s.Retry(ctx, fence(second), 0, broken, nil), workflow.ErrLost)
	require.NoError(t, s.Release(ctx, fence(third), nil))
	fourth := claim(t, s, lease)
	assert.Equal(t, []int{4, 1, 1}, []int{fourth.Attempt, fourth.Retries, fourth.Takeovers}, "handing back is none either")

	before := time.Now()
	require.NoError(t, s.Retry(ctx, fence(fourth), lease, broken, nil))
	assert.WithinDuration(t, before.Add(lease), get(t, s, r.ID).RunAt, time.Minute)
	assert.Nil(t, claim(t, s, lease), "it waits")
}

func testCancelWaiting(t *testing.T, s workflow.Store) {
	_, err := s.Cancel(t.Context(), newID(t), cancelled)
	require.ErrorIs(t, err, workflow.ErrNotFound)
	retried := insertLeased(t, s, workflow.Record{}, lease)
	require.NoError(t, s.Retry(t.Context(), fence(retried), over, broken, nil))
	for _, r := range []*workflow.Record{
		retried, insert(t, s, workflow.Record{}), insert(t, s, workflow.Record{RunAt: time.Now().Add(time.Hour)}),
	} {
		got := cancel(t, s, r.ID)
		assert.Equal(t, workflow.Cancelled, got.Status)
		assert.Equal(t, &cancelled, got.Error)
		assert.True(t, got.RunAt.IsZero())
		recent(t, got.FinishedAt)
		assert.Equal(t, got, cancel(t, s, r.ID), "once more changes nothing")
	}
	assert.Nil(t, claim(t, s, lease))
}

func testCancelRun(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	for _, end := range []workflow.Outcome{{Status: workflow.Cancelled, Error: &cancelled}, succeed(`1`)} {
		r, other := insertLeased(t, s, workflow.Record{}, lease), insertLeased(t, s, workflow.Record{}, lease)
		got := cancel(t, s, r.ID)
		assert.Equal(t, workflow.Cancelling, got.Status)
		assert.Nil(t, got.Error)
		assert.True(t, got.FinishedAt.IsZero())
		assert.Equal(t, got, cancel(t, s, r.ID))
		assert.Nil(t, claim(t, s, lease), "it is still somebody's")

		lost, cancelling, err := s.Extend(ctx, []workflow.Fence{fence(other), fence(r)}, lease)
		require.NoError(t, err)
		assert.Empty(t, lost)
		assert.Equal(t, []workflow.Fence{fence(r)}, cancelling)
		require.NoError(t, s.Append(ctx, fence(r), []workflow.Log{{Seq: 1, At: time.Now(), Message: "stopping"}}))
		line := []workflow.Log{{Seq: 2, At: time.Now(), Message: "not written"}}
		require.ErrorIs(t, s.Release(ctx, fence(r), line), workflow.ErrCancelling)
		require.ErrorIs(t, s.Retry(ctx, fence(r), 0, broken, line), workflow.ErrCancelling)
		wrong := workflow.Fence{ID: r.ID, Attempt: r.Attempt + 1}
		require.ErrorIs(t, s.Release(ctx, wrong, nil), workflow.ErrLost)
		require.ErrorIs(t, s.Retry(ctx, wrong, 0, broken, nil), workflow.ErrLost)
		assert.Equal(t, got, get(t, s, r.ID), "nothing was written")

		require.NoError(t, s.Finish(ctx, fence(r), end))
		got = get(t, s, r.ID)
		assert.Equal(t, end.Status, got.Status, "who runs it says how it ended")
		logs, err := s.Logs(ctx, r.ID)
		require.NoError(t, err)
		assert.Len(t, logs, 1)
	}
}

func testCancelLostRun(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	r := insertLeased(t, s, workflow.Record{}, over)
	assert.Equal(t, workflow.Cancelled, cancel(t, s, r.ID).Status, "nobody is there to stop")
	require.ErrorIs(t, s.Finish(ctx, fence(r), succeed(`1`)), workflow.ErrLost)

	// Its process dies after the cancellation.
	r = insertLeased(t, s, workflow.Record{}, lease)
	assert.Equal(t, workflow.Cancelling, cancel(t, s, r.ID).Status)
	_, cancelling, err := s.Extend(ctx, []workflow.Fence{fence(r)}, over)
	require.NoError(t, err)
	assert.Len(t, cancelling, 1)
	waits := insert(t, s, workflow.Record{})
	taken := claim(t, s, lease)
	require.NotNil(t, taken)
	assert.Equal(t, r.ID, taken.ID)
	assert.Equal(t, workflow.Cancelling, taken.Status, "it is not to be run")
	assert.Equal(t, []int{2, 1}, []int{taken.Attempt, taken.Takeovers})
	require.ErrorIs(t, s.Finish(ctx, fence(r), succeed(`1`)), workflow.ErrLost)
	require.NoError(t, s.Finish(ctx, fence(taken), workflow.Outcome{Status: workflow.Cancelled, Error: &cancelled}))
	assert.Equal(t, waits.ID, claim(t, s, lease).ID)

	// Or it dies, and is cancelled once more.
	r = insertLeased(t, s, workflow.Record{}, lease)
	cancel(t, s, r.ID)
	_, _, err = s.Extend(ctx, []workflow.Fence{fence(r)}, over)
	require.NoError(t, err)
	assert.Equal(t, workflow.Cancelled, cancel(t, s, r.ID).Status)
}

func testCancelFinished(t *testing.T, s workflow.Store) {
	for _, o := range []workflow.Outcome{succeed(`1`), {Status: workflow.Failed, Error: &broken}} {
		r := insertLeased(t, s, workflow.Record{}, lease)
		require.NoError(t, s.Finish(t.Context(), fence(r), o))
		want := get(t, s, r.ID)
		assert.Equal(t, want, cancel(t, s, r.ID))
	}
}

func testKeys(t *testing.T, s workflow.Store) {
	submit := func(r workflow.Record, d time.Duration) *workflow.Record {
		t.Helper()
		r.ID, r.Input = newID(t), json.RawMessage(`{"n":1}`)
		return insertLeased(t, s, r, d)
	}
	first := submit(workflow.Record{Key: "k"}, 0)
	assert.Equal(t, "k", first.Key)
	assert.Equal(t, first, get(t, s, first.ID))
	assert.Equal(t, first, submit(workflow.Record{Key: "k", RunAt: time.Now().Add(time.Hour)}, 0))
	assert.Equal(t, first, submit(workflow.Record{Key: "k"}, lease), "it is not run twice")
	assert.Equal(t, first, insert(t, s, workflow.Record{Key: "k", Input: json.RawMessage(`{"n":2}`)}), "inputs are the caller's to compare")

	r := claim(t, s, lease)
	require.Equal(t, first.ID, r.ID)
	require.NoError(t, s.Finish(t.Context(), fence(r), succeed(`1`)))
	got := submit(workflow.Record{Key: "k"}, 0)
	assert.Equal(t, first.ID, got.ID, "also when it is finished")
	assert.Equal(t, workflow.Succeeded, got.Status)

	ids := map[string]bool{first.ID: true}
	for _, other := range []workflow.Record{
		{}, {}, {Key: "K"}, {Key: "k", Workflow: "other"}, {Key: "k", Scope: workflow.Org("org-2")}, {Key: "k", Scope: workflow.Global()},
	} {
		r := submit(other, 0)
		assert.False(t, ids[r.ID], "%+v has an execution of its own", other)
		ids[r.ID] = true
	}
}
