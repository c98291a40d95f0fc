package perf_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
)

// BenchmarkWarmGet is what a handler does for each call of an API, while the token is
// fresh. oauth2.ReuseTokenSource holds one token of one account, and a mutex.
func BenchmarkWarmGet(b *testing.B) {
	for cores := 1; cores <= 2; cores++ {
		b.Run(fmt.Sprintf("cores=%d", cores), func(b *testing.B) {
			store := bifrost.Memory()
			fill(b, store, 100, tokenURL)
			bf := open(b, store, bifrost.Config{}, tokenURL)
			ctx := bf.WithOrg(b.Context(), org(7))
			get := func() {
				in, err := integrations.Get(ctx, names[0])
				if err != nil || in.OAuth().AccessToken() == "" {
					b.Error("no token", err)
				}
			}
			start(b, bf, get)
			src := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "at", Expiry: time.Now().Add(time.Hour)}, nil)
			reuse := func() {
				t, err := src.Token()
				if err != nil || t.AccessToken == "" {
					b.Error("no token", err)
				}
			}
			require.Zero(b, testing.AllocsPerRun(1000, get))

			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			inTurns(b, 20_000, way{name: "Get", do: on(cores, get)}, way{name: "ReuseTokenSource", do: on(cores, reuse)})
			b.ReportMetric(testing.AllocsPerRun(1000, get), "allocs/Get")
		})
	}
}

// on does something n times in all, by as many goroutines as there are cores.
func on(cores int, do func()) func(n int) {
	return func(n int) {
		var wg sync.WaitGroup
		for range cores {
			wg.Go(func() {
				for range n / cores {
					do()
				}
			})
		}
		wg.Wait()
	}
}
