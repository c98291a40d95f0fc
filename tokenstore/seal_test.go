package tokenstore_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

var place = tokenstore.Binding{
	Key:   tokenstore.Key{Definition: "def", Org: "acme", User: "ann", Account: "work"},
	Field: "tokens", Generation: 7,
}

func TestSealOpensOnlyInItsPlace(t *testing.T) {
	s := tokenstore.NewSealer(ring(t, key(1)))
	sealed, err := s.Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	assert.NotContains(t, string(sealed), canary)
	text, err := s.Open(t.Context(), sealed, place)
	require.NoError(t, err)
	assert.Equal(t, canary, string(text))

	elsewhere := map[string]func(b *tokenstore.Binding){
		"definition":         func(b *tokenstore.Binding) { b.Key.Definition = "other" },
		"org":                func(b *tokenstore.Binding) { b.Key.Org = "globex" },
		"no org":             func(b *tokenstore.Binding) { b.Key.Org = "" },
		"user":               func(b *tokenstore.Binding) { b.Key.User = "bob" },
		"account":            func(b *tokenstore.Binding) { b.Key.Account = "home" },
		"field":              func(b *tokenstore.Binding) { b.Field = "verifier" },
		"older generation":   func(b *tokenstore.Binding) { b.Generation-- },
		"newer generation":   func(b *tokenstore.Binding) { b.Generation++ },
		"case":               func(b *tokenstore.Binding) { b.Key.Org = "Acme" },
		"shifted boundary":   func(b *tokenstore.Binding) { b.Key.Definition, b.Key.Org = "defa", "cme" },
		"swapped parts":      func(b *tokenstore.Binding) { b.Key.Org, b.Key.User = b.Key.User, b.Key.Org },
		"NUL":                func(b *tokenstore.Binding) { b.Key.Org = "acme\x00" },
		"everything removed": func(b *tokenstore.Binding) { *b = tokenstore.Binding{} },
	}
	for name, change := range elsewhere {
		b := place
		change(&b)
		text, err := s.Open(t.Context(), sealed, b)
		require.ErrorIs(t, err, tokenstore.ErrSealBroken, name)
		assert.Nil(t, text, name)
	}
}

// Ciphertexts of any two different places do not open in each other's.
func TestSealedTextsCannotBeSwapped(t *testing.T) {
	s := tokenstore.NewSealer(ring(t, key(1)))
	var places []tokenstore.Binding
	for _, parts := range [][3]string{
		{"a:b", "c", ""}, {"a", "b:c", ""}, {"ab", "c", ""}, {"a", "bc", ""}, {"abc", "", ""}, {"", "abc", ""}, {"", "", "abc"},
		{"a", "b", "c"}, {"a\x00b", "c", ""}, {"a", "\x00bc", ""}, {"é", "", ""}, {"e\u0301", "", ""},
	} {
		for _, gen := range []int64{0, 1, -1} {
			places = append(places, tokenstore.Binding{Key: tokenstore.Key{Definition: parts[0], Org: parts[1], User: parts[2]}, Field: "f", Generation: gen})
		}
	}
	for i, from := range places {
		sealed, err := s.Seal(t.Context(), []byte("x"), from)
		require.NoError(t, err)
		for j, to := range places {
			_, err := s.Open(t.Context(), sealed, to)
			assert.Equal(t, i == j, err == nil, "%q in %q", from, to)
		}
	}
}

func TestSealDetectsEveryChange(t *testing.T) {
	r := ring(t, "k1:"+key(1)+",k2:"+key(2)) // flipping an id bit may name the other key
	s := tokenstore.NewSealer(r)
	for _, text := range []string{"", canary} {
		sealed, err := s.Seal(t.Context(), []byte(text), place)
		require.NoError(t, err)
		fails := func(changed []byte, what string, n int) {
			got, err := s.Open(t.Context(), changed, place)
			require.Error(t, err, "%s %d", what, n)
			require.True(t, errors.Is(err, tokenstore.ErrSealBroken) || errors.Is(err, tokenstore.ErrUnknownKey), "%v", err)
			require.Nil(t, got)
		}
		for i := range sealed {
			for bit := range 8 {
				changed := bytes.Clone(sealed)
				changed[i] ^= 1 << bit
				fails(changed, "bit flipped in byte", i)
			}
			fails(sealed[:i], "cut to", i)
			fails(sealed[i+1:], "front cut by", i+1)
		}
		fails(append(bytes.Clone(sealed), 0), "longer by", 1)
		fails(nil, "nothing", 0)
		got, err := s.Open(t.Context(), sealed, place)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
}

func TestSealWithTheWrongKey(t *testing.T) {
	sealed, err := tokenstore.NewSealer(ring(t, key(1))).Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	_, err = tokenstore.NewSealer(ring(t, key(2))).Open(t.Context(), sealed, place)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)

	sealed, err = tokenstore.NewSealer(ring(t, "same:"+key(1))).Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	_, err = tokenstore.NewSealer(ring(t, "same:"+key(2))).Open(t.Context(), sealed, place)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)
	assert.NotContains(t, err.Error(), canary)
}

func TestSealsOfOneTextDiffer(t *testing.T) {
	s := tokenstore.NewSealer(ring(t, key(1)))
	a, err := s.Seal(t.Context(), []byte("x"), place)
	require.NoError(t, err)
	b, err := s.Seal(t.Context(), []byte("x"), place)
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}

// foreign is an AEAD like Tink's: no key ids, errors of its own, and with a
// context if it talks to a KMS.
type foreign struct {
	*tokenstore.Keyring
	KeyIDs struct{} // hides the method
	fault  error
}

func (f foreign) Decrypt(c, ad []byte) ([]byte, error) {
	text, err := f.Keyring.Decrypt(c, ad)
	if err != nil {
		return nil, errors.New("aead: decryption failed")
	}
	return text, nil
}

type kms struct{ foreign }

func (k kms) EncryptWithContext(ctx context.Context, p, ad []byte) ([]byte, error) {
	if err := errors.Join(ctx.Err(), k.fault); err != nil {
		return nil, err
	}
	return k.Encrypt(p, ad)
}

func (k kms) DecryptWithContext(ctx context.Context, c, ad []byte) ([]byte, error) {
	if err := errors.Join(ctx.Err(), k.fault); err != nil {
		return nil, err
	}
	return k.Decrypt(c, ad)
}

// remote is a kms that says by itself how a call ended.
type remote struct{ foreign }

func (r remote) EncryptWithContext(context.Context, []byte, []byte) ([]byte, error) {
	return nil, r.fault
}

func (r remote) DecryptWithContext(context.Context, []byte, []byte) ([]byte, error) {
	return nil, r.fault
}

func TestSealerTakesAnyAEAD(t *testing.T) {
	s := tokenstore.NewSealer(foreign{Keyring: ring(t, key(1))})
	sealed, err := s.Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	text, err := s.Open(t.Context(), sealed, place)
	require.NoError(t, err)
	assert.Equal(t, canary, string(text))
	_, err = s.Open(t.Context(), sealed, tokenstore.Binding{})
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)
	require.ErrorContains(t, err, "decryption failed")
}

func TestSealerUsesTheContext(t *testing.T) {
	s := tokenstore.NewSealer(kms{foreign{Keyring: ring(t, key(1))}})
	sealed, err := s.Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Seal(ended, []byte(canary), place)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Open(ended, sealed, place)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, tokenstore.ErrSealBroken, "a call that was given up says nothing about the data")

	// gRPC's word for it is not the context's.
	status := errors.New("rpc error: code = Canceled desc = context canceled")
	_, err = tokenstore.NewSealer(remote{foreign{Keyring: ring(t, key(1)), fault: status}}).Reseal(ended, sealed, place, place)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, status)
	require.NotErrorIs(t, err, tokenstore.ErrSealBroken)

	s = tokenstore.NewSealer(kms{foreign{Keyring: ring(t, key(1)), fault: errors.New("quota")}})
	_, err = s.Seal(t.Context(), []byte(canary), place)
	require.ErrorContains(t, err, "sealing tokens: quota")
}

// A key service that is away says nothing about the data, and no wrong key is blamed.
func TestAKeyServiceThatIsAway(t *testing.T) {
	store, here := tokenstore.NewMemory(), tokenstore.NewSealer(kms{foreign{Keyring: ring(t, key(1))}})
	require.NoError(t, here.Verify(t.Context(), store))
	sealed, err := here.Seal(t.Context(), []byte(canary), place)
	require.NoError(t, err)
	for name, fault := range map[string]error{
		"no connection": &url.Error{Op: "Post", URL: "https://kms.example.com", Err: errors.New("connection refused")},
		"throttled":     fmt.Errorf("%w: too many requests", tokenstore.ErrKeysAway),
		"slow":          &url.Error{Op: "Post", URL: "https://kms.example.com", Err: context.DeadlineExceeded},
		"given up":      fmt.Errorf("kms: %w", context.Canceled), // by its client: nobody else did
	} {
		t.Run(name, func(t *testing.T) {
			away := tokenstore.NewSealer(kms{foreign{Keyring: ring(t, key(1)), fault: fault}})
			_, err := away.Open(t.Context(), sealed, place)
			require.ErrorIs(t, err, tokenstore.ErrKeysAway)
			require.ErrorIs(t, err, fault)
			require.NotErrorIs(t, err, tokenstore.ErrSealBroken)
			_, err = away.Reseal(t.Context(), sealed, place, place)
			require.ErrorIs(t, err, tokenstore.ErrKeysAway)
			for _, err := range []error{away.Verify(t.Context(), store), away.Keep(t.Context(), store)} {
				require.ErrorIs(t, err, tokenstore.ErrKeysAway)
				require.ErrorContains(t, err, "checking key default")
				require.NotErrorIs(t, err, tokenstore.ErrSealBroken)
			}
		})
	}
}

func TestVerifyFindsTheWrongKey(t *testing.T) {
	tests := []struct {
		name          string
		first, second tokenstore.AEAD
		err           error
		says          string
	}{
		{"same key", ring(t, key(1)), ring(t, key(1)), nil, ""},
		{"rotated, old kept", ring(t, key(1)), ring(t, key(2)+","+key(1)), nil, ""},
		{"order does not matter for opening", ring(t, key(1)), ring(t, key(1)+","+key(2)), nil, ""},
		{"replaced", ring(t, key(1)), ring(t, key(2)), tokenstore.ErrUnknownKey, "72cd6e84, which is not configured; add that key"},
		{"another key of the same id", ring(t, "a:"+key(1)), ring(t, "a:"+key(2)), tokenstore.ErrSealBroken, "is not the one this store's secrets were sealed with"},
		{"foreign, same", foreign{Keyring: ring(t, key(1))}, foreign{Keyring: ring(t, key(1))}, nil, ""},
		{"foreign, other", foreign{Keyring: ring(t, key(1))}, foreign{Keyring: ring(t, key(2))}, tokenstore.ErrSealBroken, "default"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := tokenstore.NewMemory()
			require.NoError(t, tokenstore.NewSealer(test.first).Verify(t.Context(), store))
			require.NoError(t, tokenstore.NewSealer(test.first).Verify(t.Context(), store), "again")
			before, err := store.KeyCheck(t.Context(), "", nil)
			require.NoError(t, err)
			err = tokenstore.NewSealer(test.second).Verify(t.Context(), store)
			if test.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.err)
			require.ErrorContains(t, err, test.says)
			after, err := store.KeyCheck(t.Context(), "", nil)
			require.NoError(t, err)
			assert.Equal(t, before, after, "a wrong key leaves no mark")
		})
	}
}

func TestVerifyAfterARotationNeedsBothKeys(t *testing.T) {
	store := tokenstore.NewMemory()
	for _, keys := range []string{key(1), key(2) + "," + key(1)} {
		require.NoError(t, tokenstore.NewSealer(ring(t, keys)).Verify(t.Context(), store))
	}
	for _, keys := range []string{key(1), key(2)} {
		require.ErrorIs(t, tokenstore.NewSealer(ring(t, keys)).Verify(t.Context(), store), tokenstore.ErrUnknownKey)
	}
}

// broken is a store whose key check fails or lies.
type broken struct {
	tokenstore.Store
	check func(id string) (map[string][]byte, error)
}

func (b broken) KeyCheck(_ context.Context, id string, _ []byte) (map[string][]byte, error) {
	return b.check(id)
}

func TestVerifyReportsTheStoresFaults(t *testing.T) {
	fault := errors.New("disk on fire")
	s := tokenstore.NewSealer(ring(t, key(1)))
	err := s.Verify(t.Context(), broken{check: func(string) (map[string][]byte, error) { return nil, fault }})
	require.ErrorIs(t, err, fault)
	err = s.Verify(t.Context(), broken{check: func(id string) (map[string][]byte, error) {
		if id == "" {
			return nil, nil
		}
		return nil, fault
	}})
	require.ErrorIs(t, err, fault)

	// Another process with another key was first.
	other, err := tokenstore.NewSealer(ring(t, key(2))).Seal(t.Context(), []byte("bifrost"), tokenstore.Binding{Field: "key check"})
	require.NoError(t, err)
	err = s.Verify(t.Context(), broken{check: func(id string) (map[string][]byte, error) {
		if id == "" {
			return nil, nil
		}
		return map[string][]byte{"75877bb4": other}, nil
	}})
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
}

func FuzzOpen(f *testing.F) {
	r, err := tokenstore.ParseKeyring("k:" + key(1))
	require.NoError(f, err)
	s := tokenstore.NewSealer(r)
	// Written down, because fuzzing runs in several processes: an envelope sealed
	// here would be another in each, and all of them genuine.
	sealed, err := hex.DecodeString("0101016bcd0b5945a11fbebb1935429d70ef94b113e1e98fff48815ed2d32698ad254a78")
	require.NoError(f, err)
	f.Add(sealed)
	for _, b := range [][]byte{nil, {1}, {1, 1}, {1, 1, 255}, {1, 1, 1, 'k'}, {2}, sealed[:10]} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := s.Open(t.Context(), data, place)
		if bytes.Equal(data, sealed) {
			require.NoError(t, err)
			return
		}
		require.Error(t, err, fmt.Sprintf("%x", data))
		require.True(t, errors.Is(err, tokenstore.ErrSealBroken) || errors.Is(err, tokenstore.ErrUnknownKey), "%v", err)
		require.Nil(t, text)
	})
}
