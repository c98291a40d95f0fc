package integrations

import (
	"context"
	"fmt"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// ConnectOptions says who connects, and where to go afterwards.
type ConnectOptions struct {
	// Principal is who starts the flow. The same must finish it. Required.
	Principal string
	// ReturnTo is where the browser goes afterwards, already checked; see package
	// httpadapter for the rule.
	ReturnTo string
}

// Connect begins to connect an account for the scope: it stores a flow and
// returns the URL to send the browser to, and the cookie to set. Nothing changes
// for a connection that exists until the flow is finished.
func (r *Registry) Connect(ctx context.Context, name string, o ConnectOptions, opts ...Option) (*oauthflow.Started, error) {
	d, s, err := r.find(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	if d.OAuth == nil || d.OAuth.Flow != oauthflow.AuthorizationCode {
		return nil, &Error{Integration: name, Org: s.Org, Kind: ErrNotInteractive,
			Detail: "its definition has no authorization code flow"}
	}
	if err := d.OAuth.Check(d.DefaultEntityID, nil); err != nil {
		return nil, &Error{Integration: name, Org: s.Org, Kind: ErrInvalid, Detail: err.Error(), Err: err}
	}
	started, err := r.flows.Start(ctx, d.target(d.key(s.Org)), oauthflow.StartOptions{Principal: o.Principal, ReturnTo: o.ReturnTo})
	if err != nil {
		return nil, fmt.Errorf("integrations: connect %s: %w", name, err)
	}
	return started, nil
}

// CallbackDefinition returns the id of the definition that a callback path
// belongs to: a global definition's name, or an organization's definition's id.
func (r *Registry) CallbackDefinition(last string) (string, bool) {
	defs := r.defs.Load()
	if d := defs.byName[defName{"", last}]; d != nil {
		return d.id, true
	}
	if d := defs.byID[last]; d != nil && d.Org != "" {
		return d.id, true
	}
	return "", false
}

// Callback finishes a flow. Errors are *oauthflow.CallbackError.
func (r *Registry) Callback(ctx context.Context, req oauthflow.CallbackRequest) (*oauthflow.Finished, error) {
	return r.flows.Callback(ctx, req)
}

// Refresh renews the scope's own connection now, even if its token is still
// good, and returns the status afterwards. It never touches the fallback.
func (r *Registry) Refresh(ctx context.Context, name string, opts ...Option) (Status, error) {
	d, s, err := r.own(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	if _, err = r.flows.Renew(ctx, d.target(d.key(s.Org)), oauthflow.AnyGeneration); err != nil {
		return Status{}, r.wrap(d, s.Org, err)
	}
	return r.status(ctx, d, s.Org)
}

// Disconnect removes the scope's own connection, and revokes it at the provider
// where that is possible. The removal never depends on the provider. actor is
// who did it, for the history. It never touches the fallback.
func (r *Registry) Disconnect(ctx context.Context, name, actor string, opts ...Option) (oauthflow.Revocation, error) {
	d, s, err := r.own(ctx, name, opts)
	if err != nil {
		return "", err
	}
	revocation, err := r.flows.Disconnect(ctx, d.target(d.key(s.Org)), actor)
	if err != nil {
		return "", r.wrap(d, s.Org, err)
	}
	return revocation, nil
}

// Events returns the history of the definition that name means in the scope,
// newest first, at most limit, older than the event with id before (0: newest).
// In an organization's scope only its own connections' events are returned.
func (r *Registry) Events(ctx context.Context, name string, before int64, limit int, opts ...Option) ([]tokenstore.Event, error) {
	d, s, err := r.find(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	match := tokenstore.Match{Definition: d.id}
	if s.Kind == scope.Org {
		match.Org = &s.Org
	}
	list, err := r.cfg.Tokens.Events(ctx, match, before, limit)
	if err != nil {
		return nil, fmt.Errorf("integrations: history of %s: %w", name, err)
	}
	return list, nil
}

// own finds a definition and makes sure that the scope has a connection of its
// own under it.
func (r *Registry) own(ctx context.Context, name string, opts []Option) (*definition, scope.Scope, error) {
	d, s, err := r.find(ctx, name, opts)
	if err != nil {
		return nil, s, err
	}
	if d.OAuth == nil {
		return nil, s, &Error{Integration: name, Org: s.Org, Kind: ErrNotInteractive, Detail: "its definition has no OAuth"}
	}
	st, err := r.status(ctx, d, s.Org)
	if err != nil {
		return nil, s, err
	}
	switch st.Via {
	case ViaOwn:
		return d, s, nil
	case ViaFallback:
		return nil, s, &Error{Integration: name, Org: s.Org, Status: tokenstore.NotConnected, Kind: ErrNotOwn,
			ConnectURL: st.ConnectURL, Detail: "it is served by the shared connection, which only the global scope may change"}
	default:
		return nil, s, &Error{Integration: name, Org: s.Org, Status: tokenstore.NotConnected, Kind: ErrNotConnected,
			ConnectURL: st.ConnectURL}
	}
}
