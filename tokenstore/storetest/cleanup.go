package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// reasons returns the reasons of what is in the history, oldest first.
func reasons(t *testing.T, s tokenstore.Store, match tokenstore.Match) []string {
	t.Helper()
	list, err := s.Events(t.Context(), match, 0, 1000)
	require.NoError(t, err)
	var texts []string
	for i := len(list) - 1; i >= 0; i-- {
		texts = append(texts, list[i].Reason)
	}
	return texts
}

func testAddEvents(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Run("keeps every field", func(t *testing.T) {
		s := open(t)
		clock := load(t, s, sampleKey).ReadAt
		global := tokenstore.Key{Definition: "def-2"}
		require.NoError(t, s.AddEvents(t.Context(),
			tokenstore.Event{ID: 99, At: time.Unix(1, 0), Key: sampleKey, Kind: "definition_created", Reason: "one", Actor: "ann"},
			tokenstore.Event{Key: global, Kind: "definition_deleted", Reason: "two"},
		))
		update(t, s, sampleKey, func(c *tokenstore.Connection, _ time.Time) { c.Log("connected", "three", "bob") })
		require.NoError(t, s.AddEvents(t.Context(), tokenstore.Event{Reason: "four — “odd”\n%_'"}))
		list, err := s.Events(t.Context(), tokenstore.Match{}, 0, 10)
		require.NoError(t, err)
		require.Len(t, list, 4)
		want := []tokenstore.Event{
			{Reason: "four — “odd”\n%_'"},
			{Key: sampleKey, Kind: "connected", Reason: "three", Actor: "bob"},
			{Key: global, Kind: "definition_deleted", Reason: "two"},
			{Key: sampleKey, Kind: "definition_created", Reason: "one", Actor: "ann"},
		}
		for i, e := range list {
			if i > 0 {
				assert.Less(t, e.ID, list[i-1].ID, "in the order given")
			}
			assert.WithinDuration(t, clock, e.At, time.Minute, "At is the store's clock, not the caller's")
			e.ID, e.At = 0, time.Time{}
			assert.Equal(t, want[i], e)
		}
		assert.Equal(t, int64(1), load(t, s, sampleKey).Version, "an event is no write of a record")
	})
	t.Run("none", func(t *testing.T) {
		s := open(t)
		require.NoError(t, s.AddEvents(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.AddEvents(ctx, tokenstore.Event{Reason: "never"}), context.Canceled)
		assert.Empty(t, reasons(t, s, tokenstore.Match{}))
	})
	t.Run("at once", func(t *testing.T) {
		s := open(t)
		together(10, func(i int) {
			key := tokenstore.Key{Definition: fmt.Sprint(i)}
			assert.NoError(t, s.AddEvents(t.Context(),
				tokenstore.Event{Key: key, Reason: "1"}, tokenstore.Event{Key: key, Reason: "2"}, tokenstore.Event{Key: key, Reason: "3"}))
		})
		for i := range 10 {
			assert.Equal(t, []string{"1", "2", "3"}, reasons(t, s, tokenstore.Match{Definition: fmt.Sprint(i)}))
		}
		assert.Len(t, reasons(t, s, tokenstore.Match{}), 30)
	})
}

func testDeleteEvents(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	a, b := "a", "b%"
	start := func(t *testing.T) tokenstore.Store {
		t.Helper()
		s := open(t)
		for i, key := range []tokenstore.Key{
			{Definition: "x", Org: a}, {Definition: "y", Org: a}, {Definition: "x", Org: b}, {Definition: "x"}, {Definition: "x", Org: a, User: "u"},
		} {
			require.NoError(t, s.AddEvents(t.Context(), tokenstore.Event{Key: key, Reason: fmt.Sprint(i)}))
		}
		return s
	}
	remove := func(t *testing.T, s tokenstore.Store, match tokenstore.Match, age time.Duration, limit int) int {
		t.Helper()
		n, err := s.DeleteEvents(t.Context(), match, age, limit)
		require.NoError(t, err)
		return n
	}
	none := ""
	for _, tt := range []struct {
		name  string
		match tokenstore.Match
		limit int
		left  []string
	}{
		{"everything", tokenstore.Match{}, 10, nil},
		{"a limit", tokenstore.Match{}, 2, []string{"2", "3", "4"}},
		{"no room", tokenstore.Match{}, 0, []string{"0", "1", "2", "3", "4"}},
		{"an org", tokenstore.Match{Org: &a}, 10, []string{"2", "3"}},
		{"an org, a limit", tokenstore.Match{Org: &a}, 2, []string{"2", "3", "4"}},
		{"no org is an org", tokenstore.Match{Org: &none}, 10, []string{"0", "1", "2", "4"}},
		{"a definition", tokenstore.Match{Definition: "x"}, 10, []string{"1"}},
		{"a definition, a limit", tokenstore.Match{Definition: "x"}, 3, []string{"1", "4"}},
		{"both", tokenstore.Match{Definition: "x", Org: &a}, 10, []string{"1", "2", "3"}},
		{"nobody's", tokenstore.Match{Definition: "X"}, 10, []string{"0", "1", "2", "3", "4"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			assert.Equal(t, 5-len(tt.left), remove(t, s, tt.match, 0, tt.limit))
			assert.Equal(t, tt.left, reasons(t, s, tokenstore.Match{}), "the oldest first")
		})
	}
	t.Run("only what is old", func(t *testing.T) {
		s := start(t)
		for _, match := range []tokenstore.Match{{}, {Definition: "x"}, {Org: &a}, {Definition: "x", Org: &a}} {
			assert.Zero(t, remove(t, s, match, time.Hour, 10))
		}
		assert.Len(t, reasons(t, s, tokenstore.Match{}), 5)
		deleted := 0
		assert.Eventually(t, func() bool {
			deleted += remove(t, s, tokenstore.Match{}, 5*time.Millisecond, 2)
			return deleted == 5
		}, 10*time.Second, time.Millisecond)
	})
	t.Run("IDs are not given again", func(t *testing.T) {
		s := start(t)
		newest, err := s.Events(t.Context(), tokenstore.Match{}, 0, 1)
		require.NoError(t, err)
		require.Len(t, newest, 1)
		assert.Equal(t, 5, remove(t, s, tokenstore.Match{}, 0, 10))
		require.NoError(t, s.AddEvents(t.Context(), tokenstore.Event{Reason: "new"}))
		next, err := s.Events(t.Context(), tokenstore.Match{}, 0, 10)
		require.NoError(t, err)
		require.Len(t, next, 1)
		assert.Greater(t, next[0].ID, newest[0].ID)
	})
	t.Run("at once", func(t *testing.T) {
		s := open(t)
		for range 40 {
			require.NoError(t, s.AddEvents(t.Context(), tokenstore.Event{Reason: "old"}))
		}
		var deleted atomic.Int64
		together(8, func(int) {
			n, err := s.DeleteEvents(t.Context(), tokenstore.Match{}, 0, 7)
			assert.NoError(t, err)
			deleted.Add(int64(n))
		})
		assert.Equal(t, int64(40), deleted.Load(), "each is counted once")
	})
}

func testDeleteFlows(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	a, none := "a", ""
	keys := map[string]tokenstore.Key{
		"xa": {Definition: "x", Org: a}, "xau": {Definition: "x", Org: a, User: "u", Account: "work"}, "ya": {Definition: "y", Org: a},
		"x": {Definition: "x"}, "xb": {Definition: "x", Org: "A"},
	}
	for _, tt := range []struct {
		name  string
		match tokenstore.Match
		gone  []string
	}{
		{"an org", tokenstore.Match{Org: &a}, []string{"xa", "xau", "ya"}},
		{"no org is an org", tokenstore.Match{Org: &none}, []string{"x"}},
		{"a definition", tokenstore.Match{Definition: "x"}, []string{"xa", "xau", "x", "xb"}},
		{"both", tokenstore.Match{Definition: "x", Org: &a}, []string{"xa", "xau"}},
		{"everything", tokenstore.Match{}, []string{"xa", "xau", "ya", "x", "xb"}},
		{"nobody's", tokenstore.Match{Definition: "%"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			for state, key := range keys {
				f := sampleFlow(state)
				f.Key = key
				putFlow(t, s, f, time.Minute, 8)
			}
			require.NoError(t, s.DeleteFlows(t.Context(), tt.match))
			require.NoError(t, s.DeleteFlows(t.Context(), tt.match), "none is no error")
			gone := make(map[string]bool)
			for _, state := range tt.gone {
				gone[state] = true
				noFlow(t, s, state)
			}
			for state, key := range keys {
				assert.Equal(t, !gone[state], hasFlow(t, s, key), state)
			}
		})
	}
	t.Run("a context that has ended", func(t *testing.T) {
		s := open(t)
		putFlow(t, s, sampleFlow("s1"), time.Minute, 8)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.DeleteFlows(ctx, tokenstore.Match{}), context.Canceled)
		_, err := s.DeleteEvents(ctx, tokenstore.Match{}, 0, 1)
		require.ErrorIs(t, err, context.Canceled)
		assert.True(t, hasFlow(t, s, sampleKey))
	})
}
