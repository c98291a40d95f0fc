package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// sampleDefinition has every field set that is the caller's.
func sampleDefinition(id string) integrations.DefinitionRecord {
	return integrations.DefinitionRecord{
		ID: id, Org: "acme", Name: "CRM-" + id, Body: json.RawMessage(`{"name":"CRM","n":[1,2.5,null],"o":{}}`),
		Sealed: []byte{0, 1, 0xff}, UpdatedBy: "ann",
	}
}

func testDefinition(t *testing.T, s integrations.Store) {
	d := sampleDefinition("1")
	d.CreatedAt, d.UpdatedAt = time.Unix(1, 0), time.Unix(2, 0)
	stored := putDefinition(t, s, d)
	recent(t, stored.CreatedAt)
	recent(t, stored.UpdatedAt)
	want := plainDefinition(t, sampleDefinition("1"))
	want.Version, want.CreatedAt, want.UpdatedAt = 1, stored.UpdatedAt, stored.UpdatedAt
	assert.Equal(t, want, stored, "what PutDefinition returns")
	list, _ := definitions(t, s, 0, 10)
	assert.Equal(t, []integrations.DefinitionRecord{want}, list, "what Definitions returns")

	stored.Body, stored.Sealed, stored.UpdatedBy = nil, nil, ""
	again := putDefinition(t, s, stored)
	assert.False(t, again.UpdatedAt.Before(want.UpdatedAt))
	want = integrations.DefinitionRecord{
		ID: "1", Org: d.Org, Name: d.Name, Version: 2, CreatedAt: want.CreatedAt, UpdatedAt: again.UpdatedAt,
	}
	assert.Equal(t, want, again, "nil stays nil, and CreatedAt as it is")
	assert.Equal(t, want, definition(t, s, "1"))
}

func testDefinitionVersions(t *testing.T, s integrations.Store) {
	refused := func(d integrations.DefinitionRecord, why string) {
		t.Helper()
		got, err := s.PutDefinition(t.Context(), d)
		require.ErrorIs(t, err, integrations.ErrConflict, why)
		assert.Zero(t, got)
	}
	d := sampleDefinition("1")
	for _, version := range []int64{1, -1, 7} {
		d.Version = version
		refused(d, "there is none")
	}
	d.Version = 0
	first := putDefinition(t, s, d)
	refused(d, "there is one")
	second := putDefinition(t, s, first)
	assert.Equal(t, int64(2), second.Version, "a write that changes nothing is a write")
	_, position := definitions(t, s, 0, 10)
	refused(first, "it is older")
	future := second
	future.Version = 3
	refused(future, "it is newer")
	for _, change := range []func(d *integrations.DefinitionRecord){
		func(d *integrations.DefinitionRecord) { d.Org = "other" },
		func(d *integrations.DefinitionRecord) { d.Org = "" },
		func(d *integrations.DefinitionRecord) { d.Name = "other" },
	} {
		moved := second
		change(&moved)
		refused(moved, "a definition keeps its organization and its name")
	}
	assert.Equal(t, second, definition(t, s, "1"), "nothing was written")
	list, next := definitions(t, s, position, 10)
	assert.Empty(t, list, "no write, no change")
	assert.Equal(t, position, next)
}

func testNames(t *testing.T, s integrations.Store) {
	named := func(id, org, name string) integrations.DefinitionRecord {
		return integrations.DefinitionRecord{ID: id, Org: org, Name: name, Body: json.RawMessage(`{}`)}
	}
	for i, n := range [][2]string{{"", "CRM"}, {"a", "CRM"}, {"A", "CRM"}, {"a", "crm"}, {"a", "CRM "}, {"aC", "RM"}, {"a", "C_M"}, {"a", "%"}} {
		putDefinition(t, s, named(fmt.Sprint(i), n[0], n[1]))
	}
	_, position := definitions(t, s, 0, 100)
	for _, org := range []string{"", "a"} {
		got, err := s.PutDefinition(t.Context(), named("new", org, "CRM"))
		require.ErrorIs(t, err, integrations.ErrNameTaken)
		assert.Zero(t, got)
	}
	list, _ := definitions(t, s, position, 10)
	assert.Empty(t, list, "nothing was written")

	gone := definition(t, s, "1")
	gone.Deleted, gone.Body = true, nil
	putDefinition(t, s, gone)
	fresh := putDefinition(t, s, named("new", "a", "CRM"))
	assert.Equal(t, int64(1), fresh.Version, "a deleted definition's name is free")
	_, err := s.PutDefinition(t.Context(), named("newer", "a", "CRM"))
	require.ErrorIs(t, err, integrations.ErrNameTaken)
	fresh.UpdatedBy = "bob"
	fresh = putDefinition(t, s, fresh) // its own name is not in its way
	fresh.Deleted, fresh.Body = true, nil
	putDefinition(t, s, fresh)
	putDefinition(t, s, named("newest", "a", "CRM"))
}

func testDeleted(t *testing.T, s integrations.Store) {
	d := putDefinition(t, s, sampleDefinition("1"))
	d.Deleted, d.Body, d.Sealed, d.UpdatedBy = true, nil, nil, "root"
	gone := putDefinition(t, s, d)
	want := d
	want.Version, want.UpdatedAt = 2, gone.UpdatedAt
	assert.Equal(t, want, gone)
	list, next := definitions(t, s, 0, 10)
	assert.Equal(t, []integrations.DefinitionRecord{want}, list, "a deletion is in the feed")

	fresh := sampleDefinition("1")
	_, err := s.PutDefinition(t.Context(), fresh)
	require.ErrorIs(t, err, integrations.ErrConflict, "an id is not used again")
	_, err = s.PutDefinition(t.Context(), d)
	require.ErrorIs(t, err, integrations.ErrConflict)
	fresh = sampleDefinition("2")
	fresh.Name = d.Name
	putDefinition(t, s, fresh)
	list, _ = definitions(t, s, next, 10)
	require.Len(t, list, 1)
	assert.Equal(t, "2", list[0].ID, "the deleted one stays as it was")

	// A tombstone may be written again, whoever has its name now.
	gone.UpdatedBy = "late"
	assert.Equal(t, int64(3), putDefinition(t, s, gone).Version)
}

func testDefinitions(t *testing.T, s integrations.Store) {
	ids := func(list []integrations.DefinitionRecord) (ids []string) {
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		return ids
	}
	list, start := definitions(t, s, 0, 10)
	assert.Empty(t, list)
	assert.Zero(t, start, "an idle feed stays where it is")
	stored := make(map[string]integrations.DefinitionRecord)
	for _, id := range []string{"5", "3", "4", "1", "2"} {
		stored[id] = putDefinition(t, s, sampleDefinition(id))
	}
	list, end := definitions(t, s, 0, 10)
	assert.Equal(t, []string{"5", "3", "4", "1", "2"}, ids(list), "in order of the writes")
	assert.Positive(t, end)
	list, next := definitions(t, s, end, 10)
	assert.Empty(t, list)
	assert.Equal(t, end, next)
	list, next = definitions(t, s, 0, 0)
	assert.Empty(t, list)
	assert.Zero(t, next, "what was not returned is not passed over")

	list, next = definitions(t, s, 0, 2)
	assert.Equal(t, []string{"5", "3"}, ids(list))
	for _, id := range []string{"3", "1"} {
		stored[id] = putDefinition(t, s, stored[id])
	}
	list, next = definitions(t, s, next, 2)
	assert.Equal(t, []string{"4", "2"}, ids(list), "what was written again comes later")
	list, next = definitions(t, s, next, 2)
	assert.Equal(t, []string{"3", "1"}, ids(list))
	assert.Greater(t, next, end)
	list, last := definitions(t, s, end, 10)
	assert.Equal(t, []integrations.DefinitionRecord{stored["3"], stored["1"]}, list)
	assert.Equal(t, next, last)
	list, _ = definitions(t, s, 0, 10)
	assert.Equal(t, []string{"5", "4", "2", "3", "1"}, ids(list), "reading does not consume")

	list, last = definitions(t, s, next+1000, 10)
	assert.Equal(t, []string{"5", "4", "2", "3", "1"}, ids(list), "a position of a lost history is the beginning")
	assert.Equal(t, next, last)
}
