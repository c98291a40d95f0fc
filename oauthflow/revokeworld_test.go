package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// revokeWorld is a world whose provider is package oauthtest's, which knows what was
// revoked.
type revokeWorld struct {
	*world
	provider *oauthtest.Provider
	known    *targets // what every manager is told of definitions
	ears     *ears

	mu   sync.Mutex
	sent []string // kinds of tokens that reached the revocation endpoint
}

func newRevokeWorld(t testing.TB, change ...func(*oauthflow.Config)) *revokeWorld {
	w := &revokeWorld{world: newWorld(t), ears: &ears{}}
	client := oauthtest.DefaultClient()
	client.RedirectURIs = []string{w.target.RedirectURI}
	p, err := oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{client}})
	require.NoError(t, err)
	w.provider, w.known = p, &targets{world: w.world}
	urls := p.Endpoints()
	w.target.Client = &oauthflow.Client{
		Provider: oauthflow.Provider{AuthorizationURL: urls.AuthorizationURL, TokenURL: urls.TokenURL, RevocationURL: urls.RevocationURL},
		ClientID: client.ID, ClientSecret: tokenstore.NewSecret(client.Secret), Scopes: []string{"offline_access", "User.Read"},
	}
	p.Always(oauthtest.Revocation, oauthtest.Do(w.note))
	w.m = w.start(change...)
	return w
}

// note books a token that is to be revoked.
func (w *revokeWorld) note(x *oauthtest.Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, x.Form().Get("token_type_hint"))
}

func (w *revokeWorld) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// start returns another manager (process).
func (w *revokeWorld) start(change ...func(*oauthflow.Config)) *oauthflow.Manager {
	return w.background(w.known, append([]func(*oauthflow.Config){func(c *oauthflow.Config) {
		c.Transport, c.Events = w.provider.RoundTripper(), w.ears.hear
	}}, change...)...)
}

// connect walks a whole flow by m.
func (w *revokeWorld) connect(m *oauthflow.Manager) {
	w.t.Helper()
	ctx := context.Background()
	started, err := m.Start(ctx, w.target, oauthflow.StartOptions{Principal: "alice", ReturnTo: "/back"})
	require.NoError(w.t, err)
	back, err := w.provider.Authorize(ctx, started.AuthorizationURL, "admin@acme.example")
	require.NoError(w.t, err)
	u, err := url.Parse(back)
	require.NoError(w.t, err)
	_, err = m.Callback(ctx, w.arriving(started, u.Query()))
	require.NoError(w.t, err)
}

// disconnect disconnects by m, which must not wait.
func (w *revokeWorld) disconnect(m *oauthflow.Manager) {
	w.t.Helper()
	began := time.Now()
	got, err := m.Disconnect(context.Background(), w.target, "bob")
	require.NoError(w.t, err)
	require.Equal(w.t, oauthflow.RevocationPending, got)
	require.Zero(w.t, time.Since(began))
}

// abandon disconnects by m while nobody can be asked.
func (w *revokeWorld) abandon(m *oauthflow.Manager) {
	w.t.Helper()
	w.provider.SetDown(true)
	w.disconnect(m)
	synctest.Wait()
	w.provider.SetDown(false)
	require.NotNil(w.t, w.row().Revoking)
}

// dead returns how many grants were revoked.
func (w *revokeWorld) dead() int {
	n := 0
	for _, f := range w.provider.Families() {
		if f.Revoked == "client" {
			n++
		}
	}
	return n
}

// requireDone makes sure that nothing is left to be done.
func (w *revokeWorld) requireDone() {
	w.t.Helper()
	c := w.row()
	require.Nil(w.t, c.Revoking)
	require.Zero(w.t, c.DueAt)
	require.Zero(w.t, c.RetryAt)
	require.Zero(w.t, c.Failures)
	due, err := w.store.Due(context.Background(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, due)
}

// orgs are the targets of n organizations, each connected.
func (w *revokeWorld) orgs(n int) []tokenstore.Key {
	w.t.Helper()
	was := w.target.Key
	var keys []tokenstore.Key
	for i := range n {
		w.target.Key = tokenstore.Key{Definition: "def", Org: "gone", User: fmt.Sprint("u", i)}
		keys = append(keys, w.target.Key)
		w.connect(w.m)
	}
	w.target.Key = was
	return keys
}
