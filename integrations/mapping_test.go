package integrations_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func (w *world) mapTo(t testing.TB, name, org, entity string) {
	t.Helper()
	_, err := w.SetMapping(t.Context(), name, integrations.Mapping{Org: org, EntityID: entity, EntityName: "Tenant of " + org},
		"root", integrations.Global())
	require.NoError(t, err)
}

// Each organization's tokens come from the tenant that it is mapped to.
func TestMappingsChooseTheTenant(t *testing.T) {
	w := newWorld(t)
	w.create(t, definition("Graph"))
	for _, org := range []string{"acme", "globex", "initech"} {
		w.mapTo(t, "Graph", org, "tenant-of-"+org)
		w.connect(t, "Graph", org, integrations.Org(org))
	}
	w.connect(t, "Graph", "platform", integrations.Global())
	for org, want := range map[string]string{
		"acme": "at-login.example.com-tenant-of-acme-acme-1", "globex": "at-login.example.com-tenant-of-globex-globex-2",
		"initech": "at-login.example.com-tenant-of-initech-initech-3", "other": "at-login.example.com-common-platform-4",
	} {
		in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org(org))
		require.NoError(t, err)
		require.Equal(t, want, in.OAuth().AccessToken())
		require.Equal(t, org == "other", in.Fallback())
	}
	var orgs []string
	for m, err := range w.Mappings(t.Context(), "Graph", "acme", integrations.Global()) {
		require.NoError(t, err)
		require.Equal(t, "Tenant of "+m.Org, m.EntityName)
		require.Equal(t, "root", m.UpdatedBy)
		orgs = append(orgs, m.Org)
	}
	require.Equal(t, []string{"globex", "initech"}, orgs)
}

// A mapping is what an integration says, though the shared connection answers.
func TestMappedOrganizationOnTheFallback(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "platform", integrations.Global())
	w.mapTo(t, "Graph", "acme", "tenant-a")
	in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.True(t, in.Fallback())
	require.Equal(t, "tenant-a", in.EntityID())
	require.Equal(t, "Tenant of acme", in.EntityName())
}

func TestMappingUnderALiveConnection(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	w.mapTo(t, "Graph", "acme", "tenant-a")
	_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrReauthRequired)
	var e *integrations.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "entity_changed", e.Reason)
	require.Equal(t, 1, w.idp.count())

	require.NoError(t, w.RemoveMapping(t.Context(), "Graph", "acme", "root", integrations.Global()))
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err, "taken back, the grant fits again")
	require.ErrorIs(t, w.RemoveMapping(t.Context(), "Graph", "acme", "root", integrations.Global()), integrations.ErrNotFound)
}

func TestMappingsAreChecked(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	require.NoError(t, w.Define(owned("Mine", "acme")))
	for _, test := range []struct{ name, integration, org, entity, field string }{
		{"empty", "Graph", "acme", "", "entity_id"},
		{"org", "Graph", "a/b", "x", "org"},
		{"no org", "Graph", "", "x", "org"},
		{"dots", "Graph", "acme", "..", "entity_id"},
		{"slash", "Graph", "acme", "evil.com/", "entity_id"},
		{"fragment", "Graph", "acme", "evil.com#", "entity_id"},
		{"user", "Graph", "acme", "x@evil.com", "entity_id"},
		{"escape", "Graph", "acme", "%2e%2e", "entity_id"},
		{"control", "Graph", "acme", "a\r\nb", "entity_id"},
		{"NUL", "Graph", "acme", "a\x00b", "entity_id"},
		{"Cyrillic", "Graph", "acme", "аcme", "entity_id"},
		{"another's", "Mine", "globex", "x", "org"},
	} {
		t.Run(test.name, func(t *testing.T) {
			scope := integrations.Global()
			if test.integration == "Mine" {
				scope = integrations.Org("acme")
			}
			_, err := w.SetMapping(t.Context(), test.integration, integrations.Mapping{Org: test.org, EntityID: test.entity}, "root", scope)
			var invalid *integrations.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, test.field, invalid.Fields[0].Field)
			if len(test.entity) > 2 {
				require.NotContains(t, err.Error(), test.entity)
			}
		})
	}
}

// credentials is a definition whose tokens are had with the client's own credentials.
func credentials(name string) integrations.Definition {
	d := definition(name)
	d.OAuth.Flow, d.OAuth.AuthorizationURL = oauthflow.ClientCredentials, ""
	d.OAuth.Scopes = []string{"https://api.example.com/.default"}
	return d
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	w.idp.grantsCredentials = true
	d := credentials("Graph")
	w.create(t, d)
	w.mapTo(t, "Graph", "acme", "tenant-a")
	w.mapTo(t, "Graph", "globex", "tenant-b")

	for org, tenant := range map[string]string{"acme": "tenant-a", "globex": "tenant-b", "other": "common"} {
		in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org(org))
		require.NoError(t, err)
		require.Contains(t, in.OAuth().AccessToken(), "at-login.example.com-"+tenant+"-app-")
		require.Equal(t, org == "other", in.Fallback())
	}
	minted := w.idp.count()
	for range 100 {
		_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("another"))
		require.NoError(t, err, "served by the shared credentials")
	}
	require.Equal(t, minted, w.idp.count())

	st, err := w.Status(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, st.Status)
	require.Equal(t, integrations.ViaOwn, st.Via)
	require.Equal(t, "tenant-a", st.EntityID)
	require.Empty(t, st.ConnectURL)
	st, err = w.Status(t.Context(), "Graph", integrations.Org("other"))
	require.NoError(t, err)
	require.Equal(t, integrations.ViaFallback, st.Via)

	_, err = w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotInteractive)
	_, err = w.Disconnect(t.Context(), "Graph", "alice", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotInteractive)
	_, err = w.Refresh(t.Context(), "Graph", integrations.Org("other"))
	require.ErrorIs(t, err, integrations.ErrNotOwn, "the shared credentials are not an organization's to refresh")
	_, err = w.Refresh(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, minted+1, w.idp.count())
}

func TestClientCredentialsWithoutFallback(t *testing.T) {
	w := newWorld(t)
	w.idp.grantsCredentials = true
	d := credentials("Graph")
	d.NoFallback = true
	w.create(t, d)
	_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	require.Equal(t, 0, w.idp.count())
	w.mapTo(t, "Graph", "acme", "tenant-a")
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
}

func TestClientCredentialsForAnotherResource(t *testing.T) {
	w := newWorld(t)
	w.idp.grantsCredentials = true
	w.create(t, credentials("Graph"))
	const other = "https://outlook.example.com/.default"
	for range 3 {
		_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"), integrations.Scope(other))
		require.NoError(t, err)
	}
	require.Equal(t, 2, w.idp.count())
	require.Equal(t, other, w.idp.request(1).Get("scope"))
}

// A failure is shown, and the operator's message with it.
func TestClientCredentialsThatFail(t *testing.T) {
	w := newWorld(t)
	w.create(t, credentials("Graph"))
	w.idp.fails(func() *http.Response { return reply(401, map[string]any{"error": "invalid_client"}) })
	_, err := w.Registry.Get(t.Context(), "Graph", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	st, err := w.Status(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, tokenstore.Degraded, st.Status)
	require.Equal(t, "invalid_client", st.LastError.Code)
}

// What an administrator has to set is not a provider that is down.
func TestClientCredentialsWithoutTenant(t *testing.T) {
	w := newWorld(t)
	d := credentials("Graph")
	d.DefaultEntityID = ""
	w.create(t, d)
	_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrInvalid)
	require.NotErrorIs(t, err, integrations.ErrUnavailable)
	require.ErrorContains(t, err, "entity id")
	require.Zero(t, w.idp.count())
}
