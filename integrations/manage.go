package integrations

import (
	"context"
	"errors"
	"net"
	"time"

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
	d, c, err := r.usable(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	if !d.interactive() {
		return nil, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrNotInteractive,
			Detail: "its definition has no authorization code flow"}
	}
	e, err := r.effective(ctx, d, c.scope.Org)
	if err != nil {
		return nil, err
	}
	if err := d.OAuth.Check(e.entityID, e.values); err != nil {
		return nil, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrInvalid, Detail: err.Error(), Err: err}
	}
	started, err := r.flows.Start(ctx, r.target(d, e, c.key(d)), oauthflow.StartOptions{Principal: o.Principal, ReturnTo: o.ReturnTo})
	var conn *oauthflow.ConnectionError
	switch {
	case errors.Is(err, oauthflow.ErrGone):
		return nil, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrNotFound, Detail: "somebody has deleted it meanwhile"}
	case !errors.As(err, &conn) && (errors.Is(err, tokenstore.ErrKeysAway) || errors.As(err, new(net.Error))): // of a store's, conn tells
		return nil, r.unsealed(ctx, d.Name, c.scope.Org, err)
	case err != nil:
		return nil, r.wrap(d, c, err)
	}
	return started, nil
}

// CallbackDefinition returns the id of the definition that a callback path
// belongs to: a global definition's name, or an organization's definition's id.
// An error means that the store could not be read.
func (r *Registry) CallbackDefinition(ctx context.Context, last string) (id string, ok bool, err error) {
	if err := r.upToDate(ctx); err != nil {
		return "", false, r.unread(ctx, "", "", err)
	}
	defs := r.defs.Load()
	if d := defs.byName[defName{"", last}]; d != nil {
		return d.id, true, nil
	}
	if d := defs.byID(last); d != nil && d.Org != "" {
		return d.id, true, nil
	}
	return "", false, nil
}

// Callback finishes a flow. Errors are *oauthflow.CallbackError.
func (r *Registry) Callback(ctx context.Context, req oauthflow.CallbackRequest) (*oauthflow.Finished, error) {
	return r.flows.Callback(ctx, req)
}

// Refresh renews the scope's own connection now, even if its token is still
// good, and returns the status afterwards; with client credentials it asks for a
// token. It never touches the fallback.
func (r *Registry) Refresh(ctx context.Context, name string, opts ...Option) (Status, error) {
	d, c, t, err := r.own(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	return r.refresh(ctx, d, c, t)
}

// RefreshByHand is Refresh for a button that many may press: after five of a
// connection within a minute nothing is sent for it. Then the status is returned as it
// is while the connection works, and ErrBusy while its refreshes fail.
func (r *Registry) RefreshByHand(ctx context.Context, name string, opts ...Option) (Status, error) {
	d, c, t, err := r.own(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	if wait := r.refreshes.take(restKey{t.Key, t.Access}, time.Now()); wait > 0 {
		switch st, err := r.status(ctx, d, c); {
		case err != nil || st.Status == tokenstore.Active:
			return st, err
		case st.Status != tokenstore.ReauthRequired && st.Status != tokenstore.NotConnected: // else nothing is sent anyway
			return Status{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrBusy, RetryAfter: wait,
				Detail: "a connection can be refreshed by hand five times a minute"}
		}
	}
	return r.refresh(ctx, d, c, t)
}

func (r *Registry) refresh(ctx context.Context, d *definition, c choice, t oauthflow.Target) (Status, error) {
	if _, err := r.flows.Renew(ctx, t, oauthflow.AnyGeneration); err != nil {
		return Status{}, r.wrap(d, c, err)
	}
	return r.status(ctx, d, c)
}

// Disconnect removes the scope's own connection, and has it revoked at the provider
// where that is possible, without waiting for that: what comes of it is in the
// history. actor is who did it, for the history. It never touches the fallback.
func (r *Registry) Disconnect(ctx context.Context, name, actor string, opts ...Option) (oauthflow.Revocation, error) {
	d, c, t, err := r.own(ctx, name, opts)
	if err != nil {
		return "", err
	}
	if !d.interactive() {
		return "", &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrNotInteractive,
			Detail: "its tokens are had with the client's own credentials; change or delete the definition instead"}
	}
	revocation, err := r.flows.Disconnect(ctx, t, actor)
	if err != nil {
		return "", r.wrap(d, c, err)
	}
	return revocation, nil
}

// Events returns the history of the definition that name means in the scope,
// newest first, at most limit, older than the event with id before (0: newest).
// In an organization's scope only its own connections' and settings' events are
// returned.
func (r *Registry) Events(ctx context.Context, name string, before int64, limit int, opts ...Option) ([]tokenstore.Event, error) {
	d, c, err := r.findWhole(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	match := tokenstore.Match{Definition: d.id}
	if c.scope.Kind == scope.Org {
		match.Org = &c.scope.Org
	}
	list, err := r.cfg.Tokens.Events(ctx, match, before, limit)
	if err != nil {
		return nil, r.unread(ctx, d.Name, c.scope.Org, err)
	}
	return list, nil
}

// usable finds a definition that is fit for use.
func (r *Registry) usable(ctx context.Context, name string, opts []Option) (*definition, choice, error) {
	d, c, err := r.find(ctx, name, opts)
	if err != nil {
		return nil, c, err
	}
	return d, c, r.fitForUse(d, c)
}

func (r *Registry) fitForUse(d *definition, c choice) error {
	if d.fault != nil {
		return d.broken(c.scope.Org)
	}
	if err := d.takes(&c); err != nil {
		return err
	}
	if r.defs.Load().shadowed(d) {
		return &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrCodeDefined,
			Detail: "the definition from code is used in its place; this one can only be deleted"}
	}
	return nil
}

// settable finds a definition whose settings are to be changed.
func (r *Registry) settable(ctx context.Context, name string, opts []Option) (*definition, choice, error) {
	if err := mayManage(ctx, name); err != nil {
		return nil, choice{}, err
	}
	d, c, err := r.findWhole(ctx, name, opts)
	if err != nil {
		return nil, c, err
	}
	return d, c, r.fitForUse(d, c)
}

// own finds a definition and makes sure that the scope has a connection of its
// own under it; the target says how to talk about it.
func (r *Registry) own(ctx context.Context, name string, opts []Option) (*definition, choice, oauthflow.Target, error) {
	d, c, err := r.usable(ctx, name, opts)
	if err != nil {
		return nil, c, oauthflow.Target{}, err
	}
	fail := func(kind error, st Status, detail string) (*definition, choice, oauthflow.Target, error) {
		return nil, c, oauthflow.Target{}, &Error{Integration: d.Name, Org: c.scope.Org, Status: tokenstore.NotConnected,
			Kind: kind, ConnectURL: st.ConnectURL, Detail: detail}
	}
	if d.OAuth == nil {
		return fail(ErrNotInteractive, Status{}, "its definition has no OAuth")
	}
	e, err := r.effective(ctx, d, c.scope.Org)
	if err != nil {
		return nil, c, oauthflow.Target{}, err
	}
	t := r.target(d, e, c.key(d))
	if !d.interactive() && e.ownsCredentials(d, c.scope.Org) {
		return d, c, t, nil
	}
	st, err := r.status(ctx, d, c)
	switch {
	case err != nil:
		return nil, c, t, err
	case st.Via == ViaOwn:
		return d, c, t, nil
	case st.Via == ViaFallback || !d.interactive() && d.fallsBack(c.scope.Org):
		return fail(ErrNotOwn, st, "it is served by the shared connection, which only the global scope may change")
	}
	return fail(ErrNotConnected, st, "")
}
