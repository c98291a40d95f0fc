package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// rollout is a number of processes whose keys change while they work.
type rollout struct {
	mu        sync.Mutex
	processes []*oauthflow.Manager
}

func (r *rollout) any() *oauthflow.Manager {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.processes[rand.IntN(len(r.processes))]
}

func (r *rollout) replace(i int, m *oauthflow.Manager) (was *oauthflow.Manager) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, r.processes[i] = r.processes[i], m
	return was
}

// traffic does what people and callers do to one connection until ctx ends.
func (r *rollout) traffic(ctx context.Context, w *world, name string) {
	for grant := 0; ; grant++ {
		w.m = r.any()
		started, err := w.m.Start(context.Background(), w.target, oauthflow.StartOptions{Principal: "alice", ReturnTo: "/back"})
		if !assert.NoError(w.t, err) {
			return
		}
		code := fmt.Sprintf("%s-%d", name, grant)
		if !assert.NoError(w.t, w.finish(r.any(), started, code)) {
			return
		}
		for range 3 + rand.IntN(20) {
			if sleepFor(ctx, time.Duration(rand.IntN(int(20*time.Second)))) != nil {
				return
			}
			m := r.any()
			s, err := m.Token(context.Background(), w.target)
			if err == nil && rand.IntN(2) == 0 {
				_, err = m.Renew(context.Background(), w.target, s.Generation())
			}
			if errors.Is(err, oauthflow.ErrClosed) {
				continue // as a deploy has it
			}
			if !assert.NoError(w.t, err) {
				return
			}
		}
		if rand.IntN(2) == 0 {
			_, err := r.any().Disconnect(context.Background(), w.target, "alice")
			if !assert.NoError(w.t, err) {
				return
			}
		}
	}
}

// finish walks through the callback of a flow at m.
func (w *world) finish(m *oauthflow.Manager, started *oauthflow.Started, code string) error {
	u, err := url.Parse(started.AuthorizationURL)
	if err != nil {
		return err
	}
	query := url.Values{"code": {code}, "state": {u.Query().Get("state")}}
	_, err = m.Callback(context.Background(), w.arriving(started, query))
	return err
}

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Keys change as docs/keys.md has it, while connections are made, renewed, removed
// and made again by several processes, and two of them seal again at once: no token
// is lost, none is presented twice, and the old key can go.
func TestKeysChangeWhileEverythingGoesOn(t *testing.T) {
	const connections, steps = 24, 3
	synctest.Test(t, func(t *testing.T) {
		w, s := rotating(t)
		w.idp.delay = 700 * time.Millisecond
		w.idp.lifetime = "60"
		with := func(ids ...string) *oauthflow.Manager {
			return w.background(s, sealWith(sealers(t, ids...)), func(c *oauthflow.Config) { c.MaxOpenFlows = connections }) // all are alice's
		}
		r := &rollout{processes: []*oauthflow.Manager{with("old"), with("old"), with("old")}}
		ctx, cancel := context.WithCancel(t.Context())
		var traffic sync.WaitGroup
		for i := range connections {
			name := fmt.Sprint("org", i)
			c := w.of(name)
			traffic.Go(func() { r.traffic(ctx, c, name) })
		}
		var stops []func()
		for _, keys := range [][]string{{"old", "new"}, {"new", "old"}} {
			for i := range r.processes {
				pass(time.Minute)
				m := with(keys...)
				stops = append(stops, keepFresh(m))
				require.NoError(t, r.replace(i, m).Close())
			}
		}
		pass(time.Minute)
		for range steps {
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					n, _, err := r.any().Reseal(ctx, -1)
					assert.NoError(t, err)
					assert.Zero(t, n.Failed)
				})
			}
			both.Wait()
		}
		n := reseal(t, r.any())
		require.Zero(t, n.Resealed, "all processes seal with the new key")
		for i := range r.processes { // the old key goes
			m := with("new")
			stops = append(stops, keepFresh(m))
			require.NoError(t, r.replace(i, m).Close())
			pass(time.Minute)
		}
		cancel()
		traffic.Wait()
		for _, stop := range stops {
			stop()
		}

		list, err := w.store.List(t.Context(), tokenstore.Match{}, nil, 1000)
		require.NoError(t, err)
		require.Len(t, list, connections)
		newest := sealers(t, "new")
		for _, c := range list {
			require.NotEqual(t, tokenstore.ReauthRequired, c.Status, c.Org)
			for _, sealed := range [][]byte{c.Sealed, c.Revoking} {
				require.True(t, sealed == nil || newest.Newest(sealed), c.Org)
			}
		}
		sent := w.idp.refreshes()
		require.Greater(t, len(sent), 10*connections)
		slices.Sort(sent)
		require.Len(t, slices.Compact(slices.Clone(sent)), len(sent), "a refresh token was presented twice")
	})
}
