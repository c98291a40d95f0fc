package storetest

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func sampleFlow(state string) tokenstore.Flow {
	return tokenstore.Flow{
		StateHash: state, CookieHash: "cookie-hash", CookieName: "__Host-flow", Key: sampleKey, Principal: "ann",
		EntityID: "tenant", Verifier: []byte{0, 1, 0xff}, RedirectURI: "https://app.example.com/cb", ReturnTo: "/a?b=c#d",
		Scopes: []string{"a", "b c"}, CreatedAt: time.Unix(1, 0), ExpiresAt: time.Unix(2, 0),
	}
}

func putFlow(t *testing.T, s tokenstore.Store, f tokenstore.Flow, life time.Duration, maxOpen int) tokenstore.Flow {
	t.Helper()
	stored, err := s.PutFlow(t.Context(), f, life, maxOpen)
	require.NoError(t, err)
	return stored
}

func noFlow(t *testing.T, s tokenstore.Store, state string) {
	t.Helper()
	f, err := s.GetFlow(t.Context(), state)
	require.ErrorIs(t, err, tokenstore.ErrNotFound, "GetFlow %q", state)
	assert.Zero(t, f)
	f, err = s.TakeFlow(t.Context(), state)
	require.ErrorIs(t, err, tokenstore.ErrNotFound, "TakeFlow %q", state)
	assert.Zero(t, f)
}

func hasFlow(t *testing.T, s tokenstore.Store, key tokenstore.Key) bool {
	t.Helper()
	has, err := s.HasFlow(t.Context(), key)
	require.NoError(t, err)
	return has
}

func plainFlow(f tokenstore.Flow) tokenstore.Flow {
	plainTimes(reflect.ValueOf(&f).Elem())
	return f
}

func testFlows(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Run("keeps every field", func(t *testing.T) {
		s := open(t)
		want := sampleFlow("s1")
		complete(t, reflect.ValueOf(want), "Flow")
		clock := load(t, s, sampleKey).ReadAt
		stored := putFlow(t, s, want, 10*time.Minute, 8)
		assert.WithinDuration(t, clock, stored.CreatedAt, time.Minute, "CreatedAt is the store's clock, not the caller's")
		assert.Equal(t, 10*time.Minute, stored.ExpiresAt.Sub(stored.CreatedAt))
		want.CreatedAt, want.ExpiresAt = stored.CreatedAt, stored.ExpiresAt
		assert.Equal(t, plainFlow(want), plainFlow(stored))
		for range 2 {
			got, err := s.GetFlow(t.Context(), "s1")
			require.NoError(t, err)
			assert.Equal(t, plainFlow(want), plainFlow(got), "GetFlow does not consume")
		}
		assert.True(t, hasFlow(t, s, sampleKey))
		got, err := s.TakeFlow(t.Context(), "s1")
		require.NoError(t, err)
		assert.Equal(t, plainFlow(want), plainFlow(got))
		noFlow(t, s, "s1")
		assert.False(t, hasFlow(t, s, sampleKey))
	})
	t.Run("keeps what is empty empty", func(t *testing.T) {
		s := open(t)
		stored := putFlow(t, s, tokenstore.Flow{StateHash: "s1"}, time.Minute, 8)
		got, err := s.GetFlow(t.Context(), "s1")
		require.NoError(t, err)
		assert.Nil(t, got.Verifier, "nil without PKCE")
		assert.Empty(t, got.Scopes)
		got.Scopes = stored.Scopes
		assert.Equal(t, plainFlow(stored), plainFlow(got))
	})
	t.Run("only the exact state is found", func(t *testing.T) {
		s := open(t)
		for _, state := range []string{"", "abc", "s%", "s_"} {
			noFlow(t, s, state)
		}
		putFlow(t, s, sampleFlow("abc"), time.Minute, 8)
		for _, state := range []string{"", "ab", "abcd", "ABC", "abc ", " abc", "abc\x00", "%", "a%", "ab_", "*", "' OR 1=1 --"} {
			noFlow(t, s, state)
		}
		assert.True(t, hasFlow(t, s, sampleKey), "and nothing else was taken")
	})
	t.Run("put again is replaced", func(t *testing.T) {
		s := open(t)
		putFlow(t, s, sampleFlow("s1"), time.Minute, 8)
		f := sampleFlow("s1")
		f.ReturnTo = "/other"
		putFlow(t, s, f, time.Minute, 8)
		got, err := s.TakeFlow(t.Context(), "s1")
		require.NoError(t, err)
		assert.Equal(t, "/other", got.ReturnTo)
		noFlow(t, s, "s1")
	})
	t.Run("copies", func(t *testing.T) {
		s := open(t)
		f := sampleFlow("s1")
		stored := putFlow(t, s, f, time.Minute, 8)
		f.Verifier[0], f.Scopes[0] = 99, "spoiled"
		stored.Verifier[1], stored.Scopes[1] = 99, "spoiled"
		got, err := s.GetFlow(t.Context(), "s1")
		require.NoError(t, err)
		got.Verifier[2] = 99
		got, err = s.GetFlow(t.Context(), "s1")
		require.NoError(t, err)
		want := sampleFlow("s1")
		assert.Equal(t, want.Verifier, got.Verifier)
		assert.Equal(t, want.Scopes, got.Scopes)
	})
	t.Run("expired", func(t *testing.T) {
		s := open(t)
		for i, life := range []time.Duration{0, -time.Minute} {
			state := fmt.Sprint("s", i)
			putFlow(t, s, sampleFlow(state), life, 8)
			noFlow(t, s, state)
		}
		assert.False(t, hasFlow(t, s, sampleKey))

		putFlow(t, s, sampleFlow("short"), 30*time.Millisecond, 8)
		assert.Eventually(t, func() bool {
			_, err := s.GetFlow(t.Context(), "short")
			return err != nil
		}, 10*time.Second, 5*time.Millisecond)
		assert.False(t, hasFlow(t, s, sampleKey))
		noFlow(t, s, "short")
	})
	t.Run("taken once", func(t *testing.T) {
		s := open(t)
		for round := range 5 {
			state := fmt.Sprint("s", round)
			putFlow(t, s, sampleFlow(state), time.Minute, 8)
			var got atomic.Int32
			together(50, func(int) {
				f, err := s.TakeFlow(t.Context(), state)
				if err == nil {
					got.Add(1)
					assert.Equal(t, state, f.StateHash)
					return
				}
				assert.ErrorIs(t, err, tokenstore.ErrNotFound)
			})
			assert.Equal(t, int32(1), got.Load(), "of 50 who take a flow exactly one gets it")
		}
	})
}

func testOpenFlows(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	key := func(i int) tokenstore.Key { return tokenstore.Key{Definition: fmt.Sprint("def-", i)} }
	put := func(t *testing.T, s tokenstore.Store, i int, principal string, life time.Duration, maxOpen int) {
		t.Helper()
		f := sampleFlow(fmt.Sprint("s", i))
		f.Key, f.Principal = key(i), principal
		putFlow(t, s, f, life, maxOpen)
	}
	t.Run("the oldest are dropped", func(t *testing.T) {
		s := open(t)
		put(t, s, 100, "bob", time.Minute, 3)
		for i := range 5 {
			put(t, s, i, "ann", time.Minute, 3)
		}
		for i, want := range []bool{false, false, true, true, true} {
			assert.Equal(t, want, hasFlow(t, s, key(i)), "flow %d", i)
		}
		assert.True(t, hasFlow(t, s, key(100)), "another principal's flows are not counted")
		noFlow(t, s, "s0")
		noFlow(t, s, "s1")
		put(t, s, 5, "ann", time.Minute, 1)
		for i, want := range []bool{false, false, false, false, false, true} {
			assert.Equal(t, want, hasFlow(t, s, key(i)), "flow %d", i)
		}
	})
	t.Run("taken and expired ones do not count", func(t *testing.T) {
		s := open(t)
		put(t, s, 0, "ann", time.Minute, 2)
		put(t, s, 1, "ann", time.Minute, 2)
		_, err := s.TakeFlow(t.Context(), "s1")
		require.NoError(t, err)
		put(t, s, 2, "ann", 0, 2)
		put(t, s, 3, "ann", time.Minute, 2)
		for i, want := range []bool{true, false, false, true} {
			assert.Equal(t, want, hasFlow(t, s, key(i)), "flow %d", i)
		}
	})
	t.Run("two of one key", func(t *testing.T) {
		s := open(t)
		for _, state := range []string{"a", "b"} {
			putFlow(t, s, sampleFlow(state), time.Minute, 8)
		}
		_, err := s.TakeFlow(t.Context(), "a")
		require.NoError(t, err)
		assert.True(t, hasFlow(t, s, sampleKey), "two tabs: one finished, one open")
	})
	t.Run("at once", func(t *testing.T) {
		s := open(t)
		together(30, func(i int) { put(t, s, i, "ann", time.Minute, 4) })
		left := 0
		for i := range 30 {
			if hasFlow(t, s, key(i)) {
				left++
			}
		}
		assert.Equal(t, 4, left)
	})
}

// together calls f(0) … f(n-1) at the same time and waits for all.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}
