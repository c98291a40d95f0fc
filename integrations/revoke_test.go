package integrations_test

import (
	"context"
	"fmt"
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

// revoked returns the tokens that the provider was asked to revoke.
func (p *idp) revoked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, form := range p.requests {
		if token := form.Get("token"); token != "" {
			list = append(list, token)
		}
	}
	return list
}

// away makes the provider unable to revoke, or able again.
func (p *idp) away(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = func(form url.Values) *http.Response {
		switch {
		case form.Get("token") == "":
			return nil
		case yes:
			return reply(503, nil)
		}
		return reply(200, nil)
	}
}

// another returns the next process on the same stores.
func (w *world) another(t testing.TB, change ...func(*integrations.Config)) *world {
	t.Helper()
	return newWorld(t, append([]func(*integrations.Config){func(c *integrations.Config) {
		c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, w.definitions, w.sealer, w.idp
	}}, change...)...)
}

// slowKeys is a key service that takes 20 ms a call, and tells when it is asked.
type slowKeys struct {
	tokenstore.AEAD
	asked func()
}

func (s slowKeys) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	s.asked()
	pass(20 * time.Millisecond)
	return s.AEAD.Encrypt(plaintext, associatedData)
}

func (s slowKeys) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	s.asked()
	pass(20 * time.Millisecond)
	return s.AEAD.Decrypt(ciphertext, associatedData)
}

// removals are the ways in which acme's integration Mine goes.
var removals = map[string]func(testing.TB, *world) (integrations.Removal, error){
	"a definition": func(t testing.TB, w *world) (integrations.Removal, error) {
		return w.Delete(t.Context(), "Mine", "root", integrations.Org("acme"))
	},
	"an organization": func(t testing.TB, w *world) (integrations.Removal, error) {
		return w.DeleteOrg(t.Context(), "acme", "root", nil)
	},
}

// The transaction of a deletion keeps every other writer waiting.
func TestDeletingAsksTheKeyServiceBeforeTheTransaction(t *testing.T) {
	acme := "acme"
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var inside atomic.Bool
				var asked, askedInside atomic.Int64
				w := newWorld(t)
				d := owned("Mine", acme)
				d.OAuth.RevocationURL = "https://login.example.com/common/revoke"
				w.create(t, d)
				for i := range 40 {
					w.connect(t, "Mine", fmt.Sprint("u", i), integrations.Org(acme), integrations.Account(fmt.Sprint("a", i)))
				}
				w = w.another(t, func(c *integrations.Config) {
					c.Sealer = tokenstore.NewSealer(slowKeys{w.keys, func() {
						if asked.Add(1); inside.Load() {
							askedInside.Add(1)
						}
					}})
					c.InTx = func(ctx context.Context, fn func(context.Context) error) error {
						inside.Store(true)
						defer inside.Store(false)
						began := time.Now()
						defer func() { require.Zero(t, time.Since(began)) }()
						return fn(ctx)
					}
				})
				removal, err := remove(t, w)
				require.NoError(t, err)
				require.Equal(t, 40, removal.Pending)
				require.GreaterOrEqual(t, asked.Load(), int64(80))
				require.Zero(t, askedInside.Load())
			})
		})
	}
}

// What was deleted is revoked by whichever process finds the provider at home, though
// nobody knows the definition any more.
func TestDeletedIsRevokedLater(t *testing.T) {
	acme := "acme"
	for name, remove := range removals {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := owned("Mine", acme)
				d.OAuth.RevocationURL = "https://login.example.com/common/revoke"
				st := w.create(t, d)
				w.connect(t, "Mine", "one", integrations.Org(acme))
				w.connect(t, "Mine", "two", integrations.Org(acme), integrations.Account("two"))
				w.idp.away(true)
				began := time.Now()
				removal, err := remove(t, w)
				require.NoError(t, err)
				require.Zero(t, time.Since(began), "nobody waits for the provider")
				require.Equal(t, 2, removal.Pending)
				require.Equal(t, 2, removal.Connections)
				require.NoError(t, w.Close())
				w.idp.away(false)
				before := len(w.idp.revoked())
				w.another(t).follow(t)
				pass(10 * time.Minute)
				require.Subset(t, w.idp.revoked()[before:], []string{"rt-one-1", "rt-two-2"})
				require.Len(t, w.idp.revoked(), before+4)
				for _, account := range []string{"", "two"} {
					c, err := w.store.Load(t.Context(), tokenstore.Key{Definition: st.ID, Org: acme, Account: account})
					require.NoError(t, err)
					require.Nil(t, c.Revoking)
				}
				list, err := w.store.Events(t.Context(), tokenstore.Match{Definition: st.ID}, 0, 100)
				require.NoError(t, err)
				kinds := map[string]int{}
				for _, e := range list {
					kinds[e.Kind]++
				}
				if name == "an organization" {
					require.Empty(t, kinds, "its history went with it")
				} else {
					require.Equal(t, 2, kinds["revoked"])
				}
			})
		})
	}
}

// What run-time definitions may reach is the policy of the process that sends.
func TestRevocationsStayWithinTheEgressPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *integrations.Config) { c.Egress = []string{"*.example.com", "127.0.0.1"} })
		d := definition("Graph")
		d.OAuth.RevocationURL = "https://127.0.0.1/revoke"
		w.create(t, d)
		w.connect(t, "Graph", "acme", integrations.Org("acme"))
		w.idp.away(true)
		got, err := w.Disconnect(t.Context(), "Graph", "bob", integrations.Org("acme"))
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationPending, got)
		_, err = w.Delete(t.Context(), "Graph", "root", integrations.Global())
		require.NoError(t, err)
		require.NoError(t, w.Close())
		w.idp.away(false)
		before := len(w.idp.revoked())
		require.Equal(t, 1, before)
		narrower := w.another(t)
		narrower.follow(t)
		pass(time.Hour)
		require.Len(t, w.idp.revoked(), before)
		require.NoError(t, narrower.Close())
		w.another(t, func(c *integrations.Config) { c.Egress = []string{"*.example.com", "127.0.0.1"} }).follow(t)
		pass(2 * time.Hour)
		require.Len(t, w.idp.revoked(), before+2)
	})
}

// What a lost key sealed would stay in the store, and in the way of a rotation, for
// ever.
func TestForgetDropsWhatDoesNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.away(true)
		d := definition("Graph")
		d.OAuth.RevocationURL = "https://login.example.com/common/revoke"
		require.NoError(t, w.Define(d))
		acme := integrations.Org("acme")
		w.connect(t, "Graph", "shared", integrations.Global())
		w.connect(t, "Graph", "acme", acme)
		_, err := w.Disconnect(t.Context(), "Graph", "root", acme)
		require.NoError(t, err)
		require.ErrorIs(t, w.Forget(t.Context(), "Graph", "root", acme), integrations.ErrNotOwn, "it opens, and is to be revoked")

		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		w = w.another(t, func(c *integrations.Config) { c.Sealer = tokenstore.NewSealer(ring) })
		require.NoError(t, w.Define(d))
		require.NoError(t, w.Forget(t.Context(), "Graph", "root", acme))
		events, err := w.Events(t.Context(), "Graph", 0, 1, acme)
		require.NoError(t, err)
		require.Equal(t, "revocation_failed", events[0].Kind)
		require.Equal(t, "forgotten", events[0].Reason)
		require.ErrorIs(t, w.Forget(t.Context(), "Graph", "root", acme), integrations.ErrNotOwn)
	})
}
