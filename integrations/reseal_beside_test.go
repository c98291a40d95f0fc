package integrations_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// nameless hides which key a ciphertext is under, and may be away.
type nameless struct {
	keys tokenstore.AEAD
	away error
}

func (k nameless) Encrypt(text, ad []byte) ([]byte, error) { return k.keys.Encrypt(text, ad) }

func (k nameless) Decrypt(sealed, ad []byte) ([]byte, error) {
	if k.away != nil {
		return nil, k.away
	}
	return k.keys.Decrypt(sealed, ad)
}

// answering is a store in which another process seals again at once, with its own
// newest key, whatever this one has sealed again.
type answering struct {
	integrations.Store
	other *tokenstore.Sealer
	puts  int
}

var errEndless = errors.New("this has no end")

func (a *answering) again(ctx context.Context, sealed []byte, key tokenstore.Key, field string, version int64) ([]byte, error) {
	if a.puts++; a.puts > 100 {
		return nil, errEndless
	}
	from := tokenstore.Binding{Key: key, Field: field, Generation: version}
	to := from
	to.Generation++
	return a.other.Reseal(ctx, sealed, from, to)
}

func (a *answering) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	put, err := a.Store.PutDefinition(ctx, d)
	if err != nil {
		return put, err
	}
	next := put
	next.Sealed, err = a.again(ctx, put.Sealed, tokenstore.Key{Definition: put.ID, Org: put.Org}, "definition", put.Version)
	if err == nil {
		_, err = a.Store.PutDefinition(ctx, next)
	}
	return put, err
}

func (a *answering) PutSettings(ctx context.Context, s integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	put, err := a.Store.PutSettings(ctx, s)
	if err != nil {
		return put, err
	}
	next := put
	next.Sealed, err = a.again(ctx, put.Sealed, tokenstore.Key{Definition: put.Definition, Org: put.Org}, "config", put.Version)
	if err == nil {
		_, err = a.Store.PutSettings(ctx, next)
	}
	return put, err
}

// Two processes that seal again at once do not go on with each other's for ever: not
// where what is done cannot be told, and not where their newest keys differ.
func TestTwoThatSealAgainComeToAnEnd(t *testing.T) {
	t.Run("keys without names", func(t *testing.T) {
		w := rotating(t)
		s := tokenstore.NewSealer(nameless{keys: keysOf(t, both...)})
		m := w.sealing(t, s, func(c *integrations.Config) { c.Definitions = &answering{Store: w.definitions, other: s} })
		done, err := m.Reseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, tokenstore.Resealed{Seen: 2, Resealed: 2}, done.Definitions)
		require.Equal(t, tokenstore.Resealed{Seen: 2, Resealed: 2}, done.Settings)
		w.sealing(t, sealers(t, "new")).works(t)
	})
	t.Run("other keys in front", func(t *testing.T) {
		w := rotating(t)
		store := &answering{Store: w.definitions, other: sealers(t, "old", "new")}
		_, err := w.with(t, both, func(c *integrations.Config) { c.Definitions = store }).Reseal(t.Context())
		require.ErrorIs(t, err, tokenstore.ErrKeyInUse)
		require.Equal(t, []string{"new", "old"}, w.checks(t))
		w.with(t, both).works(t)
	})
}

// Nobody is told to connect again because a key service is away.
func TestResealWhileTheKeyServiceIsAway(t *testing.T) {
	w := rotating(t)
	gone := &url.Error{Op: "Post", URL: "https://kms.example.com", Err: errors.New("connection refused")}
	var logs strings.Builder
	m := w.sealing(t, tokenstore.NewSealer(nameless{keysOf(t, both...), gone}), func(c *integrations.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&logs, nil))
	})
	done, err := m.Reseal(t.Context())
	require.ErrorIs(t, err, tokenstore.ErrKeysAway)
	require.NotErrorIs(t, err, tokenstore.ErrSealBroken)
	require.Zero(t, done)
	require.Empty(t, logs.String())
	w.with(t, both).works(t)
}

// A process that was left out of the roll-out shows soon.
func TestAProcessThatSealsWithARetiredKeyIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := rotating(t)
		var mu sync.Mutex
		var logs strings.Builder
		behind := w.with(t, []string{"old", "new"}, func(c *integrations.Config) {
			c.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				logs.Write(b)
			}), nil))
		})
		behind.follow(t)
		pass(5 * time.Minute)
		_, err := w.with(t, both).Reseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"new"}, w.checks(t))
		pass(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"new", "old"}, w.checks(t))
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 1, strings.Count(logs.String(), "key old was retired, and this process seals with it"))
	})
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// failing is a token store that keeps the checks of keys.
type failing struct{ tokenstore.Store }

func (failing) DeleteKeyCheck(context.Context, string) error { return errNth }

func TestAStoreThatFailsAtTheEndBlamesNoProcess(t *testing.T) {
	w := rotating(t)
	m := w.with(t, both, func(c *integrations.Config) { c.Tokens = failing{w.store} })
	_, err := m.Reseal(t.Context())
	require.ErrorIs(t, err, errNth)
	require.ErrorContains(t, err, "no key was retired; reseal again")
	require.Equal(t, []string{"new", "old"}, w.checks(t))
}
