package integrations

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// flights are calls whose result is everybody's: one of a key at a time, which does
// not end with any of those who wait for it.
type flights[K comparable, V any] struct {
	mu      sync.Mutex
	flying  map[K]*flight[V]
	stopped bool
}

type flight[V any] struct {
	done   chan struct{} // closed when result is there
	result V
	stop   context.CancelFunc
}

// do returns fn's result, of a call that somebody else made if one is under way; or
// ctx's error, if that ends first. fn must end soon after its ctx.
func (f *flights[K, V]) do(ctx context.Context, key K, fn func(ctx context.Context) V) (result V, err error) {
	if err := ctx.Err(); err != nil {
		return result, err
	}
	one := f.join(ctx, key, fn)
	select {
	case <-one.done:
		return one.result, nil
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

func (f *flights[K, V]) join(ctx context.Context, key K, fn func(ctx context.Context) V) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.flying[key]
	if one != nil {
		return one
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	if f.stopped {
		stop()
	}
	one = &flight[V]{done: make(chan struct{}), stop: stop}
	if f.flying == nil {
		f.flying = map[K]*flight[V]{}
	}
	f.flying[key] = one
	go func() {
		defer stop()
		one.result = fn(own)
		f.mu.Lock()
		delete(f.flying, key)
		f.mu.Unlock()
		close(one.done) // last: who waits finds nothing under way
	}()
	return one
}

// close ends the calls under way, and waits for them until limit.
func (f *flights[K, V]) close(limit <-chan time.Time) {
	f.mu.Lock()
	f.stopped = true
	list := slices.Collect(maps.Values(f.flying))
	f.mu.Unlock()
	for _, one := range list {
		one.stop()
	}
	for _, one := range list {
		select {
		case <-one.done:
		case <-limit:
			return
		}
	}
}
