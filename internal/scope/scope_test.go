package scope_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/scope"
)

func TestWhatAContextCarriesIsAddedTo(t *testing.T) {
	plain := t.Context()
	require.Equal(t, scope.Carried{}, *scope.In(plain))

	registry := scope.WithRegistry(plain, "registry")
	acme := scope.With(registry, scope.Of("acme"))
	run := &scope.Run{Scope: scope.Of("globex")}
	within := scope.WithRun(acme, run)
	global := scope.With(within, scope.Scope{Kind: scope.Global})

	require.Equal(t, scope.Carried{Registry: "registry"}, *scope.In(registry))
	require.Equal(t, scope.Carried{Registry: "registry", Scope: scope.Of("acme")}, *scope.In(acme), "what was made of it has not changed it")
	require.Equal(t, scope.Carried{Registry: "registry", Scope: scope.Of("globex"), Run: run}, *scope.In(within), "a run has its scope")
	require.Equal(t, scope.Carried{Registry: "registry", Scope: scope.Scope{Kind: scope.Global}, Run: run}, *scope.In(global))
	require.Equal(t, scope.Scope{}, scope.From(plain))
	require.Nil(t, scope.RunFrom(acme))
}
