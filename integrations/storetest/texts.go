package storetest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// texts are alike for storage that folds case, normalizes, trims, or takes some
// characters for its own.
var texts = []string{
	"a", "A", "a ", " a", "a%", "%", "_", "a_", "'", `"`, `\`, "''", "$1", "?", "{now}", "' OR 1=1 --", "*",
	"\u00e9", "e\u0301", "É", "ß", "ss", "İ", "i", "\u202e", "\u200b", "\ufeff", "\ufffd", "𐐀", "𐐨", "\U0001f480", "\n", "\t", "\x01", "\x7f", "null", "0", "00", "1e0",
}

func testTexts(t *testing.T, s integrations.Store) {
	for _, text := range texts {
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		doc := json.RawMessage(`{"k":` + string(quoted) + `}`)
		// Two definitions of each text would be in each other's way if any two texts were one.
		for _, d := range []integrations.DefinitionRecord{{ID: text, Org: text, Name: "n"}, {ID: "name " + text, Name: text}} {
			d.Body, d.UpdatedBy = doc, text
			putDefinition(t, s, d)
		}
		putSettings(t, s, integrations.SettingsRecord{
			SettingsKey: integrations.SettingsKey{Definition: text, Org: "o"}, EntityID: text, EntityName: text, Config: doc, UpdatedBy: text,
		})
		putSettings(t, s, integrations.SettingsRecord{SettingsKey: integrations.SettingsKey{Definition: "d", Org: text}, EntityID: text})
	}
	for _, text := range texts {
		d := definition(t, s, text)
		assert.Equal(t, []string{text, text, "n"}, []string{d.Org, d.UpdatedBy, d.Name})
		assert.Equal(t, text, definition(t, s, "name "+text).Name)
		r := settings(t, s, text, "o")
		assert.Equal(t, []string{text, text, text}, []string{r.EntityID, r.EntityName, r.UpdatedBy})
		var body, config map[string]string
		require.NoError(t, json.Unmarshal(d.Body, &body))
		require.NoError(t, json.Unmarshal(r.Config, &config))
		assert.Equal(t, text, body["k"])
		assert.Equal(t, text, config["k"])
		assert.Equal(t, text, settings(t, s, "d", text).EntityID)
	}
	for _, text := range texts {
		require.NoError(t, s.ClearSettings(t.Context(), "", text))
		cleared := settings(t, s, "d", text)
		assert.True(t, cleared.Empty())
	}
	list, err := s.ListSettings(t.Context(), "d", nil, 100)
	require.NoError(t, err)
	assert.Empty(t, list)
	r := settings(t, s, "a", "o")
	assert.False(t, r.Empty(), "another organization's")
}

func testInvalidTexts(t *testing.T, s integrations.Store) {
	for _, text := range []string{"\x00", "a\x00", "\xff", "a\xc3\x28"} {
		doc := json.RawMessage(`{"k":"` + text + `"}`)
		for _, d := range []integrations.DefinitionRecord{
			{ID: text}, {ID: "1", Org: text}, {ID: "1", Name: text}, {ID: "1", UpdatedBy: text}, {ID: "1", Body: doc},
		} {
			_, err := s.PutDefinition(t.Context(), d)
			require.ErrorContains(t, err, "not valid UTF-8")
		}
		key := integrations.SettingsKey{Definition: "d", Org: "o"}
		for _, r := range []integrations.SettingsRecord{
			{SettingsKey: integrations.SettingsKey{Definition: "d", Org: text}}, {SettingsKey: key, EntityName: text}, {SettingsKey: key, Config: doc},
		} {
			_, err := s.PutSettings(t.Context(), r)
			require.ErrorContains(t, err, "not valid UTF-8")
		}
		assert.Zero(t, settings(t, s, text, text).Version)
		list, err := s.ListSettings(t.Context(), text, nil, 10)
		require.NoError(t, err)
		assert.Empty(t, list)
		require.NoError(t, s.ClearSettings(t.Context(), "", text))
	}
	stored, _ := definitions(t, s, 0, 10)
	assert.Empty(t, stored)
	keys, _ := changes(t, s, 0, 10)
	assert.Empty(t, keys)
}

func testCopies(t *testing.T, s integrations.Store) {
	want := plainDefinition(t, sampleDefinition("1"))
	spoilDefinition := func(d integrations.DefinitionRecord) { d.Body[0], d.Sealed[0] = 'x', 99 }
	unspoiled := func(what string) {
		t.Helper()
		d := definition(t, s, "1")
		assert.Equal(t, want.Body, d.Body, what)
		assert.Equal(t, want.Sealed, d.Sealed, what)
	}
	given := sampleDefinition("1")
	stored, err := s.PutDefinition(t.Context(), given)
	require.NoError(t, err)
	spoilDefinition(given)
	unspoiled("what PutDefinition was given")
	spoilDefinition(stored)
	unspoiled("what PutDefinition returned")
	list, _, err := s.Definitions(t.Context(), 0, 1)
	require.NoError(t, err)
	spoilDefinition(list[0])
	unspoiled("what Definitions returned")

	set := plainSettings(t, sampleSettings("d", "acme"))
	spoil := func(r integrations.SettingsRecord) { r.Config[0], r.Sealed[0] = 'x', 99 }
	unset := func(what string) {
		t.Helper()
		r := settings(t, s, "d", "acme")
		assert.Equal(t, set.Config, r.Config, what)
		assert.Equal(t, set.Sealed, r.Sealed, what)
	}
	r := sampleSettings("d", "acme")
	got, err := s.PutSettings(t.Context(), r)
	require.NoError(t, err)
	spoil(r)
	unset("what PutSettings was given")
	spoil(got)
	unset("what PutSettings returned")
	got, err = s.Settings(t.Context(), "d", "acme")
	require.NoError(t, err)
	spoil(got)
	unset("what Settings returned")
	all, err := s.ListSettings(t.Context(), "d", nil, 1)
	require.NoError(t, err)
	require.Len(t, all, 1)
	spoil(all[0])
	unset("what ListSettings returned")
}

func testEndedContext(t *testing.T, s integrations.Store) {
	d := putDefinition(t, s, sampleDefinition("1"))
	r := putSettings(t, s, sampleSettings("d", "acme"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func() error{
		"PutDefinition":   func() error { _, err := s.PutDefinition(ctx, d); return err },
		"Definitions":     func() error { _, _, err := s.Definitions(ctx, 0, 1); return err },
		"PutSettings":     func() error { _, err := s.PutSettings(ctx, r); return err },
		"Settings":        func() error { _, err := s.Settings(ctx, "d", "acme"); return err },
		"ListSettings":    func() error { _, err := s.ListSettings(ctx, "d", nil, 1); return err },
		"ClearSettings":   func() error { return s.ClearSettings(ctx, "d", "") },
		"SettingsChanges": func() error { _, _, err := s.SettingsChanges(ctx, 0, 1); return err },
	}
	for name, call := range calls {
		require.ErrorIs(t, call(), context.Canceled, name)
	}
	assert.Equal(t, d, definition(t, s, "1"), "nothing was written")
	assert.Equal(t, r, settings(t, s, "d", "acme"))
}
