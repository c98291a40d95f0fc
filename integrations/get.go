package integrations

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/bifrost-go/bifrost/internal/promap"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// Get resolves name in the registry that ctx carries: inside workflow runs, and
// in handlers behind httpadapter's middleware. Elsewhere use [Registry.Get].
func Get(ctx context.Context, name string, opts ...Option) (*Integration, error) {
	r, ok := scope.Registry(ctx).(*Registry)
	if !ok {
		return nil, &Error{Integration: name, Kind: ErrUnavailable, Detail: "this context belongs to no Bifrost: " +
			"integrations.Get works inside workflow runs and behind httpadapter's Middleware; elsewhere call bf.Integrations.Get"}
	}
	return r.Get(ctx, name, opts...)
}

// Get returns the integration called name, with a fresh token of the scope's
// connection. The scope is the one that [Org] or [Global] chooses, else the
// context's.
//
// An organization uses its own connection; if it has none, the integration-level
// one of the same definition, unless the definition says NoFallback. A connection
// that must be connected again never falls back to somebody else's token.
//
// A token that is about to expire is renewed first. While the old one is still
// good, a failed renewal is no error. Errors are *Error, except those of ctx.
func (r *Registry) Get(ctx context.Context, name string, opts ...Option) (*Integration, error) {
	s, err := r.scopeOf(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	d, err := r.lookup(name, s)
	if err != nil {
		return nil, err
	}
	in, err := r.view(ctx, r.slot(d, s.Org))
	if err != nil {
		return nil, err
	}
	if run := scope.RunFrom(ctx); run != nil {
		return in.forRun(run), nil
	}
	return in, nil
}

// slot is what is kept per definition and organization: where to look for
// tokens, and the last answer.
type slot struct {
	def    *definition
	org    string
	own    *oauthflow.Handle // nil without OAuth
	common *oauthflow.Handle // the fallback; nil without one
	last   atomic.Pointer[Integration]

	// unhelpful is until when (Unix nanoseconds) an API's 401 triggers no
	// renewal, because the last renewal did not satisfy that API. It belongs to
	// the own connection; what the fallback learns is kept in its own slot.
	unhelpful atomic.Int64
}

type slotKey struct {
	def *definition
	org string
}

type slotMap = promap.Map[slotKey, slot]

func (r *Registry) slot(d *definition, org string) *slot {
	key := slotKey{d, org}
	if sl := r.slots.Load(key); sl != nil {
		return sl
	}
	sl := &slot{def: d, org: org}
	if d.OAuth != nil {
		sl.own = r.flows.Handle(d.key(org))
		if org != "" && d.Org == "" && !d.NoFallback {
			sl.common = r.flows.Handle(d.key(""))
		}
	}
	return r.slots.LoadOrStore(key, sl)
}

// view returns the integration of a slot. While the token is fresh, this is one
// shared value: no lock, no read, no allocation.
func (r *Registry) view(ctx context.Context, sl *slot) (*Integration, error) {
	var snap *oauthflow.Snapshot
	if sl.own != nil {
		var err error
		if snap, err = r.snapshot(ctx, sl); err != nil {
			return nil, err
		}
	}
	last := sl.last.Load()
	if last == nil || last.snap != snap {
		last = &Integration{reg: r, slot: sl, snap: snap}
		sl.last.Store(last)
	}
	return last, nil
}

// snapshot returns a usable token of the slot's own connection, or of the
// fallback if there is no own one.
func (r *Registry) snapshot(ctx context.Context, sl *slot) (*oauthflow.Snapshot, error) {
	snap, known := sl.own.Current()
	if !known {
		var err error
		snap, err = r.flows.Token(ctx, sl.def.target(sl.own.Key()))
		if err != nil && (sl.common == nil || !errors.Is(err, oauthflow.ErrNotConnected)) {
			return nil, r.wrap(sl.def, sl.org, err)
		}
	}
	if snap != nil {
		return snap, nil
	}
	if sl.common == nil {
		return nil, r.wrap(sl.def, sl.org, sl.own.NotConnected())
	}
	if snap, known = sl.common.Current(); known && snap != nil {
		return snap, nil
	}
	snap, err := r.flows.Token(ctx, sl.def.target(sl.common.Key()))
	if err != nil {
		return nil, r.wrap(sl.def, sl.org, err)
	}
	return snap, nil
}
