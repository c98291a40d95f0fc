package integrations

import (
	"context"

	"github.com/bifrost-go/bifrost/internal/scope"
)

// Option chooses whose connection a call is about.
type Option func(*choice)

type choice struct {
	scope scope.Scope
	set   bool
}

// Org chooses an organization. The empty organization is no scope, and an error.
func Org(org string) Option {
	return func(c *choice) { c.scope, c.set = scope.Of(org), true }
}

// Global chooses the integration-level connection, which belongs to no
// organization.
func Global() Option {
	return func(c *choice) { c.scope, c.set = scope.Scope{Kind: scope.Global}, true }
}

// scopeOf decides the scope of a call: said, else the context's.
func (r *Registry) scopeOf(ctx context.Context, name string, opts []Option) (scope.Scope, error) {
	s, said := scope.From(ctx), false
	if len(opts) > 0 {
		var c choice
		for _, o := range opts {
			o(&c)
		}
		if c.set {
			s, said = c.scope, true
		}
	}
	switch {
	case s.Kind == scope.None && !said && r.cfg.SingleTenant:
		s = scope.Scope{Kind: scope.Global}
	case s.Kind == scope.None, s.Kind == scope.Org && s.Org == "":
		return s, &Error{Integration: name, Kind: ErrNoOrg, Detail: "put one into the context with bf.WithOrg(ctx, org), " +
			"or name it with integrations.Org(org) or integrations.Global(); a host without tenants sets Config.SingleTenant"}
	}
	if s.Kind == scope.Org && !ValidOrg(s.Org) {
		// Such an organization cannot have anything: the same answer as for any
		// other that has nothing, and no hostile text in a database or a log.
		return s, &Error{Integration: name, Kind: ErrNotFound, Detail: "ids of organizations match [A-Za-z0-9._~-]{1,128}"}
	}
	if run := scope.RunFrom(ctx); run != nil && !run.MayRead(s) {
		return s, &Error{Integration: name, Kind: ErrForbiddenOrg, Detail: "a workflow run may use its own organization's " +
			"connections and the global ones; register the workflow with workflow.CrossOrg() if it must reach others"}
	}
	return s, nil
}
