package integrations_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/integrations/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) integrations.Store { return integrations.NewMemory() })
}

func TestMemoryShared(t *testing.T) {
	storetest.RunShared(t, func(*testing.T) (a, b integrations.Store) {
		m := integrations.NewMemory()
		return m, m
	})
}

func TestMemoryFollowsTheBubblesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := integrations.NewMemory()
		d, err := m.PutDefinition(t.Context(), integrations.DefinitionRecord{ID: "1"})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		again, err := m.PutDefinition(t.Context(), d)
		require.NoError(t, err)
		assert.Equal(t, d.CreatedAt, again.CreatedAt)
		assert.Equal(t, time.Hour, again.UpdatedAt.Sub(d.UpdatedAt))
	})
}
