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

// unhurried is a store that takes a while for every record it reads, as long as
// somebody waits.
type unhurried struct {
	tokenstore.Store
	each time.Duration
}

func (s unhurried) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	if err := sleepFor(ctx, s.each); err != nil {
		return nil, err
	}
	return s.Store.Load(ctx, key)
}

// unhurriedTargets take a while to say that the definition went away, which it does
// while a code is exchanged.
type unhurriedTargets struct {
	*world

	each time.Duration
	gone atomic.Bool
}

func (s *unhurriedTargets) Target(context.Context, tokenstore.Key) (oauthflow.Target, error) {
	return s.target, nil
}

func (s *unhurriedTargets) Confirm(ctx context.Context, _ tokenstore.Key) error {
	if err := sleepFor(ctx, s.each); err != nil {
		return err
	}
	if s.gone.Load() {
		return oauthflow.ErrGone
	}
	return nil
}

// arrive begins a callback with a code and returns its outcome when there is one.
func (w *world) arrive(m *oauthflow.Manager, code string) <-chan error {
	started, state := w.start()
	answer := make(chan error, 1)
	go func() {
		_, err := m.Callback(context.Background(), w.arriving(started, url.Values{"code": {code}, "state": {state}}))
		answer <- err
	}()
	return answer
}

// A slow provider leaves nothing of the time for its request. What follows has time
// of its own: nobody would find what is connected under a definition that is gone.
func TestASlowProviderLeavesTimeToSeeThatTheDefinitionIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &unhurriedTargets{world: w, each: 2 * time.Second}
		m := w.process(func(c *oauthflow.Config) { c.Targets, c.Store = s, unhurried{w.store, 2 * time.Second} })
		w.idp.delay = 14 * time.Second
		answer := w.arrive(m, "g")
		s.gone.Store(true)
		ce := refused(t, <-answer, oauthflow.CallbackFailed)
		require.Equal(t, "definition_gone", ce.Code)
		pass(time.Minute)
		require.False(t, w.row().Connected())
		require.ElementsMatch(t, []string{"g/RT1", "AT1"}, w.idp.revocations())
	})
}

// Somebody disconnects while a new grant cannot be stored: it is an orphan, however
// long the provider took.
func TestASlowProviderLeavesTimeToRevokeWhatCameLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		f := &faulty{Store: w.store}
		m := w.process(func(c *oauthflow.Config) { c.Store = unhurried{f, 2 * time.Second} })
		w.idp.delay = 14 * time.Second
		f.set(func(f *faulty) { f.update = errStore })
		answer := w.arrive(m, "h")
		pass(16*time.Second + 10*time.Millisecond)
		f.set(func(f *faulty) { f.update = nil })
		_, err := w.m.Disconnect(context.Background(), w.target, "bob")
		require.NoError(t, err)
		ce := refused(t, <-answer, oauthflow.CallbackFailed)
		require.Equal(t, "overtaken", ce.Code)
		pass(time.Minute)
		require.Contains(t, w.idp.revocations(), "h/RT2")
	})
}

func TestCloseWaitsForWhatFollowsASlowExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &unhurriedTargets{world: w, each: time.Hour}
		m := w.process(func(c *oauthflow.Config) { c.Targets, c.Store = s, unhurried{w.store, 4 * time.Second} })
		w.idp.delay = 14 * time.Second
		answer := w.arrive(m, "g")
		synctest.Wait()
		require.NoError(t, m.Close())
		require.NoError(t, <-answer)
		require.True(t, w.row().Connected())
	})
}
