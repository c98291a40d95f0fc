package postgres

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// afterADead returns a URL that names a host before that of database, which takes
// connections and never says a word.
func afterADead(t *testing.T, database string) string {
	t.Helper()
	var config net.ListenConfig
	dead, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0") // the kernel takes them
	require.NoError(t, err)
	t.Cleanup(func() { _ = dead.Close() })
	u, err := url.Parse(database)
	require.NoError(t, err)
	u.Host = dead.Addr().String() + "," + u.Host
	return u.String()
}

// A host that does not answer is passed over soon, by the pool and by the listener.
func TestADeadHostIsPassedOver(t *testing.T) {
	database := pgtest.Database(t)
	hosts := afterADead(t, database)
	ctx, cancel := context.WithTimeout(t.Context(), 2*connectTimeout)
	defer cancel()
	pooled, err := Open(ctx, hosts)
	require.NoError(t, err)
	require.NoError(t, pooled.Close())

	db, err := Open(t.Context(), database, Listen(hosts))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.news.patience = time.Second // less than the one host takes
	await(t, db.Tokens().(tokenstore.Notifier).Notify(t.Context()))
}
