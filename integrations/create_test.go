package integrations_test

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestCreatedDefinitionWorks(t *testing.T) {
	w := newWorld(t)
	st := w.create(t, definition("Graph"))
	require.Equal(t, integrations.SourceStored, st.Source)
	require.Equal(t, "https://app.example.com/oauth/callback/Graph", st.RedirectURI)
	require.Equal(t, tokenstore.NotConnected, st.Status)

	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	in, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, "at-login.example.com-common-acme-1", in.OAuth().AccessToken())

	own := w.create(t, owned("Graph", "acme"))
	require.Equal(t, "https://app.example.com/oauth/callback/"+own.ID, own.RedirectURI)
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "an organization's own definition has none of the global one's tokens")
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	require.Equal(t, 1, w.idp.count(), "nobody was asked for anything")
}

// Another process sees what this one does, and knows it after a restart.
func TestDefinitionsAreShared(t *testing.T) {
	w := newWorld(t)
	other := newWorld(t, func(c *integrations.Config) {
		c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, w.definitions, w.sealer, w.idp
	})
	w.create(t, definition("Graph"))
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	in, err := other.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, "at-login.example.com-common-acme-1", in.OAuth().AccessToken())

	_, err = other.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
		d.Description = "changed elsewhere"
		return nil
	}, integrations.Global())
	require.NoError(t, err)
	st, err := w.Status(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, "changed elsewhere", st.Description)

	_, err = w.Delete(t.Context(), "Graph", "root", integrations.Global())
	require.NoError(t, err)
	_, err = other.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotFound)
}

func TestCreateConflicts(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Code")))
	w.create(t, definition("Stored"))
	for _, name := range []string{"Code", "Stored"} {
		_, err := w.Create(t.Context(), definition(name), "root")
		require.ErrorIs(t, err, integrations.ErrExists, name)
		w.create(t, owned(name, "acme")) // another owner's is another name
	}
	_, err := w.Update(t.Context(), "Code", "root", func(*integrations.Definition) error { return nil }, integrations.Global())
	require.ErrorIs(t, err, integrations.ErrCodeDefined)
	_, err = w.Delete(t.Context(), "Code", "root", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrCodeDefined)
	_, err = w.Delete(t.Context(), "Stored", "root", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrNotOwnDefinition, "not the global one by way of an organization")
	_, err = w.Delete(t.Context(), "Nothing", "root", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrNotFound)
}

// Code over stored: code wins, and the stored one can still be seen and deleted.
func TestShadowedDefinition(t *testing.T) {
	w := newWorld(t)
	st := w.create(t, definition("Graph"))
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	require.NoError(t, w.Define(definition("Graph")))
	_, err := w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "another definition, so another connection")

	list, err := w.List(t.Context(), integrations.Global())
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, s := range list {
		require.Equal(t, s.ID == st.ID, s.Shadowed)
	}
	mine, err := w.List(t.Context(), integrations.Org("acme"))
	require.NoError(t, err)
	require.Len(t, mine, 1)
	_, err = w.Connect(t.Context(), st.ID, integrations.ConnectOptions{Principal: "alice"}, integrations.Global())
	require.ErrorIs(t, err, integrations.ErrCodeDefined)
	removal, err := w.Delete(t.Context(), st.ID, "root", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, 1, removal.Connections)
}

func TestDeletedAndCreatedAgainIsAnother(t *testing.T) {
	w := newWorld(t)
	first := w.create(t, definition("Graph"))
	w.connect(t, "Graph", "acme", integrations.Org("acme"))
	_, err := w.SetMapping(t.Context(), "Graph", integrations.Mapping{Org: "acme", EntityID: "tenant-a"}, "root", integrations.Global())
	require.NoError(t, err)
	_, err = w.Delete(t.Context(), "Graph", "root", integrations.Global())
	require.NoError(t, err)

	second := w.create(t, definition("Graph"))
	require.NotEqual(t, first.ID, second.ID)
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	for m, err := range w.Mappings(t.Context(), "Graph", "", integrations.Global()) {
		require.NoError(t, err)
		t.Errorf("a mapping has survived: %v", m)
	}
	conn, err := w.store.Load(t.Context(), tokenstore.Key{Definition: first.ID, Org: "acme"})
	require.NoError(t, err)
	require.False(t, conn.Connected())
	require.Nil(t, conn.Sealed)
}

// What was created, changed and deleted, and by whom, is in the history.
func TestDefinitionHistory(t *testing.T) {
	w := newWorld(t)
	st := w.create(t, definition("Graph"))
	_, err := w.Update(t.Context(), "Graph", "carol", func(d *integrations.Definition) error {
		return d.Merge([]byte(`{"description": "new"}`))
	}, integrations.Global())
	require.NoError(t, err)
	events, err := w.Events(t.Context(), "Graph", 0, 10, integrations.Global())
	require.NoError(t, err)
	require.Len(t, events, 2)
	require.Equal(t, "definition_changed", events[0].Kind)
	require.Equal(t, "carol", events[0].Actor)
	require.Equal(t, "definition_created", events[1].Kind)
	_, err = w.Delete(t.Context(), "Graph", "carol", integrations.Global())
	require.NoError(t, err)
	events, err = w.store.Events(t.Context(), tokenstore.Match{Definition: st.ID}, 0, 10)
	require.NoError(t, err)
	require.Equal(t, "definition_deleted", events[0].Kind)
}

// A code goes to the address that the browser was sent away from, or nowhere.
func TestChangesBetweenConnectAndCallback(t *testing.T) {
	for _, test := range []struct {
		name, code string
		change     func(w *world) error
	}{
		{"client id", "client_changed", patched(`{"oauth": {"client_id": "other", "client_secret": "s"}}`)},
		{"token URL", "definition_changed", patched(`{"oauth": {"token_url": "https://evil.example.com/token", "client_secret": "s"}}`)},
		{"issuer", "definition_changed", patched(`{"oauth": {"issuer": "https://login.example.com", "client_secret": "s"}}`)},
		{"entity", "entity_changed", patched(`{"default_entity_id": "other"}`)},
		{"variable", "definition_changed", func(w *world) error {
			_, err := w.SetConfig(context.Background(), "Graph", map[string]any{"path": "elsewhere"}, "root", integrations.Global())
			return err
		}},
		{"deleted", "definition_gone", func(w *world) error {
			_, err := w.Delete(context.Background(), "Graph", "root", integrations.Global())
			if err == nil {
				_, err = w.Create(context.Background(), definition("Graph"), "root")
			}
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			d := definition("Graph")
			d.OAuth.Variables = map[string]oauthflow.Variable{"path": {Kind: oauthflow.Segment}}
			d.OAuth.TokenURL = "https://login.example.com/{path}/token"
			d.Config = []integrations.ConfigField{{Key: "path", Type: integrations.ConfigString, Default: "here"}}
			w.create(t, d)
			started, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
			require.NoError(t, err)
			require.NoError(t, test.change(w))
			err = w.finish(t, started, "acme")
			var refused *oauthflow.CallbackError
			require.ErrorAs(t, err, &refused)
			if test.name != "deleted" { // its flows are gone as well
				require.Equal(t, test.code, refused.Code)
			}
			require.Zero(t, w.idp.count(), "the code was sent")
		})
	}
}

// What a provider gives out while the definition goes away is given back.
func TestDeletedDuringTheExchange(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.OAuth.RevocationURL = "https://login.example.com/common/revoke"
	st := w.create(t, d)
	started, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
	require.NoError(t, err)
	revoked := make(chan string, 2)
	w.idp.mu.Lock()
	w.idp.fail = func(form url.Values) *http.Response {
		if token := form.Get("token"); token != "" {
			revoked <- token
			return reply(200, map[string]any{})
		}
		_, err := w.Delete(context.Background(), "Graph", "root", integrations.Global())
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	w.idp.mu.Unlock()
	err = w.finish(t, started, "acme")
	var refused *oauthflow.CallbackError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "definition_gone", refused.Code)
	require.NoError(t, w.Close()) // waits for the revocation
	require.Equal(t, "rt-acme-1", <-revoked)
	conn, err := w.store.Load(t.Context(), tokenstore.Key{Definition: st.ID, Org: "acme"})
	require.NoError(t, err)
	require.Nil(t, conn.Sealed)
}

func patched(patch string) func(*world) error {
	return func(w *world) error {
		_, err := w.Update(context.Background(), "Graph", "root", func(d *integrations.Definition) error {
			return d.Merge([]byte(patch))
		}, integrations.Global())
		return err
	}
}

// A stored definition that cannot be opened keeps its name: the global one must
// not take an organization's own one's place.
func TestBrokenStoredDefinition(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	st := w.create(t, owned("Graph", "acme"))
	records, _, err := w.definitions.Definitions(t.Context(), 0, 10)
	require.NoError(t, err)
	record := records[0]
	require.Equal(t, st.ID, record.ID)
	record.Sealed[len(record.Sealed)-1] ^= 1
	_, err = w.definitions.PutDefinition(t.Context(), record)
	require.NoError(t, err)

	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	seen, err := w.Status(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.Contains(t, seen.StatusMessage, "Cannot be used")
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("globex"))
	require.NoError(t, err, "the others are not concerned")
	change := func(patch string) error {
		_, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
			return d.Merge([]byte(patch))
		}, integrations.Org("acme"))
		return err
	}
	var invalid *integrations.InvalidError
	require.ErrorAs(t, change(`{"description": "x"}`), &invalid, "the secret is gone")
	require.Equal(t, "oauth.client_secret", invalid.Fields[0].Field)
	require.NoError(t, change(`{"oauth": {"client_secret": "given again"}}`))
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "it works again")
}

// A key service that was away only a moment must not cost a definition.
func TestDefinitionIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(t, definition("Graph"))
		var down atomic.Bool
		keys := &unsteady{Keyring: w.keys, down: &down}
		other := newWorld(t, func(c *integrations.Config) {
			c.Tokens, c.Definitions, c.Sealer = w.store, w.definitions, tokenstore.NewSealer(keys)
		})
		down.Store(true)
		_, err := other.Registry.Get(t.Context(), "Graph", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		down.Store(false)
		pass(11 * time.Second)
		_, err = other.Registry.Get(t.Context(), "Graph", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrNotConnected)
	})
}

// unsteady is a keyring that can be away.
type unsteady struct {
	*tokenstore.Keyring
	down *atomic.Bool
}

func (u *unsteady) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if u.down.Load() {
		return nil, errAway
	}
	return u.Keyring.Decrypt(ciphertext, ad)
}

// What a newer version has written is not written over by this one.
func TestUnreadableStoredDefinition(t *testing.T) {
	w := newWorld(t)
	w.create(t, definition("Graph"))
	records, _, err := w.definitions.Definitions(t.Context(), 0, 10)
	require.NoError(t, err)
	record := records[0]
	record.Body = []byte(`{"name": "Graph", "of_the_future": true}`)
	_, err = w.definitions.PutDefinition(t.Context(), record)
	require.NoError(t, err)
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	_, err = w.Update(t.Context(), "Graph", "root", func(*integrations.Definition) error { return nil }, integrations.Global())
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	_, err = w.Delete(t.Context(), "Graph", "root", integrations.Global())
	require.NoError(t, err, "it can be deleted")
}

// A caller's error from change comes back, and nothing is written.
func TestUpdateThatFailsWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.create(t, definition("Graph"))
	_, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
		d.Description = "half"
		d.OAuth.Scopes[0] = "half"
		return context.Canceled
	}, integrations.Global())
	require.ErrorIs(t, err, context.Canceled)
	d, err := w.Definition(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, "Graph API", d.Description)
	require.Equal(t, []string{"offline_access"}, d.OAuth.Scopes)
	require.True(t, d.OAuth.ClientSecret.IsZero())
	_, err = w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
		d.Name = "Other"
		return nil
	}, integrations.Global())
	var invalid *integrations.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, oauthflow.AuthorizationCode, d.OAuth.Flow)
}
