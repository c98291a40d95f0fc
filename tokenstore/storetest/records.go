package storetest

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func testLoad(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Run("a record that was never stored", func(t *testing.T) {
		s := open(t)
		c := load(t, s, sampleKey)
		assert.False(t, c.ReadAt.IsZero(), "ReadAt is always set")
		same(t, &tokenstore.Connection{Key: sampleKey, Status: tokenstore.NotConnected}, c)
		assert.False(t, c.Connected())
	})
	t.Run("loading stores nothing", func(t *testing.T) {
		s := open(t)
		load(t, s, sampleKey)
		list, err := s.List(t.Context(), tokenstore.Match{}, nil, 10)
		require.NoError(t, err)
		assert.Empty(t, list)
		keys, _, err := s.Changes(t.Context(), 0, 10)
		require.NoError(t, err)
		assert.Empty(t, keys)
	})
	t.Run("ReadAt is the clock at the reading", func(t *testing.T) {
		s := open(t)
		var now time.Time
		update(t, s, sampleKey, func(_ *tokenstore.Connection, n time.Time) { now = n })
		c := load(t, s, sampleKey)
		assert.False(t, c.ReadAt.Before(c.UpdatedAt), "%v is before %v", c.ReadAt, c.UpdatedAt)
		assert.WithinDuration(t, now, c.ReadAt, time.Minute)
		assert.True(t, c.UpdatedAt.Equal(now.Truncate(time.Microsecond)) || c.UpdatedAt.Equal(now), "%v is not %v", c.UpdatedAt, now)
	})
}

func testUpdate(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Run("keeps every field", func(t *testing.T) {
		s := open(t)
		want := &tokenstore.Connection{}
		stored := update(t, s, sampleKey, func(c *tokenstore.Connection, now time.Time) {
			fill(c, now)
			want = c.Clone()
			want.Version, want.UpdatedAt = 1, now
		})
		complete(t, reflect.ValueOf(*want), "Connection", "ReadAt", "Pending")
		same(t, want, stored, "what Update returns")
		same(t, want, load(t, s, sampleKey), "what Load returns")
		list, err := s.List(t.Context(), tokenstore.Match{}, nil, 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		same(t, want, list[0], "what List returns")
		assert.False(t, list[0].ReadAt.IsZero())

		update(t, s, sampleKey, func(c *tokenstore.Connection, now time.Time) {
			same(t, want, c, "what change is given")
			assert.False(t, now.Before(c.ReadAt))
			*c = tokenstore.Connection{Status: tokenstore.NotConnected}
		})
		c := load(t, s, sampleKey)
		same(t, &tokenstore.Connection{Key: sampleKey, Status: tokenstore.NotConnected, Version: 2, UpdatedAt: c.UpdatedAt}, c,
			"every field can be emptied again")
		assert.Nil(t, c.Sealed)
		assert.Nil(t, c.ScopesGranted)
	})
	t.Run("nothing and an empty list differ", func(t *testing.T) {
		s := open(t)
		update(t, s, sampleKey, func(c *tokenstore.Connection, _ time.Time) {
			c.ScopesRequested, c.ScopesGranted = nil, []string{}
		})
		c := load(t, s, sampleKey)
		assert.Nil(t, c.ScopesRequested)
		assert.NotNil(t, c.ScopesGranted)
		assert.Empty(t, c.ScopesGranted)
	})
	t.Run("large ciphertexts", func(t *testing.T) {
		s := open(t)
		sealed := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
		update(t, s, sampleKey, func(c *tokenstore.Connection, _ time.Time) { c.Sealed = sealed })
		assert.True(t, bytes.Equal(sealed, load(t, s, sampleKey).Sealed))
	})
	t.Run("each write is one version", func(t *testing.T) {
		s := open(t)
		for want := int64(1); want <= 3; want++ {
			c := update(t, s, sampleKey, nil)
			assert.Equal(t, want, c.Version, "a write that changes nothing is a write")
			assert.Equal(t, want, load(t, s, sampleKey).Version)
		}
	})
	t.Run("the store's fields are the store's", func(t *testing.T) {
		s := open(t)
		other := tokenstore.Key{Definition: "other"}
		for want := int64(1); want <= 2; want++ {
			c := update(t, s, sampleKey, func(c *tokenstore.Connection, now time.Time) {
				c.Key, c.Version, c.UpdatedAt, c.ReadAt = other, 99, now.Add(time.Hour), now.Add(time.Hour)
			})
			assert.Equal(t, sampleKey, c.Key)
			assert.Equal(t, want, c.Version)
			assert.True(t, c.UpdatedAt.Before(load(t, s, sampleKey).ReadAt.Add(time.Minute)))
		}
		assert.Zero(t, load(t, s, other).Version)
	})
	t.Run("different keys are different records", func(t *testing.T) {
		s := open(t)
		other := sampleKey
		other.Org = ""
		update(t, s, sampleKey, func(c *tokenstore.Connection, _ time.Time) { c.GrantID = "one" })
		assert.Zero(t, load(t, s, other).Version)
		update(t, s, other, func(c *tokenstore.Connection, _ time.Time) { c.GrantID = "two" })
		assert.Equal(t, "one", load(t, s, sampleKey).GrantID)
		assert.Equal(t, "two", load(t, s, other).GrantID)
	})
}

func testFailure(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	// untouched checks that nothing but the first write is there.
	untouched := func(t *testing.T, s tokenstore.Store, want *tokenstore.Connection, position int64) {
		t.Helper()
		same(t, want, load(t, s, sampleKey))
		keys, _, err := s.Changes(t.Context(), position, 10)
		require.NoError(t, err)
		assert.Empty(t, keys, "no write, no change")
		events, err := s.Events(t.Context(), tokenstore.Match{Definition: sampleKey.Definition}, 0, 10)
		require.NoError(t, err)
		assert.Empty(t, events)
	}
	start := func(t *testing.T) (tokenstore.Store, *tokenstore.Connection, int64) {
		t.Helper()
		s := open(t)
		c := update(t, s, sampleKey, fill)
		_, position, err := s.Changes(t.Context(), -1, 0)
		require.NoError(t, err)
		return s, c, position
	}
	t.Run("a refused change", func(t *testing.T) {
		s, was, position := start(t)
		c, err := s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
			*c = tokenstore.Connection{GrantID: "never"}
			c.Log("never", "", "")
			return errRefused
		})
		assert.True(t, err == errRefused, "the error is not wrapped: %v", err) //nolint:errorlint // identity is the contract
		require.NotNil(t, c)
		same(t, was, c, "the record as it was")
		assert.False(t, c.ReadAt.IsZero())
		untouched(t, s, was, position)
	})
	t.Run("a refused first change", func(t *testing.T) {
		s := open(t)
		c, err := s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
			fill(c, time.Now())
			return errRefused
		})
		require.ErrorIs(t, err, errRefused)
		same(t, &tokenstore.Connection{Key: sampleKey, Status: tokenstore.NotConnected}, c)
		assert.Zero(t, load(t, s, sampleKey).Version)
	})
	t.Run("a panic in change", func(t *testing.T) {
		s, was, position := start(t)
		assert.PanicsWithValue(t, "boom", func() {
			_, _ = s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
				c.GrantID = "never"
				c.Log("never", "", "")
				panic("boom")
			})
		})
		untouched(t, s, was, position)
		assert.Equal(t, int64(2), update(t, s, sampleKey, nil).Version, "and the store goes on")
	})
	t.Run("a context that has ended", func(t *testing.T) {
		s, was, position := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Update(ctx, sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
			c.Log("never", "", "")
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.Load(ctx, sampleKey)
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.List(ctx, tokenstore.Match{}, nil, 1)
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.TakeFlow(ctx, "none")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, tokenstore.ErrNotFound, "not knowing is not the same as knowing that there is none")
		untouched(t, s, was, position)
	})
}

func testCopies(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	spoil := func(c *tokenstore.Connection) {
		c.GrantID = "spoiled"
		c.Sealed[0]++
		c.ScopesRequested[0], c.ScopesGranted[0] = "spoiled", "spoiled"
		c.LastError.Code = "spoiled"
		c.Attempt.Open[0], c.Attempt.ID = "spoiled", "spoiled"
		c.Attempt.TokenHash[0]++
	}
	s := open(t)
	var kept, want *tokenstore.Connection
	returned := update(t, s, sampleKey, func(c *tokenstore.Connection, now time.Time) {
		fill(c, now)
		kept = c
	})
	want = returned.Clone()
	spoil(kept)
	same(t, want, load(t, s, sampleKey), "what change was given")
	spoil(returned)
	same(t, want, load(t, s, sampleKey), "what Update returned")
	spoil(load(t, s, sampleKey))
	same(t, want, load(t, s, sampleKey), "what Load returned")
	list, err := s.List(t.Context(), tokenstore.Match{}, nil, 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	spoil(list[0])
	same(t, want, load(t, s, sampleKey), "what List returned")
	c, err := s.Update(t.Context(), sampleKey, func(c *tokenstore.Connection, _ time.Time) error {
		spoil(c)
		return errRefused
	})
	require.ErrorIs(t, err, errRefused)
	same(t, want, c, "what a refused change did")
	spoil(c)
	same(t, want, load(t, s, sampleKey), "what a refused Update returned")
}
