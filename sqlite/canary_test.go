package sqlite_test

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What is sealed is nowhere in the files in any form, and neither is the key.
func TestFilesHoldNoSecret(t *testing.T) {
	const access, refresh, verifier = "canary-access-1f8a6d20", "canary-refresh-77c0b3e9", "canary-verifier-04d95aa1"
	path := filepath.Join(t.TempDir(), "bifrost.db")
	db := open(t, path)
	s := db.Tokens()
	key := tokenstore.GenerateKey()
	ring, err := tokenstore.ParseKeyring(key)
	require.NoError(t, err)
	sealer := tokenstore.NewSealer(ring)
	require.NoError(t, sealer.Verify(t.Context(), s))

	where := tokenstore.Key{Definition: "def-visible", Org: "acme"}
	seal := func(text, field string, generation int64) []byte {
		t.Helper()
		sealed, err := sealer.Seal(t.Context(), []byte(text), tokenstore.Binding{Key: where, Field: field, Generation: generation})
		require.NoError(t, err)
		return sealed
	}
	for generation := range int64(20) { // so that the WAL and freed pages hold older ones
		_, err := s.Update(t.Context(), where, func(c *tokenstore.Connection, _ time.Time) error {
			c.Generation = generation
			c.Sealed = seal(access+refresh, "tokens", generation)
			c.Log("refreshed", "", "")
			return nil
		})
		require.NoError(t, err)
		_, err = s.PutFlow(t.Context(), tokenstore.Flow{
			StateHash: hex.EncodeToString([]byte{byte(generation)}), Key: where,
			Verifier: seal(verifier, "verifier", 0),
		}, time.Minute, 3)
		require.NoError(t, err)
	}

	raw, err := base64.StdEncoding.DecodeString(key)
	require.NoError(t, err)
	check := func() {
		t.Helper()
		visible := false
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			content, err := os.ReadFile(name)
			if err != nil {
				require.ErrorIs(t, err, os.ErrNotExist)
				continue
			}
			text := string(content)
			for _, secret := range []string{access, refresh, verifier, key, string(raw)} {
				assert.NotContains(t, text, secret, name)
				assert.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte(secret))[:20], name)
				assert.NotContains(t, text, base64.RawURLEncoding.EncodeToString([]byte(secret))[:20], name)
				assert.NotContains(t, text, hex.EncodeToString([]byte(secret))[:20], name)
			}
			visible = visible || strings.Contains(text, where.Definition)
		}
		assert.True(t, visible, "the search does find what is not secret")
	}
	check()
	require.NoError(t, db.Close())
	check()
}
