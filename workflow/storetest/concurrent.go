package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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
