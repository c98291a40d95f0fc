package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Whatever decides about the token has a token of its own.
func TestMintsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.target.Client.TokenURL = "https://{region}.example.com/{entity_id}/token"
		w.target.Client.Variables = kinds("region", oauthflow.Label)
		w.target.Values = map[string]string{"region": "eu"}
		change := func(do func(t *oauthflow.Target, c *oauthflow.Client)) oauthflow.Target {
			target, client := w.target, *w.target.Client
			do(&target, &client)
			target.Client = &client
			return target
		}
		targets := []oauthflow.Target{
			w.target,
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.Key.Org = "globex" }),
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.Key = tokenstore.Key{Definition: "def:acme"} }),
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.EntityID = "other" }),
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.Values = map[string]string{"region": "us"} }),
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.Access.Scope = "read" }),
			change(func(t *oauthflow.Target, _ *oauthflow.Client) { t.Access.Audience = "read" }),
			change(func(_ *oauthflow.Target, c *oauthflow.Client) { c.ClientID = "other" }),
			change(func(_ *oauthflow.Target, c *oauthflow.Client) { c.Scopes = []string{"write"} }),
			change(func(_ *oauthflow.Target, c *oauthflow.Client) { c.ClientSecret = tokenstore.NewSecret("rotated") }),
			change(func(_ *oauthflow.Target, c *oauthflow.Client) { c.TokenParams = url.Values{"resource": {"r"}} }),
		}
		for range 3 {
			for i, target := range targets {
				s, err := w.ask(target)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("AT%d", i+1), s.AccessToken().Reveal())
			}
		}
		require.Len(t, w.idp.mints(), len(targets))

		// One's failure is not the others'.
		w.idp.set(func(p *idp) { p.answer = always(http.StatusUnauthorized, `{"error":"invalid_client"}`) })
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrUnavailable)
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(2 * time.Hour)
		for _, target := range targets[1:] {
			_, err := w.ask(target)
			require.NoError(t, err)
		}
	})
}

func TestOtherAccessDoesNotTouchTheRecord(t *testing.T) {
	w := newMinter(t)
	w.target.Access.Scope = "https://outlook.example.com/.default"
	w.requireToken(w.m, "AT1")
	w.idp.set(func(p *idp) { p.answer = always(http.StatusUnauthorized, `{"error":"invalid_client"}`) })
	_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
	problem(t, err, oauthflow.ErrUnavailable)
	require.Zero(t, w.row().Version)
}

func TestEachProcessMintsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		other := w.process()
		w.requireToken(w.m, "AT1")
		grant := w.row().GrantID
		w.requireToken(other, "AT2")
		w.requireToken(w.m, "AT1")
		require.Equal(t, grant, w.row().GrantID)
		require.Equal(t, []string{"minted"}, w.events())
	})
}

func TestMintsOutliveTheStore(t *testing.T) {
	for name, change := range map[string]func(f *faulty, closed <-chan struct{}){
		"failing": func(f *faulty, _ <-chan struct{}) { f.update, f.load = errStore, errStore },
		"hanging": func(f *faulty, closed <-chan struct{}) { f.Store = hanging{f.Store, closed} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMinter(t)
				db := &faulty{Store: w.store}
				closed := make(chan struct{})
				db.set(func(f *faulty) { change(f, closed) })
				w.store = db
				m := w.process()
				asked := time.Now()
				w.requireToken(m, "AT1")
				require.LessOrEqual(t, time.Since(asked), time.Second)
				w.requireToken(m, "AT1")
				pass(time.Minute)
				close(closed)
				synctest.Wait()
				require.Contains(t, w.logs.String(), "the status after minting could not be stored")
			})
		})
	}
}

// hanging is a store that answers no write before it is closed.
type hanging struct {
	tokenstore.Store
	closed <-chan struct{}
}

func (h hanging) Update(ctx context.Context, _ tokenstore.Key, _ func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	select {
	case <-h.closed:
	case <-ctx.Done():
	}
	return nil, errStore
}

func TestCloseWaitsForMints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		m := w.process()
		w.idp.delay = 5 * time.Second
		var got atomic.Pointer[string]
		go func() {
			if token, err := w.token(m); err == nil {
				got.Store(&token)
			}
		}()
		synctest.Wait()
		require.NoError(t, m.Close())
		synctest.Wait()
		require.NotNil(t, got.Load(), "what was sent was answered first")
		require.Equal(t, tokenstore.Active, w.row().Status)
		_, err := m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.ErrorIs(t, err, oauthflow.ErrClosed)
	})
}

func TestCloseGivesUpMintsThatWereNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		m := w.process()
		w.idp.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		done := make(chan error, 1)
		go func() { _, err := w.token(m); done <- err }()
		synctest.Wait()
		started := time.Now()
		require.NoError(t, m.Close())
		require.Zero(t, time.Since(started))
		require.ErrorIs(t, <-done, oauthflow.ErrClosed)
		require.Zero(t, w.row().Version)
	})
}

// Values that are configured no more would fill the memory.
func TestIdleMintsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.idp.lifetime = "0" // unknown: it is good for ever
		first, err := w.ask(w.target)
		require.NoError(t, err)
		used := w.target
		used.EntityID = "used"
		_, err = w.ask(used)
		require.NoError(t, err)
		for range 26 {
			pass(time.Hour)
			_, err = w.ask(used)
			require.NoError(t, err)
		}
		require.Len(t, w.idp.mints(), 2)
		another := w.target
		another.EntityID = "another"
		_, err = w.ask(another)
		require.NoError(t, err)
		again, err := w.ask(w.target)
		require.NoError(t, err)
		require.Equal(t, "AT4", again.AccessToken().Reveal(), "the first one was forgotten")
		require.Greater(t, again.Generation(), first.Generation())
		_, err = w.ask(used)
		require.NoError(t, err)
		require.Len(t, w.idp.mints(), 4)

		// A rejection of the forgotten one says nothing about its successor.
		same, err := w.m.Renew(context.Background(), w.target, first.Generation())
		require.NoError(t, err)
		require.Equal(t, again.Generation(), same.Generation())
	})
}

func TestDisconnectForgetsMintedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		w.requireToken(w.m, "AT1")
		other := w.target
		other.Access.Scope = "x"
		_, err := w.ask(other)
		require.NoError(t, err)
		revocation, err := w.m.Disconnect(context.Background(), w.target, "alice")
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationPending, revocation)
		synctest.Wait()
		require.ElementsMatch(t, []string{"AT1", "AT2"}, w.idp.revocations())
		require.Equal(t, tokenstore.NotConnected, w.row().Status)
		require.Equal(t, []string{"minted", "disconnected", "revoked"}, w.events())
		w.requireToken(w.m, "AT3")
		require.Equal(t, []string{"minted", "disconnected", "revoked", "minted"}, w.events())
	})
}

func TestAMissingValueSendsNothing(t *testing.T) {
	w := newMinter(t)
	w.target.Client.TokenURL, w.target.Client.Variables = "https://{region}.example.com/token", kinds("region", oauthflow.Label)
	for value, want := range map[string]string{
		"":           "set the config value region",
		"evil.com/x": "TokenURL cannot take this value of region",
	} {
		w.target.Values = map[string]string{"region": value}
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrUnavailable)
		require.Contains(t, e.Message, want)
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrUnavailable)
	}
	require.Empty(t, w.idp.requests)
	require.Zero(t, w.row().Version)
}

// Every request of a target goes by its own transport.
func TestTargetsHaveTheirOwnTransport(t *testing.T) {
	w := newWorld(t, func(c *oauthflow.Config) {
		c.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("the manager's transport") })
	})
	w.target.Transport = w.idp
	w.connect("g")
	_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
	require.NoError(t, err)
	revocation, err := w.m.Disconnect(context.Background(), w.target, "alice")
	require.NoError(t, err)
	require.Equal(t, oauthflow.RevocationPending, revocation)
	require.Eventually(t, func() bool { return len(w.idp.revocations()) == 2 }, 5*time.Second, time.Millisecond)
	w.target.Client.Flow = oauthflow.ClientCredentials
	_, err = w.token(w.m)
	require.NoError(t, err)
}
