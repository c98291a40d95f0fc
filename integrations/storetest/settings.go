package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// sampleSettings has every field set that is the caller's.
func sampleSettings(definition, org string) integrations.SettingsRecord {
	return integrations.SettingsRecord{
		SettingsKey: integrations.SettingsKey{Definition: definition, Org: org},
		EntityID:    "tenant", EntityName: "Tenant", Config: json.RawMessage(`{"region":"eu","n":3}`),
		Sealed: []byte{0, 1, 0xff}, UpdatedBy: "ann",
	}
}

func testSettings(t *testing.T, s integrations.Store) {
	for _, org := range []string{"acme", ""} {
		absent := settings(t, s, "d", org)
		assert.Equal(t, integrations.SettingsRecord{SettingsKey: integrations.SettingsKey{Definition: "d", Org: org}}, absent)
		r := sampleSettings("d", org)
		r.UpdatedAt = time.Unix(1, 0)
		stored := putSettings(t, s, r)
		recent(t, stored.UpdatedAt)
		want := plainSettings(t, sampleSettings("d", org))
		want.Version, want.UpdatedAt = 1, stored.UpdatedAt
		assert.Equal(t, want, stored, "what PutSettings returns")
		assert.Equal(t, want, settings(t, s, "d", org), "what Settings returns")
	}
	list, err := s.ListSettings(t.Context(), "d", nil, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, r := range list {
		assert.Equal(t, settings(t, s, "d", r.Org), plainSettings(t, r), "what ListSettings returns")
	}
	empty := putSettings(t, s, integrations.SettingsRecord{SettingsKey: integrations.SettingsKey{Definition: "d", Org: "acme"}, Version: 1})
	assert.True(t, empty.Empty(), "every field can be emptied again")
	assert.Equal(t, int64(2), empty.Version)
	assert.Equal(t, empty, settings(t, s, "d", "acme"))
	assert.False(t, empty.UpdatedAt.IsZero())
}

func testSettingsVersions(t *testing.T, s integrations.Store) {
	refused := func(r integrations.SettingsRecord, why string) {
		t.Helper()
		got, err := s.PutSettings(t.Context(), r)
		require.ErrorIs(t, err, integrations.ErrConflict, why)
		assert.Zero(t, got)
	}
	r := sampleSettings("d", "acme")
	for _, version := range []int64{1, -1, 7} {
		r.Version = version
		refused(r, "there are none")
	}
	r.Version = 0
	first := putSettings(t, s, r)
	refused(r, "there are some")
	second := putSettings(t, s, first)
	assert.Equal(t, int64(2), second.Version, "a write that changes nothing is a write")
	_, position := changes(t, s, -1, 0)
	refused(first, "they are older")
	future := second
	future.Version = 3
	refused(future, "they are newer")
	assert.Equal(t, second, settings(t, s, "d", "acme"), "nothing was written")
	keys, next := changes(t, s, position, 10)
	assert.Empty(t, keys, "no write, no change")
	assert.Equal(t, position, next)
	for _, key := range []integrations.SettingsKey{{Definition: "d"}, {Definition: "D", Org: "acme"}, {Definition: "da", Org: "cme"}, {Definition: "acme", Org: "d"}} {
		assert.Zero(t, settings(t, s, key.Definition, key.Org).Version, "%+v are others", key)
	}
}

func testListSettings(t *testing.T, s integrations.Store) {
	orgs := []string{"", "A", "B", "Z_", "a", "a%", "aa", "b", "é", "ﬀ", "𐐀"} // byte-wise
	for _, i := range []int{4, 9, 2, 0, 7, 10, 5, 1, 8, 3, 6} {
		putSettings(t, s, sampleSettings("d", orgs[i]))
		putSettings(t, s, sampleSettings("other", orgs[i]))
	}
	list := func(definition string, after *string, limit int) (found []string) {
		t.Helper()
		list, err := s.ListSettings(t.Context(), definition, after, limit)
		require.NoError(t, err)
		for _, r := range list {
			assert.Equal(t, definition, r.Definition)
			found = append(found, r.Org)
		}
		return found
	}
	assert.Equal(t, orgs, list("d", nil, 100))
	assert.Equal(t, orgs[:3], list("d", nil, 3))
	assert.Empty(t, list("d", nil, 0))
	assert.Empty(t, list("D", nil, 100))
	absent := "Z~"
	assert.Equal(t, orgs[4:], list("d", &absent, 100), "behind one that is not there")
	for _, limit := range []int{1, 2, 100} {
		var found []string
		for after := (*string)(nil); ; {
			page := list("d", after, limit)
			if len(page) == 0 {
				break
			}
			found, after = append(found, page...), &page[len(page)-1]
		}
		assert.Equal(t, orgs, found, "pages of %d", limit)
	}
	for _, part := range []integrations.SettingsRecord{
		{EntityID: "x"}, {EntityName: "x"}, {Config: json.RawMessage(`{}`)}, {Sealed: []byte{0}},
	} {
		part.SettingsKey, part.Version = integrations.SettingsKey{Definition: "d", Org: "a"}, settings(t, s, "d", "a").Version
		putSettings(t, s, part)
		assert.Equal(t, orgs, list("d", nil, 100), "any part is something")
	}
	putSettings(t, s, integrations.SettingsRecord{
		SettingsKey: integrations.SettingsKey{Definition: "d", Org: "a"}, Version: settings(t, s, "d", "a").Version, UpdatedBy: "ann",
	})
	assert.Equal(t, append(append([]string{}, orgs[:4]...), orgs[5:]...), list("d", nil, 100), "empty ones are not listed")
	assert.Equal(t, []string{"a%"}, list("d", &orgs[3], 1), "and count for nothing")
}

func testClearSettings(t *testing.T, s integrations.Store) {
	start := func() {
		t.Helper()
		for _, d := range []string{"d", "e", "D"} {
			for _, org := range []string{"", "a", "A", "b%"} {
				r := sampleSettings(d, org)
				r.Version = settings(t, s, d, org).Version
				putSettings(t, s, r)
			}
		}
	}
	for _, tt := range []struct {
		definition, org string
		cleared         []integrations.SettingsKey
	}{
		{"d", "", []integrations.SettingsKey{{Definition: "d"}, {Definition: "d", Org: "a"}, {Definition: "d", Org: "A"}, {Definition: "d", Org: "b%"}}},
		{"", "a", []integrations.SettingsKey{{Definition: "D", Org: "a"}, {Definition: "d", Org: "a"}, {Definition: "e", Org: "a"}}},
		{"e", "A", []integrations.SettingsKey{{Definition: "e", Org: "A"}}},
		{"none", "", nil},
		{"", "b_", nil},
	} {
		start()
		before := all(t, s)
		_, position := changes(t, s, -1, 0)
		require.NoError(t, s.ClearSettings(t.Context(), tt.definition, tt.org))
		keys, next := changes(t, s, position, 100)
		assert.ElementsMatch(t, tt.cleared, keys, "a clearing is in the feed, each once")
		want := make(map[integrations.SettingsKey]integrations.SettingsRecord)
		for key, r := range before {
			want[key] = r
		}
		for _, key := range tt.cleared {
			got := settings(t, s, key.Definition, key.Org)
			recent(t, got.UpdatedAt)
			want[key] = integrations.SettingsRecord{SettingsKey: key, Version: before[key].Version + 1, UpdatedAt: got.UpdatedAt}
			_, err := s.PutSettings(t.Context(), before[key])
			require.ErrorIs(t, err, integrations.ErrConflict, "who read before does not bring it back")
		}
		assert.Equal(t, want, all(t, s))
		for _, d := range []string{tt.definition, "d"} {
			list, err := s.ListSettings(t.Context(), d, nil, 100)
			require.NoError(t, err)
			for _, r := range list {
				assert.NotContains(t, tt.cleared, r.SettingsKey)
			}
		}
		require.NoError(t, s.ClearSettings(t.Context(), tt.definition, tt.org), "nothing to clear is no error")
		keys, _ = changes(t, s, next, 100)
		assert.Empty(t, keys, "and no write")
	}
	start()
	before := all(t, s)
	require.Error(t, s.ClearSettings(t.Context(), "", ""), "everybody's at once is a mistake")
	assert.Equal(t, before, all(t, s))
}

func testSettingsChanges(t *testing.T, s integrations.Store) {
	empty, start := changes(t, s, -1, 10)
	assert.Empty(t, empty, "a negative position asks for the current one")
	empty, next := changes(t, s, start, 10)
	assert.Empty(t, empty)
	assert.Equal(t, start, next, "an idle feed stays where it is")
	keys := []integrations.SettingsKey{{Definition: "d", Org: "z"}, {Definition: "d"}, {Definition: "c", Org: "a"}, {Definition: "d", Org: "a"}}
	for _, k := range keys {
		putSettings(t, s, sampleSettings(k.Definition, k.Org))
	}
	got, end := changes(t, s, start, 10)
	assert.Equal(t, keys, got, "in order of the writes")
	for _, after := range []int64{end, -1, -9} {
		empty, next = changes(t, s, after, 10)
		assert.Empty(t, empty)
		assert.Equal(t, end, next)
	}
	got, _ = changes(t, s, 0, 10)
	assert.Equal(t, keys, got, "0 is the beginning, and reading does not consume")
	got, next = changes(t, s, start, 3)
	assert.Equal(t, keys[:3], got)
	got, next = changes(t, s, next, 3)
	assert.Equal(t, keys[3:], got)
	assert.Equal(t, end, next)
	empty, next = changes(t, s, start, 0)
	assert.Empty(t, empty)
	assert.Equal(t, start, next, "what was not returned is not passed over")

	again := sampleSettings("d", "z")
	again.Version = 1
	putSettings(t, s, again)
	got, next = changes(t, s, end, 10)
	assert.Equal(t, keys[:1], got)
	assert.Greater(t, next, end)
	putDefinition(t, s, sampleDefinition("1"))
	empty, last := changes(t, s, next, 10)
	assert.Empty(t, empty, "definitions have a feed of their own")
	assert.Equal(t, next, last)

	all, _ := changes(t, s, 0, 10)
	lost, last := changes(t, s, next+1000, 10)
	assert.Equal(t, all, lost, "a position of a lost history is the beginning")
	assert.Equal(t, next, last)
}

func changes(t *testing.T, s integrations.Store, after int64, limit int) ([]integrations.SettingsKey, int64) {
	t.Helper()
	keys, next, err := s.SettingsChanges(t.Context(), after, limit)
	require.NoError(t, err)
	require.LessOrEqual(t, len(keys), limit)
	return keys, next
}

// all returns every settings that were ever written.
func all(t *testing.T, s integrations.Store) map[integrations.SettingsKey]integrations.SettingsRecord {
	t.Helper()
	keys, _ := changes(t, s, 0, 1000)
	found := make(map[integrations.SettingsKey]integrations.SettingsRecord)
	for _, key := range keys {
		found[key] = settings(t, s, key.Definition, key.Org)
	}
	return found
}
