package perf_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
)

// workers is how many refreshes are under way at once.
const workers = 64

// BenchmarkRefresh is the background renewing connections that are due, each with two
// writes that wait for the disk. Bare requests keep nothing.
func BenchmarkRefresh(b *testing.B) {
	eachBackend(b, func(b *testing.B, k backend) {
		for _, delay := range []time.Duration{50 * time.Millisecond, 0} {
			b.Run(fmt.Sprintf("answer=%v", delay), func(b *testing.B) {
				const connections = 4096
				e := newEndpoint(b, delay)
				at := k.fresh(b)
				store, db := k.store(b, at), k.raw(b, at)
				fill(b, store, connections, e.urls...)
				ours := func() float64 { return e.refreshAll(b, store, db, connections) }
				measureRates(b, rate{"refreshes", ours},
					rate{"oneConnectionEach", func() float64 { return e.postAll(b, oneEach(), connections) }},
					rate{"bare", func() float64 { return e.postAll(b, keepingAlive(), connections) }})
			})
		}
	})
}

// rate is how often something was done in a second.
type rate struct {
	name    string
	measure func() float64
}

// measureRates reports rates, and how many times the others the first one is.
func measureRates(b *testing.B, rates ...rate) {
	b.Helper()
	found := make([][]float64, len(rates))
	for b.Loop() {
		for i, r := range rates {
			found[i] = append(found[i], r.measure())
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, r := range rates {
		b.ReportMetric(median(found[i]), r.name+"/s")
		if i > 0 {
			b.ReportMetric(median(found[0])/median(found[i]), "x-"+r.name)
		}
	}
}

// due makes every connection due.
func due(b *testing.B, db raw) {
	b.Helper()
	require.NoError(b, db.exec(b.Context(), `UPDATE bifrost_connections SET due_at = 1`))
}

// left reports how many connections are due still.
func left(b *testing.B, db raw) int64 {
	b.Helper()
	row, err := db.row(b.Context(), `SELECT count(*) FROM bifrost_connections WHERE due_at <= 1`)
	require.NoError(b, err)
	return row[0].(int64)
}

// refreshAll lets the background renew all n connections, and returns how many it did
// in a second, from the first request until the last outcome is stored.
func (e *endpoint) refreshAll(b *testing.B, store bifrost.Store, db raw, n int) float64 {
	b.Helper()
	due(b, db)
	e.reset()
	bf, err := world(store, bifrost.Config{Refreshers: workers}, e.urls...)
	require.NoError(b, err)
	require.NoError(b, bf.Start(context.WithoutCancel(b.Context())))
	defer func() { require.NoError(b, bf.Close()) }()
	return e.finished(b, db, n)
}

// finished waits for the last outcome and returns the rate.
func (e *endpoint) finished(b *testing.B, db raw, n int) float64 {
	b.Helper()
	for began := time.Now(); e.asked.Load() < int64(n) || left(b, db) > 0; pause(b.Context(), 2*time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			b.Fatalf("%d of %d connections are due still after %d requests", left(b, db), n, e.asked.Load())
		}
	}
	spent := time.Since(*e.first.Load())
	require.EqualValues(b, n, e.asked.Load(), "one request for each")
	return float64(n) / spent.Seconds()
}

// postAll sends n requests by as many goroutines as there are workers.
func (e *endpoint) postAll(b *testing.B, client *http.Client, n int) float64 {
	b.Helper()
	defer client.CloseIdleConnections()
	began := time.Now()
	together(workers, n, func(i int) {
		if err := e.post(client, i); err != nil {
			b.Error(err)
		}
	})
	return float64(n) / time.Since(began).Seconds()
}
