package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func testKeyCheck(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	check := func(id, text string) map[string][]byte {
		t.Helper()
		all, err := s.KeyCheck(t.Context(), id, []byte(text))
		require.NoError(t, err)
		return all
	}
	assert.Empty(t, check("", "ignored"), "an empty id stores nothing")
	assert.Equal(t, map[string][]byte{"a": []byte("one")}, check("a", "one"))
	assert.Equal(t, map[string][]byte{"a": []byte("one")}, check("a", "two"), "the first stays")
	assert.Equal(t, map[string][]byte{"a": []byte("one"), "b": []byte("\x00\xff")}, check("b", "\x00\xff"))
	got := check("", "")
	assert.Len(t, got, 2)
	got["a"][0]++
	assert.Equal(t, []byte("one"), check("", "")["a"], "a copy is a copy")

	var mu sync.Mutex
	seen := make(map[string]bool)
	together(10, func(i int) {
		all, err := s.KeyCheck(t.Context(), "raced", fmt.Append(nil, i))
		assert.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		seen[string(all["raced"])] = true
	})
	assert.Len(t, seen, 1, "all callers see the same check")

	for _, id := range []string{"a", "a", "unknown", "raced", ""} {
		require.NoError(t, s.DeleteKeyCheck(t.Context(), id))
	}
	assert.Equal(t, map[string][]byte{"b": []byte("\x00\xff")}, check("", ""))
	assert.Equal(t, []byte("three"), check("a", "three")["a"], "a key may come back")
}

func testConcurrency(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Run("updates of one key lose nothing", func(t *testing.T) {
		s := open(t)
		const workers, each = 16, 25
		together(workers, func(int) {
			for range each {
				_, err := s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
					c.Failures++
					c.Log("counted", fmt.Sprint(c.Failures), "")
					return nil
				})
				assert.NoError(t, err)
			}
		})
		c := load(t, s, sampleKey)
		assert.Equal(t, workers*each, c.Failures)
		assert.Equal(t, int64(workers*each), c.Version)
		events, err := s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, 0, 2*workers*each)
		require.NoError(t, err)
		require.Len(t, events, workers*each, "an event per write, none twice")
		for i, e := range events {
			assert.Equal(t, fmt.Sprint(workers*each-i), e.Reason, "in the order of the writes")
		}
	})
	t.Run("one of many wins a conditional update", func(t *testing.T) {
		s := open(t)
		var mu sync.Mutex
		var winners []string
		together(50, func(i int) {
			id := fmt.Sprint("p", i)
			_, err := s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, now time.Time) error {
				if c.Attempt != nil {
					return errRefused
				}
				c.Attempt = &tokenstore.Attempt{ID: id, Started: now, Deadline: now.Add(time.Minute)}
				return nil
			})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, id)
			} else {
				assert.ErrorIs(t, err, errRefused)
			}
		})
		require.Len(t, winners, 1)
		assert.Equal(t, winners[0], load(t, s, sampleKey).Attempt.ID)
	})
	t.Run("readers never see half a write", func(t *testing.T) {
		s := open(t)
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				var last int64
				for ctx.Err() == nil {
					c, err := s.Load(t.Context(), sampleKey)
					if !assert.NoError(t, err) {
						return
					}
					if c.Version > 0 {
						assert.Equal(t, fmt.Sprint(c.Generation), string(c.Sealed))
						assert.Equal(t, c.Version, c.Generation)
					}
					assert.GreaterOrEqual(t, c.Version, last, "a reader never goes back")
					last = c.Version
				}
			})
		}
		for range 50 {
			update(t, s, sampleKey, func(c *tokenstore.Connection, _ time.Time) {
				c.Generation++
				c.Sealed = fmt.Append(nil, c.Generation)
			})
		}
		stop()
		readers.Wait()
	})
	t.Run("a write is in the feed when it is reported", func(t *testing.T) {
		s := open(t)
		together(8, func(i int) {
			key := tokenstore.Key{Definition: fmt.Sprint(i)}
			for range 10 {
				_, before, err := s.Changes(t.Context(), -1, 0)
				assert.NoError(t, err)
				_, err = s.Update(t.Context(), key, func(*tokenstore.Connection, time.Time) error { return nil })
				assert.NoError(t, err)
				keys, _, err := s.Changes(t.Context(), before, 1000)
				assert.NoError(t, err)
				assert.Contains(t, keys, key)
			}
		})
	})
	t.Run("a follower of the feed misses nothing", testFollow(open))
}

// testFollow follows the feed while others write, as a cache does, and checks
// that it ends up with the newest version of every record.
func testFollow(open func(t *testing.T) tokenstore.Store) func(t *testing.T) {
	return func(t *testing.T) {
		s := open(t)
		const keys, writes = 8, 20
		_, position, err := s.Changes(t.Context(), -1, 0)
		require.NoError(t, err)
		written := make(chan struct{})
		go func() {
			defer close(written)
			together(keys, func(i int) {
				for range writes {
					_, err := s.Update(t.Context(), tokenstore.Key{Definition: fmt.Sprint(i)}, func(*tokenstore.Connection, time.Time) error { return nil })
					assert.NoError(t, err)
				}
			})
		}()
		cache := make(map[tokenstore.Key]int64)
		for done := false; ; {
			changed, next, err := s.Changes(t.Context(), position, 3)
			require.NoError(t, err)
			require.GreaterOrEqual(t, next, position)
			position = next
			for _, key := range changed {
				cache[key] = load(t, s, key).Version
			}
			if done && len(changed) == 0 {
				break
			}
			select {
			case <-written:
				done = true // the next empty answer comes after the last write
			default:
			}
		}
		require.Len(t, cache, keys)
		for key, version := range cache {
			assert.Equal(t, int64(writes), version, "%v", key)
		}
	}
}
