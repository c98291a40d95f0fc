package bifrost_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

type tests struct{ *testing.M }

func (m tests) Run() int { return pgtest.Main(m.M) }

func keyring(t *testing.T, text string) *tokenstore.Keyring {
	t.Helper()
	keys, err := tokenstore.ParseKeyring(text)
	require.NoError(t, err)
	return keys
}

func config(t *testing.T) bifrost.Config {
	t.Helper()
	return bifrost.Config{
		BaseURL: "https://app.example.com", Store: bifrost.Memory(), Keys: keyring(t, tokenstore.GenerateKey()),
		Logger: slog.New(slog.DiscardHandler),
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bifrost.Config)
		says   string
	}{
		{"no base URL", func(c *bifrost.Config) { c.BaseURL = "" }, "BaseURL"},
		{"relative", func(c *bifrost.Config) { c.BaseURL = "app.example.com" }, "must begin with https://"},
		{"http beyond this machine", func(c *bifrost.Config) { c.BaseURL = "http://app.example.com" }, "must be https"},
		{"query", func(c *bifrost.Config) { c.BaseURL = "https://app.example.com/?x=1" }, "no query"},
		{"fragment", func(c *bifrost.Config) { c.BaseURL = "https://app.example.com/#x" }, "fragment"},
		{"no host", func(c *bifrost.Config) { c.BaseURL = "https:///x" }, "has no host"},
		{"garbage", func(c *bifrost.Config) { c.BaseURL = "https://a b" }, "is not a URL"},
		{"no store", func(c *bifrost.Config) { c.Store = nil }, "sqlite.Open"},
		{"negative keep-alive", func(c *bifrost.Config) { c.KeepAlive = -1 }, "KeepAlive"},
		{"impossible timing", func(c *bifrost.Config) { c.Timing.Attempt = time.Second }, "Timing.Attempt is 1s and must be at least"},
		{"no keys", func(c *bifrost.Config) { c.Keys = nil }, "tokenstore.GenerateKey()"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t)
			c.change(&cfg)
			_, err := bifrost.New(cfg)
			require.ErrorContains(t, err, c.says)
		})
	}
	cfg := config(t)
	cfg.BaseURL = "https://user:hunter2@app.example.com"
	_, err := bifrost.New(cfg)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestBaseURLIsTidied(t *testing.T) {
	for in, want := range map[string]string{
		"https://App.Example.com/":     "https://app.example.com",
		"https://app.example.com/sub/": "https://app.example.com/sub",
		"http://localhost:8080":        "http://localhost:8080",
		"http://[::1]:8080":            "http://[::1]:8080",
	} {
		cfg := config(t)
		cfg.BaseURL = in
		bf, err := bifrost.New(cfg)
		require.NoError(t, err)
		require.Equal(t, want, bf.BaseURL().String())
		require.NoError(t, bf.Close())
	}
}

// A wrong key must fail at start, not when the first customer's token is needed.
func TestAWrongKeyFailsInNew(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "bifrost.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	first, second := tokenstore.GenerateKey(), tokenstore.GenerateKey()
	open := func(keys string) error {
		cfg := config(t)
		cfg.Store, cfg.Keys = db, keyring(t, keys)
		bf, err := bifrost.New(cfg)
		if err != nil {
			return err
		}
		return bf.Close()
	}
	require.NoError(t, open(first))
	require.NoError(t, open(first))
	require.ErrorContains(t, open(second), "Config.Keys", "another key")
	require.NoError(t, open(second+","+first), "a new key in front of the old one")
	require.ErrorContains(t, open(second), "Config.Keys", "the old key is still in use")
	require.ErrorContains(t, open("main:"+first), "Config.Keys")
}

func TestLifecycle(t *testing.T) {
	bf, err := bifrost.New(config(t))
	require.NoError(t, err)
	w := workflow.MustRegister(bf.Workflows, "hello", func(context.Context, struct{}) (string, error) { return "hi", nil })

	_, err = w.Execute(t.Context(), "acme", struct{}{})
	require.ErrorContains(t, err, "Start")
	require.ErrorContains(t, bf.Ready(t.Context()), "Start")

	require.NoError(t, bf.Start(t.Context()))
	require.ErrorContains(t, bf.Start(t.Context()), "already")
	require.NoError(t, bf.Ready(t.Context()))
	ex, err := w.Execute(t.Context(), "acme", struct{}{})
	require.NoError(t, err)
	out, err := ex.Result(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hi", out)

	require.NoError(t, bf.Close())
	require.NoError(t, bf.Close(), "closing twice is fine")
	require.ErrorContains(t, bf.Start(t.Context()), "after Close")
}

// While Close waits for a run, a readiness check must say no at once: it is what
// takes the process out of the balancer.
func TestReadyAnswersWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bf, err := bifrost.New(config(t))
		require.NoError(t, err)
		w := workflow.MustRegister(bf.Workflows, "slow", func(context.Context, struct{}) (string, error) {
			time.Sleep(10 * time.Second)
			return "done", nil
		})
		require.NoError(t, bf.Start(t.Context()))
		_, err = w.Execute(t.Context(), "acme", struct{}{})
		require.NoError(t, err)
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- bf.Close() }()
		}
		synctest.Wait()
		began := time.Now()
		require.ErrorContains(t, bf.Ready(t.Context()), "closed")
		require.ErrorContains(t, bf.Start(t.Context()), "after Close")
		require.Zero(t, time.Since(began), "it waited for Close")
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
		require.Equal(t, 10*time.Second, time.Since(began), "both calls waited for the run")
	})
}

type unreachable struct{ *tokenstore.Memory }

func (unreachable) Ping(context.Context) error { return errors.New("the token store is away") }

func TestReadyAsksAReplacedTokenStore(t *testing.T) {
	cfg := config(t)
	cfg.Tokens = unreachable{tokenstore.NewMemory()}
	bf, err := bifrost.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, bf.Close()) }()
	require.NoError(t, bf.Start(t.Context()))
	require.ErrorContains(t, bf.Ready(t.Context()), "is away")
}

func TestCloseWithoutStart(t *testing.T) {
	bf, err := bifrost.New(config(t))
	require.NoError(t, err)
	require.NoError(t, bf.Close())
}

func TestScopesInContexts(t *testing.T) {
	bf, err := bifrost.New(config(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, bf.Close()) }()
	require.NoError(t, bf.Integrations.Define(integrations.Definition{Name: "Plain"}))

	in, err := integrations.Get(bf.WithOrg(t.Context(), "acme"), "Plain")
	require.NoError(t, err)
	require.Equal(t, "Plain", in.Name())
	_, err = integrations.Get(bf.WithGlobal(t.Context()), "Plain")
	require.NoError(t, err)
	_, err = integrations.Get(bf.WithOrg(bf.WithGlobal(t.Context()), ""), "Plain")
	require.ErrorIs(t, err, integrations.ErrNoOrg, "the empty organization never means the scope before it")
}

// A hook that finds no organization must not reach the global connection, not
// even where that is the default.
func TestTheEmptyOrganizationIsAMistakeInSingleTenantHostsToo(t *testing.T) {
	cfg := config(t)
	cfg.SingleTenant = true
	bf, err := bifrost.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, bf.Close()) }()
	require.NoError(t, bf.Integrations.Define(integrations.Definition{Name: "Plain"}))
	_, err = bf.Integrations.Get(t.Context(), "Plain")
	require.NoError(t, err)
	_, err = integrations.Get(bf.WithOrg(t.Context(), ""), "Plain")
	require.ErrorIs(t, err, integrations.ErrNoOrg)
}

func TestReadyEndsWithStartsContext(t *testing.T) {
	bf, err := bifrost.New(config(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, bf.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, bf.Start(ctx))
	require.NoError(t, bf.Ready(t.Context()))
	cancel()
	require.Eventually(t, func() bool { return bf.Ready(t.Context()) != nil }, 5*time.Second, time.Millisecond)
}
