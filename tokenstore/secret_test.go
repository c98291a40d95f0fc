package tokenstore_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const canary = "canary-5f2d9a"

// holder has the secret everywhere a formatter may find it.
type holder struct {
	Public  tokenstore.Secret
	private tokenstore.Secret
	Pointer *tokenstore.Secret
	nested  struct{ inner tokenstore.Secret }
	Map     map[string]tokenstore.Secret
	List    []tokenstore.Secret
	any     any
}

func newHolder() holder {
	s := tokenstore.NewSecret(canary)
	h := holder{Public: s, private: s, Pointer: &s, Map: map[string]tokenstore.Secret{"k": s}, List: []tokenstore.Secret{s}, any: s}
	h.nested.inner = s
	return h
}

func TestSecretIsNeverPrinted(t *testing.T) {
	s := tokenstore.NewSecret(canary)
	h := newHolder()
	values := map[string]any{
		"secret": s, "pointer": &s, "struct": h, "pointer to struct": &h,
		"error": fmt.Errorf("wrapped: %w", errors.New(fmt.Sprint(s))), "slice": []any{s, h},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%20v", "%-20s|"} {
			out := fmt.Sprintf(verb, v)
			assert.NotContains(t, out, canary, "%s of %s", verb, name)
			assert.NotContains(t, out, fmt.Sprintf("%x", canary), "%s of %s", verb, name)
		}
		assert.NotContains(t, fmt.Sprint(v), canary, name)
	}
	assert.Equal(t, "[REDACTED]", fmt.Sprintf("%s", s))
	assert.Equal(t, "[REDACTED]", fmt.Sprintf("%#v", s))
	assert.Empty(t, fmt.Sprintf("%v", tokenstore.Secret{}))
}

func TestSecretIsNeverEncoded(t *testing.T) {
	h := newHolder()
	text, err := json.Marshal(map[string]any{"h": h, "p": &h, "s": h.Public})
	require.NoError(t, err)
	assert.NotContains(t, string(text), canary)
	assert.Contains(t, string(text), "[REDACTED]")

	text, err = json.Marshal(map[string]tokenstore.Secret{canary[:3]: h.Public})
	require.NoError(t, err)
	assert.NotContains(t, string(text), canary)

	text, err = xml.Marshal(h.Public)
	require.NoError(t, err)
	assert.NotContains(t, string(text), canary)

	var buf bytes.Buffer
	require.NoError(t, gob.NewEncoder(&buf).Encode(struct{ S tokenstore.Secret }{h.Public}))
	assert.NotContains(t, buf.String(), canary)
}

func TestSecretIsNeverLogged(t *testing.T) {
	h := newHolder()
	var buf bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, opts), slog.NewJSONHandler(&buf, opts)} {
		log := slog.New(handler).With("bound", h.Public)
		log.Debug("m", "secret", h.Public, "pointer", h.Pointer, "struct", h, "list", h.List, "map", h.Map,
			slog.Group("g", "inner", h.Public), "private", h.private, "any", h.any, "nested", h.nested)
	}
	assert.NotContains(t, buf.String(), canary)
	assert.Contains(t, buf.String(), "[REDACTED]")
}

func TestSecretKeepsItsText(t *testing.T) {
	s := tokenstore.NewSecret(canary)
	assert.Equal(t, canary, s.Reveal())
	assert.False(t, s.IsZero())
	assert.True(t, tokenstore.NewSecret("").IsZero())
	assert.Empty(t, tokenstore.Secret{}.Reveal())
	assert.True(t, s.Equal(tokenstore.NewSecret(canary)))
	assert.False(t, s.Equal(tokenstore.NewSecret(canary+"x")))
	assert.False(t, s.Equal(tokenstore.Secret{}))

	var read struct{ S tokenstore.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"S":"`+canary+`"}`), &read))
	assert.Equal(t, canary, read.S.Reveal())
}
