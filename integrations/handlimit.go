package integrations

import (
	"sync"
	"time"
)

// What a person can set off with a button is bounded, so that nobody who may press it
// can make this server hammer a provider: handLimitCount times within handLimitSpan.
const (
	handLimitCount = 5
	handLimitSpan  = time.Minute
)

// handLimit counts by connection, in this process. The zero value is ready.
type handLimit struct {
	mu   sync.Mutex
	made map[restKey][]time.Time
}

// take counts one, or says how long to wait for the next.
func (l *handLimit) take(key restKey, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, times := range l.made { // what is over is forgotten, so the map stays small
		for len(times) > 0 && now.Sub(times[0]) >= handLimitSpan {
			times = times[1:]
		}
		if l.made[k] = times; len(times) == 0 {
			delete(l.made, k)
		}
	}
	if times := l.made[key]; len(times) >= handLimitCount {
		return handLimitSpan - now.Sub(times[0])
	}
	if l.made == nil {
		l.made = map[restKey][]time.Time{}
	}
	l.made[key] = append(l.made[key], now)
	return 0
}
