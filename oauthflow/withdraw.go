package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// longestLook is the longest time between two looks for a begin that may come.
	longestLook = 2 * time.Second
	// lastLook is how long Close lets somebody look for one.
	lastLook = time.Second
)

// unbegun is a presentation that was not sent, because nobody knows whether its begin
// was stored.
type unbegun struct {
	p     presentation
	watch stopwatch
}

// withdraw records that nothing was sent for an attempt of which nobody knows
// whether it was opened. That it is not there says little: a database may commit
// what it was told before the connection to it broke. So it is looked for until
// nobody would wait for it any more, or the record has moved on. However many callers
// leave at that moment, one goroutine looks for all of a connection's.
func (f *flight) withdraw(p presentation) {
	h := f.h
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unbegun = append(h.unbegun, unbegun{p, startStopwatch()})
	if len(h.unbegun) == 1 {
		h.m.within(func() { h.withdraw(f.t) })
	}
}

// withdraw looks for begins until none can come any more. When the manager closes, it
// does so for lastLook more, and for Timing.Record while the store is away.
func (h *Handle) withdraw(t Target) {
	var closing stopwatch
	for pause := firstPause; ; pause = min(2*pause, longestLook) {
		left, err := h.withdrawn()
		if left == 0 {
			return
		}
		if sleep(h.m.ctx, pause) == nil {
			continue
		}
		if closing.start.IsZero() {
			closing = startStopwatch()
		}
		limit := lastLook
		if err != nil {
			limit = h.m.cfg.Timing.Record
		}
		if closing.elapsed() >= limit {
			if err != nil {
				h.m.logger(t).Error("oauthflow: closed before it could be stored that a refresh was not sent", "error", err)
			}
			return
		}
		_ = sleep(context.Background(), firstPause)
	}
}

// withdrawn looks once, and returns how many begins may still come.
func (h *Handle) withdrawn() (left int, err error) {
	h.mu.Lock()
	list := h.unbegun
	h.mu.Unlock()
	ctx, cancel := detached(h.m.cfg.Timing.Record)
	defer cancel()
	var rest []unbegun
	_, err = h.update(ctx, func(c *tokenstore.Connection, now time.Time) error {
		rest = nil
		result := errMoved
		for _, u := range list {
			switch {
			case notSent(c, now, u.p) == nil:
				result = nil
			case u.p.on(c) && u.watch.elapsed() < h.m.cfg.Timing.Attempt:
				rest = append(rest, u)
			}
		}
		return result
	})
	if errors.Is(err, errMoved) {
		err = nil
	}
	if err != nil {
		rest = list
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unbegun = append(rest, h.unbegun[len(list):]...)
	return len(h.unbegun), err
}
