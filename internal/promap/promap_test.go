package promap_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/promap"
)

type key struct{ a, b string }

func TestLoadOrStoreKeepsTheFirst(t *testing.T) {
	var m promap.Map[key, int]
	require.Nil(t, m.Load(key{"x", ""}))
	one, two := 1, 2
	require.Same(t, &one, m.LoadOrStore(key{"x", ""}, &one))
	require.Same(t, &one, m.LoadOrStore(key{"x", ""}, &two))
	require.Same(t, &two, m.LoadOrStore(key{"", "x"}, &two), "keys are compared field by field")
}

func TestEverythingStoredIsFound(t *testing.T) {
	var m promap.Map[string, int]
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				v := i
				got := m.LoadOrStore(strconv.Itoa(i), &v)
				if *got != i || m.Load(strconv.Itoa(i)) != got {
					t.Errorf("goroutine %d: key %d is lost or changed", g, i)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := 0
	m.Range(func(k string, v *int) bool {
		require.Equal(t, k, strconv.Itoa(*v))
		seen++
		return true
	})
	require.Equal(t, 1000, seen)
}

// Were new keys not promoted, every look-up would take the lock, and nothing but
// this would show it.
func TestEstablishedKeysAreReadWithoutLock(t *testing.T) {
	var m promap.Map[key, int]
	v := 1
	for i := range 100 {
		m.LoadOrStore(key{strconv.Itoa(i), ""}, &v)
	}
	for i := range 200 {
		m.Load(key{strconv.Itoa(i % 100), ""})
	}
	release := m.Lock()
	defer release()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			m.Load(key{strconv.Itoa(i), ""})
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("a look-up waits for the lock")
	}
}

func TestEstablishedKeysAreReadWithoutAllocation(t *testing.T) {
	var m promap.Map[key, int]
	v := 1
	m.LoadOrStore(key{"x", "y"}, &v)
	for range 10 {
		m.Load(key{"x", "y"})
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { m.Load(key{"x", "y"}) }))
}
