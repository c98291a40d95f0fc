package oauthflow

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// What follows a reply. The provider has spent the old refresh token by now, so
// the new one must not be lost: not to a store that is away, nor to a caller or a
// process that wants to go.

// change is one step on the record, as Store.Update takes it.
type change = func(c *tokenstore.Connection, now time.Time) error

// Between repetitions of a write that the store did not take.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 30 * time.Second
)

// How long one try may take, at least and at most. A session of the store that has died
// without a word, or a key service that hangs, would be waited for all the time there
// is, and with it goes what only this process has.
const (
	shortestTry = time.Second
	longestTry  = 10 * time.Second
)

// repeat calls try until it succeeds, is refused by the record, or ctx ends. A try has
// half of what is left until then. One that was given up may have been written, as
// any that failed.
func repeat(ctx context.Context, try func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := once(ctx, try)
		if err == nil || errors.Is(err, errMoved) || errors.Is(err, errApart) {
			return err
		}
		if sleep(ctx, pause) != nil {
			return err
		}
	}
}

// once is one try of repeat.
func once(ctx context.Context, try func(context.Context) error) error {
	limit := longestTry
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(shortestTry, time.Until(end)/2))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return try(ctx)
}

// record writes an outcome, and goes on trying beside if the store does not take
// it within limit. Every step is a condition on the record, so a repetition is
// harmless and a late one too.
func (h *Handle) record(t Target, limit time.Duration, do change) (*view, error) {
	ctx, cancel := detached(limit)
	defer cancel()
	var v *view
	err := repeat(ctx, func(ctx context.Context) (err error) {
		v, err = h.update(ctx, do)
		return err
	})
	if err != nil && !errors.Is(err, errMoved) {
		h.m.logger(t).ErrorContext(ctx, "oauthflow: the outcome of a refresh could not be stored; trying on", "error", err)
		h.persist(t, do)
	}
	return v, err
}

// persist repeats a step for the life of the process.
func (h *Handle) persist(t Target, do change) {
	h.m.insist(t, func(ctx context.Context) error {
		_, err := h.update(ctx, do)
		return err
	})
}

// insist repeats try until it succeeds or the record refuses it. When the manager
// closes, it tries for Timing.Record more.
func (m *Manager) insist(t Target, try func(context.Context) error) {
	work := func() {
		err := repeat(m.ctx, try)
		if err != nil && !errors.Is(err, errMoved) {
			ctx, cancel := detached(m.cfg.Timing.Record)
			defer cancel()
			err = repeat(ctx, try)
		}
		if err != nil && !errors.Is(err, errMoved) {
			m.logger(t).Error("oauthflow: closed before what a provider had answered could be stored", "error", err)
		}
	}
	m.within(work)
}

// unsaved are received tokens that the store has not taken. They serve from
// memory; while they exist, this process never sends their predecessor again.
type unsaved struct {
	p    presentation
	conn *tokenstore.Connection // as it will be
	tok  *tokens
	at   time.Time // this machine's clock before conn.ReadAt
}

// token returns the access token, if it will do.
func (u *unsaved) token(w want) (*Snapshot, error) {
	s := newSnapshot(u.conn, u.tok, w.slot, u.at)
	if s != nil && s.Usable(time.Now()) && !(w.rejected && w.generation == s.Generation()) {
		return s, nil
	}
	return nil, unreadable(u.conn.Key, reasonUnsaved, nil)
}

// arrival is a reply on its way into the store.
type arrival struct {
	f     *flight
	p     presentation
	reply *Reply
	asked time.Time // when the request began, by the store's clock
	sent  stopwatch
	// What follows from the reply for the tokens that were presented.
	tok *tokens
	got received
}

// keep stores a reply and returns its access token. err is what was wrong with
// the reply; what could be read of it is stored first.
func (f *flight) keep(v *view, p presentation, reply *Reply, err error, sent stopwatch, asked time.Time) (*Snapshot, error) {
	a := &arrival{f: f, p: p, reply: reply, asked: asked, sent: sent}
	var problem *failure
	if err != nil {
		why := explain(asTokenError(err, true), f.t.Client)
		problem = &why
	}
	a.follows(v.tok, p.generation+1, problem)
	ctx, cancel := detached(f.rules.Record)
	defer cancel()
	var stored *view
	failed := repeat(ctx, func(ctx context.Context) (err error) {
		stored, err = a.write(ctx)
		return err
	})
	switch {
	case failed == nil:
		f.h.m.logger(f.t).InfoContext(ctx, "oauthflow: token renewed", "generation", stored.conn.Generation)
		return f.landed(stored, err)
	case errors.Is(failed, errMoved):
		return nil, a.overtaken(stored)
	}
	f.h.m.logger(f.t).ErrorContext(ctx, "oauthflow: a renewed token could not be stored; it is served from memory, "+
		"and is lost if the process ends before the store works again", "generation", a.got.generation, "error", failed)
	u := a.remember(v)
	if f.h.m.cfg.Events != nil {
		f.h.m.post(Event{
			Kind: EventUnsaved, Key: v.conn.Key, At: u.conn.ReadAt, Status: v.conn.Status, Generation: v.conn.Generation,
		})
	}
	f.h.m.insist(f.t, func(ctx context.Context) error {
		stored, err := a.write(ctx)
		if err == nil || errors.Is(err, errMoved) {
			f.h.unsaved.CompareAndSwap(u, nil)
		}
		if errors.Is(err, errMoved) {
			_ = a.overtaken(stored)
		}
		return err
	})
	return u.token(f.want)
}

// follows works out what a reply makes of the tokens t.
func (a *arrival) follows(t *tokens, generation int64, problem *failure) {
	slot := a.f.want.slot
	a.tok = t.merge(a.reply, slot, a.asked)
	if got := a.tok.access[slot]; got != nil {
		got.generation = generation // as it is when it is read again
	}
	a.got = receive(a.reply, a.tok, generation)
	a.got.slot, a.got.problem = slot != "", problem
	a.got.kept = bytes.Equal(a.tok.hash(), a.p.tokenHash)
	a.got.idle, a.got.keepAlive = !a.f.h.usedLately(time.Now()), a.f.h.m.cfg.KeepAlive
}

// receive says what a reply holds.
func receive(reply *Reply, t *tokens, generation int64) received {
	return received{
		generation: generation, access: t.access[""] != nil, refresh: !t.refresh.IsZero(),
		lifetime: reply.Lifetime, expiresAt: reply.ExpiresAt, scopes: reply.Scopes,
	}
}

// write seals and commits. If an earlier presentation's successor was stored
// first, it seals once more, for the generation after that, and with what that
// brought for other slots.
func (a *arrival) write(ctx context.Context) (*view, error) {
	for {
		if a.got.sealed == nil {
			sealed, err := a.tok.seal(ctx, a.f.h.m.cfg.Sealer, a.f.h.key, a.got.generation)
			if err != nil {
				return nil, err
			}
			a.got.sealed = sealed
		}
		v, err := a.f.h.put(ctx, a.tok, func(c *tokenstore.Connection, now time.Time) error {
			return commit(c, now, a.p, a.got, a.sent.elapsed())
		})
		if !errors.Is(err, errMoved) || a.got.generation != a.p.generation+1 || !a.p.replaces(v.conn) {
			return v, err
		}
		if v.err != nil {
			return v, v.err
		}
		a.follows(v.tok, a.p.generation+2, a.got.problem)
	}
}

// landed returns the token that was just stored.
func (f *flight) landed(v *view, problem error) (*Snapshot, error) {
	v.fits.Store(true)
	slot := f.want.slot
	s, own := v.snapshot(slot), slot == ""
	switch {
	case s == nil && !own:
		return nil, f.h.pause(v, f.t.Access, "no_access_token", "The provider's reply has no usable access token for "+
			f.t.Access.String()+"; the connection itself is not affected.", problem)
	case s == nil || own && v.conn.Reason == ReasonExpiredOnArrival:
		return nil, v.without(decision{}, f.t.Access, problem)
	}
	f.h.resume(slot)
	if !own && f.want.about(v.conn, v.tok).stored.endedOnArrival() {
		return nil, v.without(decision{step: cool, until: v.tok.access[slot].obtained.Add(arrivalPause)}, f.t.Access, nil)
	}
	return s, nil
}

// overtaken deals with tokens that came too late. After a disconnect they are an
// orphan that works, and nobody else knows of it: it goes into the tombstone, to be
// revoked. After a reconnect they are not revoked: at some providers that ends the new
// grant as well.
func (a *arrival) overtaken(v *view) error {
	log := a.f.h.m.logger(a.f.t)
	switch {
	case !v.conn.Connected():
		log.Info("oauthflow: a token was renewed while its connection was removed; revoking it")
		a.f.h.m.revokeLate(a.f.t, a.tok.revocable())
	case v.conn.GrantID != a.p.grant:
		log.Info("oauthflow: a token was renewed while somebody connected again; the newer grant stays")
	}
	return errMoved
}

// remember serves a reply from memory.
func (a *arrival) remember(v *view) *unsaved {
	at, c := time.Now(), v.conn.Clone()
	c.ReadAt = v.now()
	u := &unsaved{p: a.p, conn: c, tok: a.tok, at: at}
	if commit(c, c.ReadAt, a.p, a.got, a.sent.elapsed()) != nil {
		u.tok = &tokens{} // an earlier presentation's tokens were stored, and serve
	}
	a.f.h.unsaved.Store(u)
	return u
}
