package oauthflow

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// dueEvery is how often the store is asked what is due, at least.
	dueEvery = 5 * time.Second
	// dueAgain is how soon it may be asked again while there is more.
	dueAgain = 20 * time.Millisecond
	// maxResting bounds how many connections are remembered that are due and not to
	// be looked at yet.
	maxResting = 8192
)

// KeepFresh renews connections before anybody has to wait for it, until ctx ends or
// the manager is closed; then it returns nil. Those that somebody asked for within
// a day are renewed ahead of their end, the others once per Config.KeepAlive. What
// was sent by then is finished by Close.
//
// It reads what is due and nothing else, so its cost does not follow what is stored.
// Any number of processes may do it on one store: the attempt in a connection's
// record decides who renews. Tokens of client credentials are not renewed ahead.
// What a disconnect left to be revoked is due as well, and sent again here (revoke.go).
// It needs Config.Targets.
func (m *Manager) KeepFresh(ctx context.Context) error {
	if m.cfg.Targets == nil {
		return errors.New("oauthflow: KeepFresh needs Config.Targets")
	}
	if !m.walking.CompareAndSwap(false, true) {
		return errors.New("oauthflow: KeepFresh was called already")
	}
	defer m.walking.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	r := &refresher{
		m: m, page: max(8*m.cfg.Refreshers, 256), queue: newFairQueue(m.cfg.Refreshers), wake: make(chan struct{}, 1),
		busy: map[tokenstore.Key]struct{}{}, resting: map[tokenstore.Key]time.Time{},
	}
	defer r.work.Wait()
	r.work.Go(func() { m.claimAll(ctx) })
	r.run(ctx)
	return nil
}

// refresher is one KeepFresh.
type refresher struct {
	m    *Manager
	page int           // how many new connections are taken up at once
	wake chan struct{} // the workers will soon have nothing to do
	work sync.WaitGroup

	mu      sync.Mutex
	more    bool // there was more due than was read
	queue   *fairQueue
	busy    map[tokenstore.Key]struct{}  // in the queue, or with a worker
	resting map[tokenstore.Key]time.Time // due, and not to be looked at before
}

// run fills the queue until ctx ends.
func (r *refresher) run(ctx context.Context) {
	failing := false
	// Processes that start together should not ask together.
	for pause := time.Duration(jitter() * float64(dueEvery/4)); r.pause(ctx, pause); {
		err := r.fill(ctx)
		pause = dueEvery - dueEvery/4 + time.Duration(jitter()*float64(dueEvery/2))
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failing = false
		case !failing:
			failing = true
			r.m.log.ErrorContext(ctx, "oauthflow: cannot read which connections are due; callers renew them meanwhile", "error", err)
		}
	}
}

// pause waits for d, or until a worker has nothing to do, and reports whether ctx
// is still open.
func (r *refresher) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-r.wake:
		return sleep(ctx, min(d, dueAgain)) == nil
	}
}

// fill takes up connections that are due.
func (r *refresher) fill(ctx context.Context) error {
	select {
	case <-r.wake: // asked for before; here it is
	default:
	}
	now := time.Now()
	r.mu.Lock()
	for key, until := range r.resting {
		if !before(now, until) {
			delete(r.resting, key)
		}
	}
	limit := r.page + len(r.busy) + len(r.resting)
	r.mu.Unlock()
	traced, end := r.m.tracePass(ctx)
	short, cancel := context.WithTimeout(traced, lookPatience)
	keys, err := r.m.cfg.Store.Due(short, limit)
	cancel()
	if err != nil {
		end(PassEnd{Err: err})
		return err
	}
	taken := 0
	defer func() { end(PassEnd{Due: len(keys), Taken: taken}) }()
	r.m.counters.passes.Add(1)
	r.mu.Lock()
	r.more = len(keys) == limit
	r.mu.Unlock()
	// Other processes have read the same.
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) //nolint:gosec // no secret depends on it
	for _, key := range keys {
		if ctx.Err() != nil {
			return nil
		}
		if r.take(ctx, key) {
			taken++
			r.staff(ctx) // at once: to take a page up is a read for each organization
		}
	}
	return nil
}

// take puts a connection that is due into the queue, and reports whether it did.
func (r *refresher) take(ctx context.Context, key tokenstore.Key) bool {
	if r.known(key) {
		return false
	}
	endpoint, host := r.lineOf(ctx, key)
	if ctx.Err() != nil {
		return false
	}
	r.mu.Lock()
	full := r.queue.length(endpoint) >= 2*r.page
	if !full {
		r.queue.add(endpoint, host, key)
		r.busy[key] = struct{}{}
	}
	r.mu.Unlock()
	if full {
		r.rest(ctx, key, dueEvery)
	}
	return !full
}

// lineOf returns where a connection waits, and for which host. Those of which nobody
// here knows how to renew them have a line for each definition: there may be something
// to revoke of them. All those lines are as of one host, so that however many were
// deleted, and however slow their endpoints are, somebody renews what is there.
func (r *refresher) lineOf(ctx context.Context, key tokenstore.Key) (breakerKey, string) {
	const nowhere = "\x00"
	aimless := breakerKey{definition: key.Definition}
	t, err := r.target(ctx, key)
	if err != nil {
		return aimless, nowhere
	}
	endpoint, err := refreshBreaker(t)
	if err != nil {
		return aimless, nowhere
	}
	u, err := url.Parse(endpoint.tokenURL)
	if err != nil {
		return endpoint, ""
	}
	return endpoint, u.Host
}

// target says how to renew a connection, as far as is found out soon.
func (r *refresher) target(ctx context.Context, key tokenstore.Key) (Target, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return r.m.cfg.Targets.Target(ctx, key)
}

// known reports whether a connection is being seen to.
func (r *refresher) known(key tokenstore.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, busy := r.busy[key]
	_, resting := r.resting[key]
	return busy || resting
}

// rest leaves a connection that is due alone for a while. That is remembered here;
// if there are too many such, the record has to.
func (r *refresher) rest(ctx context.Context, key tokenstore.Key, d time.Duration) {
	r.mu.Lock()
	room := len(r.resting) < maxResting
	if room {
		r.resting[key] = time.Now().Add(d)
	}
	r.mu.Unlock()
	if !room {
		pause := max(d, backgroundPause)
		pause += share(pause, jitter())
		// Nothing is known yet of what it is due for, so nothing else is done about it.
		_ = r.step(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
			return rules{Timing: r.m.cfg.Timing}.putOff(c, now, pause)
		})
	}
}

// staff gives work to workers that have none.
func (r *refresher) staff(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		l, key := r.queue.next()
		if l == nil {
			return
		}
		r.work.Go(func() { r.labour(ctx, l, key) })
	}
}

// labour is one worker's life: it ends when there is nothing to do.
func (r *refresher) labour(ctx context.Context, l *line, key tokenstore.Key) {
	for l != nil {
		r.visit(ctx, l.key, key)
		r.mu.Lock()
		r.queue.done(l)
		delete(r.busy, key)
		l, key = nil, tokenstore.Key{}
		if ctx.Err() == nil {
			l, key = r.queue.next()
		}
		low := r.more && (l == nil || r.queue.waiting < 2*r.queue.workers)
		r.mu.Unlock()
		if low {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
}
