package tokenstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/tokenstore/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) tokenstore.Store { return tokenstore.NewMemory() })
}

func TestMemoryShared(t *testing.T) {
	storetest.RunShared(t, func(*testing.T) (a, b tokenstore.Store) {
		m := tokenstore.NewMemory()
		return m, m
	})
}

func TestMemoryFollowsTheBubblesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := tokenstore.NewMemory()
		_, err := m.PutFlow(t.Context(), tokenstore.Flow{StateHash: "s"}, 10*time.Minute, 1)
		require.NoError(t, err)
		before, err := m.Load(t.Context(), tokenstore.Key{})
		require.NoError(t, err)
		time.Sleep(10*time.Minute - time.Microsecond)
		_, err = m.GetFlow(t.Context(), "s")
		require.NoError(t, err)
		time.Sleep(time.Microsecond)
		_, err = m.GetFlow(t.Context(), "s")
		require.ErrorIs(t, err, tokenstore.ErrNotFound)
		after, err := m.Load(t.Context(), tokenstore.Key{})
		require.NoError(t, err)
		assert.Equal(t, 10*time.Minute, after.ReadAt.Sub(before.ReadAt))
	})
}

func TestMemoryKeepsEventsUntilTheirAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := tokenstore.NewMemory()
		require.NoError(t, m.AddEvents(t.Context(), tokenstore.Event{Kind: "created"}))
		time.Sleep(time.Hour - time.Microsecond)
		n, err := m.DeleteEvents(t.Context(), tokenstore.Match{}, time.Hour, 10)
		require.NoError(t, err)
		assert.Zero(t, n)
		time.Sleep(time.Microsecond)
		n, err = m.DeleteEvents(t.Context(), tokenstore.Match{}, time.Hour, 10)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
	})
}
