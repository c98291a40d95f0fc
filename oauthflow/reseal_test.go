package oauthflow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Two keys of these tests, by id.
var sealingKeys = map[string]string{"old": tokenstore.GenerateKey(), "new": tokenstore.GenerateKey()}

// sealers returns a sealer with the keys of these ids, newest first.
func sealers(t testing.TB, ids ...string) *tokenstore.Sealer {
	t.Helper()
	return tokenstore.NewSealer(keysOf(t, ids...))
}

func keysOf(t testing.TB, ids ...string) *tokenstore.Keyring {
	t.Helper()
	var keys []tokenstore.SealingKey
	for _, id := range ids {
		keys = append(keys, tokenstore.SealingKey{ID: id, Key: tokenstore.NewSecret(sealingKeys[id])})
	}
	ring, err := tokenstore.NewKeyring(keys...)
	require.NoError(t, err)
	return ring
}

func sealWith(s *tokenstore.Sealer) func(*oauthflow.Config) {
	return func(c *oauthflow.Config) { c.Sealer = s }
}

// rotating is a world whose first process seals with the old key.
func rotating(t testing.TB) (w *world, s *targets) {
	w, s = newBackground(t, sealWith(sealers(t, "old")))
	return w, s
}

// of is w for another connection.
func (w *world) of(org string) *world {
	o := &world{t: w.t, idp: w.idp, store: w.store, sealer: w.sealer, target: w.target, m: w.m, logs: w.logs}
	o.target.Key.Org = org
	return o
}

// reseal does one look at everything.
func reseal(t testing.TB, m *oauthflow.Manager) tokenstore.Resealed {
	t.Helper()
	n, _, err := m.Reseal(context.Background(), -1)
	require.NoError(t, err)
	return n
}

// tombstone removes w's connection and leaves something to be revoked.
func (w *world) tombstone(s *tokenstore.Sealer) {
	require.NoError(w.t, w.m.Forget(context.Background(), w.target, "alice"))
	c := w.row()
	sealed, err := s.Seal(context.Background(), []byte("left to do"),
		tokenstore.Binding{Key: c.Key, Field: "revocation", Generation: c.Generation})
	require.NoError(w.t, err)
	_, err = w.store.Update(context.Background(), c.Key, func(c *tokenstore.Connection, _ time.Time) error {
		c.Revoking = sealed
		return nil
	})
	require.NoError(w.t, err)
}

func TestResealMovesWhatConnectionsKeepToTheNewestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.connect("a")
		gone, broken, empty := w.of("gone"), w.of("broken"), w.of("empty")
		gone.connect("b")
		gone.tombstone(sealers(t, "old"))
		broken.connect("c")
		_, err := w.store.Update(t.Context(), broken.target.Key, func(c *tokenstore.Connection, _ time.Time) error {
			c.Sealed[len(c.Sealed)-1] ^= 1
			return nil
		})
		require.NoError(t, err)
		empty.connect("d")
		require.NoError(t, empty.m.Forget(t.Context(), empty.target, "alice"))

		before := map[*world]*tokenstore.Connection{}
		for _, c := range []*world{w, gone, broken, empty} {
			before[c] = c.row()
		}
		events := w.events()
		pass(time.Minute)
		both := sealers(t, "new", "old")
		m := w.background(s, sealWith(both))
		require.Equal(t, tokenstore.Resealed{Seen: 3, Resealed: 2, Failed: 1}, reseal(t, m))
		require.Equal(t, events, w.events(), "nobody did anything")
		require.Contains(t, w.logs.String(), "org=broken")
		require.Equal(t, 1, strings.Count(w.logs.String(), "cannot be sealed again"))

		for c, was := range before {
			now := c.row()
			if c == broken || c == empty {
				require.Equal(t, was.Version, now.Version)
				continue
			}
			require.Equal(t, was.Version+1, now.Version)
			for _, f := range [][2][]byte{{was.Sealed, now.Sealed}, {was.Revoking, now.Revoking}} {
				require.Equal(t, f[0] == nil, f[1] == nil)
				require.True(t, f[0] == nil || both.Newest(f[1]) && !both.Newest(f[0]))
			}
			text, err := both.Open(t.Context(), gone.row().Revoking, tokenstore.Binding{Key: gone.target.Key, Field: "revocation", Generation: gone.row().Generation})
			require.NoError(t, err)
			require.Equal(t, "left to do", string(text))
			now.Sealed, now.Revoking, now.Version, now.UpdatedAt, now.ReadAt = was.Sealed, was.Revoking, was.Version, was.UpdatedAt, was.ReadAt
			require.Equal(t, was, now, "and nothing else")
		}
		w.requireToken(m, "AT1")

		require.Equal(t, tokenstore.Resealed{Seen: 3, Failed: 1}, reseal(t, m), "again")
		broken.connect("c2")
		require.Equal(t, tokenstore.Resealed{Seen: 3, Resealed: 1}, reseal(t, m), "what is connected again is whole")
		alone := w.background(s, sealWith(sealers(t, "new")))
		w.requireToken(alone, "AT1")
	})
}

func TestAfterResealingAProcessWithoutTheNewKeySaysWhich(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.connect("g")
		reseal(t, w.background(s, sealWith(sealers(t, "new", "old"))))
		pass(2 * time.Hour) // AT1 has ended
		_, err := w.token(w.m)
		p := problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, "tokens_unreadable", p.Reason)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
		require.ErrorContains(t, p.Err, "new (known: old)")
		for _, key := range sealingKeys {
			require.NotContains(t, err.Error()+p.Err.Error()+w.logs.String(), key)
		}
		require.Empty(t, w.idp.refreshes(), "nothing is sent that could not be kept")
		w.requireToken(w.background(s, sealWith(sealers(t, "old", "new"))), "AT2")
	})
}

// A look at what changed finds it, and nothing else.
func TestResealLooksAtWhatWasWrittenSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.connect("g")
		m := w.background(s, sealWith(sealers(t, "new", "old")))
		n, position, err := m.Reseal(t.Context(), -1)
		require.NoError(t, err)
		require.Equal(t, 1, n.Resealed)
		n, position, err = m.Reseal(t.Context(), position)
		require.NoError(t, err)
		require.Equal(t, tokenstore.Resealed{Seen: 1}, n, "its own write")
		n, position, err = m.Reseal(t.Context(), position)
		require.NoError(t, err)
		require.Zero(t, n)
		w.of("late").connect("h")
		n, _, err = m.Reseal(t.Context(), position)
		require.NoError(t, err)
		require.Equal(t, tokenstore.Resealed{Seen: 1, Resealed: 1}, n)
	})
}

// nameless hides which key a ciphertext is under.
type nameless struct{ keys *tokenstore.Keyring }

func (k nameless) Encrypt(text, ad []byte) ([]byte, error)   { return k.keys.Encrypt(text, ad) }
func (k nameless) Decrypt(sealed, ad []byte) ([]byte, error) { return k.keys.Decrypt(sealed, ad) }

func TestResealWithKeysThatHaveNoNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.connect("g")
		m := w.background(s, sealWith(tokenstore.NewSealer(nameless{keysOf(t, "new", "old")})))
		for range 2 {
			require.Equal(t, tokenstore.Resealed{Seen: 1, Resealed: 1}, reseal(t, m), "each time")
		}
		w.requireToken(w.background(s, sealWith(sealers(t, "new"))), "AT1")
	})
}

// between is a store in which something happens before the next update.
type between struct {
	tokenstore.Store
	once sync.Once
	do   func()
}

func (b *between) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	b.once.Do(b.do)
	return b.Store.Update(ctx, key, change)
}

func TestResealNeverWritesOverWhatCameMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, w *world)
		says      string // by the new key alone
	}{
		"renewed": {func(_ *testing.T, w *world) {
			_, err := w.m.Renew(context.Background(), w.target, 1)
			require.NoError(w.t, err)
		}, "AT2"},
		"removed": {func(_ *testing.T, w *world) {
			_, err := w.m.Disconnect(context.Background(), w.target, "alice")
			require.NoError(w.t, err)
		}, ""},
		"connected again": {func(_ *testing.T, w *world) { w.connect("g2") }, "AT2"},
		"sealed again elsewhere": {func(t *testing.T, w *world) {
			other := w.process(sealWith(sealers(t, "new", "old")))
			require.Equal(t, 1, reseal(t, other).Resealed)
		}, "AT1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := rotating(t)
				w.connect("g")
				store := &between{Store: w.store, do: func() { test.meanwhile(t, w) }}
				m := w.background(s, sealWith(sealers(t, "new", "old")), func(c *oauthflow.Config) { c.Store = store })
				n := reseal(t, m)
				require.Zero(t, n.Failed)
				alone := w.background(s, sealWith(sealers(t, "new")))
				if test.says != "" {
					w.requireToken(alone, test.says)
					return
				}
				_, err := w.token(alone)
				require.ErrorIs(t, err, oauthflow.ErrNotConnected)
			})
		})
	}
}

// A refresh that is under way keeps its attempt, and its reply is kept.
func TestResealDuringARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.connect("g")
		w.idp.delay = 5 * time.Second
		m := w.background(s, sealWith(sealers(t, "new", "old")))
		got := make(chan string, 1)
		go func() {
			renewed, err := w.m.Renew(context.Background(), w.target, 1)
			if assert.NoError(t, err) {
				got <- renewed.AccessToken().Reveal()
			}
		}()
		synctest.Wait()
		require.NotNil(t, w.row().Attempt)
		require.Equal(t, 1, reseal(t, m).Resealed)
		require.NotNil(t, w.row().Attempt, "it is still under way")

		// What that process kept is under its old key: the next look finds it.
		require.Equal(t, "AT2", <-got)
		require.Equal(t, 1, reseal(t, m).Resealed)
		w.requireToken(w.background(s, sealWith(sealers(t, "new"))), "AT2")
		require.Len(t, w.idp.refreshes(), 1)
	})
}

// A store that fails at its nth call, or is left at it, keeps every connection, and
// the next run does what the first has not.
func TestResealGoesOnWhereItWasStopped(t *testing.T) {
	const connections = 20
	for _, killed := range []bool{false, true} {
		for n := 1; ; n++ {
			done := false
			synctest.Test(t, func(t *testing.T) {
				w, s := rotating(t)
				for i := range connections {
					w.of(fmt.Sprint("org", i)).connect(fmt.Sprint("g", i))
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				store := &nthCall{Store: w.store, n: n, do: errStore}
				if killed {
					store.do, store.stop = nil, cancel
				}
				both := sealWith(sealers(t, "new", "old"))
				first, _, err := w.background(s, both, func(c *oauthflow.Config) { c.Store = store }).Reseal(ctx, -1)
				if done = !store.reached(); done {
					require.NoError(t, err)
				} else {
					require.True(t, errors.Is(err, errStore) || errors.Is(err, context.Canceled), "%v", err)
				}
				m := w.background(s, both)
				second := reseal(t, m)
				require.GreaterOrEqual(t, connections, second.Resealed)
				require.LessOrEqual(t, connections, first.Resealed+second.Resealed+1, "what was counted was done; one was not counted perhaps")
				require.Zero(t, reseal(t, m).Resealed)
				alone := w.background(s, sealWith(sealers(t, "new")))
				for i := range connections {
					w.of(fmt.Sprint("org", i)).requireToken(alone, fmt.Sprint("AT", i+1))
				}
			})
			if done {
				break
			}
		}
	}
}

// nthCall is a store at whose nth call something happens.
type nthCall struct {
	tokenstore.Store
	mu   sync.Mutex
	n    int
	do   error
	stop func()
}

func (s *nthCall) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n <= 0
}

func (s *nthCall) call() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n--; s.n != 0 {
		return nil
	}
	if s.stop != nil {
		s.stop()
	}
	return s.do
}

func (s *nthCall) List(ctx context.Context, match tokenstore.Match, after *tokenstore.Key, limit int) ([]*tokenstore.Connection, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, match, after, limit)
}

func (s *nthCall) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	if err := s.call(); err != nil {
		return nil, 0, err
	}
	return s.Store.Changes(ctx, after, limit)
}

func (s *nthCall) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	return s.Store.Update(ctx, key, change)
}

func TestResealEndsWithTheManager(t *testing.T) {
	w, s := rotating(t)
	w.connect("g")
	m := w.background(s, sealWith(sealers(t, "new", "old")))
	require.NoError(t, m.Close())
	_, _, err := m.Reseal(t.Context(), -1)
	require.ErrorIs(t, err, oauthflow.ErrClosed)
}

// A flow is not sealed again: who is in the middle of connecting when the old key
// goes is told to start again.
func TestAFlowUnderAKeyThatIsGone(t *testing.T) {
	w, s := rotating(t)
	started, state := w.start()
	m := w.background(s, sealWith(sealers(t, "new", "old")))
	reseal(t, m)
	alone := w.background(s, sealWith(sealers(t, "new")))
	_, err := alone.Callback(t.Context(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
	require.ErrorContains(t, err, "start again")
	started, state = w.start()
	_, err = m.Callback(t.Context(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
	require.NoError(t, err, "as long as the old key is there")
	require.True(t, sealers(t, "new").Newest(w.row().Sealed))
	require.False(t, bytes.Contains(w.row().Sealed, []byte("AT1")))
}
