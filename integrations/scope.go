package integrations

import (
	"context"
	"fmt"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Option chooses whose connection a call is about, and which of its tokens.
type Option func(*choice)

// choice is what a call is about.
type choice struct {
	scope   scope.Scope
	said    bool // the scope is said, not the context's
	user    string
	account string
	access  oauthflow.Access
	err     error // of an option
}

// Org chooses an organization. The empty organization is no scope, and an error.
func Org(org string) Option {
	return func(c *choice) { c.scope, c.said = scope.Of(org), true }
}

// Global chooses the integration-level connection, which belongs to no
// organization.
func Global() Option {
	return func(c *choice) { c.scope, c.said = scope.Scope{Kind: scope.Global}, true }
}

// User chooses the connection that one user of the host made for himself, within
// the scope. Nothing falls back from it: without one, the call fails with
// ErrNotConnected. id is the host's, 1 to 256 bytes of printable text. What is
// known of each id that was asked for stays in memory (some 3 KB), connected or not.
func User(id string) Option {
	return func(c *choice) { c.user = c.label("User", id, maxLabel) }
}

// Account chooses one of several accounts that are connected within the scope, by
// a label of the host's choice: 1 to 256 bytes of printable text. Nothing falls
// back from it.
func Account(label string) Option {
	return func(c *choice) { c.account = c.label("Account", label, maxLabel) }
}

// Scope asks for an access token for another resource, where the provider has one
// per resource: "https://outlook.office365.com/.default". Several scopes are
// separated by single spaces. It is for Get; connecting is always about the
// definition's own scopes.
func Scope(scope string) Option {
	return func(c *choice) { c.access.Scope = c.label("Scope", scope, maxAccess) }
}

// Audience asks for an access token for another audience, for providers that have
// that parameter.
func Audience(audience string) Option {
	return func(c *choice) { c.access.Audience = c.label("Audience", audience, maxAccess) }
}

const (
	// maxLabel caps User and Account, which become keys in the store.
	maxLabel = 256
	// maxAccess caps Scope and Audience.
	maxAccess = 2048
)

// label checks what an option was given. An empty value is refused: it is a
// forgotten one, and would mean somebody else's connection.
func (c *choice) label(option, text string, limit int) string {
	if text == "" || !oneLine(text, limit) {
		c.err = fmt.Errorf("integrations.%s needs 1 to %d bytes of text without control characters", option, limit)
	}
	return text
}

// choose completes c, which has its context's scope, with what a call says. run is
// the workflow run that the context belongs to, or nil.
func (r *Registry) choose(c *choice, run *scope.Run, name string, opts []Option) error {
	if len(opts) > 0 {
		*c = chosen(*c, opts)
		if c.err == nil {
			c.err = c.access.Validate()
		}
		if c.err != nil {
			return &Error{Integration: name, Kind: ErrInvalid, Detail: c.err.Error()}
		}
	}
	return r.checkScope(c, run, name)
}

// chosenIn is choose and checkOrg for a context.
func (r *Registry) chosenIn(ctx context.Context, name string, opts []Option) (choice, error) {
	at := scope.In(ctx)
	c := choice{scope: at.Scope}
	err := r.choose(&c, at.Run, name, opts)
	if err == nil {
		err = c.checkOrg(name)
	}
	return c, err
}

// chosen applies the options to a copy, so that a call without any allocates
// nothing.
func chosen(c choice, opts []Option) choice {
	for _, o := range opts {
		o(&c)
	}
	return c
}

// personal reports whether the choice is narrower than the scope's own connection.
func (c *choice) personal() bool { return c.user != "" || c.account != "" }

// key returns the key of the chosen connection under a definition.
func (c *choice) key(d *definition) tokenstore.Key {
	return tokenstore.Key{Definition: d.id, Org: c.scope.Org, User: c.user, Account: c.account}
}

// checkOrg refuses what can be no organization's id. It cannot have anything: the same
// answer as for any other that has nothing, and no hostile text in a database or a log.
func (c *choice) checkOrg(name string) error {
	if c.scope.Kind == scope.Org && !ValidOrg(c.scope.Org) {
		return &Error{Integration: name, Kind: ErrNotFound, Detail: "ids of organizations match [A-Za-z0-9._~-]{1,128}"}
	}
	return nil
}

// checkScope checks the scope of a call, but for what its organization is called, and
// fills in the scope it has by default.
func (r *Registry) checkScope(c *choice, run *scope.Run, name string) error {
	s := &c.scope
	switch {
	case s.Kind == scope.None && !c.said && r.cfg.SingleTenant:
		s.Kind = scope.Global
	case s.Kind == scope.None, s.Kind == scope.Org && s.Org == "":
		return &Error{Integration: name, Kind: ErrNoOrg, Detail: "put one into the context with bf.WithOrg(ctx, org), " +
			"or name it with integrations.Org(org) or integrations.Global(); a host without tenants sets Config.SingleTenant"}
	}
	if run != nil && !run.MayRead(*s) {
		return &Error{Integration: name, Kind: ErrForbiddenOrg, Detail: "a workflow run may use its own organization's " +
			"connections and the global ones; register the workflow with workflow.CrossOrg() if it must reach others"}
	}
	return nil
}
