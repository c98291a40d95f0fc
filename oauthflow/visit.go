package oauthflow

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// visit renews one connection that is due. Whatever comes of it, the connection is
// not due any more afterwards, or rests here: nothing may stay at the head of the
// index and be looked at for ever.
func (r *refresher) visit(ctx context.Context, endpoint breakerKey, key tokenstore.Key) {
	m := r.m
	t, err := r.target(ctx, key) // the queue may have been long
	switch {
	case ctx.Err() != nil:
		return
	case passing(err):
		r.unclear(ctx, key)
		return
	case err != nil:
		r.aimless(ctx, key, err)
		return
	case t.Client.Flow == ClientCredentials:
		r.later(ctx, key)
		return
	}
	if _, err := refreshBreaker(t); err != nil {
		r.aimless(ctx, key, err)
		return
	}
	rules := rulesOf(m.cfg.Timing, &t.Client.Provider)
	if refused := m.breakers.ask(endpoint, false); refused != nil {
		r.putOff(ctx, key, rules, max(refused.wait, blockedPause(refused.why.class, refused.openings)))
		return
	}
	h, release := m.visitor(key)
	defer release()
	m.counters.visits.Add(1)
	err = h.walk(ctx, t)
	if ctx.Err() != nil {
		return
	}
	v := h.last.Load()
	switch {
	case v == nil, errors.Is(err, errElsewhere) && v.conn.Attempt == nil:
		r.rest(ctx, key, backgroundPause) // the store is away, or somebody here is at it
	case v.conn.Attempt != nil && v.conn.Attempt.Deadline.After(v.now()):
		r.rest(ctx, key, min(v.conn.Attempt.Deadline.Sub(v.now())+time.Second, m.cfg.Timing.Attempt))
	case visitDue(v.conn, v.now()):
		r.putOff(ctx, key, rules, backgroundPause)
	}
}

// longestBlocked bounds for how long connections are left alone because somebody
// has to mend the client first.
const longestBlocked = 15 * time.Minute

// blockedPause is for how long connections are left alone whose endpoint's breaker
// has opened so often in a row. Callers find out sooner that it has closed, and
// renew. A client that is refused stays so until somebody mends it, so the pause grows
// with the time that this takes: who is quick does not wait long either.
func blockedPause(c Class, openings int) time.Duration {
	if c == ClassOperator {
		return min(time.Minute<<min(max(openings-1, 0), 10), longestBlocked)
	}
	return 5 * time.Minute
}

// aimlessPatience is how long a connection stays due for processes that know how to
// renew it, before one that does not puts it off.
const aimlessPatience = 2 * time.Minute

// aimless deals with a connection of which nobody here knows how to renew it.
// Another process may, during a deploy, so it gets time, and stays in the index.
func (r *refresher) aimless(ctx context.Context, key tokenstore.Key, why error) {
	pause := 5 * time.Minute
	if errors.Is(why, ErrGone) {
		pause = changedPause
	}
	pause += share(pause, jitter())
	if !r.write(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		if now.Sub(c.DueAt) < aimlessPatience {
			return errMoved
		}
		return rules{Timing: r.m.cfg.Timing}.putOff(c, now, pause)
	}) {
		return
	}
	if !errors.Is(why, ErrGone) {
		r.m.log.WarnContext(ctx, "oauthflow: a connection that is due cannot be renewed in the background",
			"definition", key.Definition, "org", key.Org, "error", why)
	}
	r.remember(key, aimlessPatience)
}

// passing reports whether an error of [Targets] says of itself that it will pass: they
// did not answer in time, their store cannot be reached, or the keys are away.
func passing(err error) bool {
	var away net.Error // as context.DeadlineExceeded is
	return errors.Is(err, tokenstore.ErrKeysAway) || errors.As(err, &away)
}

// unclear deals with a connection of which nobody can find out just now how to renew
// it. That is not written down: it is due as soon as one can.
func (r *refresher) unclear(ctx context.Context, key tokenstore.Key) {
	if r.write(ctx, key, func(*tokenstore.Connection, time.Time) error { return errMoved }) {
		r.rest(ctx, key, backgroundPause)
	}
}

// putOff writes down when to look again: after pause, and up to as long again.
func (r *refresher) putOff(ctx context.Context, key tokenstore.Key, rules rules, pause time.Duration) {
	pause += share(pause, jitter())
	r.write(ctx, key, func(c *tokenstore.Connection, now time.Time) error { return rules.putOff(c, now, pause) })
}

// later puts a connection off whose definition has no use for it as it is now:
// definitions are changed back. Without a refresh token there is nothing to come
// back for.
func (r *refresher) later(ctx context.Context, key tokenstore.Key) {
	r.write(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		if !visitDue(c, now) {
			return errMoved
		}
		c.DueAt = time.Time{}
		if c.HasRefreshToken {
			c.DueAt = now.Add(changedPause)
		}
		return nil
	})
}

// write writes down when to look again at a connection that is due. Every visit that
// renews nothing comes by here, so this is where one is found that was removed, and
// is due because something is still to be revoked: write does that instead. The result
// is false then, and if the store is away, where it rests.
func (r *refresher) write(ctx context.Context, key tokenstore.Key, do change) bool {
	removed, due := false, false
	err := r.step(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		if removed, due = revoking(c), visitDue(c, now); removed {
			return errMoved
		}
		return do(c, now)
	})
	if err != nil && !errors.Is(err, errMoved) {
		r.remember(key, backgroundPause)
		return false
	}
	if removed && due { // else somebody was quicker
		r.revoke(ctx, key)
	}
	return !removed
}

func (r *refresher) step(ctx context.Context, key tokenstore.Key, do change) error {
	h, release := r.m.visitor(key)
	defer release()
	ctx, cancel := context.WithTimeout(ctx, r.m.cfg.Timing.Record)
	defer cancel()
	_, err := h.update(ctx, do)
	return err
}

// revoke has what is left of a removed connection revoked. What is sent when ctx ends
// is finished by Close.
func (r *refresher) revoke(ctx context.Context, key tokenstore.Key) {
	over := make(chan struct{})
	if !r.m.start(func() {
		defer close(over)
		if !r.m.revoke(key, nil, true) {
			r.remember(key, aimlessPatience)
		}
	}) {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// remember leaves a connection that is due alone for a while, as far as there is room
// to remember that.
func (r *refresher) remember(key tokenstore.Key, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.resting) < maxResting {
		r.resting[key] = time.Now().Add(d)
	}
}
