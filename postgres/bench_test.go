package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// openBench opens a database on a server that waits for the disk; settings are more
// of its URL's.
func openBench(b *testing.B, settings string) tokenstore.Store {
	b.Helper()
	db, err := postgres.Open(b.Context(), pgtest.Durable(b)+settings)
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	return db.Tokens()
}

func change(c *tokenstore.Connection, now time.Time) error {
	c.Generation++
	c.GrantID, c.Status, c.Sealed, c.DueAt = "grant", tokenstore.Active, make([]byte, 4096), now.Add(time.Hour)
	c.Log("refreshed", "", "")
	return nil
}

// BenchmarkUpdate is one write at a time.
func BenchmarkUpdate(b *testing.B) {
	s := openBench(b, "")
	for b.Loop() {
		_, err := s.Update(b.Context(), tokenstore.Key{Definition: "d"}, change)
		require.NoError(b, err)
	}
}

// BenchmarkUpdateParallel is 64 writers a processor, as many at a time as the pool has connections.
func BenchmarkUpdateParallel(b *testing.B) {
	s := openBench(b, "")
	var n atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		key := tokenstore.Key{Definition: fmt.Sprint(n.Add(1))}
		for pb.Next() {
			if _, err := s.Update(b.Context(), key, change); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkLoad is a record that nobody has in memory.
func BenchmarkLoad(b *testing.B) {
	for name, settings := range map[string]string{"unprepared": "", "prepared": "&default_query_exec_mode=cache_statement"} {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, settings)
			key := tokenstore.Key{Definition: "d"}
			_, err := s.Update(b.Context(), key, change)
			require.NoError(b, err)
			for b.Loop() {
				_, err := s.Load(b.Context(), key)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkChangesIdle is what a watcher costs while nothing happens.
func BenchmarkChangesIdle(b *testing.B) {
	s := openBench(b, "")
	_, err := s.Update(b.Context(), tokenstore.Key{Definition: "d"}, change)
	require.NoError(b, err)
	_, at, err := s.Changes(b.Context(), -1, 0)
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := s.Changes(b.Context(), at, 100)
		require.NoError(b, err)
	}
}
