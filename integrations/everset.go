package integrations

import (
	"sync"
	"time"
)

// maxEverSet bounds how many keys are remembered: at about 100 bytes each, that is a
// few megabytes.
const maxEverSet = 1 << 15

// everSet is where settings were ever written, as far as the feed was read. Most
// organizations set nothing, and what was never written need not be read.
type everSet struct {
	mu    sync.RWMutex
	keys  map[SettingsKey]struct{}
	over  bool      // there are too many to remember
	until time.Time // this machine's clock before the feed was last read to its end
}

// add takes keys that the feed has named, and reports whether there is room for
// them.
func (s *everSet) add(keys []SettingsKey) bool {
	if len(keys) == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[SettingsKey]struct{})
	}
	for _, key := range keys {
		if !s.over {
			s.keys[key] = struct{}{}
		}
	}
	if len(s.keys) > maxEverSet {
		s.keys, s.over = nil, true
	}
	return !s.over
}

// complete says that the feed was read to its end, beginning at at.
func (s *everSet) complete(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = at
}

// never reports whether nothing had been written under key a moment ago, for sure:
// the feed was read within age.
func (s *everSet) never(key SettingsKey, age time.Duration) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, set := s.keys[key]; set || s.over || s.until.IsZero() {
		return false
	}
	// The monotonic clock stands still while a virtual machine is suspended.
	now := time.Now()
	return max(now.Sub(s.until), now.Round(0).Sub(s.until.Round(0))) < age
}
