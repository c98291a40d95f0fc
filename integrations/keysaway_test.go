package integrations_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// keyService is a key service that can be away, or not answer as long as anybody waits.
type keyService struct {
	tokenstore.AEAD
	gone, mute atomic.Bool
	opens      atomic.Int64
}

func (k *keyService) ask(ctx context.Context) error {
	if k.mute.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if k.gone.Load() {
		return tokenstore.ErrKeysAway
	}
	return nil
}

func (k *keyService) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	if err := k.ask(ctx); err != nil {
		return nil, err
	}
	return k.Encrypt(plaintext, associatedData)
}

func (k *keyService) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	k.opens.Add(1)
	if err := k.ask(ctx); err != nil {
		return nil, err
	}
	return k.Decrypt(ciphertext, associatedData)
}

// withKeyService is another process on w's stores, whose keys are kept by a service.
func (w *world) withKeyService(t testing.TB, change ...func(*integrations.Config)) (*world, *keyService) {
	t.Helper()
	keys := &keyService{AEAD: w.keys}
	return w.another(t, append(change, func(c *integrations.Config) { c.Sealer = tokenstore.NewSealer(keys) })...), keys
}

// Connections outlive a change of their definition while the key service is away: it is
// refused, since what they were made under would be written over.
func TestNothingIsChangedWhileTheKeyServiceIsAway(t *testing.T) {
	for name, mute := range map[string]bool{"refused": false, "no answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create(t, definition("Graph"))
				w.connect(t, "Graph", "shared", integrations.Global())
				other, keys := w.withKeyService(t)
				away := &keys.gone
				if mute {
					away = &keys.mute
				}
				away.Store(true)
				describe := func() error {
					_, err := other.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
						return d.Merge([]byte(`{"description": "x", "oauth": {"client_secret": "client-secret"}}`))
					}, integrations.Global())
					return err
				}
				require.ErrorIs(t, describe(), integrations.ErrUnavailable)
				away.Store(false)
				pass(11 * time.Second)
				require.NoError(t, describe())
				_, err := other.Registry.Get(t.Context(), "Graph", integrations.Global())
				require.NoError(t, err)
			})
		})
	}
}

// Nobody is asked to take secrets away that open again in a moment.
func TestNoConfigurationIsLostWhileTheKeyServiceIsAway(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.Config = []integrations.ConfigField{{Key: "a", Type: integrations.ConfigSecret}, {Key: "b", Type: integrations.ConfigSecret}}
	w.create(t, d)
	acme := integrations.Org("acme")
	_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"a": "1", "b": "2"}, "root", acme)
	require.NoError(t, err)
	other, keys := w.withKeyService(t)
	_, err = other.Config(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	keys.gone.Store(true)
	for _, values := range []map[string]any{{"a": "3"}, {"a": nil, "b": nil}} {
		_, err = other.SetConfig(t.Context(), "Graph", values, "root", acme)
		require.ErrorIs(t, err, integrations.ErrUnavailable)
	}
	keys.gone.Store(false)
	_, err = other.SetConfig(t.Context(), "Graph", map[string]any{"a": "3"}, "root", acme)
	require.NoError(t, err)
	list, err := other.Config(t.Context(), "Graph", acme)
	require.NoError(t, err)
	require.True(t, list[1].Set)
}

// A key service that does not answer is waited for once, however much is sealed, and is
// left alone for a while then. What was not tried meanwhile is, once somebody needs it.
func TestMuteKeyServiceIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 30 {
			w.create(t, definition(fmt.Sprint("Graph", i)))
		}
		other, keys := w.withKeyService(t)
		keys.mute.Store(true)
		began := time.Now()
		_, err := other.Registry.Get(t.Context(), "Graph0", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		require.Equal(t, 10*time.Second, time.Since(began))
		asked := keys.opens.Load()
		_, err = other.Registry.Get(t.Context(), "Graph0", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrUnavailable)
		require.Equal(t, asked, keys.opens.Load())
		require.Equal(t, 10*time.Second, time.Since(began))

		began = time.Now()
		_, err = other.List(t.Context(), integrations.Global())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 2*time.Second)

		keys.mute.Store(false)
		pass(10 * time.Second)
		list, err := other.List(t.Context(), integrations.Global())
		require.NoError(t, err)
		broken := 0
		for _, st := range list {
			if st.Broken {
				broken++
			}
		}
		require.Equal(t, 1, broken, "what was tried last")
		_, err = other.Registry.Get(t.Context(), "Graph0", integrations.Global())
		require.ErrorIs(t, err, integrations.ErrNotConnected)
	})
}

// Callers wait for a key service as long as they like, and ask it once.
func TestCallersLeaveTheKeyService(t *testing.T) {
	acme := integrations.Org("acme")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(t, definition("Graph"))
		d := definition("Code")
		d.Config = []integrations.ConfigField{{Key: "key", Type: integrations.ConfigSecret}}
		require.NoError(t, w.Define(d))
		_, err := w.SetConfig(t.Context(), "Code", map[string]any{"key": "1"}, "root", acme)
		require.NoError(t, err)
		other, keys := w.withKeyService(t)
		require.NoError(t, other.Define(d))
		keys.gone.Store(true)
		_, err = other.List(t.Context(), integrations.Global())
		require.NoError(t, err)
		pass(10 * time.Second)
		keys.mute.Store(true)
		for _, name := range []string{"Graph", "Code"} {
			asked, began := keys.opens.Load(), time.Now()
			var callers sync.WaitGroup
			for range 5 {
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, err := other.Registry.Get(ctx, name, acme)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.NotErrorIs(t, err, integrations.ErrUnavailable)
				})
			}
			callers.Wait()
			require.Equal(t, time.Second, time.Since(began))
			require.Equal(t, asked+1, keys.opens.Load())
		}
		began := time.Now()
		require.NoError(t, other.Close())
		require.Zero(t, time.Since(began), "it ends what nobody waits for")
	})
}

// muteChecks is a token store that does not answer about keys.
type muteChecks struct{ tokenstore.Store }

func (muteChecks) KeyCheck(ctx context.Context, _ string, _ []byte) (map[string][]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Wrong keys are complained of only when they are known to be wrong.
func TestKeysAreBlamedForThemselvesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(c *integrations.Config, keys *keyService)
		wrong  bool
	}{
		"away":       {func(_ *integrations.Config, keys *keyService) { keys.gone.Store(true) }, false},
		"mute":       {func(_ *integrations.Config, keys *keyService) { keys.mute.Store(true) }, false},
		"mute store": {func(c *integrations.Config, _ *keyService) { c.Tokens = muteChecks{c.Tokens} }, false},
		"wrong": {func(_ *integrations.Config, keys *keyService) {
			keys.AEAD = keysOf(t, "new")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				w := newWorld(t)
				require.NoError(t, w.sealer.Verify(t.Context(), w.store))
				keys := &keyService{AEAD: w.keys}
				w = w.another(t, func(c *integrations.Config) {
					c.Sealer, c.Logger = tokenstore.NewSealer(keys), slog.New(slog.NewTextHandler(&log, nil))
					tt.change(c, keys)
				})
				w.follow(t)
				pass(100 * time.Second)
				synctest.Wait()
				if tt.wrong {
					require.Contains(t, log.String(), "level=ERROR")
					require.Contains(t, log.String(), "do not fit")
					return
				}
				require.NotContains(t, log.String(), "level=ERROR")
				require.Contains(t, log.String(), "cannot be compared")
			})
		})
	}
}

// What cannot be sealed is not stored, and the cause is a matter of time.
func TestNothingIsStoredUnsealed(t *testing.T) {
	global := integrations.Global()
	for name, do := range map[string]func(t *testing.T, w *world) error{
		"Create": func(t *testing.T, w *world) error {
			_, err := w.Create(t.Context(), definition("Other"), "root")
			return err
		},
		"Update": func(t *testing.T, w *world) error {
			_, err := w.Update(t.Context(), "Graph", "root", func(*integrations.Definition) error { return nil }, global)
			return err
		},
		"SetConfig": func(t *testing.T, w *world) error {
			_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"api_key": "key"}, "root", global)
			return err
		},
		"Connect": func(t *testing.T, w *world) error {
			_, err := w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "alice"}, global)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, keys := newWorld(t).withKeyService(t)
				w.create(t, configured("Graph"))
				keys.gone.Store(true)
				err := do(t, w)
				require.ErrorIs(t, err, integrations.ErrUnavailable)
				require.ErrorContains(t, err, "the service that holds the sealing keys cannot be asked")
				if name == "Connect" {
					return // it waits as long as its caller
				}
				keys.gone.Store(false)
				keys.mute.Store(true)
				require.ErrorIs(t, do(t, w), integrations.ErrUnavailable)
			})
		})
	}
}
