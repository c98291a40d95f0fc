package oauthflow_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Target of the world is for one key; in the tests of the background it is every
// key's, and some are gone.
type targets struct {
	*world

	mu     sync.Mutex
	change func(t *oauthflow.Target) error
}

func (s *targets) Target(_ context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.target
	t.Key = key
	if s.change != nil {
		if err := s.change(&t); err != nil {
			return oauthflow.Target{}, err
		}
	}
	return t, nil
}

func (s *targets) set(change func(t *oauthflow.Target) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change = change
}

// newBackground is a world whose managers know how to renew every connection.
func newBackground(t testing.TB, change ...func(*oauthflow.Config)) (*world, *targets) {
	w := newWorld(t)
	s := &targets{world: w}
	w.m = w.background(s, change...)
	return w, s
}

// background returns another such manager.
func (w *world) background(s *targets, change ...func(*oauthflow.Config)) *oauthflow.Manager {
	return w.process(append([]func(*oauthflow.Config){func(c *oauthflow.Config) { c.Targets = s }}, change...)...)
}

// keepFresh runs the background of m until the returned function is called.
func keepFresh(m *oauthflow.Manager) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.KeepFresh(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestAUsedConnectionIsRenewedBeforeAnybodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t, func(c *oauthflow.Config) { c.Staleness = time.Minute })
		w.connect("g")
		defer follow(w.m)()
		defer keepFresh(w.m)()
		w.idp.delay = 3 * time.Second
		for range 20 * 60 { // a call a minute, for twenty hours
			pass(time.Minute)
			asked := time.Now()
			_, err := w.token(w.m)
			require.NoError(t, err)
			require.Zero(t, time.Since(asked), "nobody waits")
		}
		n := len(w.idp.refreshes())
		require.InDelta(t, 21, n, 1.1, "every 55 minutes or so")
		pass(23 * time.Hour) // used within a day
		require.InDelta(t, n+25, len(w.idp.refreshes()), 1.1)
		n = len(w.idp.refreshes())
		pass(5 * 24 * time.Hour)
		require.LessOrEqual(t, len(w.idp.refreshes()), n+2, "nobody asks any more")
		pass(28 * 24 * time.Hour)
		require.InDelta(t, n+5, len(w.idp.refreshes()), 2.1, "once a week")
		require.Equal(t, tokenstore.Active, w.row().Status)

		asked := time.Now() // it comes back into use
		_, err := w.token(w.m)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(asked), 3*time.Second)
		n = len(w.idp.refreshes())
		pass(5 * time.Hour)
		require.InDelta(t, n+5, len(w.idp.refreshes()), 1.1)
	})
}

func TestADeadGrantShowsThoughNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t)
		w.connect("g")
		defer keepFresh(w.m)()
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { delete(p.current, "g") })
		pass(7 * 24 * time.Hour)
		c := w.row()
		require.Equal(t, tokenstore.ReauthRequired, c.Status)
		require.Zero(t, c.DueAt)
		n := len(w.idp.refreshes())
		pass(30 * 24 * time.Hour)
		require.Len(t, w.idp.refreshes(), n, "a dead grant costs nothing")
	})
}

// P2's background renews what P1's callers use. P1 says that it does, so that it
// does not become an idle one.
func TestProcessesKeepFreshTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newBackground(t)
		w.connect("g")
		processes := []*oauthflow.Manager{w.m, w.background(s), w.background(s), w.background(s)}
		for _, m := range processes {
			defer follow(m)()
			defer keepFresh(m)()
		}
		w.idp.delay = time.Second
		for range 48 { // half a day
			pass(15 * time.Minute)
			asked := time.Now()
			_, err := w.token(w.m)
			require.NoError(t, err)
			require.Zero(t, time.Since(asked))
		}
		list := w.idp.refreshes()
		require.InDelta(t, 13, len(list), 1.1)
		pass(12 * time.Hour) // not asked, but used within a day
		require.InDelta(t, 26, len(w.idp.refreshes()), 1.1)
		seen := map[string]bool{}
		for _, rt := range w.idp.refreshes() {
			require.False(t, seen[rt], "%s was presented twice", rt)
			seen[rt] = true
		}
		require.Equal(t, int64(len(w.idp.refreshes())+1), w.row().Generation)
	})
}

func TestTheBackgroundSurvivesACrashElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t)
		w.connect("g")
		pass(2 * time.Hour)
		w.crashed(false)
		defer keepFresh(w.m)()
		pass(29 * time.Second)
		require.Empty(t, w.idp.refreshes(), "the attempt is the lease")
		pass(time.Minute)
		require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
		require.Equal(t, tokenstore.Active, w.row().Status)
	})
}

func TestFailuresPutTheBackgroundOff(t *testing.T) {
	for name, answer := range map[string]func(url.Values) (int, string, error){
		"operator": always(401, `{"error":"invalid_client"}`), "transient": always(http.StatusServiceUnavailable, ""),
		"configuration": always(400, `{"error":"invalid_scope"}`), "unknown": lost,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := newBackground(t)
				w.connect("g")
				defer keepFresh(w.m)()
				w.idp.set(func(p *idp) { p.answer = answer })
				pass(time.Hour)
				last := time.Now()
				var pauses []time.Duration
				n := len(w.idp.refreshes())
				for range 24 * 360 {
					pass(10 * time.Second)
					if got := len(w.idp.refreshes()); got > n {
						require.Equal(t, n+1, got)
						pauses, n, last = append(pauses, time.Since(last)), got, time.Now()
					}
					require.True(t, w.row().DueAt.After(time.Now().Add(-10*time.Second)))
				}
				require.Greater(t, n, 10)
				require.Less(t, n, 60, "ever more seldom")
				for _, p := range pauses[1:] {
					require.GreaterOrEqual(t, p, 20*time.Second)
				}
				w.idp.set(func(p *idp) { p.answer = nil })
				pass(4 * time.Hour)
				require.Equal(t, tokenstore.Active, w.row().Status)
			})
		})
	}
}

// counted counts the calls of a store.
type counted struct {
	tokenstore.Store
	mu    sync.Mutex
	calls map[string]int
}

func (c *counted) count(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call]++
}

func (c *counted) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	c.count("load")
	return c.Store.Load(ctx, key)
}

func (c *counted) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	c.count("update")
	return c.Store.Update(ctx, key, change)
}

func (c *counted) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	c.count("due")
	return c.Store.Due(ctx, limit)
}

func TestASweepCostsWhatIsDue(t *testing.T) {
	const due = 100
	cost := func(t *testing.T, stored int) map[string]int {
		store := &counted{Store: tokenstore.NewMemory(), calls: map[string]int{}}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.store = store
			s := &targets{world: w}
			w.m = w.background(s)
			w.connectOrgs(due)
			for i := due; i < stored; i++ {
				_, err := store.Store.Update(t.Context(), w.forOrg(fmt.Sprint("later-", i)).Key, func(c *tokenstore.Connection, now time.Time) error {
					c.GrantID, c.Status, c.HasRefreshToken, c.DueAt = "g", tokenstore.Active, true, now.Add(30*24*time.Hour)
					return nil
				})
				require.NoError(t, err)
			}
			clear(store.calls)
			pass(54 * time.Minute) // the hundred are due in the last five minutes of an hour
			stop := keepFresh(w.m)
			pass(6 * time.Minute)
			stop()
			require.Len(t, w.idp.refreshes(), due)
			require.Equal(t, int64(due), w.m.Stats().Visits)
		})
		return store.calls
	}
	few, many := cost(t, due), cost(t, 100_000)
	require.Equal(t, due, many["load"])
	require.Equal(t, 2*due, many["update"], "begin and commit")
	require.InDelta(t, 72, many["due"], 10, "every five seconds")
	require.Equal(t, few["load"], many["load"])
	require.Equal(t, few["update"], many["update"])
}

func TestManyThatAreDueAreRenewedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newBackground(t, func(c *oauthflow.Config) { c.Refreshers = 64 })
		w.connectOrgs(3000)
		pass(2 * time.Hour)
		w.idp.delay = 50 * time.Millisecond
		began := time.Now()
		defer keepFresh(w.m)()
		for len(w.idp.refreshes()) < 3000 {
			pass(100 * time.Millisecond)
			require.Less(t, time.Since(began), time.Minute)
		}
		// 56 workers, 20 requests a second each.
		require.Less(t, time.Since(began), 5*time.Second)
	})
}

func TestOneSlowEndpointLeavesWorkersToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newBackground(t)
		s.set(func(t *oauthflow.Target) error {
			if t.Key.Definition == "slow" {
				c := *t.Client
				c.TokenURL = "https://slow.example.net/{entity_id}/token"
				t.Client, t.EntityID = &c, t.Key.Org // a token URL each, on one host
			}
			return nil
		})
		slow, quick := &idp{delay: 14 * time.Second}, w.idp
		w.m = w.background(s, func(c *oauthflow.Config) { c.Transport = byHost{"slow.example.net": slow, "login.example.com": quick} })
		for i := range 600 {
			w.target.Key = tokenstore.Key{Definition: "slow", Org: fmt.Sprint(i)}
			w.connectAs(s, fmt.Sprint("s", i))
		}
		slow.set(func(p *idp) { p.requests = nil })
		for i := range 50 {
			w.target.Key = tokenstore.Key{Definition: "quick", Org: fmt.Sprint(i)}
			w.connectAs(s, fmt.Sprint("q", i))
		}
		pass(2 * time.Hour)
		defer keepFresh(w.m)()
		pass(30 * time.Second)
		require.Len(t, quick.refreshes(), 50, "behind six hundred slow ones")
		require.InDelta(t, 42, len(slow.refreshes()), 14.1, "which have the other workers")
	})
}

// byHost is several providers.
type byHost map[string]*idp

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) { return b[r.URL.Host].RoundTrip(r) }

// connectAs connects w.target as s has it.
func (w *world) connectAs(s *targets, code string) {
	before := w.target
	defer func() { w.target = before }()
	target, err := s.Target(context.Background(), w.target.Key)
	require.NoError(w.t, err)
	w.target = target
	w.connect(code)
}
