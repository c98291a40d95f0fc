package integrations

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// pruneEvery is how often old events are looked for, and prunePause how long the
	// store rests between two pages of them.
	pruneEvery = time.Hour
	prunePause = 100 * time.Millisecond
	// eventsPage is how many events are removed at once.
	eventsPage = 1000
)

// prune removes events older than Config.EventRetention until ctx ends. Several
// processes may do it at once.
func (r *Registry) prune(ctx context.Context) {
	// Not all processes of a deploy at the same moment.
	wait := time.Duration(rand.Int64N(int64(time.Minute))) //nolint:gosec // no secret depends on it
	for pause(ctx, wait) {
		n, err := r.cfg.Tokens.DeleteEvents(ctx, tokenstore.Match{}, r.cfg.EventRetention, eventsPage)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.alarm(ctx, err)
			wait = pruneEvery
		case n < eventsPage:
			wait = pruneEvery
		default:
			wait = prunePause
		}
	}
}

// pause waits for d, and reports whether ctx is still open.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
