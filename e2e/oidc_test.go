package e2e_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A certified provider behind the quickstart, by environment variables alone: its
// access tokens live two seconds, its refresh tokens rotate, and one that comes a
// second time ends the grant. Nobody who executes a workflow may notice.
func TestRotatingTokensUnderLoad(t *testing.T) {
	tests := []struct {
		name      string
		processes int
		auth      string
	}{
		{"one process", 1, "post"},
		{"two processes on one file", 2, "basic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			p := startProvider(t, s.base, "end-to-end+secret/with&signs", tt.auth)
			s.env = p.env()
			apps := []*app{s.start(t, s.addr())}
			for len(apps) < tt.processes {
				apps = append(apps, s.start(t, freeAddr(t)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()

			// Start and callback reach different processes where there are two.
			c := newClient(apps...)
			require.NoError(t, c.connect(ctx, integration))
			st, err := c.status(ctx)
			require.NoError(t, err)
			require.Equal(t, "active", st.Status)

			load(ctx, t, c)

			j := p.journal(t)
			require.Zero(t, j.Reused, "refresh tokens presented twice:\n%s", j)
			require.GreaterOrEqual(t, j.refreshes(), 5, "the tokens were not renewed:\n%s", j)
			t.Logf("%d refreshes, API answers by status %v", j.refreshes(), j.API)
		})
	}
}

// load is 200 executions at concurrency 20 over 20 s. Every other round comes all
// at once, just as the token has expired; the rounds between are spread out.
func load(ctx context.Context, t *testing.T, c *client) {
	t.Helper()
	const workers, rounds, pace = 20, 10, 2 * time.Second
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for round := range rounds {
				due := time.Duration(round) * pace
				if round%2 == 1 {
					due += rand.N(pace)
				}
				pause(ctx, time.Until(began.Add(due)))
				e, err := c.execute(ctx, false)
				if err != nil {
					t.Errorf("after %s: %v", time.Since(began), err)
					return
				}
				if e.Status != "succeeded" || users(e) != 3 {
					t.Errorf("after %s: %s: %s", time.Since(began), e, e.Result)
				}
			}
		})
	}
	wg.Wait()
}
