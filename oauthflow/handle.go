package oauthflow

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Handle is this process's knowledge of one connection. Get it from
// [Manager.Handle] once and keep it.
type Handle struct {
	m   *Manager
	key tokenstore.Key

	last  atomic.Pointer[view]
	epoch atomic.Uint64 // rises when the change feed names the key
	used  atomic.Int64  // about when somebody asked for the token last, in Unix seconds

	sources atomic.Pointer[source] // those that were asked for; a list

	// unsaved are tokens that the store has not taken yet; nil usually.
	unsaved atomic.Pointer[unsaved]

	telling telling // of what was written

	mu      sync.Mutex
	flight  *flight              // the refresh under way, or nil
	pauses  map[string]slotPause // by slot
	unbegun []unbegun            // looked for by one goroutine, while there are any
}

// view is one reading of the record. It is never changed, but for fits.
type view struct {
	conn  *tokenstore.Connection
	tok   *tokens       // nil without tokens, or if they do not open
	snap  *Snapshot     // of the grant's own access token; nil without one
	err   error         // why the sealed tokens do not open
	older *view         // with err: the last one of the same grant whose tokens did
	at    time.Time     // this machine's clock before the reading
	took  time.Duration // by the reading
	epoch uint64        // of the handle before the reading

	// fits is set once the grant was found to fit its definition.
	fits atomic.Bool
}

// now is the store's clock now, as far as it can be told from here.
func (v *view) now() time.Time { return v.conn.ReadAt.Add(since(v.at, time.Now())) }

// snapshot returns a slot's access token, or nil.
func (v *view) snapshot(slot string) *Snapshot {
	if slot == "" || v.tok == nil {
		return v.snap
	}
	return v.snapshotOf(slot)
}

// snapshotOf counts a token's life from the earliest instant at which the record can
// have been read, and when it was asked for from the latest: each errs to the side
// that does no harm.
func (v *view) snapshotOf(slot string) *Snapshot {
	s := newSnapshot(v.conn, v.tok, slot, v.at)
	if s != nil {
		s.obtained = s.obtained.Add(v.took)
	}
	return s
}

// Key returns the connection's key.
func (h *Handle) Key() tokenstore.Key { return h.key }

// Current returns the connection's token if it is known to be current and fresh,
// without lock, database or allocation. A connection known not to exist is
// (nil, true). Otherwise ok is false: call [Manager.Token].
func (h *Handle) Current() (s *Snapshot, ok bool) {
	v, now := h.last.Load(), time.Now()
	if v == nil || !h.current(v, now) {
		return nil, false
	}
	if !v.conn.Connected() {
		return nil, true
	}
	if v.snap == nil || !v.fits.Load() || !v.snap.Fresh(now) {
		return nil, false
	}
	h.touch(now)
	return v.snap, true
}

// NotConnected returns the error for a connection that does not exist: a
// *[ConnectionError].
func (h *Handle) NotConnected() error {
	return &ConnectionError{Kind: ErrNotConnected, Key: h.key, Status: tokenstore.NotConnected}
}

// known returns the last reading if it is current, else reads.
func (h *Handle) known(ctx context.Context) (*view, error) {
	if v := h.latest(); v != nil {
		return v, nil
	}
	return h.read(ctx)
}

// latest returns the last reading if it is current, else nil.
func (h *Handle) latest() *view {
	if v := h.last.Load(); v != nil && h.current(v, time.Now()) {
		return v
	}
	return nil
}

// readPatience is how long a caller for whom there is a token in memory waits for a
// store that does not answer. One that fails would not keep him from it either.
const readPatience = 2 * time.Second

// consult is known, for a caller who wants w.
func (h *Handle) consult(ctx context.Context, t Target, w want) (*view, error) {
	if v := h.latest(); v != nil {
		return v, nil
	}
	if s, _ := h.remembered(t, w); s == nil {
		return h.read(ctx)
	}
	short, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	v, err := h.read(short)
	if err != nil && short.Err() != nil {
		if s, _ := h.remembered(t, w); s == nil { // it has ended meanwhile
			return h.read(ctx)
		}
	}
	return v, err
}

// current reports whether nothing newer than v is known to be stored. The order
// matters: the watcher raises epochs first and says then how far it has looked.
func (h *Handle) current(v *view, now time.Time) bool {
	return h.m.following(now) && v.epoch == h.epoch.Load()
}

// errWentBack: the store returned a record that was replaced long ago. Its
// refresh token may be spent; nothing is sent for it.
var errWentBack = errors.New("oauthflow: the store returned an older record than this process has seen; " +
	"if a backup was restored, restart the process and connect again")

// read reads the record.
func (h *Handle) read(ctx context.Context) (*view, error) {
	seen, epoch, at := h.last.Load(), h.epoch.Load(), time.Now()
	c, err := h.m.cfg.Store.Load(ctx, h.key)
	if err != nil {
		return nil, err
	}
	if seen != nil && c.Generation < seen.conn.Generation && !grantedAt(c).After(grantedAt(seen.conn)) {
		return nil, errWentBack
	}
	v := h.publish(ctx, c, nil, at, epoch)
	if v.err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // which says nothing about the keys
	}
	return v, nil
}

// update changes the record. The returned view is of the record afterwards; with
// errMoved, of the record that change refused.
func (h *Handle) update(ctx context.Context, change func(c *tokenstore.Connection, now time.Time) error) (*view, error) {
	return h.put(ctx, nil, change)
}

// put is update by a change that stores tok, which need not be opened then: nobody is
// kept from tokens in hand by a key service that fails just now.
func (h *Handle) put(ctx context.Context, tok *tokens, change func(c *tokenstore.Connection, now time.Time) error) (*view, error) {
	epoch, at := h.epoch.Load(), time.Now()
	c, err := h.write(ctx, change)
	if c == nil || err != nil && !errors.Is(err, errMoved) {
		return nil, err
	}
	if err != nil {
		tok = nil // something else is stored
	}
	return h.publish(ctx, c, tok, at, epoch), err
}

// publish makes a reading the last one, unless a newer one is known. tok are its
// tokens; nil if they have to be opened.
func (h *Handle) publish(ctx context.Context, c *tokenstore.Connection, tok *tokens, at time.Time, epoch uint64) *view {
	last := h.last.Load()
	v := &view{conn: c, at: at, took: time.Since(at), epoch: epoch}
	switch {
	case !c.HasAccessToken && !c.HasRefreshToken:
	case tok != nil:
		v.tok = tok
	case last != nil && last.tok != nil && sameTokens(last.conn, c):
		v.tok = last.tok
	default:
		v.tok, v.err = openTokens(ctx, h.m.cfg.Sealer, c)
	}
	if v.err != nil {
		v.epoch-- // never current: the key service may only have been away
		v.older = last.opened(c.GrantID)
	}
	if v.tok != nil {
		v.snap = v.snapshotOf("")
	}
	for last == nil || c.Version >= last.conn.Version || grantedAt(c).After(grantedAt(last.conn)) {
		if h.last.CompareAndSwap(last, v) {
			break
		}
		last = h.last.Load()
	}
	return v
}

// opened returns what serves of a grant if nothing newer opens; nil if nothing does.
func (v *view) opened(grant string) *view {
	switch {
	case v == nil || v.conn.GrantID != grant:
		return nil
	case v.err != nil:
		return v.older
	}
	return v
}

// grantedAt is when the grant was made, or removed: what tells a new connect
// after a restored backup from the old rows of that backup.
func grantedAt(c *tokenstore.Connection) time.Time {
	if c.Connected() {
		return c.ConnectedAt
	}
	return c.UpdatedAt
}
