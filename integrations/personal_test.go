package integrations_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

func TestPersonalConnections(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	acme := integrations.Org("acme")
	w.connect(t, "Graph", "shared", integrations.Global())
	w.connect(t, "Graph", "org", acme)
	_, err := w.Registry.Get(t.Context(), "Graph", acme, integrations.User("alice"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "nothing falls back from a user's own")
	var e *integrations.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.ConnectURL, "user=alice")
	_, err = w.Registry.Get(t.Context(), "Graph", acme, integrations.Account("sales"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)

	w.connect(t, "Graph", "alices", acme, integrations.User("alice"))
	w.connect(t, "Graph", "sales", acme, integrations.Account("sales"))
	w.connect(t, "Graph", "both", acme, integrations.Account("sales"), integrations.User("alice"))
	for want, opts := range map[string][]integrations.Option{
		"org":    {acme},
		"alices": {acme, integrations.User("alice")},
		"sales":  {acme, integrations.Account("sales")},
		"both":   {acme, integrations.User("alice"), integrations.Account("sales")},
		"shared": {integrations.Org("globex")},
	} {
		for range 2 { // cold and warm
			in, err := w.Registry.Get(t.Context(), "Graph", opts...)
			require.NoError(t, err, want)
			require.Contains(t, in.OAuth().AccessToken(), "-"+want+"-")
		}
		st, err := w.Refresh(t.Context(), "Graph", opts...)
		if want == "shared" {
			require.ErrorIs(t, err, integrations.ErrNotOwn)
			continue
		}
		require.NoError(t, err, want)
		require.Equal(t, integrations.ViaOwn, st.Via)
		in, err := w.Registry.Get(t.Context(), "Graph", opts...)
		require.NoError(t, err)
		require.Contains(t, in.OAuth().AccessToken(), "-"+want+"-", "refreshed as itself")
	}
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("globex"), integrations.User("alice"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "a user of one organization is nobody in another")

	var seen []string
	for st, err := range w.Connections(t.Context(), "Graph", nil, acme) {
		require.NoError(t, err)
		seen = append(seen, st.Key.User+"/"+st.Key.Account)
	}
	require.Equal(t, []string{"/", "/sales", "alice/", "alice/sales"}, seen)
	seen = seen[:0]
	for st, err := range w.Connections(t.Context(), "Graph", nil, acme, integrations.User("alice")) {
		require.NoError(t, err)
		seen = append(seen, st.Key.User+"/"+st.Key.Account)
	}
	require.True(t, slices.Equal([]string{"alice/", "alice/sales"}, seen), seen)

	_, err = w.Disconnect(t.Context(), "Graph", "alice", acme, integrations.User("alice"))
	require.NoError(t, err)
	_, err = w.Registry.Get(t.Context(), "Graph", acme, integrations.User("alice"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	_, err = w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err, "the organization's own is untouched")
}

// An empty id is a forgotten one, and must not mean somebody else's connection.
func TestPersonalOptionsAreChecked(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "org", integrations.Org("acme"))
	for name, option := range map[string]integrations.Option{
		"no user": integrations.User(""), "no account": integrations.Account(""), "no scope": integrations.Scope(""),
		"no audience": integrations.Audience(""), "NUL": integrations.User("a\x00"), "long": integrations.User(strings.Repeat("a", 257)),
		"not UTF-8": integrations.Account("\xff"),
	} {
		_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"), option)
		require.ErrorIs(t, err, integrations.ErrInvalid, name)
	}
}

// The client's own credentials are nobody's in particular: no label may have a
// token of its own asked for.
func TestNobodyOwnsClientCredentials(t *testing.T) {
	w := newWorld(t)
	w.idp.grantsCredentials = true
	w.create(t, credentials("Graph"))
	w.mapTo(t, "Graph", "acme", "tenant-a")
	acme, user := integrations.Org("acme"), integrations.User("alice")
	_, err := w.Registry.Get(t.Context(), "Graph", acme, user)
	require.ErrorIs(t, err, integrations.ErrInvalid)
	_, err = w.Refresh(t.Context(), "Graph", acme, integrations.Account("1"))
	require.ErrorIs(t, err, integrations.ErrInvalid)
	_, err = w.Registry.Test(t.Context(), "Graph", acme, user)
	require.ErrorIs(t, err, integrations.ErrInvalid)
	require.Zero(t, w.idp.count())
}
