package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// hammered is how many connections there are.
	hammered = 40
	// hammerLife is how long their access tokens live.
	hammerLife = 2 * time.Second
	// crowded is how long a write takes on a machine that has too much else to do for
	// callers to be served in time, as they are promised (Timing.SendWindow is 5 s).
	crowded = time.Second
	// mostProcesses is how many processes there are in the end; in the beginning two.
	mostProcesses = 8
)

// hammerTime is how long the hammering lasts: a minute where all has to be proven.
func hammerTime(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("BIFROST_HAMMER"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err, "BIFROST_HAMMER")
		return d
	}
	if os.Getenv("BIFROST_E2E") != "" {
		return time.Minute
	}
	t.Log("hammering for 6s only: BIFROST_HAMMER=1m says how long")
	return 6 * time.Second
}

// Two to eight processes on one database, which come and go as in deploys, renew
// the same connections all the time, at a provider that takes a refresh token's
// second use for theft. None is used twice, no caller hears an error, and each
// refresh at the provider is one generation in the store.
func TestHammer(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]func(t *testing.T) string{
		"SQLite":     databases["sqlite"],
		"PostgreSQL": databases["postgres"],
		"PgBouncer":  func(t *testing.T) string { t.Helper(); return pgtest.Bouncer(t, databases["postgres"](t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnvil(t, where(t), oauthtest.Config{Rotation: oauthtest.Strict})
			a.provider.Always(oauthtest.Refresh, moment())
			lasting := hammerTime(t)
			a.strike(t, lasting, mostProcesses, func(step int) {
				if step%3 == 0 {
					require.NoError(t, a.provider.ExpireAll())
				}
			})
			a.check(t)

			if a.slowest < crowded {
				require.Empty(t, a.sum.Excuses, "what callers heard")
			} else { // some have run out of patience with it
				require.Less(t, 50*a.sum.Unavailable, a.sum.Calls, "what callers heard: %s", a.sum.Excuses)
			}
			require.Zero(t, a.sum.Failed)
			require.Zero(t, a.provider.Counts().Repeated, "refresh tokens that came twice")
			// A second 401 is the caller's: the renewed token may have been made to end, too.
			require.Less(t, 20*a.sum.Refused, max(a.sum.API, 100), "calls that the API refuses")
			for kind, n := range a.history(t) {
				require.Contains(t, []string{"connected", "refreshed"}, kind, "%d times", n)
			}
			for org, n := range a.refreshes {
				require.Greater(t, n, int(lasting/(6*hammerLife)), "refreshes of %s's connection", org)
			}
		})
	}
}

// moment is a while until the provider answers: time for callers to leave.
func moment() oauthtest.Step {
	return oauthtest.Do(func(x *oauthtest.Exchange) { x.Wait(rand.N(40 * time.Millisecond)) })
}

// anvil is a deployment whose connections are hammered, and its provider.
type anvil struct {
	deployment
	db       database
	provider *oauthtest.Provider
	orgs     []string
	families map[string]string // the provider's names of the organizations' grants

	crew []*smith

	sum       tally         // of the processes that have ended
	processes int           // that have ended
	cpu       time.Duration // what they took

	watching sync.WaitGroup
	unwatch  context.CancelFunc
	slowest  time.Duration // write to the database that was watched

	refreshes map[string]int // by organization; known once checked
}

// smith is one of the processes.
type smith struct {
	*child
	began time.Time
}

// newAnvil connects all the connections.
func newAnvil(t *testing.T, where string, c oauthtest.Config) *anvil {
	t.Helper()
	c.AccessLifetime = hammerLife
	a := &anvil{families: map[string]string{}}
	var err error
	a.provider, err = oauthtest.New(c)
	require.NoError(t, err)
	server := httptest.NewServer(a.provider)
	t.Cleanup(server.Close)
	a.deployment = deployment{Database: where, Keys: tokenstore.GenerateKey(), Provider: server.URL, KeepAlive: hammerLife}

	bf, db, closing, err := a.open(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closing()) })
	a.db = db
	for i := range hammered {
		org := fmt.Sprint("org-", i)
		require.NoError(t, connect(t.Context(), bf, a.provider, org, fmt.Sprint("user-", i)))
		all := a.provider.Families()
		a.orgs, a.families[org] = append(a.orgs, org), all[len(all)-1].ID
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	a.unwatch = cancel
	a.watching.Go(func() { a.watch(ctx) })
	t.Cleanup(a.calm)
	return a
}

// watch measures how long a write takes, again and again.
func (a *anvil) watch(ctx context.Context) {
	every(ctx, 100*time.Millisecond, func() {
		began := time.Now()
		_, _ = a.db.Tokens().Update(ctx, tokenstore.Key{Definition: "watched"}, func(*tokenstore.Connection, time.Time) error { return nil })
		a.slowest = max(a.slowest, time.Since(began))
	})
}

// calm ends watch.
func (a *anvil) calm() {
	a.unwatch()
	a.watching.Wait()
}

// strike lets processes call: two first and most in the end, and on the way every
// second one that comes replaces the oldest. Also is called
// at each step.
func (a *anvil) strike(t *testing.T, lasting time.Duration, most int, also func(step int)) {
	t.Helper()
	steps := 2 * (most - 2)
	end := time.Now().Add(lasting)
	for range 2 {
		a.hire(t)
	}
	for i := range steps {
		pause(t.Context(), time.Until(end)/time.Duration(steps-i+1))
		also(i)
		a.hire(t)
		if i%2 == 1 {
			a.dismiss(t, 1)
		}
	}
	pause(t.Context(), time.Until(end))
	require.Len(t, a.crew, most)
}

// hire starts a process, and returns when it works.
func (a *anvil) hire(t *testing.T) {
	t.Helper()
	c := startChild(t, "hammer", hammering{
		deployment: a.deployment, Orgs: a.orgs, Life: hammerLife, Callers: 4, Pause: 20 * time.Millisecond,
	})
	c.hear(t)
	a.crew = append(a.crew, &smith{c, time.Now()})
}

// dismiss ends the first n processes, as deploys do, and takes down what they say.
func (a *anvil) dismiss(t *testing.T, n int) {
	t.Helper()
	going := a.crew[:n]
	a.crew = a.crew[n:]
	for _, s := range going {
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, s := range going {
		var told tally
		require.NoError(t, json.Unmarshal([]byte(s.hear(t)), &told))
		<-s.exited
		require.True(t, s.cmd.ProcessState.Success(), "%s\n%s", s.cmd.ProcessState, s.stderr)
		if time.Since(s.began) > 6*hammerLife { // a short life may be bad luck: SQLite's lock knows no queue
			require.Positive(t, told.Refreshes, "a process that has renewed nothing: %+v", told)
		}
		a.sum.add(told)
		a.processes++
		a.cpu += s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
	}
}

// check ends all processes, and requires what holds whatever the provider did.
func (a *anvil) check(t *testing.T) {
	t.Helper()
	a.dismiss(t, len(a.crew))
	a.calm()
	counts := a.provider.Counts()
	told := a.sum
	told.Excuses = nil
	t.Logf("%d processes, %s of processor time, a write took %s at most: %+v", a.processes, a.cpu, a.slowest, told)
	t.Logf("the provider: %+v", counts)
	require.Empty(t, a.sum.Errors, "what callers heard")
	require.Zero(t, counts.AfterSuccessor, "refresh tokens that came although their successors had been delivered")
	require.Zero(t, counts.Reuse, "grants that are dead")

	brought := map[string]int{} // by family
	for _, r := range a.provider.Journal() {
		if r.Grant == string(oauthtest.Refresh) && r.Status == 200 && r.Delivered {
			brought[r.Family]++
		}
	}
	a.refreshes = map[string]int{}
	for _, c := range a.connections(t) {
		require.Equal(t, tokenstore.Active, c.Status, "%s's connection: %s", c.Org, c.Reason)
		require.Nil(t, c.Attempt, "%s's connection", c.Org)
		a.refreshes[c.Org] = int(c.Generation) - 1 // the first was connecting
		require.Equal(t, brought[a.families[c.Org]], a.refreshes[c.Org], "refreshes are generations: %s's connection", c.Org)
	}
	require.Len(t, a.refreshes, hammered)
	history := a.history(t)
	require.NotContains(t, history, "reauth_required")
	require.Equal(t, a.sum.Refreshes, history["refreshed"])
}

// ours are the connections, and not what is watched.
var ours = tokenstore.Match{Definition: (&integrations.Definition{Name: theIntegration}).ID()}

// connections are the records.
func (a *anvil) connections(t *testing.T) []*tokenstore.Connection {
	t.Helper()
	all, err := a.db.Tokens().List(t.Context(), ours, nil, 2*hammered)
	require.NoError(t, err)
	return all
}

// history counts the connections' events by kind.
func (a *anvil) history(t *testing.T) map[string]int {
	t.Helper()
	const page = 1000
	kinds := map[string]int{}
	for before := int64(0); ; {
		events, err := a.db.Tokens().Events(t.Context(), ours, before, page)
		require.NoError(t, err)
		for _, e := range events {
			kinds[e.Kind]++
			before = e.ID
		}
		if len(events) < page {
			return kinds
		}
	}
}
