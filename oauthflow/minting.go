package oauthflow

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// minting is one client credentials request of this process. Like a flight it
// belongs to nobody: callers wait for it each by his own context, and it is given
// up only if nobody waits any more and nothing was sent.
type minting struct {
	e      *mint
	t      Target
	forced bool            // by a person
	ctx    context.Context // until something is sent
	cancel context.CancelFunc

	// Under e.mu.
	waiters int
	beside  bool // goes on without waiters
	sent    bool

	done chan struct{}
	snap *Snapshot // once done is closed
	err  error
}

// begin starts a request. e.mu is held.
func (e *mint) begin(t Target, forced bool) *minting {
	f := &minting{e: e, t: t, forced: forced, done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(e.m.ctx)
	if !e.m.start(f.run) {
		f.cancel()
		f.err = unreadable(t.Key, reasonClosed, ErrClosed)
		close(f.done)
		return f
	}
	e.minting = f
	return f
}

// wait waits for the request's end, or ctx's.
func (f *minting) wait(ctx context.Context) (*Snapshot, error) {
	select {
	case <-f.done:
		return f.snap, f.err
	case <-ctx.Done():
	}
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if f.waiters--; f.waiters == 0 && !f.beside && !f.sent {
		f.cancel()
		f.leave()
	}
	return nil, ctx.Err()
}

// leave lets the next caller begin another request. e.mu is held.
func (f *minting) leave() {
	if f.e.minting == f {
		f.e.minting = nil
	}
}

func (f *minting) run() {
	defer f.cancel()
	f.e.m.mints.sweep(time.Now())
	through, refused := f.e.m.breakers.enter(f.e.breaker, f.t.Key, f.forced)
	if refused != nil { // since the caller looked
		f.e.mu.Lock()
		f.leave()
		f.err = f.e.refused(refused)
		f.e.mu.Unlock()
		close(f.done)
		return
	}
	defer through.leave()
	reply, sent, err := f.send()
	write := f.end(reply, sent, through, err)
	if write != nil && f.t.Access == (Access{}) && !f.e.dropped.Load() {
		f.record(write)
	}
	close(f.done)
}

// send sends the request once, and says since when it was under way.
func (f *minting) send() (*Reply, stopwatch, error) {
	ctx, cancel := detached(f.e.m.cfg.Timing.Request)
	defer cancel()
	defer context.AfterFunc(f.ctx, func() {
		f.e.mu.Lock()
		defer f.e.mu.Unlock()
		if !f.sent {
			cancel()
		}
	})()
	sent := startStopwatch()
	reply, err := f.e.m.ask(ctx, f.t, RequestMint, false, TokenRequest{
		Client: f.t.Client, EntityID: f.t.EntityID, Values: f.t.Values, Transport: f.t.Transport, Params: f.t.mintParams(),
		Gate: func() error {
			f.e.mu.Lock()
			defer f.e.mu.Unlock()
			sent = startStopwatch()
			f.sent = f.ctx.Err() == nil
			return f.ctx.Err()
		},
	})
	return reply, sent, err
}

// end makes the outcome known, and returns what is to be written about it.
func (f *minting) end(reply *Reply, sent stopwatch, through *pass, err error) change {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	f.leave()
	switch {
	case err == nil:
		through.succeeded()
		return f.landed(reply, sent)
	case f.sent || f.ctx.Err() == nil:
		return f.failed(through, err)
	case e.m.ctx.Err() != nil:
		f.err = unreadable(f.t.Key, reasonClosed, ErrClosed)
	default:
		f.err = f.ctx.Err() // everybody has left
	}
	return nil
}

// landed puts a reply's token in place. A refresh token in it is ignored (RFC 6749
// §4.4.3). e.mu is held.
func (f *minting) landed(reply *Reply, sent stopwatch) change {
	e, now := f.e, time.Now()
	r := f.identity()
	r.received = received{
		generation: e.m.mints.generations.Add(1), access: true,
		lifetime: reply.Lifetime, expiresAt: reply.ExpiresAt, scopes: reply.Scopes,
	}
	c := &tokenstore.Connection{Key: f.t.Key, ReadAt: now}
	r.stamp(c, now)
	r.put(c, now, sent.elapsed())
	tok := &tokens{access: map[string]*accessToken{"": {secret: reply.AccessToken, kind: reply.TokenType}}, extra: reply.Extra}
	snap := newSnapshot(c, tok, "", now)
	e.state = c.Clone() // what a snapshot holds never changes
	e.snap.Store(snap)
	if c.Reason == ReasonExpiredOnArrival {
		f.err = e.problem(nil)
	} else {
		f.snap = snap
	}
	e.m.logger(f.t).Info("oauthflow: token minted", "scope", strings.Join(f.t.mintScopes(), " "))
	return func(c *tokenstore.Connection, now time.Time) error { return recordMint(c, now, r, sent.elapsed()) }
}

// failed notes a failure and when to try again. e.mu is held.
func (f *minting) failed(through *pass, err error) change {
	e, te := f.e, asTokenError(err, f.sent)
	if te.Class == ClassDead { // there is no grant, so it is the client that is refused
		c := *te
		c.Class, te = ClassOperator, &c
	}
	asked := *f.t.Client
	asked.Scopes = f.t.mintScopes()
	why := explain(te, &asked)
	through.failed(te, f.t.Client, why.jitter)
	noteFailure(e.state, time.Now(), why)
	e.state.Pending = nil // the record's history has it
	f.err = e.problem(te)
	e.m.logger(f.t).Warn("oauthflow: a token could not be minted", "class", te.Class, "code", why.code, "error", te)
	r := f.identity()
	return func(c *tokenstore.Connection, now time.Time) error { return recordMintFailure(c, now, r, why) }
}

// identity is what the record says beside the outcome.
func (f *minting) identity() mintRecord {
	host, _ := f.t.Client.TokenHost(f.t.EntityID, f.t.Values) // the URL was built from the same
	return mintRecord{
		grant: f.e.grant, entityID: f.t.EntityID, clientID: f.t.Client.ClientID, tokenHost: host,
		fingerprint: f.t.Fingerprint, requested: f.t.mintScopes(),
	}
}

// recordPatience is how long callers wait for the record to be written, so that
// who looks at the status next sees what they saw.
const recordPatience = time.Second

// record writes to the connection's record, for the status alone: the token serves
// whether or not it can be written.
func (f *minting) record(write change) {
	m, e := f.e.m, f.e
	turn, h := e.records.Add(1), m.Handle(f.t.Key)
	written := make(chan struct{})
	m.within(func() {
		defer close(written)
		ctx, cancel := detached(m.cfg.Timing.Record)
		defer cancel()
		err := repeat(ctx, func(ctx context.Context) error {
			if e.records.Load() != turn {
				return errMoved // a later outcome counts
			}
			_, err := h.update(ctx, write)
			return err
		})
		if errors.Is(m.confirm(ctx, f.t.Key), ErrGone) { // whoever deletes it later finds the record
			_, err = m.end(ctx, f.t, removal{reason: reasonDefinitionGone, revoke: true})
		}
		if err != nil && !errors.Is(err, errMoved) && !errors.Is(err, ErrNotConnected) {
			m.logger(f.t).WarnContext(ctx, "oauthflow: the status after minting could not be stored", "error", err)
		}
	})
	timer := time.NewTimer(recordPatience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
}
