package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// testWinners lets many write each version of a record: one does, and what it
// wrote is there.
func testWinners(t *testing.T, s integrations.Store) {
	const writers, versions = 12, 6
	d, r := sampleDefinition("1"), sampleSettings("d", "acme")
	for version := range int64(versions) {
		var mu sync.Mutex
		var wonD, wonR []string
		together(writers, func(i int) {
			name := fmt.Sprint(version, " ", i)
			mineD, mineR := d, r
			mineD.UpdatedBy, mineR.EntityID = name, name
			storedD, errD := s.PutDefinition(t.Context(), mineD)
			storedR, errR := s.PutSettings(t.Context(), mineR)
			mu.Lock()
			defer mu.Unlock()
			if errD == nil {
				wonD = append(wonD, name)
				assert.Equal(t, version+1, storedD.Version)
			} else {
				assert.ErrorIs(t, errD, integrations.ErrConflict)
			}
			if errR == nil {
				wonR = append(wonR, name)
				assert.Equal(t, version+1, storedR.Version)
			} else {
				assert.ErrorIs(t, errR, integrations.ErrConflict)
			}
		})
		d, r = definition(t, s, "1"), settings(t, s, "d", "acme")
		require.Equal(t, []string{d.UpdatedBy}, wonD, "of those who write one version, one does")
		require.Equal(t, []string{r.EntityID}, wonR)
		require.Equal(t, []int64{version + 1, version + 1}, []int64{d.Version, r.Version})
	}
}

// testNameRace lets many create definitions of one name, delete them and create
// them again: at no time are there two.
func testNameRace(t *testing.T, s integrations.Store) {
	for round := range 5 {
		var created atomic.Int32
		together(12, func(i int) {
			_, err := s.PutDefinition(t.Context(), integrations.DefinitionRecord{ID: fmt.Sprint(round, "-", i), Name: "CRM", Body: json.RawMessage(`{}`)})
			if err == nil {
				created.Add(1)
				return
			}
			assert.ErrorIs(t, err, integrations.ErrNameTaken)
		})
		require.Equal(t, int32(1), created.Load())
		list, _ := definitions(t, s, 0, 1000)
		require.Len(t, list, round+1)
		last := list[round]
		require.False(t, last.Deleted)
		last.Deleted, last.Body = true, nil
		putDefinition(t, s, last)
	}
}

// testClearRace clears a definition's settings while others write some: whatever
// was there when the clearing began is gone, or was written since.
func testClearRace(t *testing.T, s integrations.Store) {
	const orgs = 8
	together(orgs+1, func(i int) {
		if i == orgs {
			for range 10 {
				assert.NoError(t, s.ClearSettings(t.Context(), "d", ""))
			}
			return
		}
		r := sampleSettings("d", fmt.Sprint(i))
		for range 20 {
			stored, err := s.PutSettings(t.Context(), r)
			switch {
			case err == nil:
				r.Version = stored.Version
			case errors.Is(err, integrations.ErrConflict):
				now, err := s.Settings(t.Context(), "d", r.Org)
				assert.NoError(t, err)
				assert.True(t, now.Empty(), "nobody but the clearing wrote it")
				assert.Greater(t, now.Version, r.Version)
				r.Version = now.Version
			default:
				assert.NoError(t, err)
			}
		}
	})
	require.NoError(t, s.ClearSettings(t.Context(), "d", ""))
	list, err := s.ListSettings(t.Context(), "d", nil, orgs)
	require.NoError(t, err)
	assert.Empty(t, list)
	keys, _ := changes(t, s, 0, 1000)
	assert.Len(t, keys, orgs, "each is in the feed once")
}

// testFollow follows both feeds in small steps while others write, as a cache
// does, and checks that it ends up with the newest of everything.
func testFollow(t *testing.T, s integrations.Store) {
	const records, writes = 6, 15
	written := make(chan struct{})
	go func() {
		defer close(written)
		together(2*records, func(i int) {
			d, r := sampleDefinition(fmt.Sprint(i)), sampleSettings("d", fmt.Sprint(i))
			for range writes {
				if i < records {
					stored, err := s.PutDefinition(t.Context(), d)
					assert.NoError(t, err)
					d.Version = stored.Version
				} else {
					stored, err := s.PutSettings(t.Context(), r)
					assert.NoError(t, err)
					r.Version = stored.Version
				}
			}
		})
	}()
	seenD, seenR := make(map[string]int64), make(map[string]int64)
	var positionD, positionR int64
	for done := false; ; {
		list, nextD := definitions(t, s, positionD, 2)
		keys, nextR := changes(t, s, positionR, 2)
		require.GreaterOrEqual(t, nextD, positionD)
		require.GreaterOrEqual(t, nextR, positionR)
		positionD, positionR = nextD, nextR
		for _, d := range list {
			require.Greater(t, d.Version, seenD[d.ID], "the feed does not go back")
			seenD[d.ID] = d.Version
		}
		for _, key := range keys {
			seenR[key.Org] = settings(t, s, key.Definition, key.Org).Version
		}
		if done && len(list) == 0 && len(keys) == 0 {
			break
		}
		select {
		case <-written:
			done = true // the next empty answers come after the last write
		default:
		}
	}
	require.Len(t, seenD, records)
	require.Len(t, seenR, records)
	for _, seen := range []map[string]int64{seenD, seenR} {
		for key, version := range seen {
			assert.Equal(t, int64(writes), version, key)
		}
	}
}
