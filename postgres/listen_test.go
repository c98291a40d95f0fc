package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// listening opens a database once to listen, and once more to write from elsewhere.
// The listener has heard already.
func listening(t *testing.T, log io.Writer) (db, other *DB, news <-chan struct{}) {
	t.Helper()
	url := pgtest.Database(t)
	open := func(opts ...Option) *DB {
		db, err := Open(t.Context(), url, opts...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	db, other = open(Listen(""), Logger(slog.New(slog.NewTextHandler(log, nil)))), open()
	news = db.Tokens().(tokenstore.Notifier).Notify(t.Context())
	await(t, news)
	return db, other, news
}

func await(t *testing.T, news <-chan struct{}) {
	t.Helper()
	select {
	case <-news:
	case <-time.After(30 * time.Second):
		require.Fail(t, "no news")
	}
}

// text is a log that may be read while it is written.
type text struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *text) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *text) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func TestEveryWriteWithAFeedIsHeard(t *testing.T) {
	_, other, news := listening(t, io.Discard)
	for name, write := range map[string]func() error{
		"a connection": func() error { _, err := other.Tokens().Update(t.Context(), keyOf("d"), touch); return err },
		"a definition": func() error {
			_, err := other.Definitions().PutDefinition(t.Context(), integrations.DefinitionRecord{ID: "d", Name: "n", Body: []byte(`{}`)})
			return err
		},
		"settings": func() error {
			r := integrations.SettingsRecord{EntityID: "e"}
			r.Definition, r.Org = "d", "o"
			_, err := other.Definitions().PutSettings(t.Context(), r)
			return err
		},
		"a transaction": func() error {
			return other.InTx(t.Context(), func(ctx context.Context) error {
				_, err := other.Tokens().Update(ctx, keyOf("d"), touch)
				return err
			})
		},
	} {
		require.NoError(t, write(), name)
		await(t, news)
	}
	require.NoError(t, other.Tokens().AddEvents(t.Context(), tokenstore.Event{Kind: "k"}))
	assert.Empty(t, news, "no feed has it")
}

// A session that was lost is replaced, and whoever follows looks what it has missed.
// The sooner one is lost, the later the next is made.
func TestALostListenerComesBack(t *testing.T) {
	log := &text{}
	_, other, news := listening(t, log)
	began, least := time.Now(), time.Duration(0)
	for i := range 4 {
		least += listenBackoff << i / 2
		var ended int
		require.NoError(t, other.one(t.Context(), []any{&ended}, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%'`))
		require.Equal(t, 1, ended)
		await(t, news)
		_, err := other.Tokens().Update(t.Context(), keyOf("d"), touch)
		require.NoError(t, err)
		await(t, news)
	}
	assert.Greater(t, time.Since(began), least)
	assert.Contains(t, log.String(), "cannot listen for changes")
	assert.Contains(t, log.String(), "listening for changes again")
	assert.NotContains(t, log.String(), pgtest.Password)
}

// What would never be heard is said: a URL that leads elsewhere, or through a pooler.
func TestADeafListenerIsSaid(t *testing.T) {
	log := &text{}
	db, err := Open(t.Context(), pgtest.Database(t), Listen(pgtest.Server(t)), Logger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, err)
	db.news.patience = 100 * time.Millisecond
	news := db.Tokens().(tokenstore.Notifier).Notify(t.Context())
	require.Eventually(t, func() bool { return log.String() != "" }, 30*time.Second, time.Millisecond)
	assert.Contains(t, log.String(), "cannot listen for changes")
	_, err = db.Tokens().Update(t.Context(), keyOf("d"), touch)
	require.NoError(t, err, "and costs no more than that")
	require.NoError(t, db.Close())
	assert.Empty(t, news)
	assert.Nil(t, db.Tokens().(tokenstore.Notifier).Notify(t.Context()), "closed")

	_, err = Open(t.Context(), pgtest.Database(t), Listen("postgres://u:canary@host:port/x"))
	require.ErrorContains(t, err, "the URL for Listen")
	assert.NotContains(t, err.Error(), "canary")
}

// A session that lives and hears nothing, on a server that used to be the primary say,
// is found out and replaced.
func TestAListenerThatGoesDeafIsReplaced(t *testing.T) {
	url, log := pgtest.Database(t), &text{}
	p := newProxy(t, url)
	defer p.close()
	db, err := Open(t.Context(), url, Listen(p.url), Logger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.news.check, db.news.patience = 50*time.Millisecond, time.Second
	await(t, db.Tokens().(tokenstore.Notifier).Notify(t.Context()))
	p.deafen(true)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "does not arrive") }, 30*time.Second, time.Millisecond)
	p.deafen(false)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "again") }, 30*time.Second, time.Millisecond)
}

// A URL for Listen may be the one that a pool takes.
func TestListeningWithAPoolsURL(t *testing.T) {
	url := pgtest.Database(t) + "&pool_max_conns=2"
	db, err := Open(t.Context(), url, Listen(url))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	await(t, db.Tokens().(tokenstore.Notifier).Notify(t.Context()))
}

func TestWithoutListenNothingIsHeard(t *testing.T) {
	assert.Nil(t, openTemp(t).Tokens().(tokenstore.Notifier).Notify(t.Context()))
}

// noTargets is for a manager that is asked about nothing but what is stored.
type noTargets struct{ oauthflow.Targets }

// A change by another process is seen at once, however long it might take without.
func TestChangesAreSeenAtOnce(t *testing.T) {
	db, other, _ := listening(t, io.Discard)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	m, err := oauthflow.New(oauthflow.Config{
		Store: db.Tokens(), Sealer: tokenstore.NewSealer(ring), Targets: noTargets{}, Staleness: 10 * time.Hour,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	require.Eventually(t, m.Following, 30*time.Second, time.Millisecond)

	token := func() error {
		_, err := m.Token(t.Context(), oauthflow.Target{Key: keyOf("d"), Client: &oauthflow.Client{ClientID: "client"}})
		return err
	}
	require.ErrorIs(t, token(), oauthflow.ErrNotConnected)
	_, known := m.Handle(keyOf("d")).Current()
	require.True(t, known)
	_, err = other.Tokens().Update(t.Context(), keyOf("d"), func(c *tokenstore.Connection, _ time.Time) error {
		c.Status, c.Generation, c.GrantID = tokenstore.Active, 1, "g"
		return nil
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !errors.Is(token(), oauthflow.ErrNotConnected) }, 30*time.Second, time.Millisecond)
	require.NoError(t, m.Close())
	require.NoError(t, <-ended)
}

// What a pool's owner does for each connection (a password that is good for minutes)
// is done for the listening one as well.
func TestListeningAsThePoolConnects(t *testing.T) {
	cfg, err := pgxpool.ParseConfig(pgtest.Database(t))
	require.NoError(t, err)
	database := cfg.ConnConfig.Database
	cfg.ConnConfig.Database = "nowhere"
	cfg.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Database = database
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db, err := New(t.Context(), pool, Listen(""))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	await(t, db.Tokens().(tokenstore.Notifier).Notify(t.Context()))
}
