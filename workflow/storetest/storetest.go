// Package storetest is the suite that every workflow.Store passes, yours too.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) workflow.Store { return open(t) })
//	}
//
// [RunShared] is for storage that several processes share. A lease that is over
// at once stands for one that ran out, so nothing sleeps.
package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// lease is longer than any test takes; over is a lease that has run out already.
const (
	lease = time.Hour
	over  = time.Nanosecond
)

// Run checks the contract of workflow.Store. open returns an empty store; what
// needs closing is closed with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) workflow.Store) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, s workflow.Store)
	}{
		{"insert", testInsert},
		{"insert leased", testInsertLeased},
		{"insert twice", testInsertTwice},
		{"copies", testCopies},
		{"claim order", testClaimOrder},
		{"claim only what fits", testClaimOnly},
		{"takeover", testTakeover},
		{"fence", testFence},
		{"extend", testExtend},
		{"release", testRelease},
		{"finish", testFinish},
		{"scheduled", testScheduled},
		{"retry", testRetry},
		{"cancel what waits", testCancelWaiting},
		{"cancel a run", testCancelRun},
		{"cancel a run whose process died", testCancelLostRun},
		{"cancel what is finished", testCancelFinished},
		{"keys", testKeys},
		{"logs", testLogs},
		{"get", testGet},
		{"list", testList},
		{"delete an organization", testDeleteOrg},
		{"hostile text", testHostileText},
		{"text that cannot be kept", testInvalidText},
		{"ended context", testEndedContext},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
	t.Run("concurrent claims", func(t *testing.T) {
		s := open(t)
		testConcurrentClaims(t, s, s)
	})
	t.Run("concurrent finishes", func(t *testing.T) {
		s := open(t)
		testConcurrentFinishes(t, s, s)
	})
	t.Run("concurrent inserts of one key", func(t *testing.T) {
		s := open(t)
		testConcurrentKeys(t, s, s)
	})
}

// RunShared checks what two handles on one storage promise each other.
func RunShared(t *testing.T, open func(t *testing.T) (a, b workflow.Store)) {
	t.Run("visible at once", func(t *testing.T) {
		a, b := open(t)
		r := insert(t, a, workflow.Record{})
		got, err := b.Get(t.Context(), r.ID)
		require.NoError(t, err)
		assert.Equal(t, r, got)
	})
	t.Run("concurrent claims", func(t *testing.T) {
		a, b := open(t)
		testConcurrentClaims(t, a, b)
	})
	t.Run("concurrent finishes", func(t *testing.T) {
		a, b := open(t)
		testConcurrentFinishes(t, a, b)
	})
	t.Run("concurrent inserts of one key", func(t *testing.T) {
		a, b := open(t)
		testConcurrentKeys(t, a, b)
	})
}

// newID returns an id greater than the ones before.
func newID(t *testing.T) string {
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// insert stores a pending execution, with what r leaves open filled in.
func insert(t *testing.T, s workflow.Store, r workflow.Record) *workflow.Record {
	t.Helper()
	return insertLeased(t, s, r, 0)
}

func insertLeased(t *testing.T, s workflow.Store, r workflow.Record, d time.Duration) *workflow.Record {
	t.Helper()
	if r.ID == "" {
		r.ID = newID(t)
	}
	if r.Workflow == "" {
		r.Workflow = "work"
	}
	if r.Scope == (workflow.Scope{}) {
		r.Scope = workflow.Org("org-1")
	}
	if r.Input == nil {
		r.Input = json.RawMessage(`{}`)
	}
	stored, err := s.Insert(t.Context(), &r, d)
	require.NoError(t, err)
	return stored
}

func fence(r *workflow.Record) workflow.Fence {
	return workflow.Fence{ID: r.ID, Attempt: r.Attempt}
}

// claim claims one of the workflow "work" and returns nil if there is none.
func claim(t *testing.T, s workflow.Store, d time.Duration) *workflow.Record {
	t.Helper()
	r, err := s.Claim(t.Context(), workflow.Claim{Workflows: []string{"other", "work"}, Lease: d})
	require.NoError(t, err)
	return r
}

func succeed(result string) workflow.Outcome {
	return workflow.Outcome{Status: workflow.Succeeded, Result: []byte(result)}
}

func recent(t *testing.T, at time.Time) {
	t.Helper()
	assert.WithinDuration(t, time.Now(), at, time.Minute)
}

func testInsert(t *testing.T, s workflow.Store) {
	for _, sc := range []workflow.Scope{workflow.Org("org-1"), workflow.Global()} {
		r := insert(t, s, workflow.Record{
			Scope: sc, Input: json.RawMessage(`{"a":[1,"x"]}`), Principal: "alice",
			// The store's own, whatever the caller says:
			Status: workflow.Failed, Attempt: 7, Takeovers: 3, Result: json.RawMessage(`1`),
			Error: &workflow.Failure{Code: "error"}, FinishedAt: time.Now(), Retries: 2,
		})
		recent(t, r.CreatedAt)
		want := &workflow.Record{
			ID: r.ID, Workflow: "work", Scope: sc, Input: json.RawMessage(`{"a":[1,"x"]}`), Principal: "alice",
			Status: workflow.Pending, CreatedAt: r.CreatedAt,
		}
		assert.Equal(t, want, r)
		got, err := s.Get(t.Context(), r.ID)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func testInsertLeased(t *testing.T, s workflow.Store) {
	r := insertLeased(t, s, workflow.Record{}, lease)
	assert.Equal(t, workflow.Running, r.Status)
	assert.Equal(t, 1, r.Attempt)
	assert.Equal(t, r.CreatedAt, r.StartedAt)
	assert.Nil(t, claim(t, s, lease), "it is taken")
	require.NoError(t, s.Finish(t.Context(), fence(r), succeed(`1`)))
}

func testInsertTwice(t *testing.T, s workflow.Store) {
	r := insert(t, s, workflow.Record{})
	_, err := s.Insert(t.Context(), &workflow.Record{ID: r.ID, Workflow: "other", Scope: workflow.Global(), Input: json.RawMessage(`{}`)}, 0)
	require.Error(t, err)
	got, err := s.Get(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, r, got)
}

func testCopies(t *testing.T, s workflow.Store) {
	input := json.RawMessage(`{"a":1}`)
	r := insert(t, s, workflow.Record{Input: input})
	copy(input, "xxxxx")
	copy(r.Input, "yyyyy")
	got := claim(t, s, lease)
	assert.JSONEq(t, `{"a":1}`, string(got.Input))
	copy(got.Input, "zzzzz")
	require.NoError(t, s.Finish(t.Context(), fence(got), succeed(`"done"`)))
	for range 2 {
		got, err := s.Get(t.Context(), r.ID)
		require.NoError(t, err)
		assert.JSONEq(t, `{"a":1}`, string(got.Input))
		assert.JSONEq(t, `"done"`, string(got.Result))
		copy(got.Result, "xxxxxx")
	}
}

func testClaimOrder(t *testing.T, s workflow.Store) {
	assert.Nil(t, claim(t, s, lease), "empty store")
	first, second, third := newID(t), newID(t), newID(t)
	insert(t, s, workflow.Record{ID: second})
	insert(t, s, workflow.Record{ID: third})
	insertLeased(t, s, workflow.Record{ID: first}, over) // its process died
	for _, id := range []string{first, second, third} {
		r := claim(t, s, lease)
		require.NotNil(t, r)
		assert.Equal(t, id, r.ID)
		assert.Equal(t, workflow.Running, r.Status)
		recent(t, r.StartedAt)
	}
	assert.Nil(t, claim(t, s, lease), "all taken")
}

func testClaimOnly(t *testing.T, s workflow.Store) {
	insert(t, s, workflow.Record{Workflow: "elsewhere"})
	skipped := insert(t, s, workflow.Record{})
	next := insert(t, s, workflow.Record{Workflow: "other"})
	r, err := s.Claim(t.Context(), workflow.Claim{Workflows: []string{"work", "other"}, Except: []string{skipped.ID}, Lease: lease})
	require.NoError(t, err)
	require.NotNil(t, r)
	assert.Equal(t, next.ID, r.ID)
	r, err = s.Claim(t.Context(), workflow.Claim{Workflows: nil, Lease: lease})
	require.NoError(t, err)
	assert.Nil(t, r)
}

func testTakeover(t *testing.T, s workflow.Store) {
	id := insert(t, s, workflow.Record{}).ID
	for attempt := 1; attempt <= 3; attempt++ {
		r := claim(t, s, over)
		require.NotNil(t, r)
		assert.Equal(t, id, r.ID)
		assert.Equal(t, attempt, r.Attempt)
		assert.Equal(t, attempt-1, r.Takeovers)
	}
}

func testFence(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	insert(t, s, workflow.Record{})
	old := claim(t, s, over)
	current := claim(t, s, lease)
	unknown := workflow.Fence{ID: newID(t), Attempt: 1}
	for _, f := range []workflow.Fence{fence(old), {ID: current.ID, Attempt: current.Attempt + 1}, unknown} {
		require.ErrorIs(t, s.Finish(ctx, f, succeed(`"wrong"`)), workflow.ErrLost)
		require.ErrorIs(t, s.Release(ctx, f, nil), workflow.ErrLost)
		require.ErrorIs(t, s.Append(ctx, f, []workflow.Log{{Seq: 1, Message: "wrong"}}), workflow.ErrLost)
	}
	require.NoError(t, s.Finish(ctx, fence(current), succeed(`"right"`)))
	require.ErrorIs(t, s.Finish(ctx, fence(current), succeed(`"again"`)), workflow.ErrLost)
	require.ErrorIs(t, s.Release(ctx, fence(current), nil), workflow.ErrLost)
	got, err := s.Get(ctx, current.ID)
	require.NoError(t, err)
	assert.JSONEq(t, `"right"`, string(got.Result))
	logs, err := s.Logs(ctx, current.ID)
	require.NoError(t, err)
	assert.Empty(t, logs)
}

func testExtend(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	first, second := insertLeased(t, s, workflow.Record{}, over), insertLeased(t, s, workflow.Record{}, over)
	pending := insert(t, s, workflow.Record{Workflow: "elsewhere"})
	finished := insertLeased(t, s, workflow.Record{}, lease)
	require.NoError(t, s.Finish(ctx, fence(finished), succeed(`1`)))
	unknown := workflow.Fence{ID: newID(t), Attempt: 1}

	lost, cancelling, err := s.Extend(ctx, []workflow.Fence{fence(first), fence(pending), fence(second), fence(finished), unknown}, lease)
	require.NoError(t, err)
	assert.Equal(t, []workflow.Fence{fence(pending), fence(finished), unknown}, lost)
	assert.Empty(t, cancelling)
	assert.Nil(t, claim(t, s, lease), "leases that ran out untaken were extended")

	lost, _, err = s.Extend(ctx, []workflow.Fence{fence(first)}, over)
	require.NoError(t, err)
	assert.Empty(t, lost)
	taken := claim(t, s, lease)
	require.NotNil(t, taken)
	assert.Equal(t, first.ID, taken.ID)
	lost, _, err = s.Extend(ctx, []workflow.Fence{fence(first), fence(taken)}, lease)
	require.NoError(t, err)
	assert.Equal(t, []workflow.Fence{fence(first)}, lost)
	lost, _, err = s.Extend(ctx, nil, lease)
	require.NoError(t, err)
	assert.Empty(t, lost)
}

func testRelease(t *testing.T, s workflow.Store) {
	r := insertLeased(t, s, workflow.Record{}, lease)
	require.NoError(t, s.Release(t.Context(), fence(r), []workflow.Log{{Seq: 1, At: time.Now(), Message: "bye"}}))
	got, err := s.Get(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, workflow.Pending, got.Status)
	assert.True(t, got.StartedAt.IsZero())
	logs, err := s.Logs(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Len(t, logs, 1)
	next := claim(t, s, lease)
	require.NotNil(t, next)
	assert.Equal(t, 2, next.Attempt)
	assert.Zero(t, next.Takeovers, "handing back is no loss")
}

func testFinish(t *testing.T, s workflow.Store) {
	failure := &workflow.Failure{Code: "timeout", Message: "too late"}
	for _, o := range []workflow.Outcome{
		succeed(`{"n":1}`),
		{Status: workflow.Failed, Error: &workflow.Failure{Code: "error", Message: ""}},
		{Status: workflow.TimedOut, Error: failure},
		{Status: workflow.Cancelled, Error: failure},
	} {
		r := insertLeased(t, s, workflow.Record{}, lease)
		require.NoError(t, s.Finish(t.Context(), fence(r), o))
		got, err := s.Get(t.Context(), r.ID)
		require.NoError(t, err)
		recent(t, got.FinishedAt)
		assert.GreaterOrEqual(t, got.Duration(), time.Duration(0))
		want := r.Clone()
		want.Status, want.Result, want.Error, want.FinishedAt = o.Status, json.RawMessage(o.Result), o.Error, got.FinishedAt
		assert.Equal(t, want, got)
		assert.Nil(t, claim(t, s, lease))
	}
	r := insertLeased(t, s, workflow.Record{}, lease)
	require.Error(t, s.Finish(t.Context(), fence(r), workflow.Outcome{Status: workflow.Running}), "not a final status")
}
