package perf_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/sqlite"
)

// BenchmarkMemory is what each connection that was asked for once takes in this process,
// with tokens of 40 bytes, and with another access token of the same connection. The store's
// own memory is not Go's.
func BenchmarkMemory(b *testing.B) {
	const connections = 10_000
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "bifrost.db"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = store.Close() })
	fill(b, store, connections, tokenURL)
	bf := open(b, store, bifrost.Config{Refreshers: -1, Transport: &instant{}}, tokenURL)
	ctx := bf.WithOrg(b.Context(), org(0))
	start(b, bf, func() { _, _ = integrations.Get(ctx, names[0]) })

	ask := func(more ...integrations.Option) float64 {
		before := heap()
		together(64, connections, func(i int) {
			_, err := bf.Integrations.Get(ctx, names[0], append(more[:len(more):len(more)], integrations.Org(org(i)))...)
			if err != nil {
				b.Error(err)
			}
		})
		return float64(heap()-before) / connections
	}
	b.ReportMetric(ask(), "B/connection")
	b.ReportMetric(ask(integrations.Scope("https://other.example.com/.default")), "B/second-token")
	b.ReportMetric(0, "ns/op")
}

// heap returns what is in use once garbage is collected.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers have let go
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// instant is a token endpoint without sockets.
type instant struct{ asked atomic.Int64 }

// RoundTrip implements http.RoundTripper.
func (p *instant) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	n := p.asked.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"access_token":"access-token-of-usual-length-%011d","token_type":"Bearer",`+
			`"expires_in":3600,"refresh_token":"refresh-token-of-usual-length-%010d"}`, n, n)))}, nil
}
