package postgres

import (
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Two pools that change the same keys, new and old, in whatever order they come.
func TestCrossingKeysOfTwoPools(t *testing.T) {
	url := pgtest.Database(t)
	var dbs [2]*DB
	for i := range dbs {
		cfg, err := pgxpool.ParseConfig(url)
		require.NoError(t, err)
		cfg.MaxConns = 8
		pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		dbs[i], err = New(t.Context(), pool)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dbs[i].Close()) })
	}
	const rounds, keys = 8, 12
	stop := make(chan struct{})
	followed := make(chan map[tokenstore.Key]int64)
	go func() { followed <- followFeed(t, dbs[0], stop) }()
	var all sync.WaitGroup
	for _, db := range dbs {
		for round := range rounds {
			for i := range keys {
				all.Go(func() {
					// Others are made while these are changed again.
					for _, name := range []string{fmt.Sprint("d", i), fmt.Sprint("n", round, "-", i)} {
						_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
						assert.NoError(t, err)
					}
				})
			}
		}
	}
	all.Wait()
	close(stop)
	seen := <-followed
	assert.Len(t, seen, keys*(rounds+1))
	for key, got := range seen {
		want := int64(len(dbs))
		if key.Definition[0] == 'd' {
			want *= rounds
		}
		assert.Equal(t, want, got, key.Definition)
	}
}

// followFeed reads the feed in small steps until stop, and then what is left, and
// returns the version of each record when it was last in it.
func followFeed(t *testing.T, db *DB, stop <-chan struct{}) map[tokenstore.Key]int64 {
	t.Helper()
	seen := make(map[tokenstore.Key]int64)
	position, done := int64(0), false
	for {
		keys, next, err := db.Tokens().Changes(t.Context(), position, 3)
		if !assert.NoError(t, err) || done && len(keys) == 0 {
			return seen
		}
		assert.GreaterOrEqual(t, next, position)
		position = next
		for _, key := range keys {
			c, err := db.Tokens().Load(t.Context(), key)
			assert.NoError(t, err)
			seen[key] = c.Version
		}
		select {
		case <-stop:
			done = true
		default:
		}
	}
}
