package integrations

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// SourceCode is the Source of definitions that code made, by [Registry.Define].
const SourceCode = "code"

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
	s.StatusMessage = fallbackMessage
	if s.Status != tokenstore.Active {
		s.StatusMessage = "The shared connection, which serves this organization, does not work at the moment. " +
			"Connect an account of your own, or tell an administrator."
	}
	s.LastError, s.ExpiresAt, s.LastRefreshAt, s.UpdatedAt = nil, time.Time{}, time.Time{}, time.Time{}
	s.EntityID, s.AccountID, s.AccountName, s.ConnectedBy = "", "", "", ""
	s.ScopesRequested, s.ScopesGranted = nil, nil
	return s
}

const fallbackMessage = "Served by the shared connection. Connect an account of your own to use it instead."

// List returns the status of every integration that the scope sees, by name. In
// the global scope these are all, organizations' own included, each in its
// owner's view.
func (r *Registry) List(ctx context.Context, opts ...Option) ([]Status, error) {
	s, err := r.scopeOf(ctx, "", opts)
	if err != nil {
		return nil, err
	}
	var list []Status
	for _, d := range r.visible(s) {
		org := s.Org
		if d.Org != "" {
			org = d.Org
		}
		st, err := r.status(ctx, d, org)
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// Status returns the status of one integration in the scope.
func (r *Registry) Status(ctx context.Context, name string, opts ...Option) (Status, error) {
	d, s, err := r.find(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	return r.status(ctx, d, s.Org)
}

// Connections yields every connection under the definition that name means in
// the scope, ordered by key: all organizations' in the global scope, else the
// scope's own. Disconnected ones are left out. It begins behind after, or at the
// beginning if that is nil, and reads as it goes; an error ends it.
func (r *Registry) Connections(ctx context.Context, name string, after *tokenstore.Key, opts ...Option) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		d, s, err := r.find(ctx, name, opts)
		if err != nil {
			yield(Status{}, err)
			return
		}
		match := tokenstore.Match{Definition: d.id}
		if s.Kind == scope.Org {
			match.Org = &s.Org
		}
		for {
			conns, err := r.cfg.Tokens.List(ctx, match, after, connectionsPage)
			if err != nil {
				yield(Status{}, fmt.Errorf("integrations: list connections of %s: %w", d.Name, err))
				return
			}
			for _, c := range conns {
				after = &c.Key
				if !c.Connected() {
					continue
				}
				st := r.describe(d, c.Org)
				fill(&st, c, ViaOwn)
				if !yield(st, nil) {
					return
				}
			}
			if len(conns) < connectionsPage {
				return
			}
		}
	}
}

// connectionsPage is how many records are read at once.
const connectionsPage = 200

func (r *Registry) find(ctx context.Context, name string, opts []Option) (*definition, scope.Scope, error) {
	s, err := r.scopeOf(ctx, name, opts)
	if err != nil {
		return nil, s, err
	}
	d, err := r.lookup(name, s)
	return d, s, err
}

// describe fills in what the definition alone says.
func (r *Registry) describe(d *definition, org string) Status {
	s := Status{
		ID: d.id, Name: d.Name, Description: d.Description, Owner: d.Org, Org: org, Source: SourceCode,
		Status: tokenstore.NotConnected, Via: ViaNone, EntityID: d.DefaultEntityID, RedirectURI: d.redirectURI,
	}
	if d.OAuth == nil {
		s.StatusMessage = "This integration uses no OAuth; there is nothing to connect."
		return s
	}
	s.Flow = d.OAuth.Flow
	s.ConnectURL = r.connectURL(d, org)
	s.ScopesRequested = slices.Clone(d.OAuth.Scopes)
	s.StatusMessage = "Nobody has connected an account yet. Register the redirect URI with the provider, then press Connect."
	if err := d.OAuth.Check(d.DefaultEntityID, nil); err != nil {
		s.StatusMessage = "Cannot be connected: " + err.Error()
		return s
	}
	values := map[string]string{"entity_id": d.DefaultEntityID}
	if u, err := oauthflow.Expand(d.OAuth.AuthorizationURL, d.OAuth.Variables, values); err == nil {
		if parsed, err := url.Parse(u); err == nil {
			s.AuthorizationOrigin = parsed.Scheme + "://" + parsed.Host
		}
	}
	return s
}

func (r *Registry) status(ctx context.Context, d *definition, org string) (Status, error) {
	s := r.describe(d, org)
	if d.OAuth == nil {
		return s, nil
	}
	own, err := r.flows.Load(ctx, d.key(org))
	if err != nil {
		return s, fmt.Errorf("integrations: status of %s: %w", d.Name, err)
	}
	if own.Connected() {
		fill(&s, own, ViaOwn)
		return s, nil
	}
	if org != "" && d.Org == "" && !d.NoFallback {
		common, err := r.flows.Load(ctx, d.key(""))
		if err != nil {
			return s, fmt.Errorf("integrations: status of %s: %w", d.Name, err)
		}
		if common.Connected() {
			fill(&s, common, ViaFallback)
		}
	}
	open, err := r.cfg.Tokens.HasFlow(ctx, d.key(org))
	if err != nil {
		return s, fmt.Errorf("integrations: status of %s: %w", d.Name, err)
	}
	if open && s.Via == ViaNone {
		s.Status, s.StatusMessage = Connecting, "Somebody has begun to connect an account and has not come back yet."
	}
	return s, nil
}

func fill(s *Status, c *tokenstore.Connection, via Via) {
	s.Key, s.Via, s.Status = c.Key, via, c.Status
	s.LastError, s.ExpiresAt, s.EntityID = c.LastError, c.ExpiresAt, c.EntityID
	s.AccountID, s.AccountName, s.ConnectedBy = c.AccountID, c.AccountName, c.ConnectedBy
	s.ScopesRequested, s.ScopesGranted = c.ScopesRequested, c.ScopesGranted
	s.LastRefreshAt, s.UpdatedAt = c.LastRefreshAt, c.UpdatedAt
	s.StatusMessage = message(c)
	if via == ViaFallback && c.Status == tokenstore.Active {
		s.StatusMessage = fallbackMessage
	}
}

// message says in one or two sentences what a person should know and do.
func message(c *tokenstore.Connection) string {
	detail := ""
	if c.LastError != nil && c.LastError.Message != "" {
		detail = " " + c.LastError.Message
	}
	switch c.Status {
	case tokenstore.Active:
		if !c.HasRefreshToken {
			return "Connected. The provider gave no refresh token, so this ends when the access token expires; " +
				"many providers want a scope such as offline_access for one."
		}
		if !c.ExpiresAt.IsZero() && !c.ReadAt.Before(c.ExpiresAt) {
			return "Connected. The access token has expired meanwhile; it is renewed when somebody needs it."
		}
		return "Connected. Tokens are renewed automatically."
	case tokenstore.Degraded:
		return "The last renewal failed and will be tried again." + detail
	case tokenstore.ReauthRequired:
		return strings.TrimSuffix(reauthMessage(c.Reason), ".") + " (" + c.Reason + ")." + detail
	default:
		return "Not connected."
	}
}

func reauthMessage(reason string) string {
	switch reason {
	case oauthflow.ReasonEntityChanged:
		return "The tenant in the definition is not the one this account was connected under. Connect again."
	case oauthflow.ReasonClientChanged:
		return "The client id in the definition is not the one this account was connected with. Connect again."
	case oauthflow.ReasonDefinitionChanged:
		return "The provider's URLs in the definition have changed since this account was connected. Connect again."
	case oauthflow.ReasonLostRotation:
		return "A renewed token was lost between the provider and this server. Connect again."
	case oauthflow.ReasonNoRefreshToken:
		return "The access token has expired, and the provider gave no refresh token. Connect again."
	default:
		return "The provider no longer accepts this grant (password changed, consent withdrawn, or expired). Connect again."
	}
}
