package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func testList(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	none, err := s.List(t.Context(), tokenstore.Match{}, nil, 10)
	require.NoError(t, err)
	assert.Empty(t, none)

	keys := []tokenstore.Key{ // in order
		{Definition: "A"},
		{Definition: "a"}, {Definition: "a", Account: "x"}, {Definition: "a", User: "u"}, {Definition: "a", Org: "o"}, {Definition: "a", Org: "p"},
		{Definition: "b"}, {Definition: "b", Org: "o"},
	}
	for _, i := range []int{3, 0, 7, 2, 5, 1, 6, 4} {
		update(t, s, keys[i], nil)
	}
	update(t, s, keys[4], func(c *tokenstore.Connection, now time.Time) { fill(c, now) })
	update(t, s, keys[4], func(c *tokenstore.Connection, _ time.Time) { // a disconnect leaves this
		*c = tokenstore.Connection{Generation: c.Generation + 1, Status: tokenstore.NotConnected}
	})
	org := func(s string) *string { return &s }
	tests := []struct {
		name  string
		match tokenstore.Match
		after *tokenstore.Key
		limit int
		want  []tokenstore.Key
	}{
		{"everything", tokenstore.Match{}, nil, 100, keys},
		{"a limit", tokenstore.Match{}, nil, 3, keys[:3]},
		{"no room", tokenstore.Match{}, nil, 0, nil},
		{"after one", tokenstore.Match{}, &keys[2], 100, keys[3:]},
		{"after the last", tokenstore.Match{}, &keys[7], 100, nil},
		{"after one that is not there", tokenstore.Match{}, &tokenstore.Key{Definition: "a", Account: "y"}, 2, keys[3:5]},
		{"a definition", tokenstore.Match{Definition: "a"}, nil, 100, keys[1:6]},
		{"a definition, paged", tokenstore.Match{Definition: "a"}, &keys[3], 1, keys[4:5]},
		{"an unknown definition", tokenstore.Match{Definition: "c"}, nil, 100, nil},
		{"an org", tokenstore.Match{Org: org("o")}, nil, 100, []tokenstore.Key{keys[4], keys[7]}},
		{"an org, paged", tokenstore.Match{Org: org("o")}, &keys[4], 100, keys[7:]},
		{"no org is an org", tokenstore.Match{Org: org("")}, nil, 100, []tokenstore.Key{keys[0], keys[1], keys[2], keys[3], keys[6]}},
		{"both", tokenstore.Match{Definition: "a", Org: org("o")}, nil, 100, keys[4:5]},
		{"both, nothing", tokenstore.Match{Definition: "b", Org: org("p")}, nil, 100, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list, err := s.List(t.Context(), test.match, test.after, test.limit)
			require.NoError(t, err)
			if len(test.want) == 0 {
				assert.Empty(t, list)
				return
			}
			assert.Equal(t, test.want, keysOf(list))
		})
	}
	list, err := s.List(t.Context(), tokenstore.Match{Org: org("o")}, nil, 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, int64(8), list[0].Generation, "the tombstone keeps its generation")
	assert.Equal(t, int64(3), list[0].Version)
}

func testDue(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	due := func(name string, at func(now time.Time) time.Time) tokenstore.Key {
		key := tokenstore.Key{Definition: name}
		update(t, s, key, func(c *tokenstore.Connection, now time.Time) { c.DueAt = at(now) })
		return key
	}
	in := func(d time.Duration) func(time.Time) time.Time {
		return func(now time.Time) time.Time { return now.Add(d) }
	}
	hour := due("an hour ago", in(-time.Hour))
	moment := due("now", in(0))
	year := due("long ago", in(-365*24*time.Hour))
	due("later", in(time.Hour))
	due("never", func(time.Time) time.Time { return time.Time{} })
	done := due("done since", in(-2*time.Hour))
	update(t, s, done, func(c *tokenstore.Connection, _ time.Time) { c.DueAt = time.Time{} })
	moved := due("moved", in(-2*time.Hour))
	update(t, s, moved, func(c *tokenstore.Connection, now time.Time) { c.DueAt = now.Add(time.Hour) })

	for limit, want := range [][]tokenstore.Key{nil, {year}, {year, hour}, {year, hour, moment}, {year, hour, moment}} {
		keys, err := s.Due(t.Context(), limit)
		require.NoError(t, err)
		assert.Equal(t, len(want), len(keys), "limit %d: %v", limit, keys)
		if len(want) > 0 {
			assert.Equal(t, want, keys, "the longest due first")
		}
	}
}

func testChanges(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	changes := func(after int64, limit int) ([]tokenstore.Key, int64) {
		t.Helper()
		keys, next, err := s.Changes(t.Context(), after, limit)
		require.NoError(t, err)
		return keys, next
	}
	keys := make([]tokenstore.Key, 5)
	for i := range keys {
		keys[i] = tokenstore.Key{Definition: fmt.Sprint(5 - i)}
	}
	empty, start := changes(-1, 10)
	assert.Empty(t, empty, "a negative position asks for the current one")
	empty, next := changes(start, 10)
	assert.Empty(t, empty)
	assert.Equal(t, start, next, "an idle feed stays where it is")

	for _, k := range keys {
		update(t, s, k, nil)
	}
	got, end := changes(start, 10)
	assert.Equal(t, keys, got, "in order of the writes")
	empty, next = changes(end, 10)
	assert.Empty(t, empty)
	assert.Equal(t, end, next)
	empty, next = changes(-1, 10)
	assert.Empty(t, empty)
	assert.Equal(t, end, next)
	again, _ := changes(start, 10)
	assert.Equal(t, keys, again, "reading does not consume")

	got, next = changes(start, 2)
	assert.Equal(t, keys[:2], got)
	got, next = changes(next, 2)
	assert.Equal(t, keys[2:4], got)
	got, next = changes(next, 2)
	assert.Equal(t, keys[4:], got)
	assert.Equal(t, end, next)
	empty, next = changes(start, 0)
	assert.Empty(t, empty)
	assert.Equal(t, start, next, "what was not returned is not passed over")

	update(t, s, keys[3], nil)
	update(t, s, keys[1], nil)
	update(t, s, keys[3], nil)
	got, next = changes(end, 10)
	assert.Equal(t, keys[3], got[len(got)-1], "ordered by the last write")
	assert.ElementsMatch(t, unique(got), []tokenstore.Key{keys[1], keys[3]})
	assert.Greater(t, next, end)
	got, _ = changes(start, 100)
	assert.ElementsMatch(t, keys, unique(got))

	lost, last := changes(next+1000, 100)
	all, end := changes(0, 100)
	assert.Equal(t, all, lost, "a position of a lost history is the beginning")
	assert.Equal(t, end, last)
}

func unique(keys []tokenstore.Key) []tokenstore.Key {
	seen := make(map[tokenstore.Key]bool)
	var list []tokenstore.Key
	for _, k := range keys {
		if !seen[k] {
			seen[k] = true
			list = append(list, k)
		}
	}
	return list
}

func testEvents(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	var written time.Time
	update(t, s, sampleKey, func(c *tokenstore.Connection, now time.Time) {
		c.Log("connected", "", "ann")
		c.Log("refreshed", "early", "")
		written = now
	})
	other := tokenstore.Key{Definition: "def-2"}
	update(t, s, other, func(c *tokenstore.Connection, _ time.Time) { c.Log("connected", "", "bob") })
	global := tokenstore.Key{Definition: sampleKey.Definition}
	c := update(t, s, global, func(c *tokenstore.Connection, _ time.Time) { c.Log("disconnected", "asked", "root") })
	assert.Empty(t, c.Pending, "Pending is empty when a record was read")
	assert.Empty(t, load(t, s, global).Pending)
	update(t, s, global, func(c *tokenstore.Connection, _ time.Time) { assert.Empty(t, c.Pending) })

	all, err := s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, 0, 10)
	require.NoError(t, err)
	require.Len(t, all, 3, "the history of one definition, and written once")
	want := []tokenstore.Event{
		{Key: global, Kind: "disconnected", Reason: "asked", Actor: "root"},
		{Key: sampleKey, Kind: "refreshed", Reason: "early"},
		{Key: sampleKey, Kind: "connected", Actor: "ann"},
	}
	for i, e := range all {
		assert.Positive(t, e.ID)
		assert.False(t, e.At.IsZero())
		e.ID, e.At = 0, time.Time{}
		assert.Equal(t, want[i], e, "newest first")
	}
	assert.Greater(t, all[0].ID, all[1].ID)
	assert.Greater(t, all[1].ID, all[2].ID)
	assert.WithinDuration(t, written, all[2].At, time.Microsecond, "the clock of the write")

	page, err := s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, 0, 2)
	require.NoError(t, err)
	assert.Equal(t, all[:2], page)
	page, err = s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, page[1].ID, 2)
	require.NoError(t, err)
	assert.Equal(t, all[2:], page)
	for _, before := range []int64{all[2].ID, 1} {
		page, err = s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, before, 2)
		require.NoError(t, err)
		assert.Empty(t, page)
	}
	page, err = s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, 0, 0)
	require.NoError(t, err)
	assert.Empty(t, page)
	org := func(name string) *string { return &name }
	for _, tt := range []struct {
		match tokenstore.Match
		want  []tokenstore.Event
	}{
		{tokenstore.Match{Definition: sampleKey.Definition, Org: org("")}, all[:1]},
		{tokenstore.Match{Definition: sampleKey.Definition, Org: &sampleKey.Org}, all[1:]},
		{tokenstore.Match{Org: &sampleKey.Org}, all[1:]},
		{tokenstore.Match{Definition: other.Definition, Org: &sampleKey.Org}, nil},
	} {
		page, err = s.Events(t.Context(), tt.match, 0, 10)
		require.NoError(t, err)
		assert.Equal(t, tt.want, page)
	}
	page, err = s.Events(t.Context(), tokenstore.Match{}, 0, 10)
	require.NoError(t, err)
	assert.Len(t, page, 4, "everybody's")
	page, err = s.Events(t.Context(), tokenstore.Match{Definition: "unknown"}, 0, 10)
	require.NoError(t, err)
	assert.Empty(t, page)
}
