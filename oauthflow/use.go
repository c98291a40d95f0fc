package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Who uses a connection is known in memory only, and roughly: a write for each
// call would cost more than all that it could save.

// touch notes that somebody has asked for h's token.
func (h *Handle) touch(now time.Time) {
	if seconds := now.Unix(); seconds-h.used.Load() >= int64(time.Minute/time.Second) {
		h.used.Store(seconds)
	}
}

// usedLately reports whether somebody has asked within a day.
func (h *Handle) usedLately(now time.Time) bool {
	return now.Unix()-h.used.Load() < int64(usedFor/time.Second)
}

// maxClaims bounds how many connections wait to be claimed. More are not: their
// next callers renew them.
const maxClaims = 1024

// claim asks for a look at whether a connection that is used here counts as unused.
func (m *Manager) claim(key tokenstore.Key) {
	if !m.walking.Load() {
		return
	}
	select {
	case m.claims <- key:
	default:
	}
}

// claimAll does what [Manager.claim] asks for until ctx ends.
func (m *Manager) claimAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-m.claims:
			err := m.claimNow(ctx, key)
			if err != nil && !errors.Is(err, errMoved) && ctx.Err() == nil {
				m.log.DebugContext(ctx, "oauthflow: could not note that a connection is used", "definition", key.Definition, "org", key.Org, "error", err)
			}
		}
	}
}

func (m *Manager) claimNow(ctx context.Context, key tokenstore.Key) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	h := m.Handle(key)
	v, err := h.known(ctx)
	if err != nil || !h.usedLately(time.Now()) || !claimable(v.conn, v.now(), m.cfg.KeepAlive) {
		return err
	}
	_, err = h.update(ctx, func(c *tokenstore.Connection, now time.Time) error { return claim(c, now, m.cfg.KeepAlive) })
	return err
}

// visitor returns the handle for a look in the background. Where nobody else has
// one it is kept only until release, unless something is left to be done with it:
// a walk over all connections must not leave all of them in memory.
func (m *Manager) visitor(key tokenstore.Key) (h *Handle, release func()) {
	m.visitMu.Lock()
	defer m.visitMu.Unlock()
	if h := m.handles.Load(key); h != nil {
		return h, func() {}
	}
	if h := m.visits[key]; h != nil { // within another visit, which releases it
		return h, func() {}
	}
	h = &Handle{m: m, key: key}
	if m.visits == nil {
		m.visits = map[tokenstore.Key]*Handle{}
	}
	m.visits[key] = h
	return h, func() {
		m.visitMu.Lock()
		defer m.visitMu.Unlock()
		delete(m.visits, key)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.flight != nil || h.unsaved.Load() != nil {
			m.handles.LoadOrStore(key, h)
		}
	}
}
