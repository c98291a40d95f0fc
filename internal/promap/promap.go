// Package promap has a typed map for keys that are read often, added seldom and
// never removed. Reading an established key takes no lock and does not allocate.
//
// sync.Map would do, but boxes its keys: a struct of strings costs an allocation
// per look-up. A plain copy-on-write map would copy everything for each new key;
// here new keys gather in a second map, which takes the first one's place once it
// has been missed often enough, so that adding n keys costs O(n) in all.
package promap

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Map maps keys to pointers. The zero value is empty and ready.
type Map[K comparable, V any] struct {
	read atomic.Pointer[map[K]*V] // never changed once published

	mu     sync.Mutex
	dirty  map[K]*V // everything in read and the newer keys; nil if there are none
	misses int      // look-ups that read could not answer since dirty was made
}

// Load returns the value of key, or nil.
func (m *Map[K, V]) Load(key K) *V {
	if read := m.read.Load(); read != nil {
		if v := (*read)[key]; v != nil {
			return v
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.loadLocked(key)
}

// LoadOrStore returns the value of key if there is one, else stores v and
// returns it. v must not be nil.
func (m *Map[K, V]) LoadOrStore(key K, v *V) *V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.loadLocked(key); old != nil {
		return old
	}
	if m.dirty == nil {
		m.dirty = map[K]*V{}
		if read := m.read.Load(); read != nil {
			m.dirty = maps.Clone(*read)
		}
		m.misses = 0
	}
	m.dirty[key] = v
	return v
}

// Range calls yield for every value until it returns false.
func (m *Map[K, V]) Range(yield func(K, *V) bool) {
	m.mu.Lock()
	m.promote()
	m.mu.Unlock()
	if read := m.read.Load(); read != nil {
		for k, v := range *read {
			if !yield(k, v) {
				return
			}
		}
	}
}

func (m *Map[K, V]) loadLocked(key K) *V {
	if read := m.read.Load(); read != nil {
		if v := (*read)[key]; v != nil {
			return v
		}
	}
	if m.dirty == nil {
		return nil
	}
	v := m.dirty[key]
	if m.misses++; m.misses >= len(m.dirty) {
		m.promote()
	}
	return v
}

func (m *Map[K, V]) promote() {
	if m.dirty != nil {
		read := m.dirty
		m.read.Store(&read)
		m.dirty = nil
	}
}
