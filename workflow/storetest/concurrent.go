package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// testConcurrentClaims lets both handles claim everything at once: each execution
// goes to one of them, once.
func testConcurrentClaims(t *testing.T, a, b workflow.Store) {
	const total = 60
	for range total {
		insert(t, a, workflow.Record{})
	}
	var mu sync.Mutex
	claimed := map[string]int{}
	var wg sync.WaitGroup
	for i := range 8 {
		s := []workflow.Store{a, b}[i%2]
		wg.Go(func() {
			for {
				r, err := s.Claim(t.Context(), workflow.Claim{Workflows: []string{"work"}, Lease: lease})
				if !assert.NoError(t, err) || r == nil {
					return
				}
				assert.Equal(t, 1, r.Attempt)
				mu.Lock()
				claimed[r.ID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Len(t, claimed, total)
	for id, n := range claimed {
		assert.Equal(t, 1, n, id)
	}
}

// testConcurrentFinishes lets many finish one run: one of them does.
func testConcurrentFinishes(t *testing.T, a, b workflow.Store) {
	r := insertLeased(t, a, workflow.Record{}, lease)
	var finished atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		s := []workflow.Store{a, b}[i%2]
		wg.Go(func() {
			err := s.Finish(t.Context(), fence(r), succeed(fmt.Sprint(i)))
			switch {
			case err == nil:
				finished.Add(1)
			case !errors.Is(err, workflow.ErrLost):
				t.Errorf("unexpected error: %v", err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, finished.Load())
}

// testConcurrentKeys lets both handles submit under one key at once: one stores,
// and all get what it stored.
func testConcurrentKeys(t *testing.T, a, b workflow.Store) {
	const total = 8
	ids := make([]string, total)
	got := make([]*workflow.Record, total)
	var wg sync.WaitGroup
	for i := range total {
		ids[i] = newID(t)
		s := []workflow.Store{a, b}[i%2]
		wg.Go(func() {
			var err error
			got[i], err = s.Insert(t.Context(), &workflow.Record{
				ID: ids[i], Workflow: "work", Scope: workflow.Org("org-1"), Input: json.RawMessage(`{}`), Key: "k",
			}, time.Duration(i%3)*lease)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	for _, r := range got {
		require.NotNil(t, r)
		assert.Equal(t, got[0].ID, r.ID)
		assert.Contains(t, ids, r.ID)
	}
	list, err := a.List(t.Context(), workflow.Match{}, "", total)
	require.NoError(t, err)
	assert.Len(t, list, 1)
}
