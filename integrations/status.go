package integrations

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Where a definition comes from.
const (
	SourceCode   = "code"   // made by [Registry.Define]
	SourceStored = "stored" // made at run time, by [Registry.Create]
)

// Via says whose connection serves a scope.
type Via string

// Whose connection it is.
const (
	ViaOwn      Via = "own"      // the scope's own
	ViaFallback Via = "fallback" // the integration-level one, for an organization
	ViaNone     Via = "none"
)

// Connecting is the derived status of a scope without a connection for which
// somebody has begun to connect.
const Connecting tokenstore.Status = "connecting"

// Status is what the management side shows of one integration in one scope. It
// holds no secret.
type Status struct {
	ID          string
	Name        string
	Description string
	Owner       string // organization that owns the definition; empty if it is global
	Org         string // organization whose view this is; empty for the global scope
	Source      string
	// Shadowed: code defines the same name, so that nobody gets this one. It is
	// managed by its ID.
	Shadowed bool
	// Broken: the definition or its configuration is stored in a form, or with
	// secrets, that this process cannot read.
	Broken      bool
	Flow        oauthflow.Flow // empty without OAuth
	RedirectURI string         // register this with the provider
	ConnectURL  string         // where a person connects; empty if not interactive
	// AuthorizationOrigin is where Connect sends the browser, for a page's
	// form-action; empty if not interactive.
	AuthorizationOrigin string

	Key           tokenstore.Key // of the connection that Via is about; zero without one
	Status        tokenstore.Status
	Via           Via
	StatusMessage string // what the status means and what to do
	LastError     *tokenstore.Failure
	ExpiresAt     time.Time // zero if unknown, as the other times
	EntityID      string
	AccountID     string
	AccountName   string

	ScopesRequested []string
	ScopesGranted   []string

	ConnectedBy   string
	LastRefreshAt time.Time
	UpdatedAt     time.Time
}

// WithoutFallback returns the status as someone may see it who has no business
// with the integration-level connection: that it serves them, and no more.
func (s Status) WithoutFallback() Status {
	if s.Via != ViaFallback {
		return s
	}
	if !s.Broken {
		s.StatusMessage = fallbackMessage
	}
	if s.Status != tokenstore.Active {
		s.StatusMessage = "The shared connection, which serves this organization, does not work at the moment. " +
			"Connect an account of your own, or tell an administrator."
	}
	s.LastError, s.ExpiresAt, s.LastRefreshAt, s.UpdatedAt = nil, time.Time{}, time.Time{}, time.Time{}
	s.EntityID, s.AccountID, s.AccountName, s.ConnectedBy = "", "", "", ""
	s.ScopesRequested, s.ScopesGranted = nil, nil
	return s
}

// List returns the status of every integration that the scope sees, by name. In
// the global scope these are all, organizations' own and shadowed ones included,
// each in its owner's view.
func (r *Registry) List(ctx context.Context, opts ...Option) ([]Status, error) {
	c, err := r.chosenIn(ctx, "", opts)
	if err != nil {
		return nil, err
	}
	if err := r.upToDate(ctx); err != nil {
		return nil, r.unread(ctx, "", c.scope.Org, err)
	}
	short, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	var list []Status
	for _, d := range r.defs.Load().visible(c.scope) {
		if next, err := r.again(short, d); err == nil { // else it is shown as it is
			d = next
		}
		view := c
		if d.Org != "" {
			view.scope = scope.Of(d.Org)
		}
		st, err := r.status(ctx, d, view)
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// Status returns the status of one integration in the scope. [User] and [Account]
// choose one connection.
func (r *Registry) Status(ctx context.Context, name string, opts ...Option) (Status, error) {
	d, c, err := r.find(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	return r.status(ctx, d, c)
}

// Connections yields every connection under the definition that name means in
// the scope, ordered by key: all organizations' in the global scope, else the
// scope's own, and with [User] or [Account] those alone. Disconnected ones are
// left out. It begins behind after, or at the beginning if that is nil, and reads
// as it goes; an error ends it.
func (r *Registry) Connections(ctx context.Context, name string, after *tokenstore.Key, opts ...Option) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		d, c, err := r.find(ctx, name, opts)
		if err != nil {
			yield(Status{}, err)
			return
		}
		match := tokenstore.Match{Definition: d.id}
		if c.scope.Kind == scope.Org {
			match.Org = &c.scope.Org
		}
		for {
			conns, err := r.cfg.Tokens.List(ctx, match, after, connectionsPage)
			if err != nil {
				yield(Status{}, r.unread(ctx, d.Name, c.scope.Org, err))
				return
			}
			for _, conn := range conns {
				after = &conn.Key
				if !conn.Connected() || c.user != "" && conn.User != c.user || c.account != "" && conn.Account != c.account {
					continue
				}
				st, err := r.connection(ctx, d, conn)
				if !yield(st, err) || err != nil {
					return
				}
			}
			if len(conns) < connectionsPage {
				return
			}
		}
	}
}

// connection is the status of one stored connection, in the view of who owns it.
func (r *Registry) connection(ctx context.Context, d *definition, conn *tokenstore.Connection) (Status, error) {
	e, err := r.effectiveView(ctx, d, conn.Org)
	if err != nil {
		return Status{}, err
	}
	s := r.describe(d, e, choice{scope: scope.Scope{Org: conn.Org}, user: conn.User, account: conn.Account})
	r.fill(&s, d, e, conn, ViaOwn)
	return s, nil
}

// connectionsPage is how many records are read at once.
const connectionsPage = 200

// find returns the definition that name means in the scope. The id of a stored
// definition does as well: a shadowed one has no other name. Managing is about
// connections, so it takes no [Scope] and no [Audience].
func (r *Registry) find(ctx context.Context, name string, opts []Option) (*definition, choice, error) {
	c, err := r.chosenIn(ctx, name, opts)
	if err != nil {
		return nil, c, err
	}
	if c.access != (oauthflow.Access{}) {
		return nil, c, &Error{Integration: name, Org: c.scope.Org, Kind: ErrInvalid, Detail: "Scope and Audience are for Get"}
	}
	d, err := r.lookup(ctx, name, c.scope)
	if errors.Is(err, ErrNotFound) {
		byID := r.defs.Load().stored[name]
		if byID != nil && (c.scope.Kind == scope.Global || byID.Org == "" || byID.Org == c.scope.Org) {
			d, err = byID, nil
		}
	}
	if err != nil {
		return nil, c, err
	}
	if c.scope.Kind == scope.Global && d.Org != "" { // by its id
		c.scope = scope.Of(d.Org)
	}
	d, err = r.again(ctx, d)
	return d, c, err
}

// findWhole is find for what belongs to a definition or an organization as a whole.
func (r *Registry) findWhole(ctx context.Context, name string, opts []Option) (*definition, choice, error) {
	d, c, err := r.find(ctx, name, opts)
	if err == nil && c.personal() {
		return nil, c, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrInvalid,
			Detail: "User and Account are for connections; this concerns the whole organization"}
	}
	return d, c, err
}

// mayManage refuses what a workflow run must not do: it acts for an organization,
// not for an administrator. A global run is the platform's own.
func mayManage(ctx context.Context, name string) error {
	if run := scope.RunFrom(ctx); run != nil && run.Scope.Kind != scope.Global {
		return &Error{Integration: name, Kind: ErrForbiddenOrg,
			Detail: "an organization's workflow run cannot change definitions, mappings, configuration or where tokens are"}
	}
	return nil
}

// effectiveView is effective for showing: of a definition that cannot be used,
// what its defaults are.
func (r *Registry) effectiveView(ctx context.Context, d *definition, org string) (*effective, error) {
	if d.fault != nil {
		return &effective{}, nil //nolint:nilerr // shown, not returned: describe says what is wrong
	}
	return r.effective(ctx, d, org)
}

// describe fills in what the definition and the settings alone say.
func (r *Registry) describe(d *definition, e *effective, c choice) Status {
	s := Status{
		ID: d.id, Name: d.Name, Description: d.Description, Owner: d.Org, Org: c.scope.Org, Source: d.source,
		Shadowed: r.defs.Load().shadowed(d), Status: tokenstore.NotConnected, Via: ViaNone,
		EntityID: e.entityID, RedirectURI: d.redirectURI,
	}
	switch {
	case d.fault != nil:
		s.Broken, s.StatusMessage = true, "Cannot be used: "+d.fault.Error()
		return s
	case d.OAuth == nil:
		s.StatusMessage = noOAuthMessage
		return s
	}
	s.Flow = d.OAuth.Flow
	s.ScopesRequested = slices.Clone(d.OAuth.Scopes)
	s.StatusMessage = notMintedMessage
	if d.interactive() {
		s.ConnectURL = r.connectURL(d, c)
		s.StatusMessage = notConnectedMessage
	}
	if err := d.OAuth.Check(e.entityID, e.values); err != nil {
		s.StatusMessage = "Cannot be connected: " + err.Error()
		return s
	}
	if d.interactive() {
		s.AuthorizationOrigin = authorizationOrigin(d, e)
	}
	if len(e.missing) > 0 {
		s.StatusMessage = "The configuration lacks a value for " + quoteAll(e.missing) + ". " + s.StatusMessage
	}
	return s
}

// authorizationOrigin is where Connect sends the browser, as far as it is known.
func authorizationOrigin(d *definition, e *effective) string {
	expanded, err := oauthflow.Expand(d.OAuth.AuthorizationURL, d.OAuth.Variables, e.variables())
	if err != nil {
		return ""
	}
	u, err := url.Parse(expanded)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// status is what is shown of d to c.
func (r *Registry) status(ctx context.Context, d *definition, c choice) (Status, error) {
	e, err := r.effectiveView(ctx, d, c.scope.Org)
	if err != nil {
		return Status{}, err
	}
	s, err := r.statusWith(ctx, d, e, c)
	if e.fault != nil {
		s.Broken, s.StatusMessage = true, "Cannot be used here: "+e.fault.Error()
	}
	return s, err
}

func (r *Registry) statusWith(ctx context.Context, d *definition, e *effective, c choice) (Status, error) {
	s := r.describe(d, e, c)
	if d.fault != nil || d.OAuth == nil {
		return s, nil //nolint:nilerr // described
	}
	own := d.interactive() || e.ownsCredentials(d, c.scope.Org)
	if own {
		found, err := r.fillFrom(ctx, &s, d, e, c.key(d), ViaOwn)
		if found || err != nil {
			return s, err
		}
	}
	if d.fallsBack(c.scope.Org) && !c.personal() && (d.interactive() || !own) {
		common, err := r.effective(ctx, d, "")
		if err != nil {
			return s, err
		}
		if _, err := r.fillFrom(ctx, &s, d, common, tokenstore.Key{Definition: d.id}, ViaFallback); err != nil {
			return s, err
		}
	}
	if s.Via != ViaNone || !d.interactive() {
		return s, nil
	}
	open, err := r.cfg.Tokens.HasFlow(ctx, c.key(d))
	if err != nil {
		return s, r.unread(ctx, d.Name, s.Org, err)
	}
	if open {
		s.Status, s.StatusMessage = Connecting, connectingMessage
	}
	return s, nil
}

// fillFrom fills in the connection under key, and reports whether there is one.
func (r *Registry) fillFrom(ctx context.Context, s *Status, d *definition, e *effective, key tokenstore.Key, via Via) (bool, error) {
	conn, err := r.flows.Load(ctx, key)
	if err != nil {
		return false, r.unread(ctx, d.Name, s.Org, err)
	}
	return conn.Connected() && r.fill(s, d, e, conn, via), nil
}

// fill shows a connection, unless it is none: the record of client credentials
// that are no longer the ones in the definition says nothing.
func (r *Registry) fill(s *Status, d *definition, e *effective, conn *tokenstore.Connection, via Via) bool {
	changed := ""
	if d.fault == nil && d.OAuth != nil {
		// What cannot be built is said by describe.
		changed, _ = oauthflow.Changed(conn, r.target(d, e, conn.Key))
	}
	mints := d.OAuth != nil && !d.interactive()
	if mints && changed != "" {
		return false
	}
	c := conn.Clone()
	judge(c, changed)
	s.Key, s.Via, s.Status = c.Key, via, c.Status
	s.LastError, s.ExpiresAt, s.EntityID = c.LastError, c.ExpiresAt, c.EntityID
	s.AccountID, s.AccountName, s.ConnectedBy = c.AccountID, c.AccountName, c.ConnectedBy
	s.ScopesRequested, s.ScopesGranted = c.ScopesRequested, c.ScopesGranted
	s.LastRefreshAt, s.UpdatedAt = c.LastRefreshAt, c.UpdatedAt
	s.StatusMessage = message(c)
	if mints {
		s.StatusMessage = mintedMessage(c)
	}
	if via == ViaFallback && c.Status == tokenstore.Active {
		s.StatusMessage = fallbackMessage
	}
	return true
}

// judge says at once what the next Get will find out and record: whether the
// grant fits its definition.
func judge(c *tokenstore.Connection, changed string) {
	recorded := c.Status == tokenstore.ReauthRequired
	switch {
	case changed != "" && (!recorded || changedReason(c.Reason)):
		if c.Reason != changed {
			c.LastError = nil // it is about something else
		}
		c.Status, c.Reason = tokenstore.ReauthRequired, changed
	case changed == "" && recorded && changedReason(c.Reason):
		c.Status, c.Reason, c.LastError = tokenstore.Active, "", nil
	}
}

func changedReason(reason string) bool {
	return reason == oauthflow.ReasonEntityChanged || reason == oauthflow.ReasonClientChanged ||
		reason == oauthflow.ReasonDefinitionChanged
}
