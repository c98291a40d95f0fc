package tinkkeys_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/bifrost-go/bifrost"
	tinkkeys "github.com/bifrost-go/bifrost/examples/tink"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// kms stands for a key management service: a key that can be used, not seen.
func kms(t testing.TB) tink.AEAD {
	t.Helper()
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	primitive, err := aead.New(handle)
	require.NoError(t, err)
	return primitive
}

func open(t *testing.T, encrypted []byte, service tink.AEAD) *tinkkeys.Keys {
	t.Helper()
	keys, err := tinkkeys.Open(encrypted, service)
	require.NoError(t, err)
	return keys
}

var place = tokenstore.Binding{Key: tokenstore.Key{Definition: "crm", Org: "acme"}, Field: "tokens", Generation: 1}

func TestWhatOneKeysetSealedAnotherRefuses(t *testing.T) {
	service := kms(t)
	one, err := tinkkeys.Create(service)
	require.NoError(t, err)
	other, err := tinkkeys.Create(service)
	require.NoError(t, err)

	sealed, err := tokenstore.NewSealer(open(t, one, service)).Seal(t.Context(), []byte("refresh-token"), place)
	require.NoError(t, err)
	text, err := tokenstore.NewSealer(open(t, one, service)).Open(t.Context(), sealed, place)
	require.NoError(t, err)
	require.Equal(t, "refresh-token", string(text))
	_, err = tokenstore.NewSealer(open(t, other, service)).Open(t.Context(), sealed, place)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)

	_, err = tinkkeys.Open(one, kms(t))
	require.ErrorContains(t, err, "does not open")
}

// encrypt returns the keyset in m as Create would.
func encrypt(t *testing.T, m *keyset.Manager, service tink.AEAD) []byte {
	t.Helper()
	handle, err := m.Handle()
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, handle.WriteWithAssociatedData(keyset.NewJSONWriter(&text), service, []byte("bifrost sealing keys")))
	return text.Bytes()
}

// A keyset from elsewhere may have keys that open nothing, or that do not put their
// ids before ciphertexts: with the latter a change of keys would never end.
func TestKeysetsFromElsewhere(t *testing.T) {
	service, m := kms(t), keyset.NewManager()
	first, err := m.Add(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(first))
	disabled, err := m.Add(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	require.NoError(t, m.Disable(disabled))
	require.Equal(t, []string{fmt.Sprint(first)}, open(t, encrypt(t, m, service), service).KeyIDs())

	_, err = m.Add(aead.AES256GCMNoPrefixKeyTemplate())
	require.NoError(t, err)
	_, err = tinkkeys.Open(encrypt(t, m, service), service)
	require.ErrorContains(t, err, "is RAW")
}

func newBifrost(store bifrost.Store, keys tokenstore.AEAD) error {
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", Store: store, Keys: keys, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	return bf.Close()
}

// A wrong keyset shows at start.
func TestRotation(t *testing.T) {
	service, store := kms(t), bifrost.Memory()
	first, err := tinkkeys.Create(service)
	require.NoError(t, err)
	require.NoError(t, newBifrost(store, open(t, first, service)))
	sealed, err := tokenstore.NewSealer(open(t, first, service)).Seal(t.Context(), []byte("old"), place)
	require.NoError(t, err)

	_, err = store.Tokens().Update(t.Context(), place.Key, func(c *tokenstore.Connection, _ time.Time) error {
		c.Sealed, c.Generation = sealed, place.Generation
		return nil
	})
	require.NoError(t, err)

	added, err := tinkkeys.Add(first, service)
	require.NoError(t, err)
	require.NoError(t, newBifrost(store, open(t, added, service)))
	promoted, err := tinkkeys.Promote(added, service)
	require.NoError(t, err)
	require.NoError(t, newBifrost(store, open(t, promoted, service)))

	before, between, after := open(t, first, service), open(t, added, service), open(t, promoted, service)
	require.Equal(t, before.KeyIDs()[0], between.KeyIDs()[0], "the old key still seals")
	require.Equal(t, []string{between.KeyIDs()[1], between.KeyIDs()[0]}, after.KeyIDs(), "the new one does")
	text, err := tokenstore.NewSealer(after).Open(t.Context(), sealed, place)
	require.NoError(t, err)
	require.Equal(t, "old", string(text))
	fresh, err := tokenstore.NewSealer(after).Seal(t.Context(), []byte("new"), place)
	require.NoError(t, err)
	_, err = tokenstore.NewSealer(between).Open(t.Context(), fresh, place)
	require.NoError(t, err, "a process that was not restarted yet opens it")
	_, err = tokenstore.NewSealer(before).Open(t.Context(), fresh, place)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey)
	require.ErrorContains(t, err, after.KeyIDs()[0], "it says which key is missing")

	err = newBifrost(store, before)
	require.ErrorIs(t, err, tokenstore.ErrUnknownKey, "a keyset of before the rotation")
	other, err := tinkkeys.Create(service)
	require.NoError(t, err)
	require.ErrorIs(t, newBifrost(store, open(t, other, service)), tokenstore.ErrUnknownKey)

	removed, err := tinkkeys.Remove(promoted, service)
	require.NoError(t, err)
	alone := open(t, removed, service)
	require.Equal(t, after.KeyIDs()[:1], alone.KeyIDs())
	require.ErrorContains(t, newBifrost(store, alone), before.KeyIDs()[0], "not before everything is sealed again")
	done := reseal(t, store, after)
	require.Equal(t, integrations.Resealed{
		Connections: tokenstore.Resealed{Seen: 1, Resealed: 1}, Retired: before.KeyIDs(),
	}, done)
	require.Zero(t, reseal(t, store, after).Connections.Resealed, "what is done is passed over")
	require.NoError(t, newBifrost(store, alone))
	c, err := store.Tokens().Load(t.Context(), place.Key)
	require.NoError(t, err)
	text, err = tokenstore.NewSealer(alone).Open(t.Context(), c.Sealed, place)
	require.NoError(t, err)
	require.Equal(t, "old", string(text))
}

// reseal does what a host does once between Promote and Remove.
func reseal(t *testing.T, store bifrost.Store, keys tokenstore.AEAD) integrations.Resealed {
	t.Helper()
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", Store: store, Keys: keys, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	done, err := bf.Reseal(t.Context())
	require.NoError(t, err)
	require.NoError(t, bf.Close())
	return done
}

// The whole of it, with a service that lives in this process.
func Example() {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		fmt.Println(err)
		return
	}
	service, err := aead.New(handle) // awskms, gcpkms and hcvault have GetAEAD instead
	if err != nil {
		fmt.Println(err)
		return
	}
	encrypted, err := tinkkeys.Create(service) // once; keep it in a file, or beside the configuration
	if err != nil {
		fmt.Println(err)
		return
	}

	keys, err := tinkkeys.Open(encrypted, service) // at every start
	if err != nil {
		fmt.Println(err)
		return
	}
	bf, err := bifrost.New(bifrost.Config{BaseURL: "https://app.example.com", Store: bifrost.Memory(), Keys: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(keys.KeyIDs()), "key;", bf.BaseURL())
	fmt.Println(bf.Close())
	// Output:
	// 1 key; https://app.example.com
	// <nil>
}
