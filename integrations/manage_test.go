package integrations_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestStatusFollowsTheConnection(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	status := func(opts ...integrations.Option) integrations.Status {
		st, err := w.Status(t.Context(), "Graph", opts...)
		require.NoError(t, err)
		return st
	}
	st := status(integrations.Org("acme"))
	require.Equal(t, tokenstore.NotConnected, st.Status)
	require.Equal(t, integrations.ViaNone, st.Via)
	require.Equal(t, "https://login.example.com", st.AuthorizationOrigin)
	require.Equal(t, "common", st.EntityID)

	_, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, integrations.Connecting, status(integrations.Org("acme")).Status)
	require.Equal(t, tokenstore.NotConnected, status(integrations.Org("globex")).Status, "a flow is one organization's")

	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	st = status(integrations.Org("acme"))
	require.Equal(t, tokenstore.Active, st.Status)
	require.Equal(t, integrations.ViaOwn, st.Via)
	require.Equal(t, "alice", st.ConnectedBy)
	require.WithinDuration(t, time.Now().Add(time.Hour), st.ExpiresAt, time.Minute)

	// Beginning to reconnect changes nothing.
	_, err = w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, status(integrations.Org("acme")).Status)

	_, err = w.Disconnect(t.Context(), "Graph", "alice", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, integrations.ViaNone, status(integrations.Org("acme")).Via)
	_, err = w.Get(inOrg(t.Context(), "acme"), "Graph")
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	_, err = w.Disconnect(t.Context(), "Graph", "alice", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
}

func TestTheFallbackIsNotTheOrganizationsToChange(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	st, err := w.Status(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, integrations.ViaFallback, st.Via)
	require.Equal(t, tokenstore.Active, st.Status)

	hidden := st.WithoutFallback()
	require.Empty(t, hidden.EntityID)
	require.Empty(t, hidden.ConnectedBy)
	require.Zero(t, hidden.ExpiresAt)
	require.Equal(t, integrations.ViaFallback, hidden.Via)

	_, err = w.Refresh(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotOwn)
	_, err = w.Disconnect(t.Context(), "Graph", "mallory", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotOwn)
	require.Equal(t, 1, w.idp.count())
	_, err = w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err, "the shared connection is untouched")
}

func TestRefreshNow(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	before, err := w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err)
	st, err := w.Refresh(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, st.Status)
	require.False(t, st.LastRefreshAt.IsZero())
	after, err := w.Get(inGlobal(t.Context()), "Graph")
	require.NoError(t, err)
	require.NotEqual(t, before.OAuth().AccessToken(), after.OAuth().AccessToken())
	require.NotEmpty(t, before.OAuth().AccessToken(), "what was handed out does not change")
}

func TestListAndConnections(t *testing.T) {
	w := newWorld(t)
	for _, d := range []struct{ name, org string }{{"B", ""}, {"A", ""}, {"A", "acme"}, {"C", "globex"}} {
		def := definition(d.name)
		def.Org = d.org
		require.NoError(t, w.Define(def))
	}
	names := func(opts ...integrations.Option) (list []string) {
		all, err := w.List(t.Context(), opts...)
		require.NoError(t, err)
		for _, st := range all {
			list = append(list, st.Owner+"/"+st.Name)
		}
		return list
	}
	require.Equal(t, []string{"/A", "acme/A", "/B", "globex/C"}, names(integrations.Global()))
	require.Equal(t, []string{"acme/A", "/B"}, names(integrations.Org("acme")))
	require.Equal(t, []string{"/A", "/B"}, names(integrations.Org("initech")))

	w.connect(t, "B", "one", integrations.Org("acme"))
	w.connect(t, "B", "two", integrations.Org("globex"))
	w.connect(t, "B", "three", integrations.Global())
	_, err := w.Disconnect(t.Context(), "B", "alice", integrations.Org("globex"))
	require.NoError(t, err)
	orgs := func(name string, after *tokenstore.Key, opts ...integrations.Option) (list []string) {
		for st, err := range w.Connections(t.Context(), name, after, opts...) {
			require.NoError(t, err)
			require.Equal(t, st.Org, st.Key.Org)
			list = append(list, st.Key.Org)
		}
		return list
	}
	require.Equal(t, []string{"", "acme"}, orgs("B", nil, integrations.Global()), "globex has disconnected")
	require.Equal(t, []string{"acme"}, orgs("B", nil, integrations.Org("acme")))
	global, err := w.Status(t.Context(), "B", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, []string{"acme"}, orgs("B", &global.Key, integrations.Global()))
	for _, err := range w.Connections(t.Context(), "Nope", nil, integrations.Global()) {
		require.ErrorIs(t, err, integrations.ErrNotFound)
	}

	events, err := w.Events(t.Context(), "B", 0, 100, integrations.Org("globex"))
	require.NoError(t, err)
	require.Len(t, events, 2)
	require.Equal(t, "disconnected", events[0].Kind)
	require.Equal(t, "alice", events[0].Actor)
}

// Changing what a grant was made under must not send its tokens anywhere else.
func TestAChangedDefinitionSendsNothing(t *testing.T) {
	for reason, change := range map[string]func(*integrations.Definition){
		"entity_changed":     func(d *integrations.Definition) { d.DefaultEntityID = "other" },
		"client_changed":     func(d *integrations.Definition) { d.OAuth.ClientID = "other" },
		"definition_changed": func(d *integrations.Definition) { d.OAuth.TokenURL = "https://evil.example.com/{entity_id}/token" },
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				require.NoError(t, w.Define(definition("Graph")))
				w.connect(t, "Graph", "shared", integrations.Global())
				keep := w.store
				sealer := w.sealer

				// The next deployment has another definition, and the same database.
				w2 := newWorld(t, func(c *integrations.Config) { c.Tokens, c.Sealer = keep, sealer })
				d := definition("Graph")
				change(&d)
				require.NoError(t, w2.Define(d))
				pass(2 * time.Hour)
				_, err := w2.Get(inGlobal(t.Context()), "Graph")
				require.ErrorIs(t, err, integrations.ErrReauthRequired)
				var e *integrations.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, reason, e.Reason)
				require.Zero(t, w2.idp.count(), "nothing was sent")
			})
		})
	}
}

func TestCallbackPathsBelongToOneDefinition(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	own := definition("Graph")
	own.Org = "acme"
	require.NoError(t, w.Define(own))
	global, found, err := w.CallbackDefinition(t.Context(), "Graph")
	require.NoError(t, err)
	require.True(t, found)
	mine, found, err := w.CallbackDefinition(t.Context(), own.ID())
	require.NoError(t, err)
	require.True(t, found)
	require.NotEqual(t, global, mine)
	d := definition("Graph")
	_, found, err = w.CallbackDefinition(t.Context(), d.ID())
	require.NoError(t, err)
	require.False(t, found, "global definitions have one path, by name")
	_, found, err = w.CallbackDefinition(t.Context(), "nope")
	require.NoError(t, err)
	require.False(t, found)

	// A flow of one cannot finish on the other's path.
	started, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.NoError(t, err)
	_, err = w.Callback(t.Context(), oauthflow.CallbackRequest{
		RawQuery: "code=x&state=" + stateOf(t, started), Definition: mine, Principal: "alice", HasPrincipal: true,
		Cookie:  func(string) string { return started.Cookie.Value },
		Allowed: func(tokenstore.Key) bool { return true },
	})
	require.Error(t, err)
	require.Zero(t, w.idp.count())
}
