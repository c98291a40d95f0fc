package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
)

// However many wait for records that another process has locked, others are written.
func TestThoseWhoWaitForLocksLeaveRoom(t *testing.T) {
	for _, connections := range []int{1, 2, 3, 4} {
		t.Run(fmt.Sprint(connections, " connections"), func(t *testing.T) {
			url := pgtest.Database(t)
			db, err := Open(t.Context(), fmt.Sprintf("%s&pool_max_conns=%d", url, connections))
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			locked := []string{"a", "b", "c"}
			for _, name := range locked {
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				require.NoError(t, err)
			}
			direct, err := pgxpool.New(t.Context(), url)
			require.NoError(t, err)
			defer direct.Close()
			holder, err := direct.Begin(t.Context())
			require.NoError(t, err)
			release := sync.OnceFunc(func() { assert.NoError(t, holder.Rollback(context.Background())) })
			_, err = holder.Exec(t.Context(), `SELECT 1 FROM bifrost_connections FOR UPDATE`)
			require.NoError(t, err)

			var all sync.WaitGroup
			defer all.Wait()
			defer release()
			for _, name := range locked {
				all.Go(func() {
					_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
					assert.NoError(t, err)
				})
			}
			require.Eventually(t, func() bool {
				var n int
				err := direct.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
					WHERE NOT granted AND datname = current_database()`).Scan(&n)
				return err == nil && (n > 0 || cap(db.writers) == 1)
			}, 10*time.Second, time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			for i := range 20 { // more than it takes the others to begin to wait
				_, err := db.Tokens().Update(ctx, keyOf("free"), touch)
				require.NoError(t, err, i)
			}
			release()
			all.Wait()
			for _, name := range locked {
				assert.Equal(t, int64(2), generation(t, db, name))
			}
			assert.Empty(t, db.writers)
		})
	}
}

// New records are not waited for as long as the counters may be, which all wait for:
// whoever waits for those stays together.
func TestTheCountersAreWaitedForTogether(t *testing.T) {
	db := openTemp(t)
	_, err := db.Tokens().Update(t.Context(), keyOf("old"), touch)
	require.NoError(t, err)
	holder, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	release := sync.OnceFunc(func() { assert.NoError(t, holder.Rollback(context.Background())) })
	defer release()
	_, err = holder.Exec(t.Context(), `SELECT 1 FROM bifrost_counters FOR UPDATE`)
	require.NoError(t, err)
	names := []string{"new", "old"}
	together(t, db, len(names), func(run func(func())) {
		for _, name := range names {
			run(func() {
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				assert.NoError(t, err)
			})
		}
		go func() {
			defer release()
			assert.Eventually(t, func() bool { // longer than insertPatience
				var n int
				_ = db.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
					WHERE NOT granted AND datname = current_database() AND clock_timestamp() - query_start > interval '1.2 s'`).Scan(&n)
				return n > 0
			}, 10*time.Second, 10*time.Millisecond)
		}()
	})
	assert.Equal(t, 1, transactions(t, db, names...))
}
