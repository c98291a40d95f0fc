package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// targets answers for every key with the world's target.
func (w *world) targets(_ context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	t := w.target
	t.Key = key
	return t, nil
}

// remove removes what matches as root, for a definition that goes.
func (w *world) remove(match tokenstore.Match) *oauthflow.Removed {
	w.t.Helper()
	r, err := w.m.Remove(context.Background(), match, w.targets, oauthflow.RemoveOptions{Reason: "definition_deleted", Actor: "root"})
	require.NoError(w.t, err)
	return r
}

// connectAll connects each key, with its place in the list as the grant.
func (w *world) connectAll(keys ...tokenstore.Key) {
	w.t.Helper()
	for i, key := range keys {
		w.target.Key = key
		w.connect(fmt.Sprint("g", i))
	}
}

func TestRemove(t *testing.T) {
	acme, globex, none := "acme", "globex", ""
	keys := []tokenstore.Key{
		{Definition: "d1", Org: acme},
		{Definition: "d1", Org: acme, User: "ann"},
		{Definition: "d1", Org: globex},
		{Definition: "d1"},
		{Definition: "d2", Org: acme},
	}
	tests := map[string]struct {
		match tokenstore.Match
		gone  []int
	}{
		"a definition":          {tokenstore.Match{Definition: "d1"}, []int{0, 1, 2, 3}},
		"an organization":       {tokenstore.Match{Org: &acme}, []int{0, 1, 4}},
		"an org's in one":       {tokenstore.Match{Definition: "d1", Org: &globex}, []int{2}},
		"the integration level": {tokenstore.Match{Definition: "d1", Org: &none}, []int{3}},
		"nothing":               {tokenstore.Match{Definition: "d3"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.connectAll(keys...)
			r := w.remove(tt.match)
			require.Equal(t, len(tt.gone), r.Connections())
			require.Empty(t, w.idp.revocations(), "not before it is committed")
			pending, unsupported, failed := r.Revoke()
			require.Equal(t, []int{len(tt.gone), 0, 0}, []int{pending, unsupported, failed})
			require.Eventually(t, func() bool { return w.m.Stats().Revoked == int64(len(tt.gone)) }, 5*time.Second, time.Millisecond)
			require.Len(t, w.idp.revocations(), 2*len(tt.gone))
			gone := map[int]bool{}
			for _, i := range tt.gone {
				gone[i] = true
				require.Contains(t, w.idp.revocations(), fmt.Sprintf("g%d/RT%d", i, i+1))
			}
			for i, key := range keys {
				w.target.Key = key
				c := w.row()
				require.Equal(t, !gone[i], c.Connected(), "%v", key)
				if gone[i] {
					require.Equal(t, int64(2), c.Generation, "a tombstone")
					require.Nil(t, c.Sealed)
					_, err := w.token(w.m)
					problem(t, err, oauthflow.ErrNotConnected)
					list, err := w.store.Events(context.Background(), tokenstore.Match{Definition: key.Definition}, 0, 100)
					require.NoError(t, err)
					i := slices.IndexFunc(list, func(e tokenstore.Event) bool { return e.Kind == "disconnected" })
					require.Equal(t, "definition_deleted root", list[i].Reason+" "+list[i].Actor)
				} else {
					w.requireToken(w.m, fmt.Sprint("AT", i+1))
				}
			}
			require.Zero(t, w.remove(tt.match).Connections(), "once")
		})
	}
}

func TestRemoveReadsInPages(t *testing.T) {
	w := newWorld(t)
	for i := range 450 {
		key := tokenstore.Key{Definition: "d", Org: fmt.Sprintf("org%03d", i)}
		_, err := w.store.Update(context.Background(), key, func(c *tokenstore.Connection, _ time.Time) error {
			c.GrantID, c.Generation, c.Status = "g", 1, tokenstore.Active
			return nil
		})
		require.NoError(t, err)
	}
	r := w.remove(tokenstore.Match{Definition: "d"})
	require.Equal(t, 450, r.Connections())
	list, err := w.store.List(context.Background(), tokenstore.Match{Definition: "d"}, nil, 1000)
	require.NoError(t, err)
	for _, c := range list {
		require.False(t, c.Connected())
	}
}

func TestRemoveEndsOpenFlows(t *testing.T) {
	w := newWorld(t)
	started, state := w.start()
	w.remove(tokenstore.Match{Definition: w.target.Key.Definition})
	_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
	refused(t, err, oauthflow.CallbackInvalid)
	require.Zero(t, w.idp.exchanges())
}

func TestRemoveRefusesToRemoveEverything(t *testing.T) {
	w := newWorld(t)
	w.connect("g")
	_, err := w.m.Remove(context.Background(), tokenstore.Match{}, w.targets, oauthflow.RemoveOptions{})
	require.Error(t, err)
	w.requireToken(w.m, "AT1")
}

// The transaction that Remove was part of may still be undone.
func TestNothingIsForgottenBeforeTheRemovalIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		defer follow(w.m)()
		pass(1100 * time.Millisecond) // the watcher is not at it now
		w.requireToken(w.m, "AT1")
		source := w.m.Source(w.target)
		r := w.remove(tokenstore.Match{Definition: w.target.Key.Definition})
		_, ok := source.Current()
		require.True(t, ok)
		r.Revoke()
		s, _ := source.Current() // which may have been read already
		require.Nil(t, s)
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrNotConnected)
	})
}

func TestRevokingWhatWasRemoved(t *testing.T) {
	all := tokenstore.Match{Definition: "d"}
	keys := []tokenstore.Key{{Definition: "d", Org: "a"}, {Definition: "d", Org: "b"}, {Definition: "d", Org: "c"}}
	counts := func(r *oauthflow.Removed) []int {
		pending, unsupported, failed := r.Revoke()
		return []int{pending, unsupported, failed}
	}
	t.Run("no endpoint", func(t *testing.T) {
		w := newWorld(t)
		w.target.Client.RevocationURL = ""
		w.connectAll(keys...)
		require.Equal(t, []int{0, 3, 0}, counts(w.remove(all)))
	})
	t.Run("a definition that is gone already", func(t *testing.T) {
		w := newWorld(t)
		w.connectAll(keys...)
		r, err := w.m.Remove(context.Background(), all, func(_ context.Context, key tokenstore.Key) (oauthflow.Target, error) {
			if key.Org == "b" {
				return oauthflow.Target{}, errors.New("gone")
			}
			return w.targets(context.Background(), key)
		}, oauthflow.RemoveOptions{})
		require.NoError(t, err)
		require.Equal(t, []int{2, 0, 1}, counts(r))
	})
	t.Run("tokens go only where they came from", func(t *testing.T) {
		w := newWorld(t)
		w.connectAll(keys...)
		w.target.Client.TokenURL = "https://evil.example.com/token"
		require.Equal(t, []int{0, 0, 3}, counts(w.remove(all)))
		require.Empty(t, w.idp.revocations())
	})
	t.Run("a provider that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			for i := range 20 {
				w.connectAll(tokenstore.Key{Definition: "d", Org: fmt.Sprint("o", i)})
			}
			w.idp.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			r := w.remove(all)
			began := time.Now()
			require.Equal(t, []int{20, 0, 0}, counts(r))
			require.Zero(t, time.Since(began), "nobody waits for it")
		})
	})
	t.Run("a refresh under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connectAll(keys[0])
			w.idp.delay = 5 * time.Second
			failed := make(chan error, 1)
			go func() {
				_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
				failed <- err
			}()
			pass(time.Second)
			require.Equal(t, []int{1, 0, 0}, counts(w.remove(all)))
			problem(t, <-failed, oauthflow.ErrNotConnected)
			synctest.Wait()
			require.Contains(t, w.idp.revocations(), "g0/RT2", "what it brought is revoked as well")
			require.False(t, w.row().Connected())
		})
	})
	t.Run("a store that fails halfway", func(t *testing.T) {
		w, f := flaky(t)
		f.set(func(f *faulty) { f.update = errStore })
		_, err := w.m.Remove(context.Background(), tokenstore.Match{Definition: "def"}, w.targets, oauthflow.RemoveOptions{})
		require.ErrorIs(t, err, errStore)
	})
}

// hangingKeys is a key service that does not answer.
type hangingKeys struct{ tokenstore.AEAD }

func (hangingKeys) DecryptWithContext(ctx context.Context, _, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangingKeys) EncryptWithContext(ctx context.Context, _, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestRemovingDoesNotWaitForTheKeyService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRevokeWorld(t)
		w.orgs(10)
		m := w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(hangingKeys{}) })
		began := time.Now()
		r, err := m.Remove(t.Context(), tokenstore.Match{Definition: "def"}, w.targets, oauthflow.RemoveOptions{})
		require.NoError(t, err)
		require.Equal(t, 5*time.Second, time.Since(began))
		pending, unsupported, failed := r.Revoke()
		require.Equal(t, []int{0, 0, 10}, []int{pending, unsupported, failed})
	})
}
