package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A shared transaction that does not come on is given up, however long its callers
// would wait: those who come after must not wait for it.
func TestASharedTransactionThatIsStuck(t *testing.T) {
	db := openTemp(t)
	db.patience = 100 * time.Millisecond
	holder, err := db.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock(7160395)`)
	require.NoError(t, err)
	written := make(chan error)
	go func() {
		_, err := db.Tokens().Update(t.Context(), keyOf("d"), touch)
		written <- err
	}()
	open := func() int {
		db.group.mu.Lock()
		defer db.group.mu.Unlock()
		return db.group.open
	}
	require.Eventually(t, func() bool { return open() == 1 }, 10*time.Second, time.Millisecond)
	assert.Eventually(t, func() bool { return open() == 0 }, 10*time.Second, time.Millisecond, "it is the caller alone who waits now")
	require.NoError(t, holder.Rollback(t.Context()))
	require.NoError(t, <-written)
	require.Equal(t, int64(1), generation(t, db, "d"))
}
