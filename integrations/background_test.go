package integrations_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestRunRenewsWhatIsUsed(t *testing.T) {
	for _, tt := range []struct {
		refreshers int
		want       int // requests in three hours, beside the code's
	}{{0, 3}, {2, 3}, {-1, 0}} {
		t.Run(fmt.Sprint(tt.refreshers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(c *integrations.Config) { c.Refreshers = tt.refreshers })
				w.follow(t)
				require.NoError(t, w.Define(definition("Graph")))
				w.connect(t, "Graph", "acme-account", integrations.Org("acme"))
				_, err := w.Get(t.Context(), "Graph", integrations.Org("acme"))
				require.NoError(t, err)
				pass(3 * time.Hour)
				require.Equal(t, 1+tt.want, w.idp.count())
				require.Equal(t, int64(1+tt.want), w.Stats().Requests)
			})
		})
	}
}

func TestConnectionsOfADefinitionThatIsGoneRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, w.Define(definition("Graph")))
		w.connect(t, "Graph", "acme-account", integrations.Org("acme"))
		// Another process, of an older release.
		old := newWorld(t, func(c *integrations.Config) {
			c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, w.definitions, w.sealer, w.idp
		})
		old.follow(t)
		pass(2 * time.Hour)
		due, err := w.store.Due(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, due)
		require.Equal(t, 1, w.idp.count())
		w.follow(t) // and the new one keeps it
		_, err = w.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		pass(3 * time.Hour)
		require.Equal(t, 5, w.idp.count())
	})
}

func TestEventsNameTheIntegration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var heard []integrations.Event
		w := newWorld(t, func(c *integrations.Config) {
			c.Events = func(e integrations.Event) {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, e)
			}
		})
		require.NoError(t, w.Define(definition("Graph")))
		w.connect(t, "Graph", "account", integrations.Org("acme"), integrations.User("alice"))
		pass(2 * time.Hour)
		w.idp.mu.Lock()
		w.idp.fail = func(url.Values) *http.Response { return reply(400, map[string]string{"error": "invalid_grant"}) }
		w.idp.mu.Unlock()
		_, err := w.Get(t.Context(), "Graph", integrations.Org("acme"), integrations.User("alice"))
		require.ErrorIs(t, err, integrations.ErrReauthRequired)
		synctest.Wait()
		require.Len(t, heard, 2)
		require.Equal(t, oauthflow.EventConnected, heard[0].Kind)
		require.Equal(t, integrations.Event{
			Kind: oauthflow.EventReauthRequired, Integration: "Graph", Definition: heard[0].Definition, Org: "acme", User: "alice",
			At: heard[1].At, Status: tokenstore.ReauthRequired, Reason: oauthflow.ReasonInvalidGrant,
		}, heard[1])
	})
}

func TestARefusedClientIsToldToEveryOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, w.Define(definition("Graph")))
		for i := range 5 {
			w.connect(t, "Graph", fmt.Sprint(i), integrations.Org(fmt.Sprint(i)))
		}
		pass(2 * time.Hour)
		w.idp.mu.Lock()
		w.idp.fail = func(url.Values) *http.Response { return reply(401, map[string]string{"error": "invalid_client"}) }
		w.idp.mu.Unlock()
		for i := range 5 {
			_, err := w.Get(t.Context(), "Graph", integrations.Org(fmt.Sprint(i)))
			var e *integrations.Error
			require.ErrorAs(t, err, &e)
			require.ErrorIs(t, err, integrations.ErrUnavailable)
			require.Equal(t, "invalid_client", e.Code)
			require.Contains(t, e.Detail, "check client id, client secret")
			require.GreaterOrEqual(t, e.RetryAfter, 30*time.Second)
		}
		require.Equal(t, 6, w.idp.count())
		require.Equal(t, 1, w.Stats().OpenBreakers)
	})
}
