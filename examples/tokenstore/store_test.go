package documentstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	documentstore "github.com/bifrost-go/bifrost/examples/tokenstore"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/tokenstore/storetest"
)

// The suite that Bifrost's own stores pass.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) tokenstore.Store { return documentstore.New(&documentstore.Variable{}) })
}

// Two processes on one document: nothing that one writes is lost, and of two that
// want a flow one gets it. (storetest.RunShared checks that everywhere; a store that
// does not rewrite everything with each write should run it, too.)
func TestTwoProcesses(t *testing.T) {
	document := &documentstore.Variable{}
	stores := []*documentstore.Store{documentstore.New(document), documentstore.New(document)}
	key := tokenstore.Key{Definition: "crm", Org: "acme"}
	const writes = 50
	_, err := stores[0].PutFlow(t.Context(), tokenstore.Flow{StateHash: "state", Key: key}, time.Hour, 1)
	require.NoError(t, err)

	var wg sync.WaitGroup
	var taken atomic.Int64
	for i := range 4 {
		store := stores[i%2]
		wg.Go(func() {
			if _, err := store.TakeFlow(t.Context(), "state"); err == nil {
				taken.Add(1)
			} else {
				assert.ErrorIs(t, err, tokenstore.ErrNotFound)
			}
			for range writes {
				_, err := store.Update(t.Context(), key, func(c *tokenstore.Connection, _ time.Time) error {
					c.Generation++
					return nil
				})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, taken.Load())
	for _, store := range stores {
		c, err := store.Load(t.Context(), key)
		require.NoError(t, err)
		require.EqualValues(t, 4*writes, c.Generation)
		require.EqualValues(t, 4*writes, c.Version)
	}
}

// broken is a storage that cannot be reached.
type broken struct{ documentstore.Variable }

var errAway = errors.New("the storage is away")

func (*broken) Swap(context.Context, int64, []byte) (bool, error) { return false, errAway }

// A fault of the storage is an error, never an empty record.
func TestFaults(t *testing.T) {
	store := documentstore.New(&broken{})
	err := store.AddEvents(t.Context(), tokenstore.Event{Kind: "created"})
	require.ErrorIs(t, err, errAway)
	require.NoError(t, store.Ping(t.Context()))

	damaged := &documentstore.Variable{}
	_, err = damaged.Swap(t.Context(), 0, []byte("garbage"))
	require.NoError(t, err)
	_, err = documentstore.New(damaged).Load(t.Context(), tokenstore.Key{})
	require.ErrorContains(t, err, "damaged")
}
