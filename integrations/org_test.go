package integrations_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/scope"
)

func TestValidOrg(t *testing.T) {
	for org, want := range map[string]bool{
		"acme": true, "org-123": true, "a.b_c~D9": true, "...": true, strings.Repeat("x", 128): true,
		"": false, ".": false, "..": false, "a b": false, "a/b": false, "a%62": false, "a\x00": false,
		"ацме": false, "a:b": false, "a\n": false, strings.Repeat("x", 129): false,
	} {
		require.Equal(t, want, integrations.ValidOrg(org), "%q", org)
	}
}

// An organization's scope reaches its own mapping, and its runs manage nothing.
func TestScopesOfManaging(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.mapTo(t, "Graph", "globex", "tenant-b")
	acme := integrations.Org("acme")
	_, err := w.SetMapping(t.Context(), "Graph", integrations.Mapping{Org: "globex", EntityID: "evil"}, "m", acme)
	var invalid *integrations.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.ErrorIs(t, w.RemoveMapping(t.Context(), "Graph", "globex", "m", acme), integrations.ErrNotFound)

	run := scope.WithRun(t.Context(), &scope.Run{Scope: scope.Of("acme"), Redact: func(string) {}})
	w.connect(t, "Graph", "shared", integrations.Global())
	for name, call := range map[string]func() error{
		"create": func() error { _, err := w.Create(run, owned("Mine", "acme"), "run"); return err },
		"map": func() error {
			_, err := w.SetMapping(run, "Graph", integrations.Mapping{Org: "acme", EntityID: "x"}, "run")
			return err
		},
		"configure": func() error { _, err := w.SetConfig(run, "Graph", nil, "run"); return err },
		"export":    func() error { _, err := w.Export(run, "Graph", "run", integrations.Global()); return err },
		"delete":    func() error { _, err := w.DeleteOrg(run, "acme", "run", nil); return err },
	} {
		require.ErrorIs(t, call(), integrations.ErrForbiddenOrg, name)
	}
	for name, option := range map[string]integrations.Option{"user": integrations.User("alice"), "scope": integrations.Scope("mail")} {
		_, err := w.SetConfig(t.Context(), "Graph", nil, "root", acme, option)
		require.ErrorIs(t, err, integrations.ErrInvalid, name)
		_, err = w.Delete(t.Context(), "Graph", "root", acme, option)
		require.ErrorIs(t, err, integrations.ErrInvalid, name)
	}
	_, err = w.Refresh(t.Context(), "Graph", integrations.Global(), integrations.Scope("mail"))
	require.ErrorIs(t, err, integrations.ErrInvalid)
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Global(), integrations.Scope("a  b"))
	require.ErrorIs(t, err, integrations.ErrInvalid)
}

// By its id, an organization's own definition is managed as the organization's.
func TestOwnDefinitionByID(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	st := w.create(t, owned("Graph", "acme"))
	started, err := w.Connect(t.Context(), st.ID, integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.NoError(t, err)
	require.NoError(t, w.finish(t, started, "acme"))
	in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Contains(t, in.OAuth().AccessToken(), "-acme-")
	for st, err := range w.Connections(t.Context(), "Graph", nil, integrations.Org("acme")) {
		require.NoError(t, err)
		require.Equal(t, "acme", st.Key.Org)
	}
}
