package oauthflow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	good := oauthflow.Config{Store: tokenstore.NewMemory(), Sealer: tokenstore.NewSealer(ring)}
	_, err = oauthflow.New(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*oauthflow.Config){
		"no store":           func(c *oauthflow.Config) { c.Store = nil },
		"no sealer":          func(c *oauthflow.Config) { c.Sealer = nil },
		"impossible timing":  func(c *oauthflow.Config) { c.Timing.Attempt = time.Second },
		"negative staleness": func(c *oauthflow.Config) { c.Staleness = -1 },
		"negative flow life": func(c *oauthflow.Config) { c.FlowLife = -1 },
	} {
		bad := good
		change(&bad)
		_, err := oauthflow.New(bad)
		require.Error(t, err, name)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	w := newWorld(t)
	stop := follow(w.m)
	w.idp.lifetime = "-1"
	w.connect("g")
	for range 3 {
		_, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		require.Error(t, err)
	}
	_, err := w.m.Disconnect(context.Background(), w.target, "bob")
	require.NoError(t, err)
	stop()
	require.NoError(t, w.m.Close())
	goleak.VerifyNone(t, before)
}

func TestClose(t *testing.T) {
	t.Run("waits for what was sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.delay = 5 * time.Second
			go func() { _, _ = w.token(w.m) }()
			pass(time.Second)
			closing := time.Now()
			require.NoError(t, w.m.Close())
			require.Equal(t, 4*time.Second, time.Since(closing))
			require.Equal(t, int64(2), w.row().Generation)
			require.NoError(t, w.m.Close(), "again")
		})
	})
	t.Run("gives up what was not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			pass(2 * time.Hour)
			w.idp.dial = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			failed := make(chan error, 1)
			go func() {
				_, err := w.token(w.m)
				failed <- err
			}()
			pass(time.Second)
			closing := time.Now()
			require.NoError(t, w.m.Close())
			require.Zero(t, time.Since(closing))
			require.ErrorIs(t, <-failed, oauthflow.ErrClosed)
			require.Nil(t, w.row().Attempt)
		})
	})
	t.Run("refuses new requests, and serves what is good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.connect("g")
			require.NoError(t, w.m.Close())
			w.requireToken(w.m, "AT1")
			pass(2 * time.Hour)
			_, err := w.token(w.m)
			require.True(t, errors.Is(err, oauthflow.ErrClosed) && errors.Is(err, oauthflow.ErrUnavailable), "%v", err)
			require.Empty(t, w.idp.refreshes())
		})
	})
}
