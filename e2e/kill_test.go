package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// healing bounds the wait for a connection whose refresh was on the wire: the
// attempt's deadline (30 s) must pass before anybody may ask the provider again.
const healing = 90 * time.Second

// SIGKILL at any moment, and a start on the same database: the connection works,
// or a refresh was on the wire and the provider has ended the grant; what had
// finished is in the history as it was, and what had not is finished.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("stand-in", func(t *testing.T) {
		t.Parallel()
		// The stand-in lives in the process, so that it is killed too.
		k := newKiller(t, newSite(t), nil, 1)
		for range 6 {
			k.round(t, k.execute, nil)
			k.round(t, k.reconnect, nil)
		}
		k.finish(t)
		require.Zero(t, k.lost)
	})
	t.Run("oidc-provider, two processes", func(t *testing.T) {
		t.Parallel()
		k := newKillerOIDC(t)
		for range 4 {
			k.round(t, k.execute, nil)
			k.round(t, k.reconnect, nil)
		}
		k.finish(t)
	})
	t.Run("before the provider saw the refresh", func(t *testing.T) {
		t.Parallel()
		k := newKillerOIDC(t)
		k.provider.control(t, map[string]any{"token_delay_before": 3000})
		k.round(t, k.execute, func() bool { return k.provider.journal(t).waiting(false) })
		k.provider.control(t, map[string]any{"token_delay_before": 0})
		k.finish(t)
		j := k.provider.journal(t)
		require.Zero(t, k.lost, "the refresh token was not spent, so the connection heals:\n%s", j)
		require.Zero(t, j.Reused, j)
	})
	t.Run("after the provider spent the token", func(t *testing.T) {
		t.Parallel()
		k := newKillerOIDC(t)
		k.provider.control(t, map[string]any{"token_delay_after": 3000})
		k.round(t, k.execute, func() bool { return k.provider.journal(t).waiting(true) })
		k.provider.control(t, map[string]any{"token_delay_after": 0})
		k.finish(t)
		// Nobody but the provider can know, so it is asked once more, and ends the
		// grant: a refresh token that comes again may have been stolen.
		j := k.provider.journal(t)
		require.Equal(t, 1, k.lost, "the successor was lost with the answer:\n%s", j)
		require.Equal(t, 1, j.Reused, j)
	})
}

// killer kills the processes of a site, and remembers what they had promised.
type killer struct {
	site     *site
	provider *provider // nil: the stand-in
	apps     []*app
	client   *client
	rand     *rand.Rand
	killed   time.Time                         // the last time
	also     func(context.Context, *testing.T) // checked after each start; may be nil
	lost     int                               // grants that ended because a refresh was on the wire

	mu       sync.Mutex
	finished map[string]json.RawMessage // results by execution id
	accepted []string                   // ids of asynchronous executions
}

// newKillerOIDC has two processes in front of the certified provider, and an API
// that takes a moment, so that executions are under way when they are killed.
func newKillerOIDC(t *testing.T) *killer {
	t.Helper()
	s := newSite(t)
	p := startProvider(t, s.base, "killed but not forgotten", "post")
	s.env = p.env()
	p.control(t, map[string]any{"api_delay": 100})
	return newKiller(t, s, p, 2)
}

// newKiller starts the processes and connects the account.
func newKiller(t *testing.T, s *site, p *provider, processes int) *killer {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("BIFROST_E2E_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("BIFROST_E2E_SEED=%d", seed)
	k := &killer{site: s, provider: p, rand: rand.New(rand.NewPCG(seed, 0)), finished: map[string]json.RawMessage{}}
	k.apps = []*app{s.start(t, s.addr())}
	for len(k.apps) < processes {
		k.apps = append(k.apps, s.start(t, freeAddr(t)))
	}
	k.client = newClient(k.apps...)
	require.NoError(t, k.client.connect(t.Context(), integration))
	return k
}

// round lets some clients do their work, kills one or all processes in the middle
// of it, starts them again, and checks every promise. The moment is a random one,
// or, for all processes together, when it has come.
func (k *killer) round(t *testing.T, work func(context.Context), when func() bool) {
	t.Helper()
	if t.Failed() {
		return
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { work(ctx) })
	}
	first, count := k.rand.IntN(len(k.apps)), 1+k.rand.IntN(len(k.apps))
	if when == nil {
		pause(ctx, time.Duration(k.rand.IntN(2000))*time.Millisecond)
	} else {
		count = len(k.apps)
		waiting, cancel := context.WithTimeout(ctx, patience)
		err := poll(waiting, 20*time.Millisecond, func() (bool, error) { return when(), nil })
		cancel()
		require.NoError(t, err, "the moment to kill did not come")
	}

	k.killed = time.Now()
	for i := range count {
		k.apps[(first+i)%len(k.apps)].kill()
	}
	stop()
	wg.Wait()
	for i := range count {
		at := (first + i) % len(k.apps)
		k.apps[at] = k.site.start(t, k.apps[at].addr)
	}
	if when != nil {
		pause(t.Context(), tokenLife) // the old access token hides what became of the new one
	}
	k.check(t)
}

// execute runs the workflow until ctx ends: now waiting for the result, now not.
func (k *killer) execute(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, 10*time.Millisecond)
		e, err := k.client.execute(ctx, n%4 == 3)
		if err != nil {
			continue // killed: what counts is what was promised before
		}
		k.mu.Lock()
		if e.Status == "succeeded" {
			k.finished[e.ID] = e.Result
		} else {
			k.accepted = append(k.accepted, e.ID)
		}
		k.mu.Unlock()
	}
}

// reconnect walks the connect flow until ctx ends, beside a working connection.
func (k *killer) reconnect(ctx context.Context) {
	for ctx.Err() == nil {
		// Its own cookies: each walker is another browser.
		if err := k.client.another().connect(ctx, integration); err != nil {
			pause(ctx, 10*time.Millisecond)
		}
	}
}

func (k *killer) check(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healing)
	defer cancel()
	k.checkConnection(ctx, t)
	k.checkHistory(ctx, t)
	if k.also != nil {
		k.also(ctx, t)
	}
}

// checkConnection waits until the connection works, or says that it is lost and why.
func (k *killer) checkConnection(ctx context.Context, t *testing.T) {
	t.Helper()
	var last error
	err := poll(ctx, 250*time.Millisecond, func() (bool, error) {
		var decided bool
		decided, last = k.decided(ctx)
		return decided, nil
	})
	require.NoError(t, err, "the connection did not come back; last: %v", last)

	st, err := k.client.status(ctx)
	require.NoError(t, err)
	if st.Status == "active" {
		return
	}
	require.Equal(t, "reauth_required", st.Status)
	require.Contains(t, st.StatusMessage, "lost_rotation")
	require.NotNil(t, k.provider, "the stand-in was killed as well: no reply can have been lost after its state was written")
	j := k.provider.journal(t)
	require.True(t, j.onTheWire(k.killed), "lost at %s, and no token request was on the wire:\n%s", k.killed.Format("15:04:05.000"), j)
	k.lost++
	require.NoError(t, k.client.another().connect(ctx, integration), "reconnecting after the loss")
}

// decided reports whether the connection works or is known to be lost, and if it
// is neither, why.
func (k *killer) decided(ctx context.Context) (bool, error) {
	e, err := k.client.execute(ctx, false)
	if err != nil {
		return false, err
	}
	if e.Status == "succeeded" {
		k.finished[e.ID] = e.Result
		return true, nil
	}
	st, err := k.client.status(ctx)
	if err != nil {
		return false, err
	}
	return st.Status == "reauth_required", errors.New(e.String())
}

// checkHistory compares what is stored with what was promised.
func (k *killer) checkHistory(ctx context.Context, t *testing.T) {
	t.Helper()
	for id, result := range k.finished {
		e, err := k.client.execution(ctx, id)
		require.NoError(t, err, "an execution that had finished is gone")
		require.Equal(t, "succeeded", e.Status, e)
		require.JSONEq(t, string(result), string(e.Result))
	}
	var last *execution
	err := poll(ctx, 250*time.Millisecond, func() (bool, error) {
		for len(k.accepted) > 0 {
			e, err := k.client.execution(ctx, k.accepted[0])
			if err != nil {
				return false, err // an accepted execution is gone
			}
			if last = e; !e.ended() {
				return false, nil
			}
			if e.Status == "succeeded" {
				k.finished[e.ID] = e.Result
			}
			k.accepted = k.accepted[1:]
		}
		n, err := k.client.open(ctx)
		return n == 0, err
	})
	require.NoError(t, err, "executions were not taken up; last: %v", last)
}

// finish checks once more when nothing has been killed.
func (k *killer) finish(t *testing.T) {
	t.Helper()
	if t.Failed() {
		return
	}
	k.check(t)
	t.Logf("%d executions finished and are in the history", len(k.finished))
}
