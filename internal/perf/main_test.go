package perf_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// childEnv is set in a process that is another run of this test binary.
const childEnv = "BIFROST_PERF_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := child(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// key seals everything here.
const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// world is a Bifrost with one definition for each of some token URLs.
func world(store bifrost.Store, cfg bifrost.Config, tokenURLs ...string) (*bifrost.Bifrost, error) {
	keys, err := tokenstore.ParseKeyring(key)
	if err != nil {
		return nil, err
	}
	cfg.BaseURL, cfg.Store, cfg.Keys, cfg.Logger = "https://app.example.com", store, keys, slog.New(slog.DiscardHandler)
	bf, err := bifrost.New(cfg)
	if err != nil {
		return nil, err
	}
	for i, u := range tokenURLs {
		err := bf.Integrations.Define(integrations.Definition{
			Name: names[i], APIHosts: []string{"api.example.com"},
			OAuth: &oauthflow.Client{
				Provider: oauthflow.Provider{AuthorizationURL: "https://login.example.com/authorize", TokenURL: u},
				ClientID: "client", ClientSecret: bifrost.Secret("client-secret"), Scopes: []string{"offline_access"},
			},
		})
		if err != nil {
			return nil, err
		}
	}
	return bf, nil
}

func open(b *testing.B, store bifrost.Store, cfg bifrost.Config, tokenURLs ...string) *bifrost.Bifrost {
	b.Helper()
	bf, err := world(store, cfg, tokenURLs...)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, bf.Close()) })
	return bf
}

// names are the definitions'.
var names = []string{"Graph", "Graph-2", "Graph-3", "Graph-4", "Graph-5", "Graph-6", "Graph-7", "Graph-8"}

// org is the i-th organization's id, as long as ids usually are.
func org(i int) string { return fmt.Sprintf("0198c9a2-7b1e-7c3d-9a4f-%012d", i) }

const tokenURL = "https://login.example.com/token"

// fill connects n organizations, each to one of the definitions in turn. A Bifrost
// of its own does it, so that the one under test knows nothing of them.
func fill(b *testing.B, store bifrost.Store, n int, tokenURLs ...string) {
	b.Helper()
	bf, err := world(store, bifrost.Config{}, tokenURLs...)
	require.NoError(b, err)
	defer func() { require.NoError(b, bf.Close()) }()
	together(64, n, func(i int) {
		_, err := bf.Integrations.Import(b.Context(), names[i%len(tokenURLs)], &oauth2.Token{
			AccessToken:  fmt.Sprintf("access-token-of-usual-length-%011d", i),
			RefreshToken: fmt.Sprintf("refresh-token-of-usual-length-%010d", i), Expiry: time.Now().Add(24 * time.Hour),
		}, integrations.ImportOptions{}, integrations.Org(org(i)))
		if err != nil {
			b.Error(err)
		}
	})
	if b.Failed() {
		b.FailNow()
	}
}

// together calls do for 0 to n-1, by some goroutines.
func together(goroutines, n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range goroutines {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// start starts bf and returns once it follows the store.
func start(b *testing.B, bf *bifrost.Bifrost, warm func()) {
	b.Helper()
	require.NoError(b, bf.Start(b.Context()))
	for begun := time.Now(); testing.AllocsPerRun(5, warm) >= 1; pause(b.Context(), 10*time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			b.Fatal("Get does not become warm")
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// way is one of several to do the same n times. Ready, where there is one, comes before
// and is not measured.
type way struct {
	name  string
	do    func(n int)
	ready func()
}

// inTurns measures ways of doing something, n times each in every round, and reports the
// best round of each, which other programs have disturbed least, and how many times each
// other one's the first one's is.
func inTurns(b *testing.B, n int, ways ...way) {
	b.Helper()
	run := func(w way) float64 {
		if w.ready != nil {
			w.ready()
		}
		runtime.GC() // what one way left behind is not the next one's
		began := time.Now()
		w.do(n)
		return float64(time.Since(began).Nanoseconds()) / float64(n)
	}
	best := make([]float64, len(ways))
	for i, w := range ways {
		best[i] = run(w)
	}
	for b.Loop() {
		for i, w := range ways {
			best[i] = min(best[i], run(w))
		}
	}
	b.ReportMetric(0, "ns/op") // a round is nothing that anybody asks for
	for i, w := range ways {
		b.ReportMetric(best[i], "ns/"+w.name)
		if i > 0 {
			b.ReportMetric(best[0]/best[i], "x-"+w.name)
		}
	}
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
