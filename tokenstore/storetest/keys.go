package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// hostile are texts that somebody's storage, once, took for another one.
var hostile = []string{
	"", " ", "a", "A", "a ", " a", "a:b", "b", "b:c", "c", ":", "a\x01", "\x01", "a\x01b", "%", "_", "a%", "*", "?", "[a]",
	"'", "''", "' OR '1'='1", `"`, `\`, "a;--", "$1", "NULL", "null", "0", "00", "1", "1.0", "1e0", "true",
	"é", "e\u0301", "ß", "ss", "İ", "i", "ﬀ", "ff", "\u202e", "\ufeff", "\ufffd", "😀", "\n", "a\n", "a/b", "../a",
}

func byBytes(a, b tokenstore.Key) int {
	return cmp.Or(cmp.Compare(a.Definition, b.Definition), cmp.Compare(a.Org, b.Org),
		cmp.Compare(a.User, b.User), cmp.Compare(a.Account, b.Account))
}

// hostileKeys has each text in each part, and the neighbours in pairs, so that
// joining parts in whatever way confuses some.
func hostileKeys() []tokenstore.Key {
	seen := make(map[tokenstore.Key]bool)
	add := func(k tokenstore.Key) { seen[k] = true }
	for i, s := range hostile {
		next := hostile[(i+1)%len(hostile)]
		add(tokenstore.Key{Definition: s})
		add(tokenstore.Key{Definition: "d", Org: s})
		add(tokenstore.Key{Definition: "d", User: s})
		add(tokenstore.Key{Definition: "d", Account: s})
		add(tokenstore.Key{Definition: s, Org: next})
		add(tokenstore.Key{Definition: s + next})
		add(tokenstore.Key{Org: s, User: next})
		add(tokenstore.Key{User: s, Account: next})
	}
	for _, p := range [][2]string{{"a:b", "c"}, {"a", "b:c"}, {"ab", "c"}, {"a", "bc"}, {"a\x01b", "c"}, {"a", "b\x01c"}, {"a/b", "c"}, {"a", "b/c"}} {
		add(tokenstore.Key{Definition: p[0], Org: p[1]})
		add(tokenstore.Key{Org: p[0], User: p[1]})
		add(tokenstore.Key{User: p[0], Account: p[1]})
	}
	keys := make([]tokenstore.Key, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, byBytes)
	return keys
}

func testKeys(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	keys := hostileKeys()
	mark := func(k tokenstore.Key) string { return fmt.Sprintf("%q", k) }
	for _, k := range keys[1:] { // one of them stays unknown
		update(t, s, k, func(c *tokenstore.Connection, now time.Time) {
			assert.Zero(t, c.Version, "%q was taken for another key", k)
			c.GrantID, c.DueAt = mark(k), now
			c.Log("marked", mark(k), "")
		})
	}
	assert.Zero(t, load(t, s, keys[0]).Version)
	for _, k := range keys[1:] {
		c := load(t, s, k)
		assert.Equal(t, k, c.Key)
		assert.Equal(t, mark(k), c.GrantID)
		assert.Equal(t, int64(1), c.Version)
	}
	t.Run("list", func(t *testing.T) {
		var got []tokenstore.Key
		var after *tokenstore.Key
		for {
			list, err := s.List(t.Context(), tokenstore.Match{}, after, 17)
			require.NoError(t, err)
			if len(list) == 0 {
				break
			}
			got = append(got, keysOf(list)...)
			after = &got[len(got)-1]
		}
		assert.Equal(t, keys[1:], got, "all of them, ordered by their bytes")
	})
	t.Run("match", func(t *testing.T) {
		for _, text := range hostile {
			list, err := s.List(t.Context(), tokenstore.Match{Definition: "d", Org: &text}, nil, 1000)
			require.NoError(t, err)
			for _, c := range list {
				assert.Equal(t, "d", c.Definition)
				assert.Equal(t, text, c.Org)
			}
			assert.NotEmpty(t, list, "%q", text)
		}
	})
	t.Run("indexes", func(t *testing.T) {
		due, err := s.Due(t.Context(), 1000)
		require.NoError(t, err)
		assert.ElementsMatch(t, keys[1:], due)
		changed, _, err := s.Changes(t.Context(), 0, 1000)
		require.NoError(t, err)
		assert.ElementsMatch(t, keys[1:], changed)
	})
	t.Run("events", func(t *testing.T) {
		for _, text := range hostile {
			events, err := s.Events(t.Context(), tokenstore.Match{Definition: text}, 0, 1000)
			require.NoError(t, err)
			for _, e := range events {
				if text != "" { // which matches everything
					assert.Equal(t, text, e.Key.Definition)
				}
				assert.Equal(t, mark(e.Key), e.Reason)
			}
		}
	})
	t.Run("flows", func(t *testing.T) {
		for i, k := range keys[1:] {
			_, err := s.PutFlow(t.Context(), tokenstore.Flow{StateHash: fmt.Sprint("state-", i), Key: k, Principal: mark(k)}, time.Hour, 1)
			require.NoError(t, err)
		}
		for i, k := range keys[1:] {
			f, err := s.GetFlow(t.Context(), fmt.Sprint("state-", i))
			require.NoError(t, err)
			assert.Equal(t, k, f.Key)
			open, err := s.HasFlow(t.Context(), k)
			require.NoError(t, err)
			assert.True(t, open)
		}
		open, err := s.HasFlow(t.Context(), keys[0])
		require.NoError(t, err)
		assert.False(t, open)
	})
}
