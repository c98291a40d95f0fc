package tokenstore_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// telling is an AEAD that names keys, and whose errors do not.
type telling struct{ *tokenstore.Keyring }

func (k telling) Decrypt(c, ad []byte) ([]byte, error) {
	text, err := k.Keyring.Decrypt(c, ad)
	if err != nil {
		return nil, errors.New("aead: decryption failed")
	}
	return text, nil
}

// listing is an AEAD that has key ids, and does not find them in ciphertexts.
type listing struct {
	*tokenstore.Keyring
	KeyID struct{} // hides the method
}

func TestSealerTellsKeys(t *testing.T) {
	sealed, err := tokenstore.NewSealer(ring(t, "old:"+key(1))).Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	both := func() *tokenstore.Keyring { return ring(t, "new:"+key(2)+",old:"+key(1)) }
	for _, test := range []struct {
		name   string
		aead   tokenstore.AEAD
		tells  bool
		newest bool
	}{
		{"sealed with the newest", ring(t, "old:"+key(1)), true, true},
		{"sealed with another", both(), true, false},
		{"sealed with one that is not there", ring(t, "new:"+key(2)), true, false},
		{"no key ids", foreign{Keyring: both()}, false, false},
		{"no ids in ciphertexts", listing{Keyring: both()}, false, false},
		{"of another library", telling{both()}, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := tokenstore.NewSealer(test.aead)
			assert.Equal(t, test.tells, s.TellsKeys())
			assert.Equal(t, test.newest, s.Newest(sealed))
			if test.tells {
				id, ok := s.KeyID(sealed)
				assert.True(t, ok)
				assert.Equal(t, "old", id)
			}
			for _, bad := range [][]byte{nil, {}, {2}, sealed[:1], sealed[:2], sealed[:5], sealed[1:]} {
				_, ok := s.KeyID(bad)
				assert.False(t, ok, "%x", bad)
				assert.False(t, s.Newest(bad), "%x", bad)
			}
		})
	}
}

func TestAMissingKeyIsNamed(t *testing.T) {
	sealed, err := tokenstore.NewSealer(ring(t, "old:"+key(1))).Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	for name, aead := range map[string]tokenstore.AEAD{
		"by the keyring": ring(t, "new:"+key(2)), "by the sealer": telling{ring(t, "new:"+key(2))},
	} {
		_, err := tokenstore.NewSealer(aead).Open(t.Context(), sealed, place)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey, name)
		require.ErrorContains(t, err, "old (known: new)", name)
		require.NotContains(t, err.Error(), key(2), name)
	}
	_, err = tokenstore.NewSealer(telling{ring(t, "old:"+key(1))}).Open(t.Context(), sealed[:len(sealed)-1], place)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken, "the key is there")
}

func TestReseal(t *testing.T) {
	old := tokenstore.NewSealer(ring(t, "old:"+key(1)))
	s := tokenstore.NewSealer(ring(t, "new:"+key(2)+",old:"+key(1)))
	sealed, err := old.Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	to := place
	to.Generation++
	again, err := s.Reseal(t.Context(), sealed, place, to)
	require.NoError(t, err)
	require.True(t, s.Newest(again))
	text, err := s.Open(t.Context(), again, to)
	require.NoError(t, err)
	require.Equal(t, canary, string(text))
	_, err = s.Open(t.Context(), again, place)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)

	_, err = s.Reseal(t.Context(), sealed, to, place)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken, "what is moved does not become genuine")
	_, err = tokenstore.NewSealer(ring(t, "new:"+key(2))).Reseal(t.Context(), sealed, place, place)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
	_, err = tokenstore.NewSealer(kms{foreign{Keyring: ring(t, key(1)), fault: errors.New("quota")}}).Seal(t.Context(), nil, place)
	require.NotErrorIs(t, err, tokenstore.ErrSealBroken, "a key service that is away says nothing about the data")
}

func checks(t *testing.T, store tokenstore.Store) []string {
	t.Helper()
	all, err := store.KeyCheck(context.WithoutCancel(t.Context()), "", nil)
	require.NoError(t, err)
	return slices.Sorted(maps.Keys(all))
}

func nothing(context.Context) (bool, error) { return false, nil }

func TestRetire(t *testing.T) {
	rotated := func() (*tokenstore.Memory, *tokenstore.Sealer) {
		store := tokenstore.NewMemory()
		for _, keys := range []string{"a:" + key(1), "b:" + key(2) + ",a:" + key(1)} {
			require.NoError(t, tokenstore.NewSealer(ring(t, keys)).Verify(t.Context(), store))
		}
		s := tokenstore.NewSealer(ring(t, "c:"+key(3)+",b:"+key(2)+",a:"+key(1)))
		require.NoError(t, s.Verify(t.Context(), store))
		return store, s
	}
	only := func() *tokenstore.Sealer { return tokenstore.NewSealer(ring(t, "c:"+key(3))) }

	t.Run("nothing is left", func(t *testing.T) {
		store, s := rotated()
		require.ErrorIs(t, only().Verify(t.Context(), store), tokenstore.ErrUnknownKey)
		ids, err := s.Retire(t.Context(), store, nothing)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, ids)
		require.Equal(t, []string{"c"}, checks(t, store))
		require.NoError(t, only().Verify(t.Context(), store))
		ids, err = s.Retire(t.Context(), store, nothing)
		require.NoError(t, err)
		require.Empty(t, ids, "again")
	})
	t.Run("something is", func(t *testing.T) {
		store, s := rotated()
		_, err := s.Retire(t.Context(), store, func(context.Context) (bool, error) {
			require.Equal(t, []string{"c"}, checks(t, store), "looked at afterwards")
			return true, nil
		})
		require.ErrorIs(t, err, tokenstore.ErrKeyInUse)
		require.Equal(t, []string{"a", "b", "c"}, checks(t, store))
		require.NoError(t, s.Verify(t.Context(), store), "as they were")
	})
	t.Run("nobody knows", func(t *testing.T) {
		store, s := rotated()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Retire(ctx, store, func(context.Context) (bool, error) {
			cancel()
			return false, ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []string{"a", "b", "c"}, checks(t, store))
	})
	t.Run("another process seals with the old one", func(t *testing.T) {
		store, s := rotated()
		behind := tokenstore.NewSealer(ring(t, "b:"+key(2)+",a:"+key(1)))
		_, err := s.Retire(t.Context(), store, nothing)
		require.NoError(t, err)
		err = behind.Keep(t.Context(), store)
		require.ErrorIs(t, err, tokenstore.ErrKeyInUse)
		require.ErrorIs(t, err, tokenstore.ErrUnknownKey, "and c is unknown there")
		require.ErrorContains(t, err, "key b was retired")
		require.ErrorIs(t, only().Verify(t.Context(), store), tokenstore.ErrUnknownKey, "so nobody starts without it")
	})
	t.Run("an AEAD without ids", func(t *testing.T) {
		store := tokenstore.NewMemory()
		require.NoError(t, tokenstore.NewSealer(foreign{Keyring: ring(t, key(1))}).Verify(t.Context(), store))
		after := tokenstore.NewSealer(foreign{Keyring: ring(t, key(2))})
		require.ErrorIs(t, after.Verify(t.Context(), store), tokenstore.ErrSealBroken)
		ids, err := tokenstore.NewSealer(foreign{Keyring: ring(t, key(2)+","+key(1))}).Retire(t.Context(), store, nothing)
		require.NoError(t, err)
		require.Empty(t, ids)
		require.NoError(t, after.Verify(t.Context(), store))
		require.NoError(t, after.Keep(t.Context(), store))
	})
}

func TestKeepSaysNothingWhileKeysFit(t *testing.T) {
	store := tokenstore.NewMemory()
	s := tokenstore.NewSealer(ring(t, "b:"+key(2)+",a:"+key(1)))
	require.NoError(t, s.Verify(t.Context(), store))
	require.NoError(t, s.Keep(t.Context(), store))
	require.NoError(t, tokenstore.NewSealer(ring(t, "a:"+key(1)+",b:"+key(2))).Verify(t.Context(), store))
	require.NoError(t, s.Keep(t.Context(), store), "both are known")
	require.NoError(t, tokenstore.NewSealer(ring(t, "c:"+key(3)+",b:"+key(2)+",a:"+key(1))).Verify(t.Context(), store))
	err := s.Keep(t.Context(), store)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
	require.NotErrorIs(t, err, tokenstore.ErrKeyInUse)
	require.ErrorContains(t, err, "key c, which is not configured")
}

// A store that fails at any call leaves checks that are safe: what may be in use
// keeps its own.
func TestRetireWithAFailingStore(t *testing.T) {
	for n := 1; ; n++ {
		store := tokenstore.NewMemory()
		require.NoError(t, tokenstore.NewSealer(ring(t, "a:"+key(1))).Verify(t.Context(), store))
		s := tokenstore.NewSealer(ring(t, "b:"+key(2)+",a:"+key(1)))
		failing := &nth{Store: store, n: n}
		_, err := s.Retire(t.Context(), failing, nothing)
		if failing.n > 0 {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, errNth)
		require.Contains(t, checks(t, store), "a", "call %d", n)
		_, err = s.Retire(t.Context(), store, nothing)
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, checks(t, store))
	}
}

var errNth = errors.New("disk on fire")

// nth is a store whose nth call from now fails, having done nothing.
type nth struct {
	tokenstore.Store
	n int
}

func (s *nth) fail() error {
	if s.n--; s.n == 0 {
		return errNth
	}
	return nil
}

func (s *nth) KeyCheck(ctx context.Context, id string, check []byte) (map[string][]byte, error) {
	if err := s.fail(); err != nil {
		return nil, err
	}
	return s.Store.KeyCheck(ctx, id, check)
}

func (s *nth) DeleteKeyCheck(ctx context.Context, id string) error {
	if err := s.fail(); err != nil {
		return err
	}
	return s.Store.DeleteKeyCheck(ctx, id)
}
