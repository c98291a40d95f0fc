package oauthflow_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestReplicasMayDisagreeAboutTheTime(t *testing.T) {
	for _, skew := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				db := &faulty{Store: w.store, skew: skew}
				w.store = db
				w.m = w.process()
				w.connect("g")
				other := w.process()
				for range 10 {
					s, err := w.m.Token(context.Background(), w.target)
					require.NoError(t, err)
					left := time.Until(s.ExpiresAt())
					require.Positive(t, left)
					require.LessOrEqual(t, left, time.Hour)
					pass(left + time.Second)
					w.idp.delay = time.Second
					var wg sync.WaitGroup
					wg.Go(func() { _, _ = w.token(w.m) })
					wg.Go(func() { _, _ = w.token(other) })
					wg.Wait()
				}
				require.Len(t, w.idp.refreshes(), 10)
			})
		})
	}
}

func TestTheStoresClockMayStepBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		db := &faulty{Store: w.store}
		w.store = db
		w.m = w.process()
		w.connect("g")
		pass(2 * time.Hour)
		w.crashed(false)
		db.set(func(f *faulty) { f.skew = -30 * time.Minute })
		asked := time.Now()
		w.requireToken(w.m, "AT2")
		require.InDelta(t, 30, time.Since(asked).Seconds(), 0.5, "no limbo until the old deadline")
	})
}

// A pause that was measured on a clock which has been set back since is over.
func TestAStepBackOfTheStoresClockProlongsNoPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		db := &faulty{Store: w.store}
		w.store = db
		w.m = w.process()
		w.connect("g")
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { p.answer = always(http.StatusServiceUnavailable, "") })
		_, err := w.token(w.m)
		require.LessOrEqual(t, problem(t, err, oauthflow.ErrUnavailable).RetryAfter, 5*time.Second)
		w.idp.set(func(p *idp) { p.answer = nil })
		db.set(func(f *faulty) { f.skew = -30 * time.Minute })
		pass(5 * time.Second)
		w.requireToken(w.m, "AT2")
	})
}

// The clock's stepping forth costs a refresh, not two.
func TestTheStoresClockMayStepForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		db := &faulty{Store: w.store}
		w.store = db
		w.m = w.process()
		w.connect("g")
		db.set(func(f *faulty) { f.skew = 2 * time.Hour })
		for range 3 {
			w.requireToken(w.m, "AT2")
			w.requireToken(w.process(), "AT2")
		}
		require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
	})
}
