package integrations

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// slot is what is kept for one way of asking: a name, a scope, and what else was
// chosen.
type slot struct {
	name   string
	choice choice
	last   atomic.Pointer[bound]
}

// slotKey is a choice that is more than a name in a scope.
type slotKey struct {
	defName

	user, account string
	access        oauthflow.Access
}

// bound is a slot's answer for one state of the definitions and settings: where
// to look for tokens. It is never changed, but for seen.
type bound struct {
	slot    *slot
	version uint64 // of the definitions
	def     *definition
	effective

	own, common *source // nil: none
	seen        atomic.Pointer[Integration]
}

// source is one connection that may answer.
type source struct {
	target oauthflow.Target
	oauthflow.Source
}

// sharedSource is a definition's integration-level connection, which answers for every
// organization that has none.
type sharedSource struct {
	def    *definition
	set    *settings
	source *source
}

// slot finds the slot for a choice, or nil.
func (r *Registry) slot(name string, c *choice) *slot {
	key := defName{c.scope.Org, name} // the empty org is the global scope's
	if c.personal() || c.access != (oauthflow.Access{}) {
		return r.moreSlots.Load(slotKey{key, c.user, c.account, c.access})
	}
	return r.slots.Load(key)
}

// bind finds out what a choice means now. Slots are made for names that exist
// only, so that strangers cannot fill the memory with others.
func (r *Registry) bind(ctx context.Context, name string, c *choice) (*bound, error) {
	if err := r.upToDate(ctx); err != nil {
		return nil, r.unread(ctx, name, c.scope.Org, err)
	}
	defs := r.defs.Load()
	sl := r.slot(name, c)
	if sl != nil {
		if b := sl.last.Load(); b != nil && b.version == defs.version && b.current() {
			return b, nil
		}
	}
	d := defs.named(name, c.scope)
	if d == nil {
		return nil, defs.notFound(name, c.scope)
	}
	d, err := r.again(ctx, d)
	switch {
	case err != nil:
		return nil, err
	case d.fault != nil:
		return nil, d.broken(c.scope.Org)
	}
	if err := d.takes(c); err != nil {
		return nil, err
	}
	e, err := r.effective(ctx, d, c.scope.Org)
	if err != nil {
		return nil, err
	}
	if e.fault != nil {
		return nil, e.broken(d, c.scope.Org)
	}
	if sl == nil {
		sl = r.newSlot(name, *c)
	}
	b := &bound{slot: sl, version: defs.version, def: d, effective: *e}
	if err := r.connectSources(ctx, b); err != nil {
		return nil, err
	}
	sl.last.Store(b)
	return b, nil
}

func (r *Registry) newSlot(name string, c choice) *slot {
	c.said = false // of no meaning from here on
	sl, key := &slot{name: name, choice: c}, defName{c.scope.Org, name}
	if c.personal() || c.access != (oauthflow.Access{}) {
		return r.moreSlots.LoadOrStore(slotKey{key, c.user, c.account, c.access}, sl)
	}
	return r.slots.LoadOrStore(key, sl)
}

// connectSources decides which connections may answer: the chosen one, and behind
// it the integration-level one of the same definition.
func (r *Registry) connectSources(ctx context.Context, b *bound) error {
	d, c := b.def, b.slot.choice
	if d.OAuth == nil {
		return nil
	}
	shared := !c.personal() && d.fallsBack(c.scope.Org)
	mints := d.OAuth.Flow == oauthflow.ClientCredentials
	if !mints || c.scope.Org == "" || b.ownsCredentials(d, c.scope.Org) {
		b.own = r.source(d, &b.effective, c.key(d), c.access)
		shared = shared && !mints
	}
	if !shared {
		return nil
	}
	var err error
	b.common, err = r.common(ctx, d, c.access)
	return err
}

func (r *Registry) source(d *definition, e *effective, key tokenstore.Key, access oauthflow.Access) *source {
	t := r.target(d, e, key)
	t.Access = access
	return &source{t, r.flows.Source(t)}
}

// common returns the source of d's integration-level connection.
func (r *Registry) common(ctx context.Context, d *definition, access oauthflow.Access) (*source, error) {
	_, set, err := r.settingsOf(ctx, d.id, "")
	if err != nil {
		return nil, r.unread(ctx, d.Name, "", err)
	}
	kept := r.shared.Load(d.id)
	if kept == nil {
		kept = r.shared.LoadOrStore(d.id, new(atomic.Pointer[sharedSource]))
	}
	own := access == oauthflow.Access{}
	if last := kept.Load(); own && last != nil && last.def == d && last.set == set {
		return last.source, nil
	}
	e, err := r.effective(ctx, d, "")
	if err != nil {
		return nil, err
	}
	s := r.source(d, e, tokenstore.Key{Definition: d.id}, access)
	if own {
		kept.Store(&sharedSource{d, e.own, s})
	}
	return s, nil
}

// takes reports whether d has connections of such a kind: the client's own
// credentials are nobody's in particular. Were it silently ignored, each label would
// have a token of its own asked for.
func (d *definition) takes(c *choice) error {
	if c.personal() && d.OAuth != nil && !d.interactive() {
		return &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrInvalid,
			Detail: "its tokens are had with the client's own credentials, so there are no users' or accounts' connections"}
	}
	return nil
}

// broken is the error for a stored definition that cannot be used.
func (d *definition) broken(org string) error {
	return d.unusable(org, d.fault)
}

// unusable is the error for what a fault keeps an organization from.
func (d *definition) unusable(org string, fault error) error {
	return &Error{Integration: d.Name, Org: org, Kind: ErrUnavailable, Err: fault, Detail: fault.Error()}
}

// warm returns the slot's integration if everything about it is known to be
// current and its token is fresh; else nil. It takes no lock, reads nothing and
// allocates nothing.
func (sl *slot) warm(r *Registry) *Integration {
	b := sl.last.Load()
	if b == nil || b.version != r.defs.Load().version || !b.current() {
		return nil
	}
	in := b.seen.Load()
	if in == nil {
		return nil
	}
	// A stored connection's source that knows its token to be current has looked at
	// how far the change feed was followed, which covers definitions too. Others have
	// not: there is no record behind them.
	if (in.snap == nil || !b.def.interactive()) && !r.flows.Following() {
		return nil
	}
	if in.snap == nil {
		return in
	}
	if b.own != nil {
		snap, known := b.own.Current()
		switch {
		case !known:
			return nil
		case snap != nil:
			return in.with(snap)
		}
	}
	if b.common == nil {
		return nil
	}
	snap, _ := b.common.Current()
	return in.with(snap)
}

// with returns i if its token is snap; else nil.
func (i *Integration) with(snap *oauthflow.Snapshot) *Integration {
	if i.snap != snap {
		return nil
	}
	return i
}

// view returns the integration as it is now, with a usable token.
func (r *Registry) view(ctx context.Context, b *bound) (*Integration, error) {
	if len(b.missing) > 0 {
		return nil, &Error{Integration: b.def.Name, Org: b.slot.choice.scope.Org, Kind: ErrInvalid,
			Detail: "its configuration lacks a value for " + quoteAll(b.missing) + "; an administrator sets it"}
	}
	var snap *oauthflow.Snapshot
	if b.def.OAuth != nil {
		var err error
		if snap, err = r.snapshot(ctx, b); err != nil {
			return nil, err
		}
	}
	last := b.seen.Load()
	if last == nil || last.snap != snap {
		last = &Integration{reg: r, bound: b, snap: snap}
		b.seen.Store(last)
	}
	return last, nil
}

// snapshot returns a usable token of the first connection that exists.
func (r *Registry) snapshot(ctx context.Context, b *bound) (*oauthflow.Snapshot, error) {
	org := b.slot.choice.scope.Org
	if b.own != nil {
		snap, err := r.token(ctx, b.own)
		switch {
		case err == nil:
			return snap, nil
		case !errors.Is(err, oauthflow.ErrNotConnected) || b.common == nil:
			return nil, r.wrap(b.def, b.slot.choice, err)
		}
	}
	if b.common == nil {
		return nil, &Error{Integration: b.def.Name, Org: org, Status: tokenstore.NotConnected, Kind: ErrNotConnected,
			Detail: "the organization has no mapping, and the definition allows no fallback; an administrator sets its entity id"}
	}
	snap, err := r.token(ctx, b.common)
	if err != nil {
		return nil, r.wrap(b.def, b.slot.choice, err)
	}
	return snap, nil
}

// token returns a source's token, renewed if need be.
func (r *Registry) token(ctx context.Context, s *source) (*oauthflow.Snapshot, error) {
	snap, known := s.Current()
	switch {
	case !known:
		return r.flows.Token(ctx, s.target)
	case snap == nil:
		return nil, &oauthflow.ConnectionError{Kind: oauthflow.ErrNotConnected, Key: s.target.Key, Status: tokenstore.NotConnected}
	}
	return snap, nil
}

// sourceOf returns the source that a token came from.
func (b *bound) sourceOf(snap *oauthflow.Snapshot) *source {
	if b.common != nil && (b.own == nil || snap.Key() != b.own.target.Key) {
		return b.common
	}
	return b.own
}
