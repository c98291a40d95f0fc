package oauthflow_test

import (
	"context"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// muteKeys is a key service that may be away: then it fails, or has no answer as long
// as anybody waits. It seals always.
type muteKeys struct {
	*tokenstore.Keyring
	silent, away atomic.Bool
}

func (k *muteKeys) EncryptWithContext(_ context.Context, plaintext, associatedData []byte) ([]byte, error) {
	return k.Encrypt(plaintext, associatedData)
}

func (k *muteKeys) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	switch {
	case k.away.Load():
		return nil, tokenstore.ErrKeysAway
	case k.silent.Load():
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return k.Decrypt(ciphertext, associatedData)
}

// keyed is a world with such a service, and a store that fails on demand.
func keyed(t *testing.T) (*world, *muteKeys, *faulty) {
	w, f := flaky(t)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	keys := &muteKeys{Keyring: ring}
	w.sealer = tokenstore.NewSealer(keys)
	w.m = w.process()
	w.connect("g")
	return w, keys, f
}

// That a caller leaves while tokens are opened says nothing about the keys.
func TestWhoLeavesHearsNothingOfTheKeys(t *testing.T) {
	calls := map[string]func(ctx context.Context, m *oauthflow.Manager, target oauthflow.Target) error{
		"Token": func(ctx context.Context, m *oauthflow.Manager, target oauthflow.Target) error {
			_, err := m.Token(ctx, target)
			return err
		},
		"Renew": func(ctx context.Context, m *oauthflow.Manager, target oauthflow.Target) error {
			_, err := m.Renew(ctx, target, oauthflow.AnyGeneration)
			return err
		},
		"Export": func(ctx context.Context, m *oauthflow.Manager, target oauthflow.Target) error {
			_, err := m.Export(ctx, target, "bob")
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, keys, _ := keyed(t)
				keys.silent.Store(true)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				require.Equal(t, context.DeadlineExceeded, call(ctx, w.process(), w.target))
			})
		})
	}
}

func TestTokensThatDoNotOpenReplaceNoneInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, keys, f := keyed(t)
		m := w.process()
		w.requireToken(m, "AT2")
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.NoError(t, err)

		keys.silent.Store(true)
		asked := time.Now()
		w.requireToken(m, "AT2")
		require.Equal(t, 2*time.Second, time.Since(asked))
		keys.away.Store(true)
		for range 2 {
			_, err = w.token(m)
			require.Equal(t, "tokens_unreadable", problem(t, err, oauthflow.ErrUnavailable).Reason)
		}
		f.set(func(f *faulty) { f.load = errStore })
		w.requireToken(m, "AT2")

		// Of another grant nothing serves, once that was seen.
		f.set(func(f *faulty) { f.load = nil })
		keys.silent.Store(false)
		keys.away.Store(false)
		w.connect("g2")
		keys.away.Store(true)
		_, err = w.token(m)
		problem(t, err, oauthflow.ErrUnavailable)
		f.set(func(f *faulty) { f.load = errStore })
		_, err = w.token(m)
		require.Equal(t, "store_unavailable", problem(t, err, oauthflow.ErrUnavailable).Reason)

		f.set(func(f *faulty) { f.load = nil })
		keys.away.Store(false)
		w.requireToken(m, "AT4")
	})
}

func TestATokenInHandNeedsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, keys, _ := keyed(t)
		pass(2 * time.Hour)
		w.idp.answer = func(url.Values) (int, string, error) {
			keys.away.Store(true)
			return 0, "", nil
		}
		for range 2 {
			w.requireToken(w.m, "AT3")
		}
		require.Equal(t, int64(3), w.row().Generation)
		keys.away.Store(false)
		w.requireToken(w.process(), "AT3")
		require.Equal(t, []string{"g/RT2"}, w.idp.refreshes())
	})
}

// heedless is a store that writes although nobody waits any more, as one may whose
// answer to a commit was late.
type heedless struct{ tokenstore.Store }

func (s heedless) Update(_ context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	return s.Store.Update(context.Background(), key, change)
}

// Who leaves while what is to be revoked is opened removes nothing, and is no warning
// in the log.
func TestWhoLeavesADisconnectRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, keys, _ := keyed(t)
		m := w.process(func(c *oauthflow.Config) { c.Store = heedless{w.store} })
		keys.silent.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := m.Disconnect(ctx, w.target, "bob")
		require.Equal(t, context.DeadlineExceeded, err)
		require.True(t, w.row().Connected())
		require.NotContains(t, w.logs.String(), "WARN")

		began := time.Now()
		got, err := m.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		require.Equal(t, oauthflow.RevocationFailed, got)
		require.Equal(t, 5*time.Second, time.Since(began))
		require.Contains(t, w.logs.String(), "cannot be opened, so they are not revoked")
	})
}
