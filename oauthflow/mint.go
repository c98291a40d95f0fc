package oauthflow

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Tokens of the client credentials flow are minted when they are needed, kept in
// memory only, and minted again: there is no refresh token that could be lost, so
// each process mints for itself, and the record says for people what came of it.

// mintsIdle is after how long without use a minted token is forgotten: values that
// are no longer configured would stay for ever.
const mintsIdle = 24 * time.Hour

// mints are the manager's minted tokens.
type mints struct {
	// generations numbers them all, so that a rejected one is never mistaken for
	// another entry's.
	generations atomic.Int64

	mu    sync.Mutex
	all   map[mintKey]*mint
	swept time.Time // when idle ones were last looked for
}

// mint is one minted token and what happened when it was asked for.
type mint struct {
	m       *Manager
	key     mintKey
	breaker breakerKey
	grant   string
	err     error // the definition's URLs cannot be built: nothing is ever sent

	snap    atomic.Pointer[Snapshot] // the newest, usable or not; nil before the first
	used    atomic.Int64             // about when it was last asked for, in Unix seconds
	dropped atomic.Bool              // another entry may have taken its place
	records atomic.Int64             // counts what is to be written to the record

	mu      sync.Mutex
	minting *minting               // the request under way, or nil
	state   *tokenstore.Connection // failures and when to try again, by this machine's clock
}

// minted returns the entry of a target: the same one each time.
func (m *Manager) minted(t Target) *mint {
	key, err := mintKeyOf(t)
	if err != nil {
		return &mint{m: m, err: unreadable(t.Key, reasonURLs, err)}
	}
	breaker, err := refreshBreaker(t)
	if err != nil {
		return &mint{m: m, err: unreadable(t.Key, reasonURLs, err)}
	}
	s, now := &m.mints, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[key]
	if e == nil {
		e = &mint{m: m, key: key, breaker: breaker, grant: uuid.NewString(), state: &tokenstore.Connection{Key: t.Key}}
		if s.all == nil {
			s.all = map[mintKey]*mint{}
		}
		s.all[key] = e
	}
	e.touch(now)
	return e
}

// sweep forgets what has not been used for long. It looks at most once an hour.
func (s *mints) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.swept) < time.Hour {
		return
	}
	s.swept = now
	for _, e := range s.all {
		if now.Sub(time.Unix(e.used.Load(), 0)) >= mintsIdle {
			s.drop(e)
		}
	}
}

// drop takes e out. s.mu is held.
func (s *mints) drop(e *mint) {
	delete(s.all, e.key)
	e.dropped.Store(true)
}

// held returns everything minted under key.
func (s *mints) held(key tokenstore.Key) []*Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Snapshot
	for k, e := range s.all {
		if snap := e.snap.Load(); k.key == key && snap != nil {
			list = append(list, snap)
		}
	}
	return list
}

// forget takes out everything minted under key, and returns it.
func (s *mints) forget(key tokenstore.Key) []*Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Snapshot
	for k, e := range s.all {
		if k.key != key {
			continue
		}
		s.drop(e)
		if snap := e.snap.Swap(nil); snap != nil {
			list = append(list, snap)
		}
	}
	return list
}

// touch notes that e is in use, roughly, so that not every caller writes.
func (e *mint) touch(now time.Time) {
	if seconds := now.Unix(); seconds-e.used.Load() >= int64(time.Hour/time.Second) {
		e.used.Store(seconds)
	}
}

// Current returns the token if it is fresh, without lock or allocation. Otherwise
// ok is false: call [Manager.Token].
func (e *mint) Current() (s *Snapshot, ok bool) {
	now := time.Now()
	if s = e.snap.Load(); s != nil && s.Fresh(now) {
		e.touch(now)
		return s, true
	}
	if !e.dropped.Load() {
		return nil, false
	}
	e.m.mints.mu.Lock()
	heir := e.m.mints.all[e.key]
	e.m.mints.mu.Unlock()
	if heir == nil {
		return nil, false
	}
	return heir.Current()
}

// renew is [Manager.Renew].
func (e *mint) renew(ctx context.Context, t Target, rejected int64) (*Snapshot, error) {
	if rejected >= 0 {
		return e.token(ctx, t, want{generation: rejected, rejected: true})
	}
	return e.token(ctx, t, want{generation: generation(e.snap.Load()), force: true})
}

func generation(s *Snapshot) int64 {
	if s == nil {
		return 0
	}
	return s.Generation()
}

// token is [Manager.Token].
func (e *mint) token(ctx context.Context, t Target, w want) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.err != nil {
		return nil, e.err
	}
	s, f, err := e.ask(t, w)
	switch {
	case f == nil:
		return s, err
	case s == nil:
		return f.wait(ctx)
	}
	if s.outlast(ctx, f.done) && f.err == nil {
		return f.snap, nil
	}
	return s, nil
}

// ask returns a token that will do, or a request to wait for, or why there is
// neither. With both, the token is good and is being renewed.
func (e *mint) ask(t Target, w want) (*Snapshot, *minting, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, now := e.snap.Load(), time.Now()
	if w.generation != generation(s) {
		w = want{}
	}
	if s != nil && (w.rejected || !s.Usable(now)) {
		s = nil
	}
	resting := e.minting == nil && before(now, e.state.RetryAt) && !setBack(e.state, now) && !w.force
	switch {
	case s != nil && !w.force && (resting || s.Fresh(now)):
		return s, nil, nil
	case s == nil && resting:
		return nil, nil, e.problem(nil)
	}
	f := e.minting
	if f == nil {
		switch refused := e.m.breakers.ask(e.breaker, w.force); {
		case refused != nil && s != nil && !w.force:
			return s, nil, nil
		case refused != nil:
			return nil, nil, e.refused(refused)
		}
		f = e.begin(t, w.force)
	}
	if s != nil && !w.force {
		f.beside = true
		return s, f, nil
	}
	f.waiters++
	return nil, f, nil
}

// refused is the error for a request that its breaker does not let through. e.mu
// is held.
func (e *mint) refused(r *refusal) error {
	status := tokenstore.NotConnected
	if e.state.Status != "" {
		status = e.state.Status
	}
	return r.error(e.key.key, status)
}

// problem is the error for an entry without a usable token. e.mu is held.
func (e *mint) problem(cause error) error {
	now := time.Now()
	c := e.state.Clone()
	c.ReadAt, c.GrantID = now, e.grant
	return (&view{conn: c, at: now}).problem(decision{}, cause)
}
