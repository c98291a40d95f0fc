package oauthflow

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFairQueue(t *testing.T) {
	endpoint := func(name string) breakerKey { return breakerKey{tokenURL: name} }
	fill := func(q *fairQueue, name, host string, n int) {
		for i := range n {
			q.add(endpoint(name), host, org(i))
		}
	}
	drain := func(q *fairQueue) (names []string, lines []*line) {
		for {
			l, _ := q.next()
			if l == nil {
				return names, lines
			}
			names, lines = append(names, l.key.tokenURL), append(lines, l)
		}
	}
	t.Run("turn by turn", func(t *testing.T) {
		q := newFairQueue(6)
		fill(q, "a", "a", 100)
		fill(q, "b", "b", 2)
		fill(q, "c", "c", 1)
		names, _ := drain(q)
		require.ElementsMatch(t, []string{"a", "b", "c"}, names[:3])
		require.ElementsMatch(t, []string{"a", "b", "a"}, names[3:])
	})
	t.Run("whoever has the fewest is next", func(t *testing.T) {
		q := newFairQueue(4)
		fill(q, "slow", "slow", 100)
		names, lines := drain(q)
		require.Equal(t, []string{"slow", "slow", "slow"}, names, "and one worker is left")
		fill(q, "quick", "quick", 100)
		for range 50 {
			l, _ := q.next()
			require.Equal(t, "quick", l.key.tokenURL)
			q.done(l)
		}
		q.done(lines[0])
		names, _ = drain(q)
		require.Equal(t, []string{"quick", "quick"}, names)
	})
	t.Run("one host has one limit, whatever its URLs", func(t *testing.T) {
		q := newFairQueue(16)
		for i := range 100 {
			fill(q, fmt.Sprint("tenant ", i), "login.example.com", 1)
		}
		names, lines := drain(q)
		require.Len(t, names, 14)
		for _, l := range lines {
			q.done(l)
		}
		require.Empty(t, q.hosts)
		require.Len(t, q.lines, 86, "nothing is kept of what is done")
	})
	t.Run("in order within a line, and a single worker is not kept back", func(t *testing.T) {
		q := newFairQueue(1)
		fill(q, "a", "a", 3)
		for i := range 3 {
			l, key := q.next()
			require.Equal(t, org(i), key)
			none, _ := q.next()
			require.Nil(t, none)
			q.done(l)
		}
		require.Empty(t, q.lines)
		require.Zero(t, q.waiting)
		require.Zero(t, q.length(endpoint("a")))
	})
}
