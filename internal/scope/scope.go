// Package scope carries what a call is about in a context: whose connections it
// may use (the scope), which registry resolves names, and which workflow run it
// belongs to.
//
// It exists so that workflow and integrations need not import each other: one
// puts values into a context, the other reads them.
package scope

import "context"

// Kind says which of the three scopes a call has.
type Kind uint8

// None is the zero value on purpose: a forgotten scope must be an error, never
// the most powerful one.
const (
	None Kind = iota
	Org
	Global
)

// Scope is whose connections a call is about.
type Scope struct {
	Kind Kind
	Org  string // set when Kind is Org, empty otherwise
}

// Of returns the scope of one organization; the empty organization is no scope.
func Of(org string) Scope {
	if org == "" {
		return Scope{}
	}
	return Scope{Kind: Org, Org: org}
}

// maxOrg is how long an organization's id may be.
const maxOrg = 128

// ValidOrg reports whether org can be an organization's id: [A-Za-z0-9._~-]{1,128},
// and not "." or "..". Every Get asks, hence no regexp.
func ValidOrg(org string) bool {
	if org == "" || len(org) > maxOrg || org == "." || org == ".." {
		return false
	}
	for _, c := range []byte(org) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}

// Run is the workflow run a context belongs to.
type Run struct {
	Workflow    string
	ExecutionID string
	Attempt     int
	Scope       Scope

	// CrossOrg allows a run for one organization to read another's connections.
	CrossOrg bool

	// Redact is told every secret the run resolves, before the run sees it, so
	// that results, errors and logs can be cleaned of it. Safe for concurrent use.
	Redact func(secret string)
}

// MayRead reports whether the run may read connections of s: its own scope and
// the global one always, anything if it is global or cross-org.
func (r *Run) MayRead(s Scope) bool {
	return r.CrossOrg || r.Scope.Kind == Global || s.Kind == Global || s == r.Scope
}

// Carried is all that a context carries. It is one value, never changed, because a
// look-up walks the whole chain of contexts when it finds nothing: every Get would
// walk the middle of a host's request for a run that is not there.
type Carried struct {
	Scope    Scope
	Registry any
	Run      *Run
}

type carriedKey struct{}

var nothing Carried

// In returns what the context carries; never nil, and not to be changed.
func In(ctx context.Context) *Carried {
	if c, ok := ctx.Value(carriedKey{}).(*Carried); ok {
		return c
	}
	return &nothing
}

// with returns a context that carries what ctx does, as change leaves it.
func with(ctx context.Context, change func(c *Carried)) context.Context {
	c := *In(ctx)
	change(&c)
	return context.WithValue(ctx, carriedKey{}, &c)
}

// With returns a context whose calls have scope s.
func With(ctx context.Context, s Scope) context.Context {
	return with(ctx, func(c *Carried) { c.Scope = s })
}

// From returns the context's scope; None when nothing was set.
func From(ctx context.Context) Scope { return In(ctx).Scope }

// WithRegistry returns a context in which integrations.Get finds registry.
// The value is untyped here because this package is below integrations.
func WithRegistry(ctx context.Context, registry any) context.Context {
	return with(ctx, func(c *Carried) { c.Registry = registry })
}

// Registry returns what WithRegistry stored, or nil.
func Registry(ctx context.Context) any { return In(ctx).Registry }

// WithRun returns a context that belongs to a workflow run and has its scope.
func WithRun(ctx context.Context, run *Run) context.Context {
	return with(ctx, func(c *Carried) { c.Run, c.Scope = run, run.Scope })
}

// RunFrom returns the workflow run a context belongs to, or nil.
func RunFrom(ctx context.Context) *Run { return In(ctx).Run }
