package integrations_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// sibling is another process on the same stores.
func (w *world) sibling(t testing.TB) *world {
	t.Helper()
	return newWorld(t, func(c *integrations.Config) {
		c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, w.definitions, w.sealer, w.idp
	})
}

// What another process has deleted is still known here for a moment. Whatever was
// set for it then would stay for good, and nobody would see it.
func TestNothingIsSetForWhatIsDeletedMeanwhile(t *testing.T) {
	acme, global := integrations.Org("acme"), integrations.Global()
	for name, set := range map[string]func(ctx context.Context, w *world) error{
		"SetMapping": func(ctx context.Context, w *world) error {
			_, err := w.SetMapping(ctx, "Graph", integrations.Mapping{Org: "acme", EntityID: "tenant-a"}, "root", global)
			return err
		},
		"SetConfig": func(ctx context.Context, w *world) error {
			_, err := w.SetConfig(ctx, "Graph", map[string]any{"api_key": "key"}, "root", acme)
			return err
		},
		"Import": func(ctx context.Context, w *world) error {
			_, err := w.Import(ctx, "Graph", &oauth2.Token{AccessToken: "at", RefreshToken: "rt"}, integrations.ImportOptions{Actor: "root"}, acme)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := configured("Graph")
				d.Config[2].Required = false
				st := w.create(t, d)
				other := w.sibling(t)
				w.follow(t)
				synctest.Wait()

				_, err := other.Delete(t.Context(), "Graph", "root", global)
				require.NoError(t, err)
				_, err = w.Definition(t.Context(), "Graph", global)
				require.NoError(t, err, "it is still known")
				require.ErrorIs(t, set(t.Context(), w), integrations.ErrNotFound)

				settings, err := w.definitions.Settings(t.Context(), st.ID, "acme")
				require.NoError(t, err)
				require.True(t, settings.Empty())
				conn, err := w.store.Load(t.Context(), tokenstore.Key{Definition: st.ID, Org: "acme"})
				require.NoError(t, err)
				require.False(t, conn.Connected())
				require.Nil(t, conn.Sealed)
				require.Zero(t, w.idp.count(), "the tokens are somebody's, and good as before")
			})
		})
	}
}

// An organization's definitions are deleted as they are, not as they were when
// this process looked.
func TestDeleteOrgTakesWhatIsMadeMeanwhile(t *testing.T) {
	var meanwhile []func()
	w := newWorld(t, func(c *integrations.Config) {
		c.InTx = func(ctx context.Context, fn func(ctx context.Context) error) error {
			if len(meanwhile) > 0 {
				next := meanwhile[0]
				meanwhile = meanwhile[1:]
				next()
			}
			return fn(ctx)
		}
	})
	other := w.sibling(t)
	w.create(t, owned("Mine", "acme"))
	meanwhile = []func(){
		func() { other.create(t, owned("Later", "acme")) },
		func() {
			_, err := other.Update(t.Context(), "Mine", "root", func(d *integrations.Definition) error {
				d.Description = "changed"
				return nil
			}, integrations.Org("acme"))
			require.NoError(t, err)
		},
		func() { other.create(t, owned("Mine", "globex")) },
	}
	_, err := w.DeleteOrg(t.Context(), "acme", "root", nil)
	require.NoError(t, err)
	require.Empty(t, meanwhile)
	for _, name := range []string{"Mine", "Later"} {
		_, err = other.Definition(t.Context(), name, integrations.Org("acme"))
		require.ErrorIs(t, err, integrations.ErrNotFound, name)
	}
	_, err = w.Definition(t.Context(), "Mine", integrations.Org("globex"))
	require.NoError(t, err)
}
