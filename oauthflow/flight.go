package oauthflow

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// flight is one refresh of one connection in this process, for one slot; those for
// other slots come after it. It belongs to nobody:
// callers wait for it each by his own context, and it is given up only if nobody
// waits any more and nothing was sent.
type flight struct {
	h      *Handle
	t      Target
	want   want
	rules  rules
	ctx    context.Context // until something is sent
	cancel context.CancelFunc

	// Under h.mu.
	waiters int
	walker  bool // one of them is the background
	beside  bool // goes on without waiters
	sent    bool

	done chan struct{}
	snap *Snapshot // once done is closed
	err  error
}

// join returns the flight under way, or starts one.
func (h *Handle) join(t Target, w want, beside bool) *flight {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.flight
	if f == nil {
		f = h.depart(t, w)
	}
	switch {
	case f.want.slot != w.slot: // he waits for its end only
	case beside:
		f.beside = true
	default:
		f.waiters++
	}
	return f
}

// depart starts a flight. h.mu is held.
func (h *Handle) depart(t Target, w want) *flight {
	f := &flight{h: h, t: t, want: w, rules: rulesOf(h.m.cfg.Timing, &t.Client.Provider), done: make(chan struct{})}
	f.ctx, f.cancel = context.WithTimeout(h.m.ctx, 2*h.m.cfg.Timing.Attempt)
	if h.m.start(f.run) {
		h.flight = f
		return f
	}
	f.cancel()
	f.err = unreadable(t.Key, reasonClosed, ErrClosed)
	close(f.done)
	return f
}

// errElsewhere: somebody else is renewing the connection already.
var errElsewhere = errors.New("oauthflow: a refresh is under way elsewhere")

// walk renews what is due for the background, unless that is being done already,
// here or in another process: the attempt in the record is the lease.
func (h *Handle) walk(ctx context.Context, t Target) error {
	h.mu.Lock()
	if h.flight != nil {
		h.mu.Unlock()
		return errElsewhere
	}
	f := h.depart(t, want{walk: true})
	f.waiters++
	f.walker = true
	h.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f.walker = false // whoever has joined is somebody to wait with
	f.part()
	return ctx.Err()
}

// quit ends a flight in which the background has nobody to wait with.
func (f *flight) quit() bool {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	if !f.walker || f.waiters > 1 || f.beside {
		return false
	}
	f.leave()
	return true
}

// wait waits for the flight's end, or ctx's. Each join without beside is followed
// by one wait, with the slot that was wanted.
func (f *flight) wait(ctx context.Context, slot string) (*Snapshot, error) {
	select {
	case <-f.done:
		return f.snap, f.err
	case <-ctx.Done():
	}
	if f.want.slot != slot {
		return nil, ctx.Err()
	}
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.part()
	return nil, ctx.Err()
}

// part takes leave of one who waited. h.mu is held.
func (f *flight) part() {
	if f.waiters--; f.waiters == 0 && !f.beside && !f.sent {
		f.cancel()
		f.leave()
	}
}

// leave lets the next caller start another flight. h.mu is held.
func (f *flight) leave() {
	if f.h.flight == f {
		f.h.flight = nil
	}
}

func (f *flight) run() {
	s, err := f.renew()
	f.h.mu.Lock()
	f.leave()
	f.h.mu.Unlock()
	f.snap, f.err = s, err
	f.cancel()
	close(f.done)
}

// Waiting for another process is polling: at first often, because most refreshes
// are quick.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
)

// renew walks the protocol until there is a token or a reason why not.
func (f *flight) renew() (*Snapshot, error) {
	h := f.h
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		v, err := h.read(f.ctx)
		if err != nil {
			return nil, f.stopped(err)
		}
		if err := h.m.fits(f.ctx, h, v, f.t); err != nil {
			return nil, err
		}
		if u := h.unsaved.Load(); u != nil && u.p.on(v.conn) { // since the caller looked
			return u.token(f.want)
		}
		w := f.want.about(v.conn, v.tok)
		d := f.rules.decide(v.conn, v.conn.ReadAt, w)
		if d.step == expire && w.slot != "" {
			return nil, v.without(d, f.t.Access, nil)
		}
		err = errMoved
		switch d.step {
		case disconnected, reauth, cool:
			return nil, v.without(d, f.t.Access, nil)
		case wait:
			if f.quit() {
				return nil, errElsewhere
			}
			poll = min(poll, d.until.Sub(v.conn.ReadAt)+time.Millisecond)
		case clearStale, restamp, lose, expire:
			_, err = h.update(f.ctx, func(c *tokenstore.Connection, now time.Time) error {
				if c.GrantID != v.conn.GrantID || c.Generation != v.conn.Generation {
					return errMoved // w knows nothing of these tokens
				}
				return f.rules.tidy(c, now, w)
			})
		default:
			if v.err != nil {
				return nil, unreadable(h.key, reasonSealed, v.err)
			}
			if d.step == serve {
				return v.snapshot(w.slot), nil
			}
			if why, paused := h.paused(v, w); paused {
				return nil, why
			}
			key, bad := refreshBreaker(f.t)
			if bad != nil {
				return nil, unreadable(h.key, reasonURLs, bad)
			}
			pass, refused := h.m.breakers.enter(key, h.key, w.force)
			if refused != nil {
				return nil, refused.error(h.key, v.conn.Status)
			}
			var s *Snapshot
			if s, err = f.present(v, w, pass); err == nil {
				return s, nil
			}
		}
		if err != nil && !errors.Is(err, errMoved) {
			return nil, f.stopped(err)
		}
		if err := sleep(f.ctx, poll); err != nil {
			return nil, f.stopped(err)
		}
	}
}

// stopped explains why a flight ended before anything was sent.
func (f *flight) stopped(err error) error {
	var ce *ConnectionError
	switch {
	case errors.As(err, &ce):
		return ce
	case f.h.m.ctx.Err() != nil:
		return unreadable(f.t.Key, reasonClosed, ErrClosed)
	case f.ctx.Err() != nil:
		e := unreadable(f.t.Key, reasonBusy, err)
		e.RetryAfter = f.rules.Attempt
		return e
	}
	return f.h.m.unread(f.ctx, f.t, err)
}

// present opens an attempt, sends one token request, and records what came of it.
// With errMoved nothing was sent, or what came was overtaken.
func (f *flight) present(v *view, w want, through *pass) (*Snapshot, error) {
	defer through.leave()
	p := presentation{
		id: uuid.NewString(), grant: v.conn.GrantID, generation: v.conn.Generation, tokenHash: v.tok.hash(), rejected: w.rejected && w.slot == "",
	}
	f.ready()
	watch := startStopwatch()
	opened, err := f.open(p, w)
	if err != nil {
		return nil, err
	}
	p.number = opened.conn.Attempt.Presentations
	begun, beginning := startStopwatch(), watch.elapsed()

	// From here on every path records an outcome.
	ctx, cancel := detached(f.rules.Request - watch.elapsed())
	defer cancel()
	defer context.AfterFunc(f.ctx, func() {
		if !f.isSent() {
			cancel()
		}
	})()
	sent := startStopwatch()
	request := f.t.refreshRequest(v)
	request.Gate = func() error {
		sent = startStopwatch()
		return f.maySend(watch)
	}
	reply, err := f.h.m.ask(ctx, f.t, RequestRefresh, f.want.walk, request)
	if reply != nil {
		through.succeeded()
		// The opened record was read before begun, so this is no later than it was.
		asked := opened.conn.ReadAt.Add(max(0, sent.start.Sub(begun.start)))
		return f.keep(v, p, reply, err, sent, asked)
	}
	return nil, f.failed(p, through, err, beginning)
}

// refreshRequest presents v's refresh token, for the access token that t is about.
func (t Target) refreshRequest(v *view) TokenRequest {
	r := TokenRequest{
		Client: t.Client, EntityID: v.conn.EntityID, Values: t.Values, Transport: t.Transport, Refresh: true,
		Params: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {v.tok.refresh.Reveal()}},
	}
	if t.Access == (Access{}) {
		return r
	}
	// What the definition says about scope and audience is about its own token.
	c := *t.Client
	c.RefreshParams = maps.Clone(c.RefreshParams)
	c.RefreshParams.Del("scope")
	c.RefreshParams.Del("audience")
	r.Client = &c
	if t.Access.Scope != "" {
		r.Params.Set("scope", c.JoinScopes(strings.Fields(t.Access.Scope)))
	}
	if t.Access.Audience != "" {
		r.Params.Set("audience", t.Access.Audience)
	}
	return r
}

// open makes the attempt durable. If the store's answer is lost, nothing is sent
// before a second look has found the attempt there.
func (f *flight) open(p presentation, w want) (*view, error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.rules.SendWindow)
	defer cancel()
	v, err := f.h.update(ctx, func(c *tokenstore.Connection, now time.Time) error {
		return f.rules.present(c, now, w, p)
	})
	if err == nil || errors.Is(err, errMoved) {
		return v, err
	}
	v, again := f.h.read(ctx)
	if again == nil && v.conn.Attempt != nil && v.conn.Attempt.ID == p.id {
		return v, nil
	}
	f.withdraw(p)
	return nil, err
}

// ready begins another round, unless everybody has left during the one before.
func (f *flight) ready() {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.sent = false
	if f.waiters == 0 && !f.beside {
		f.cancel()
		f.leave()
	}
}

// maySend is the last look before the first byte.
func (f *flight) maySend(watch stopwatch) error {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	switch {
	case f.ctx.Err() != nil:
		return f.ctx.Err()
	case watch.elapsed() >= f.rules.SendWindow:
		return errTooLate
	}
	f.sent = true
	return nil
}

func (f *flight) isSent() bool {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	return f.sent
}

// failed records a request that brought no tokens. What was not sent for reasons of
// ours says nothing about the provider: everybody has gone, or most of the time there
// was went by in the store, which took beginning for the begin.
func (f *flight) failed(p presentation, through *pass, err error, beginning time.Duration) error {
	te := asTokenError(err, f.isSent())
	late := errors.Is(te, errTooLate) && beginning >= f.rules.SendWindow/2
	given := !te.Sent && (late || f.ctx.Err() != nil)
	alone := f.want.slot != "" && aboutSlotAlone(te)
	problem := explain(te, f.t.Client)
	if !given {
		through.failed(te, f.t.Client, problem.jitter)
	}
	v, recorded := f.h.record(f.t, f.rules.Record, func(c *tokenstore.Connection, now time.Time) error {
		switch {
		case given, alone:
			return notSent(c, now, p)
		case te.Class == ClassUnknown:
			return f.rules.unknown(c, now, p, problem)
		case te.Class == ClassDead:
			return dead(c, now, p, problem)
		default:
			return refused(c, now, p, problem)
		}
	})
	switch {
	case given && f.ctx.Err() != nil:
		return f.ctx.Err()
	case given:
		e := unreadable(f.t.Key, reasonStore, te)
		e.Message = "the token store takes too long to answer; nothing was sent to the provider"
		return e
	}
	log := f.h.m.logger(f.t).With("class", te.Class, "code", problem.code)
	switch {
	case alone && v != nil:
		log.WarnContext(f.ctx, "oauthflow: the provider refuses another access token", "access", f.t.Access.String(), "error", te)
		return f.h.pause(v, f.t.Access, problem.code, refusedAccess(f.t.Access, te), te)
	case errors.Is(recorded, errMoved):
		log.InfoContext(f.ctx, "oauthflow: a refresh failed and was overtaken")
		return errMoved
	case recorded != nil:
		return unreadable(f.t.Key, reasonStore, recorded)
	}
	log.WarnContext(f.ctx, "oauthflow: a refresh failed", "status", v.conn.Status, "reason", v.conn.Reason, "error", te)
	return v.without(decision{}, f.t.Access, te)
}
