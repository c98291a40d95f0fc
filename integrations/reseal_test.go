package integrations_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/tokenstore"
)

var sealingKeys = map[string]string{"old": tokenstore.GenerateKey(), "new": tokenstore.GenerateKey()}

// sealers returns a sealer with the keys of these ids, newest first.
func sealers(t testing.TB, ids ...string) *tokenstore.Sealer {
	t.Helper()
	return tokenstore.NewSealer(keysOf(t, ids...))
}

func keysOf(t testing.TB, ids ...string) *tokenstore.Keyring {
	t.Helper()
	var keys []tokenstore.SealingKey
	for _, id := range ids {
		keys = append(keys, tokenstore.SealingKey{ID: id, Key: tokenstore.NewSecret(sealingKeys[id])})
	}
	ring, err := tokenstore.NewKeyring(keys...)
	require.NoError(t, err)
	return ring
}

// with is another process on the same stores, with these keys.
func (w *world) with(t testing.TB, ids []string, change ...func(*integrations.Config)) *world {
	t.Helper()
	s := sealers(t, ids...)
	require.NoError(t, s.Verify(t.Context(), w.store))
	return w.sealing(t, s, change...)
}

// sealing is another process on the same stores that seals like this.
func (w *world) sealing(t testing.TB, s *tokenstore.Sealer, change ...func(*integrations.Config)) *world {
	t.Helper()
	m := newWorld(t, append([]func(*integrations.Config){func(c *integrations.Config) {
		c.Tokens, c.Definitions, c.Sealer, c.Transport = w.store, w.definitions, s, w.idp
	}}, change...)...)
	m.idp, m.store, m.definitions = w.idp, w.store, w.definitions
	return m
}

var both = []string{"new", "old"}

// rotating is a process that seals with the old key: with two definitions made at run
// time, one of them acme's own, one of code's with a secret setting, and what hangs
// on them.
func rotating(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, func(c *integrations.Config) { c.Sealer = sealers(t, "old") })
	require.NoError(t, sealers(t, "old").Verify(t.Context(), w.store))
	require.NoError(t, w.Define(configured("Code")))
	w.create(t, configured("Graph"))
	w.create(t, owned("Own", "acme"))
	for _, name := range []string{"Code", "Graph"} {
		_, err := w.SetConfig(t.Context(), name, map[string]any{"api_key": "canary-of-" + name, "limit": 3}, "root", integrations.Global())
		require.NoError(t, err)
		w.connect(t, name, "acme-account", integrations.Org("acme"))
	}
	w.connect(t, "Own", "acme-account", integrations.Org("acme"))
	return w
}

// works requires that a process gets at everything rotating has made.
func (w *world) works(t testing.TB) {
	t.Helper()
	require.NoError(t, w.Define(configured("Code")))
	for _, name := range []string{"Code", "Graph", "Own"} {
		in, err := w.Get(t.Context(), name, integrations.Org("acme"))
		require.NoError(t, err, name)
		require.Contains(t, in.OAuth().AccessToken(), "acme-account")
		_, err = w.Refresh(t.Context(), name, integrations.Org("acme")) // the client secret is there, and the grant fits
		require.NoError(t, err, name)
		require.Equal(t, "client-secret", w.idp.request(w.idp.count()-1).Get("client_secret"))
		if name != "Own" {
			require.Equal(t, "canary-of-"+name, in.Config().Secret("api_key").Reveal())
		}
	}
}

func (w *world) checks(t testing.TB) []string {
	t.Helper()
	all, err := w.store.KeyCheck(t.Context(), "", nil)
	require.NoError(t, err)
	return slices.Sorted(maps.Keys(all))
}

// history is everything that was written down, and who changed what last.
func (w *world) history(t testing.TB) (events []tokenstore.Event, by []string) {
	t.Helper()
	events, err := w.store.Events(t.Context(), tokenstore.Match{}, 0, 1000)
	require.NoError(t, err)
	records, _, err := w.definitions.Definitions(t.Context(), 0, 100)
	require.NoError(t, err)
	for _, d := range records {
		by = append(by, d.Name+" by "+d.UpdatedBy)
		s, err := w.definitions.Settings(t.Context(), d.ID, "")
		require.NoError(t, err)
		by = append(by, d.Name+" set by "+s.UpdatedBy)
	}
	slices.Sort(by)
	return events, by
}

func TestResealEndsAChangeOfKeys(t *testing.T) {
	w := rotating(t)
	deleted := w.create(t, owned("Gone", "acme"))
	_, err := w.Delete(t.Context(), "Gone", "root", integrations.Org("acme"))
	require.NoError(t, err)
	events, by := w.history(t)

	m := w.with(t, both)
	require.NoError(t, m.Define(definition("Graph"))) // the stored one is shadowed, and is sealed again all the same
	require.Equal(t, []string{"new", "old"}, w.checks(t))
	require.ErrorIs(t, sealers(t, "new").Verify(t.Context(), w.store), tokenstore.ErrUnknownKey)
	done, err := m.Reseal(t.Context())
	require.NoError(t, err)
	all := func(n, did int) tokenstore.Resealed { return tokenstore.Resealed{Seen: n, Resealed: did} }
	require.Equal(t, integrations.Resealed{
		Connections: all(3, 3), Definitions: all(2, 2), Settings: all(2, 2), Retired: []string{"old"},
	}, done)
	require.Equal(t, []string{"new"}, w.checks(t))
	require.NoError(t, sealers(t, "new").Verify(t.Context(), w.store))

	after, who := w.history(t)
	require.Equal(t, events, after, "nobody did anything")
	require.Equal(t, by, who)
	records, _, err := w.definitions.Definitions(t.Context(), 0, 100)
	require.NoError(t, err)
	require.Contains(t, slices.Collect(func(yield func(string) bool) {
		for _, d := range records {
			if d.Deleted && !yield(d.ID) {
				return
			}
		}
	}), deleted.ID, "what is deleted stays so")

	done, err = m.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, integrations.Resealed{Connections: all(3, 0), Definitions: all(2, 0), Settings: all(2, 0)}, done, "again")
	w.with(t, []string{"new"}).works(t)
}

// What a process knows from before is one version behind; who edits then does not
// notice.
func TestEditingAfterResealing(t *testing.T) {
	w := rotating(t)
	_, err := w.with(t, []string{"old", "new"}).Definition(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	behind := w.with(t, both)
	behind.follow(t)
	_, err = behind.Definition(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	_, err = w.with(t, both).Reseal(t.Context())
	require.NoError(t, err)
	_, err = behind.Update(t.Context(), "Graph", "ann", func(d *integrations.Definition) error {
		d.Description = "edited"
		return nil
	}, integrations.Global())
	require.NoError(t, err)
	_, err = behind.SetConfig(t.Context(), "Graph", map[string]any{"limit": 4}, "ann", integrations.Global())
	require.NoError(t, err)
	w.with(t, []string{"new"}).works(t)
}

// meddling does something before a write, once for each kind.
type meddling struct {
	integrations.Store
	definition, settings func()
	first, second        sync.Once
}

func (m *meddling) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	m.first.Do(m.definition)
	return m.Store.PutDefinition(ctx, d)
}

func (m *meddling) PutSettings(ctx context.Context, s integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	m.second.Do(m.settings)
	return m.Store.PutSettings(ctx, s)
}

func TestAnEditThatComesBetweenStays(t *testing.T) {
	w := rotating(t)
	store, editor := &meddling{Store: w.definitions}, w.with(t, []string{"old", "new"})
	require.NoError(t, editor.Define(configured("Code")))
	store.definition = func() {
		_, err := editor.Update(t.Context(), "Graph", "ann", func(d *integrations.Definition) error {
			d.Description = "edited"
			return nil
		}, integrations.Global())
		require.NoError(t, err)
	}
	store.settings = func() {
		for _, name := range []string{"Code", "Graph"} {
			_, err := editor.SetConfig(t.Context(), name, map[string]any{"limit": 4}, "ann", integrations.Global())
			require.NoError(t, err)
		}
	}
	done, err := w.with(t, both, func(c *integrations.Config) { c.Definitions = store }).Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, done.Definitions.Resealed)
	require.Equal(t, 2, done.Settings.Resealed)
	alone := w.with(t, []string{"new"})
	alone.works(t)
	d, err := alone.Definition(t.Context(), "Graph", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, "edited", d.Description)
	_, by := w.history(t)
	require.Contains(t, by, "Graph by ann")
	require.Contains(t, by, "Graph set by ann")
}

func TestWhatDoesNotOpenKeepsTheOldKey(t *testing.T) {
	w := rotating(t)
	records, _, err := w.definitions.Definitions(t.Context(), 0, 100)
	require.NoError(t, err)
	for _, d := range records {
		if d.Name == "Own" {
			d.Sealed[len(d.Sealed)-1] ^= 1
			_, err := w.definitions.PutDefinition(t.Context(), d)
			require.NoError(t, err)
		}
	}
	var logs bytes.Buffer
	m := w.with(t, both, func(c *integrations.Config) { c.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
	done, err := m.Reseal(t.Context())
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)
	require.ErrorContains(t, err, "1 sealed texts do not open")
	require.Equal(t, tokenstore.Resealed{Seen: 2, Resealed: 1, Failed: 1}, done.Definitions)
	require.Equal(t, 3, done.Connections.Resealed)
	require.Equal(t, []string{"new", "old"}, w.checks(t))
	require.Contains(t, logs.String(), "org=acme kind=definition")
	for _, secret := range []string{"client-secret", "canary-of", sealingKeys["old"], sealingKeys["new"]} {
		require.NotContains(t, logs.String()+err.Error(), secret)
	}

	_, err = m.Update(t.Context(), "Own", "ann", func(d *integrations.Definition) error {
		d.OAuth.ClientSecret = tokenstore.NewSecret("client-secret")
		return nil
	}, integrations.Org("acme"))
	require.NoError(t, err)
	done, err = m.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"old"}, done.Retired)
}

// goingOn is a token store in which another process seals with the old key whenever
// this one has seen all, or removes a check.
type goingOn struct {
	tokenstore.Store
	list, remove func()
}

func (g *goingOn) List(ctx context.Context, match tokenstore.Match, after *tokenstore.Key, limit int) ([]*tokenstore.Connection, error) {
	list, err := g.Store.List(ctx, match, after, limit)
	if g.list != nil {
		g.list()
	}
	return list, err
}

func (g *goingOn) DeleteKeyCheck(ctx context.Context, id string) error {
	if g.remove != nil {
		g.remove()
	}
	return g.Store.DeleteKeyCheck(ctx, id)
}

func TestSomebodyGoesOnToSealWithTheOldKey(t *testing.T) {
	for name, when := range map[string]func(g *goingOn, seal func()){
		"all the time":              func(g *goingOn, seal func()) { g.list = seal },
		"when everything was found": func(g *goingOn, seal func()) { g.remove = seal },
	} {
		t.Run(name, func(t *testing.T) {
			w := rotating(t)
			store := &goingOn{Store: w.store}
			m := w.with(t, both, func(c *integrations.Config) { c.Tokens = store })
			behind := w.with(t, []string{"old", "new"})
			when(store, func() { behind.connect(t, "Own", "acme-account", integrations.Org("acme")) })
			_, err := m.Reseal(t.Context())
			require.ErrorIs(t, err, tokenstore.ErrKeyInUse)
			require.ErrorContains(t, err, "every process")
			require.Equal(t, []string{"new", "old"}, w.checks(t))

			store.list, store.remove = nil, nil
			done, err := m.Reseal(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"old"}, done.Retired)
			w.with(t, []string{"new"}).works(t)
		})
	}
}

// nth is a store of definitions that fails at its nth call.
type nth struct {
	integrations.Store
	n int
}

var errNth = errors.New("the disk is on fire")

func (s *nth) fail() error {
	if s.n--; s.n == 0 {
		return errNth
	}
	return nil
}

func (s *nth) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	if err := s.fail(); err != nil {
		return d, err
	}
	return s.Store.PutDefinition(ctx, d)
}

func (s *nth) PutSettings(ctx context.Context, d integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	if err := s.fail(); err != nil {
		return d, err
	}
	return s.Store.PutSettings(ctx, d)
}

func (s *nth) Definitions(ctx context.Context, after int64, limit int) ([]integrations.DefinitionRecord, int64, error) {
	if err := s.fail(); err != nil {
		return nil, after, err
	}
	return s.Store.Definitions(ctx, after, limit)
}

func TestResealOfDefinitionsGoesOnWhereItWasStopped(t *testing.T) {
	for n := 1; ; n++ {
		w := rotating(t)
		store := &nth{Store: w.definitions, n: n}
		first, err := w.with(t, both, func(c *integrations.Config) { c.Definitions = store }).Reseal(t.Context())
		if store.n > 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, errNth)
		require.Contains(t, w.checks(t), "old")
		second, err := w.with(t, both).Reseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4, first.Definitions.Resealed+first.Settings.Resealed+second.Definitions.Resealed+second.Settings.Resealed)
		w.with(t, []string{"new"}).works(t)
	}
}

func TestAnOrganizationsRunDoesNotReseal(t *testing.T) {
	w := rotating(t)
	_, err := w.Reseal(scope.WithRun(t.Context(), &scope.Run{Scope: scope.Of("acme"), Redact: func(string) {}}))
	require.ErrorIs(t, err, integrations.ErrForbiddenOrg)
}
