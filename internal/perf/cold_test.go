package perf_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
)

// BenchmarkColdGet is the first Get of a connection that this process knows nothing of:
// read, opened, found fresh. The bare read is of the same row, and opens nothing.
func BenchmarkColdGet(b *testing.B) {
	eachBackend(b, func(b *testing.B, k backend) {
		const connections, perRound = 2000, 50
		at := k.fresh(b)
		store := k.store(b, at)
		fill(b, store, connections, tokenURL)
		var bf *bifrost.Bifrost
		asked := connections
		ready := func() { // who knows nothing of the next ones
			if asked+perRound < connections {
				return
			}
			if bf != nil {
				require.NoError(b, bf.Close())
			}
			asked = 0
			bf = open(b, store, bifrost.Config{Refreshers: -1}, tokenURL)
			ctx := bf.WithOrg(b.Context(), org(connections-1))
			start(b, bf, func() { _, _ = integrations.Get(ctx, names[0]) })
		}
		get := func(n int) {
			for range n {
				if _, err := integrations.Get(bf.WithOrg(b.Context(), org(asked)), names[0]); err != nil {
					b.Error(err)
				}
				asked++
			}
		}
		db := k.raw(b, at)
		found, err := db.row(b.Context(), `SELECT definition FROM bifrost_connections LIMIT 1`)
		require.NoError(b, err)
		next := 0
		bare := func(read func(ctx context.Context, query string, args ...any) ([]any, error)) func(n int) {
			return func(n int) {
				for range n {
					_, err := read(b.Context(), `SELECT * FROM bifrost_connections
						WHERE definition = $1 AND org = $2 AND user_id = $3 AND account = $4`, found[0], org(next), "", "")
					if err != nil {
						b.Error(err)
					}
					next = (next + 1) % connections
				}
			}
		}
		ways := []way{{name: "Get", do: get, ready: ready}, {name: "bareRead", do: bare(db.row)}}
		if db, ok := db.(rawPostgres); ok {
			ways = append(ways, way{name: "bareReadUnprepared", do: bare(db.unprepared)})
		}
		inTurns(b, perRound, ways...)
	})
}
