package bifrost_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
)

func TestMemoryInTxOnlyCalls(t *testing.T) {
	m := bifrost.Memory()
	fault := errors.New("fault")
	require.Same(t, fault, m.InTx(t.Context(), func(ctx context.Context) error {
		_, err := m.Definitions().PutDefinition(ctx, integrations.DefinitionRecord{ID: "1"})
		require.NoError(t, err)
		return fault
	}))
	list, _, err := m.Definitions().Definitions(t.Context(), 0, 10)
	require.NoError(t, err)
	assert.Len(t, list, 1, "nothing is taken back")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, m.InTx(ctx, func(context.Context) error { panic("not called") }), context.Canceled)
}
