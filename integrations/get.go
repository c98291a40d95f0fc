package integrations

import (
	"context"

	"github.com/bifrost-go/bifrost/internal/scope"
)

// Get resolves name in the registry that ctx carries: inside workflow runs, and
// in handlers behind httpadapter's middleware. Elsewhere use [Registry.Get].
func Get(ctx context.Context, name string, opts ...Option) (*Integration, error) {
	at := scope.In(ctx)
	r, ok := at.Registry.(*Registry)
	if !ok {
		return nil, &Error{Integration: name, Kind: ErrUnavailable, Detail: "this context belongs to no Bifrost: " +
			"integrations.Get works inside workflow runs and behind httpadapter's Middleware; elsewhere call bf.Integrations.Get"}
	}
	return r.resolve(ctx, at, name, opts)
}

// Get returns the integration called name, with a fresh token of the scope's
// connection. The scope is the one that [Org] or [Global] chooses, else the
// context's.
//
// An organization uses its own connection; if it has none, the integration-level
// one of the same definition, unless the definition says NoFallback. A connection
// that must be connected again never falls back to somebody else's token. With
// [User] or [Account] it is that one connection and no other. With client
// credentials there is nothing to connect: the token is asked for when needed.
//
// A token that is about to expire is renewed first. While the old one is still
// good, a failed renewal is no error. Errors are *Error, except those of ctx.
func (r *Registry) Get(ctx context.Context, name string, opts ...Option) (*Integration, error) {
	return r.resolve(ctx, scope.In(ctx), name, opts)
}

// resolve is Get; at is what ctx carries.
func (r *Registry) resolve(ctx context.Context, at *scope.Carried, name string, opts []Option) (*Integration, error) {
	c := choice{scope: at.Scope}
	if err := r.choose(&c, at.Run, name, opts); err != nil {
		return nil, err
	}
	in, err := r.get(ctx, name, &c)
	if err != nil {
		return nil, err
	}
	if at.Run != nil {
		return in.forRun(at.Run), nil
	}
	return in, nil
}

// get returns the shared value: while the token is fresh, without lock, read or
// allocation. What has a slot was checked when it got it.
func (r *Registry) get(ctx context.Context, name string, c *choice) (*Integration, error) {
	if sl := r.slot(name, c); sl != nil {
		if in := sl.warm(r); in != nil {
			return in, nil
		}
	}
	if err := c.checkOrg(name); err != nil {
		return nil, err
	}
	b, err := r.bind(ctx, name, c)
	if err != nil {
		return nil, err
	}
	return r.view(ctx, b)
}
