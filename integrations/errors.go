package integrations

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// What an *Error can be, for errors.Is.
var (
	// ErrNotFound: no such integration is visible in this scope.
	ErrNotFound = errors.New("no such integration")
	// ErrNotConnected: nobody has connected an account yet.
	ErrNotConnected = errors.New("not connected")
	// ErrReauthRequired: a person must connect again.
	ErrReauthRequired = errors.New("must be connected again")
	// ErrUnavailable: no usable token now, or the store is away; trying later may help.
	ErrUnavailable = errors.New("not available at the moment")
	// ErrNoOrg: the call has no scope.
	ErrNoOrg = errors.New("no organization")
	// ErrForbiddenOrg: a workflow run asked for another organization.
	ErrForbiddenOrg = errors.New("another organization's connection")
	// ErrNotInteractive: the integration cannot be connected by a person.
	ErrNotInteractive = errors.New("cannot be connected in a browser")
	// ErrNotOwn: the scope is served by the fallback, and the fallback is not
	// its to change.
	ErrNotOwn = errors.New("not this organization's own connection")
	// ErrInvalid: the definition or its configuration does not fit what was asked,
	// for example an unresolved {entity_id}.
	ErrInvalid = errors.New("definition, configuration or option not valid")
	// ErrExists: there is one already.
	ErrExists = errors.New("exists already")
	// ErrCodeDefined: the definition comes from code, and can be changed there only.
	ErrCodeDefined = errors.New("defined in code")
	// ErrNotOwnDefinition: the organization uses the global definition, which is
	// not its to change.
	ErrNotOwnDefinition = errors.New("not this organization's own definition")
	// ErrBusy: asked too often.
	ErrBusy = errors.New("too many requests")
)

// Error says why an integration could not be had. It holds no secret.
type Error struct {
	Integration string
	Org         string            // empty in the global scope
	Status      tokenstore.Status // of the connection, if there is one
	Code        string            // the provider's error code, if it gave one
	Reason      string            // why Status is what it is, as a code
	ConnectURL  string            // where a person can connect (again)
	RetryAfter  time.Duration     // how long to wait before asking again; 0 if unknown

	Kind   error  // one of the Err… values
	Detail string // what to do, where Kind does not say it
	Err    error  // the cause; may be nil
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("integrations: ")
	if e.Integration != "" {
		fmt.Fprintf(&b, "%s: ", e.Integration)
	}
	b.WriteString(e.Kind.Error())
	if e.Reason != "" {
		fmt.Fprintf(&b, " (%s)", e.Reason)
	}
	if e.Org != "" {
		fmt.Fprintf(&b, " for organization %q", e.Org)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.ConnectURL != "" {
		b.WriteString("; connect at " + e.ConnectURL)
	}
	return b.String()
}

// Unwrap makes errors.Is see the kind and errors.As the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// codes are what ErrorCode returns.
var codes = map[error]string{
	ErrNotFound: "not_found", ErrNotConnected: "not_connected", ErrReauthRequired: "reauth_required",
	ErrUnavailable: "unavailable", ErrNoOrg: "no_org", ErrForbiddenOrg: "forbidden_org",
	ErrNotInteractive: "not_interactive", ErrNotOwn: "not_own_connection", ErrInvalid: "invalid",
	ErrExists: "exists", ErrCodeDefined: "code_defined", ErrNotOwnDefinition: "not_own_definition", ErrBusy: "busy",
	ErrConflict: "conflict",
}

// ErrorCode returns Kind as a code, such as "reauth_required". It is what the
// history of a workflow run shows that failed with this error.
func (e *Error) ErrorCode() string { return codes[e.Kind] }

// wrap translates an error of the token machinery. Errors of contexts stay what
// they are: the caller went away, the integration is not to blame.
func (r *Registry) wrap(d *definition, c choice, err error) error {
	var conn *oauthflow.ConnectionError
	if !errors.As(err, &conn) {
		return err
	}
	e := &Error{
		Integration: d.Name, Org: c.scope.Org, Status: conn.Status, Code: conn.Code, Reason: conn.Reason,
		RetryAfter: conn.RetryAfter, Detail: conn.Message, Err: err,
	}
	var template *oauthflow.TemplateError
	switch {
	case errors.As(err, &template):
		e.Kind = ErrInvalid
	case errors.Is(err, oauthflow.ErrNotConnected):
		e.Kind, e.ConnectURL = ErrNotConnected, r.connectURL(d, c)
	case errors.Is(err, oauthflow.ErrReauthRequired):
		e.Kind, e.ConnectURL = ErrReauthRequired, r.connectURL(d, c)
	default:
		e.Kind = ErrUnavailable
	}
	return e
}
