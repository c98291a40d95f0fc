package oauthflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// slowKeys is a key service that takes its time.
type slowKeys struct {
	tokenstore.AEAD
	each time.Duration
}

func (s slowKeys) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	pass(s.each)
	return s.AEAD.Encrypt(plaintext, associatedData)
}

func (s slowKeys) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	pass(s.each)
	return s.AEAD.Decrypt(ciphertext, associatedData)
}

// slow returns a manager whose key service takes a while for each call.
func (w *revokeWorld) slow(ring tokenstore.AEAD, each time.Duration) *oauthflow.Manager {
	return w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(slowKeys{ring, each}) })
}

// within removes all of an organization as within a transaction, and returns how long
// that took.
func (w *revokeWorld) within(m *oauthflow.Manager, p *oauthflow.Prepared) (*oauthflow.Removed, time.Duration) {
	w.t.Helper()
	gone, began := "gone", time.Now()
	r, err := m.Remove(context.Background(), tokenstore.Match{Org: &gone}, w.targets, oauthflow.RemoveOptions{Reason: "why", Actor: "root", Prepared: p})
	require.NoError(w.t, err)
	return r, time.Since(began)
}

func (w *revokeWorld) prepare(m *oauthflow.Manager) *oauthflow.Prepared {
	w.t.Helper()
	gone := "gone"
	p, err := m.Prepare(context.Background(), tokenstore.Match{Org: &gone}, w.targets, oauthflow.RemoveOptions{})
	require.NoError(w.t, err)
	return p
}

func requireCounts(t testing.TB, r *oauthflow.Removed, want ...int) {
	t.Helper()
	pending, unsupported, failed := r.Revoke()
	require.Equal(t, want, []int{pending, unsupported, failed})
}

func TestPreparedRemovalDoesNotAskTheKeyService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.orgs(200)
		m := w.slow(ring, 20*time.Millisecond)
		began := time.Now()
		p := w.prepare(m)
		require.Equal(t, 13*2*20*time.Millisecond, time.Since(began), "several at once")
		r, took := w.within(m, p)
		require.Zero(t, took)
		require.Equal(t, 200, r.Connections())
		requireCounts(t, r, 200, 0, 0)
		pass(time.Minute)
		synctest.Wait()
		require.Equal(t, 200, w.dead())
		require.Equal(t, "disconnected why root", last(w, "disconnected"))
	})
}

// last returns the newest event of a kind in the organization that goes.
func last(w *revokeWorld, kind string) string {
	gone := "gone"
	list, err := w.store.Events(context.Background(), tokenstore.Match{Org: &gone}, 0, 1000)
	require.NoError(w.t, err)
	for _, e := range list {
		if e.Kind == kind {
			return e.Kind + " " + e.Reason + " " + e.Actor
		}
	}
	return ""
}

// What is written between the two steps is prepared within the transaction.
func TestWhatIsNewSinceIsPreparedWithinTheTransaction(t *testing.T) {
	tests := map[string]func(w *revokeWorld){
		"renewed": func(w *revokeWorld) {
			_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
			require.NoError(w.t, err)
		},
		"connected again": func(w *revokeWorld) { w.connect(w.m) },
		"disconnected and connected": func(w *revokeWorld) {
			require.NoError(w.t, w.m.Forget(context.Background(), w.target, "bob"))
			w.connect(w.m)
		},
	}
	for name, meanwhile := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ring := keyedWorld(t)
				keys := w.orgs(20)
				m := w.slow(ring, 20*time.Millisecond)
				p := w.prepare(m)
				w.target.Key = keys[7]
				meanwhile(w)
				snap, err := w.m.Token(context.Background(), w.target)
				require.NoError(t, err)
				var sent []string
				w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) {
					w.mu.Lock()
					defer w.mu.Unlock()
					sent = append(sent, x.Form().Get("token"))
				}))
				r, took := w.within(m, p)
				require.Equal(t, 2*20*time.Millisecond, took, "for one alone")
				requireCounts(t, r, 20, 0, 0)
				pass(time.Minute)
				synctest.Wait()
				require.Len(t, sent, 40)
				require.Contains(t, sent, snap.AccessToken().Reveal())
			})
		})
	}
}

// A transaction that is tried again finds what the first try has prepared.
func TestWhatIsPreparedWithinATransactionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.orgs(1)
		m := w.slow(ring, time.Second)
		gone := "nobody"
		p, err := m.Prepare(t.Context(), tokenstore.Match{Org: &gone}, w.targets, oauthflow.RemoveOptions{})
		require.NoError(t, err)
		f := &faulty{Store: w.store, update: errStore}
		broken := w.start(func(c *oauthflow.Config) { c.Store = f })
		gone = "gone"
		_, err = broken.Remove(t.Context(), tokenstore.Match{Org: &gone}, w.targets, oauthflow.RemoveOptions{Prepared: p})
		require.ErrorIs(t, err, errStore)
		r, took := w.within(m, p)
		require.Zero(t, took)
		requireCounts(t, r, 1, 0, 0)
	})
}

// The time within a transaction is bounded, however many are new since.
func TestATransactionWaitsForTheKeyServiceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.orgs(10)
		m := w.slow(ring, time.Second)
		r, took := w.within(m, nil)
		require.LessOrEqual(t, took, 6*time.Second, "one call goes on when the time is over")
		requireCounts(t, r, 3, 0, 7)
		require.Contains(t, w.logs.String(), "too long for a transaction")
	})
}

// Who says how to talk about a connection may have to ask the key service as well.
func TestATransactionAsksForTargetsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.orgs(10)
		gone, asked, began := "gone", 0, time.Now()
		r, err := w.m.Remove(t.Context(), tokenstore.Match{Org: &gone}, func(ctx context.Context, key tokenstore.Key) (oauthflow.Target, error) {
			asked++
			pass(2 * time.Second)
			return w.targets(ctx, key)
		}, oauthflow.RemoveOptions{})
		require.NoError(t, err)
		require.Equal(t, 6*time.Second, time.Since(began))
		require.Equal(t, 3, asked)
		require.Equal(t, 10, r.Connections())
		_, _, failed := r.Revoke()
		require.GreaterOrEqual(t, failed, 7)
	})
}

// A key service that hangs is waited for before the transaction, and not again within.
func TestPreparingDoesNotWaitForTheKeyServiceAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.orgs(300)
		m := w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(hangingKeys{}) })
		began := time.Now()
		p := w.prepare(m)
		require.Equal(t, 5*time.Second, time.Since(began))
		r, took := w.within(m, p)
		require.Zero(t, took)
		requireCounts(t, r, 0, 0, 300)
	})
}

func TestPreparingRefusesToPrepareEverything(t *testing.T) {
	w := newWorld(t)
	_, err := w.m.Prepare(t.Context(), tokenstore.Match{}, w.targets, oauthflow.RemoveOptions{})
	require.ErrorContains(t, err, "empty")
}

func TestPreparingEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.connect("g")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.m.Prepare(ctx, tokenstore.Match{Definition: "def"}, func(context.Context, tokenstore.Key) (oauthflow.Target, error) {
		cancel()
		return w.target, nil
	}, oauthflow.RemoveOptions{})
	require.ErrorIs(t, err, context.Canceled)
	w.requireToken(w.m, "AT1")
}
