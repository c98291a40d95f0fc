package tokenstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// key returns a fixed key of 32 bytes.
func key(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func ring(t *testing.T, text string) *tokenstore.Keyring {
	t.Helper()
	r, err := tokenstore.ParseKeyring(text)
	require.NoError(t, err)
	return r
}

func TestParseKeyring(t *testing.T) {
	tests := []struct {
		name, text string
		ids        []string
		err        string // part of the message; empty: no error
	}{
		{"one", key(1), []string{"72cd6e84"}, ""},
		{"named", "2026:" + key(1), []string{"2026"}, ""},
		{"newest first, spaces and newlines", " new: " + key(1) + " ,\n" + key(2) + "\n", []string{"new", "75877bb4"}, ""},
		{"every character of an id", "aZ09._-:" + key(1), []string{"aZ09._-"}, ""},
		{"empty", "", nil, "no sealing key"},
		{"blank", " \n", nil, "no sealing key"},
		{"trailing comma", key(1) + ",", nil, "key 2 is empty"},
		{"only an id", "a:", nil, "key 1 is empty"},
		{"no id", ":" + key(1), nil, "no id before it"},
		{"two colons", "a:b:" + key(1), nil, "not standard base64"},
		{"short", base64.StdEncoding.EncodeToString(make([]byte, 16)), nil, "16 bytes instead of 32"},
		{"long", base64.StdEncoding.EncodeToString(make([]byte, 33)), nil, "33 bytes instead of 32"},
		{"hex", strings.Repeat("ab", 32), nil, "48 bytes instead of 32"},
		{"url alphabet", base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32)), nil, "not standard base64"},
		{"unpadded", strings.TrimRight(key(1), "="), nil, "not standard base64"},
		{"bits in the padding", strings.TrimSuffix(key(1), "E=") + "F=", nil, "not standard base64"},
		{"zeros", key(0), nil, "all zeros"},
		{"duplicate key", key(1) + "," + key(1), nil, "key 2 has the same id"},
		{"duplicate id", "a:" + key(1) + ",a:" + key(2), nil, "key 2 has the same id"},
		{"id with a space", "a b:" + key(1), nil, "id that is not"},
		{"id with a slash", "a/b:" + key(1), nil, "id that is not"},
		{"id too long", strings.Repeat("a", 65) + ":" + key(1), nil, "id that is not"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := tokenstore.ParseKeyring(test.text)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.ids, r.KeyIDs())
		})
	}
}

func TestKeyringErrorsDoNotQuoteTheKey(t *testing.T) {
	for _, text := range []string{canary, "id:" + canary, key(1) + "," + canary + "==", canary + ":" + key(1)[:20]} {
		_, err := tokenstore.ParseKeyring(text)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), canary)
		assert.NotContains(t, err.Error(), key(1)[:8])
	}
}

func TestNewKeyringNeedsKeys(t *testing.T) {
	_, err := tokenstore.NewKeyring()
	require.ErrorContains(t, err, "at least one key")
	_, err = tokenstore.NewKeyring(tokenstore.SealingKey{ID: "a"})
	require.ErrorContains(t, err, "key 1 is empty")
}

func TestGenerateKey(t *testing.T) {
	a, b := tokenstore.GenerateKey(), tokenstore.GenerateKey()
	assert.NotEqual(t, a, b)
	assert.Len(t, ring(t, a+","+b).KeyIDs(), 2)
}

func TestKeyringRotation(t *testing.T) {
	before := ring(t, key(1))
	after := ring(t, key(2)+","+key(1))
	removed := ring(t, key(2))
	old, err := before.Encrypt([]byte("text"), []byte("place"))
	require.NoError(t, err)
	text, err := after.Decrypt(old, []byte("place"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(text))

	_, err = removed.Decrypt(old, []byte("place"))
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
	assert.Contains(t, err.Error(), before.KeyIDs()[0], "which key to bring back")

	fresh, err := after.Encrypt([]byte("text"), []byte("place"))
	require.NoError(t, err)
	_, err = before.Decrypt(fresh, []byte("place"))
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
}

// A key id is part of what is authenticated: under two ids the same key is two keys.
func TestKeyringBindsTheKeyID(t *testing.T) {
	sealed, err := ring(t, "a:"+key(1)).Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	sealed[2] = 'b'
	_, err = ring(t, "b:"+key(1)).Decrypt(sealed, nil)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)
}

func TestKeyringPrintsIDsOnly(t *testing.T) {
	r := ring(t, "new:"+key(1)+",old:"+key(2))
	k := tokenstore.SealingKey{ID: "x", Key: tokenstore.NewSecret(key(1))}
	var buf bytes.Buffer
	slog.New(slog.NewTextHandler(&buf, nil)).Info("m", "ring", r, "key", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		fmt.Fprintf(&buf, verb, r)
		fmt.Fprintf(&buf, verb, struct{ r *tokenstore.Keyring }{r})
		fmt.Fprintf(&buf, verb, k)
	}
	assert.NotContains(t, buf.String(), key(1))
	assert.NotContains(t, buf.String(), "1, 1, 1")
	assert.NotContains(t, buf.String(), "1 1 1")
	assert.Contains(t, buf.String(), "new, old")
}

func FuzzParseKeyring(f *testing.F) {
	for _, s := range []string{"", key(1), "a:" + key(1) + "," + key(2), ":,:", "a:b:c", ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := tokenstore.ParseKeyring(text)
		if err != nil {
			return
		}
		sealed, err := r.Encrypt([]byte("text"), []byte("place"))
		require.NoError(t, err)
		back, err := r.Decrypt(sealed, []byte("place"))
		require.NoError(t, err)
		require.Equal(t, "text", string(back))
	})
}

// One envelope opens, in its place; whatever else comes is broken, or names a key
// that is not there.
func FuzzDecrypt(f *testing.F) {
	r, err := tokenstore.ParseKeyring("new:" + key(1) + ",old:" + key(2))
	require.NoError(f, err)
	// Written down, because fuzzing runs in several processes: see FuzzOpen.
	sealed, err := hex.DecodeString("01036f6c644ecf1747cbbad40e199cedd0bf83c54dbc77f9cab4e9ad0dd66b5ae51614a730")
	require.NoError(f, err)
	f.Add(sealed, []byte("place"))
	f.Add(sealed, []byte("dplace"))
	f.Add(bytes.Replace(sealed, []byte("old"), []byte("new"), 1), []byte("place"))
	f.Add(bytes.Replace(sealed, []byte("\x03old"), []byte("\x02ol"), 1), []byte("place"))
	f.Add(bytes.Replace(sealed, []byte("old"), []byte("odd"), 1), []byte("place"))
	for _, b := range [][]byte{nil, {1}, {1, 255}, {1, 0}, {1, 1, '\n'}, sealed[:5], sealed[:len(sealed)-1]} {
		f.Add(b, []byte("place"))
	}
	f.Fuzz(func(t *testing.T, data, place []byte) {
		text, err := r.Decrypt(data, place)
		if bytes.Equal(data, sealed) && string(place) == "place" {
			require.NoError(t, err)
			require.Equal(t, "text", string(text))
			return
		}
		require.Nil(t, text)
		if errors.Is(err, tokenstore.ErrUnknownKey) {
			id := string(data[2 : 2+int(data[1])])
			require.NotContains(t, []string{"new", "old"}, id)
			require.False(t, strings.ContainsFunc(id, unicode.IsControl), "%q goes into messages", id)
			return
		}
		require.ErrorIs(t, err, tokenstore.ErrSealBroken, "%x", data)
	})
}
