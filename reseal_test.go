package bifrost_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// The keys of these tests, by id, as BIFROST_KEY would have them.
var (
	oldKey = "old:" + tokenstore.GenerateKey()
	newKey = "new:" + tokenstore.GenerateKey()
)

// everyStore runs a test on each store. open returns another handle on the same data,
// as another process has it, with these keys.
func everyStore(t *testing.T, test func(t *testing.T, open func(keys string) *site)) {
	provided := func(t *testing.T, open func() bifrost.Store) func(keys string) *site {
		dir, first := t.TempDir(), (*site)(nil)
		return func(keys string) *site {
			s := openSite(t, dir, keys, func(db *sqlite.DB) bifrost.Store {
				if open == nil {
					return db
				}
				return open()
			})
			if first == nil {
				first = s
			}
			s.provider = first.provider
			return s
		}
	}
	t.Run("memory", func(t *testing.T) {
		store := bifrost.Memory()
		test(t, provided(t, func() bifrost.Store { return store }))
	})
	t.Run("sqlite", func(t *testing.T) { test(t, provided(t, nil)) })
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.Database(t)
		test(t, provided(t, func() bifrost.Store {
			db, err := postgres.Open(t.Context(), url)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return db
		}))
	})
}

// newError opens s's data once more, and returns what New says to these keys.
func (s *site) newError(t *testing.T, store bifrost.Store, keys string) error {
	t.Helper()
	bf, err := bifrost.New(bifrost.Config{BaseURL: "http://localhost:8080", Store: store, Keys: keyring(t, keys)})
	if err == nil {
		require.NoError(t, bf.Close())
		return nil
	}
	for _, key := range []string{oldKey, newKey, keys} {
		_, secret, _ := strings.Cut(key, ":")
		require.NotContains(t, err.Error(), secret)
	}
	return err
}

func TestChangingKeys(t *testing.T) {
	everyStore(t, func(t *testing.T, open func(keys string) *site) {
		s, global, acme := open(oldKey), integrations.Global(), integrations.Org("acme")
		for _, d := range []integrations.Definition{described("Graph", "", 1), described("Own", "acme", 1)} {
			_, err := s.Integrations.Create(t.Context(), d, "admin")
			require.NoError(t, err)
			s.connect(t, d.Name, "alice@acme.example", acme)
		}
		require.NoError(t, s.configure(t.Context(), "Graph", "canary-key", global))
		require.NoError(t, s.configure(t.Context(), "Graph", "canary-of-acme", acme))
		started, err := s.Integrations.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "admin", ReturnTo: "/"}, global)
		require.NoError(t, err)
		require.NotEmpty(t, started.AuthorizationURL)

		both := open(newKey + "," + oldKey)
		err = s.newError(t, both.store, newKey)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
		require.ErrorContains(t, err, "key old, which is not configured")
		require.ErrorContains(t, err, "reseal")

		done, err := both.Reseal(t.Context())
		require.NoError(t, err)
		two := tokenstore.Resealed{Seen: 2, Resealed: 2}
		require.Equal(t, integrations.Resealed{Connections: two, Definitions: two, Settings: two, Retired: []string{"old"}}, done)

		alone := open(newKey)
		for _, name := range []string{"Graph", "Own"} {
			_, err := alone.Integrations.Refresh(t.Context(), name, acme)
			require.NoError(t, err, name)
		}
		in, err := alone.Integrations.Get(t.Context(), "Graph", acme)
		require.NoError(t, err)
		require.Equal(t, "canary-of-acme", in.Config().Secret("api_key").Reveal())
		require.Zero(t, alone.provider.Counts().Repeated)

		err = s.newError(t, both.store, oldKey)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
		require.ErrorContains(t, err, "key new, which is not configured")
		require.ErrorIs(t, s.newError(t, both.store, "new:"+tokenstore.GenerateKey()), tokenstore.ErrSealBroken)
		require.Error(t, s.newError(t, both.store, "third:"+tokenstore.GenerateKey()))

		// Who was left behind sends nothing that he could not keep, and says which key it is.
		_, err = s.Integrations.Refresh(t.Context(), "Own", acme)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
		require.Zero(t, alone.provider.Counts().Repeated)
	})
}

// Two processes seal again at once, while both renew, disconnect and connect.
func TestChangingKeysUnderLoad(t *testing.T) {
	const orgs = 12
	everyStore(t, func(t *testing.T, open func(keys string) *site) {
		first := open(oldKey + "," + newKey)
		_, err := first.Integrations.Create(t.Context(), described("Graph", "", 1), "admin")
		require.NoError(t, err)
		sites := []*site{open(newKey + "," + oldKey), open(newKey + "," + oldKey)}
		org := func(i int) integrations.Option { return integrations.Org(fmt.Sprint("org", i)) }
		for i := range orgs {
			require.NoError(t, first.mapTo(t.Context(), "Graph", fmt.Sprint("org", i), "acme"))
			first.connect(t, "Graph", "alice@acme.example", org(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var work sync.WaitGroup
		for i := range orgs {
			work.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					s := sites[(n+i)%2]
					if _, err := s.Integrations.Refresh(t.Context(), "Graph", org(i)); !assert.NoError(t, err) {
						return
					}
					if n%7 == i%7 {
						_, err := s.Integrations.Disconnect(t.Context(), "Graph", "admin", org(i))
						if !assert.NoError(t, err) || !assert.NoError(t, s.tryConnect(t, "Graph", "alice@acme.example", org(i))) {
							return
						}
					}
				}
			})
		}
		var resealing sync.WaitGroup
		for _, s := range sites {
			resealing.Go(func() {
				for range 3 {
					_, err := s.Reseal(t.Context())
					assert.NoError(t, err)
					assert.NoError(t, s.configure(t.Context(), "Graph", "canary-key", integrations.Global()))
				}
			})
		}
		resealing.Wait()
		cancel()
		work.Wait()
		require.NoError(t, sites[0].newError(t, sites[0].store, newKey))
		alone := open(newKey)
		for i := range orgs {
			_, err := alone.Integrations.Refresh(t.Context(), "Graph", org(i))
			require.NoError(t, err)
		}
		require.Zero(t, alone.provider.Counts().Repeated, "a refresh token was presented twice")
	})
}

// A process kills itself in the middle of sealing again, at each place between two
// writes; the next one goes on. Then two do it at once.
func TestKilledWhileResealing(t *testing.T) {
	const orgs = 12
	dir := t.TempDir()
	s := openSite(t, dir, oldKey, nil)
	_, err := s.Integrations.Create(t.Context(), described("Graph", "", 1), "admin")
	require.NoError(t, err)
	require.NoError(t, s.configure(t.Context(), "Graph", "canary-key", integrations.Global()))
	for i := range orgs {
		_, err := s.Integrations.Import(t.Context(), "Graph", &oauth2.Token{AccessToken: fmt.Sprint("AT", i), RefreshToken: fmt.Sprint("RT", i)},
			integrations.ImportOptions{Actor: "admin"}, integrations.Org(fmt.Sprint("org", i)))
		require.NoError(t, err)
	}
	cfg := registryConfig{Dir: dir, Keys: newKey + "," + oldKey, Task: "reseal"}
	var killed []string
	for {
		cfg.Point += 3 // later and later, because many writes begin before one ends
		told := <-startChild(t, cfg).lines
		if told == "done" {
			break
		}
		require.Contains(t, told, "killed", "the child has failed")
		killed = append(killed, told)
		if !strings.HasSuffix(told, "after DeleteKeyCheck") {
			require.ErrorIs(t, s.newError(t, s.db, newKey), tokenstore.ErrUnknownKey, told)
		}
	}
	require.GreaterOrEqual(t, len(killed), 3, killed)

	cfg.Point, cfg.Keys = 0, "third:"+tokenstore.GenerateKey()+","+newKey
	children := []*child{startChild(t, cfg), startChild(t, cfg)}
	for _, c := range children {
		require.Equal(t, []string{"done"}, c.end())
	}
	third, _, _ := strings.Cut(cfg.Keys, ",")
	alone := openSite(t, dir, third, nil)
	for i := range orgs {
		in, err := alone.Integrations.Get(t.Context(), "Graph", integrations.Org(fmt.Sprint("org", i)))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("AT", i), in.OAuth().AccessToken())
		require.Equal(t, "canary-key", in.Config().Secret("api_key").Reveal())
	}
}

func resealAsChild(t *testing.T, cfg registryConfig) {
	k := &killer{point: cfg.Point}
	s := openSite(t, cfg.Dir, cfg.Keys, func(db *sqlite.DB) bifrost.Store {
		k.Store = db
		return k
	})
	k.armed = true
	_, err := s.Reseal(t.Context())
	require.NoError(t, err)
	tell("done")
}
