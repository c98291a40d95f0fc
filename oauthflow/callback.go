package oauthflow

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// CallbackRequest is what arrives when a provider sends the browser back.
type CallbackRequest struct {
	// RawQuery is the URL's query, as it came.
	RawQuery string
	// Definition is the id of the definition that the path belongs to.
	Definition string
	// Cookie returns the value of a cookie, or "".
	Cookie func(name string) string
	// Principal is the host's user in this browser; HasPrincipal is false if
	// nobody is signed in.
	Principal    string
	HasPrincipal bool
	// Allowed reports whether the principal may (still) connect key. Nil: no.
	Allowed func(key tokenstore.Key) bool
}

// Format implements fmt.Formatter: the query holds the code.
func (r CallbackRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "CallbackRequest(definition: %s)", r.Definition)
}

// Finished is a flow that ended with a connection.
type Finished struct {
	Key         tokenstore.Key
	Name        string // the integration's
	ReturnTo    string // as given to Start
	AccountID   string // the provider's, if it told
	AccountName string
	// ExpiredCookie deletes the flow cookie.
	ExpiredCookie *http.Cookie
}

// CallbackKind says what to answer to a callback that did not succeed.
type CallbackKind string

// The kinds of [CallbackError], with the HTTP status that package httpadapter
// answers each with.
const (
	// CallbackInvalid (400): no flow of this browser belongs to it. Say nothing
	// more. A flow that exists is still open.
	CallbackInvalid CallbackKind = "invalid"
	// CallbackNoPrincipal (401): nobody is signed in. The flow is open; the page
	// can be loaded again after signing in.
	CallbackNoPrincipal CallbackKind = "no_principal"
	// CallbackForbidden (403): somebody else began it, or the principal may not
	// connect this any more. The flow is open.
	CallbackForbidden CallbackKind = "forbidden"
	// CallbackDenied (400): the provider says no; Code and Description are its own.
	CallbackDenied CallbackKind = "denied"
	// CallbackFailed (400; 503 while the flow is open, ExpiredCookie nil): the
	// exchange did not work, or the store or the definition is not fit for it.
	// Starting again may help.
	CallbackFailed CallbackKind = "failed"
)

// CallbackError is a callback that did not succeed. It holds no secret; Code and
// Description are a stranger's words, cleaned and capped, to be escaped.
type CallbackError struct {
	Kind        CallbackKind
	Code        string
	Description string
	// The rest is set once the flow is known to be this browser's.
	Key      tokenstore.Key
	Name     string
	ReturnTo string
	// ExpiredCookie deletes the flow cookie; nil while the flow is open.
	ExpiredCookie *http.Cookie
	Err           error // the cause; may be nil
}

// Error implements error.
func (e *CallbackError) Error() string {
	msg := "oauthflow: callback " + string(e.Kind)
	if e.Code != "" {
		msg += " (" + e.Code + ")"
	}
	if e.Description != "" {
		msg += ": " + e.Description
	}
	return msg
}

// Unwrap returns the cause.
func (e *CallbackError) Unwrap() error { return e.Err }

// Limits for what a callback may bring. The query has room for a long
// error_description, which is cut when shown.
const (
	maxQuery     = 2 << 20
	maxParameter = 8 << 10
	stateSize    = 43
)

// Callback finishes a flow. Errors are *[CallbackError] or ctx's.
//
// Before the flow is consumed everything is checked, so a wrong request changes
// nothing: one of each parameter, the state, the path's definition, the cookie,
// the principal, the issuer (RFC 9207). Then one conditional delete decides among
// parallel requests which one sends the code. From there on it is finished even if
// the browser goes away.
func (m *Manager) Callback(ctx context.Context, r CallbackRequest) (*Finished, error) {
	q, bad := parseCallback(r.RawQuery)
	if bad != nil {
		return nil, bad
	}
	flow, err := m.cfg.Store.GetFlow(ctx, hashText(q.state))
	if err != nil {
		return nil, noFlow(ctx, err)
	}
	p := &pending{m: m, flow: flow, query: q}
	if err := p.check(ctx, r); err != nil {
		return nil, err
	}
	if _, err := m.cfg.Store.TakeFlow(ctx, flow.StateHash); err != nil {
		return nil, noFlow(ctx, err)
	}
	p.cookie = m.flowCookie(flow.CookieName, "", -1)
	if q.errorCode != "" {
		m.logger(p.target).InfoContext(ctx, "oauthflow: authorization denied", "code", q.errorCode)
		return nil, p.fail(CallbackDenied, q.errorCode, q.errorText, nil)
	}
	return p.finish(ctx)
}

func noFlow(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, tokenstore.ErrNotFound):
		return &CallbackError{Kind: CallbackInvalid, Description: "there is no such flow, or it has ended"}
	}
	return &CallbackError{Kind: CallbackFailed, Code: reasonStore, Description: "the token store cannot be read; try again", Err: err}
}

// callbackQuery are the parameters of RFC 6749 §4.1.2 and RFC 9207 §2.
type callbackQuery struct {
	state, code, issuer  string
	hasIssuer            bool
	errorCode, errorText string
}

func parseCallback(raw string) (callbackQuery, error) {
	var q callbackQuery
	bad := func(why string) (callbackQuery, error) {
		return q, &CallbackError{Kind: CallbackInvalid, Description: why}
	}
	if len(raw) > maxQuery {
		return bad("the query is too long")
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return bad("the query is malformed")
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description", "error_uri"} {
		if len(values[name]) > 1 {
			return bad("the query has a parameter twice")
		}
	}
	q.state, q.code, q.issuer = values.Get("state"), values.Get("code"), values.Get("iss")
	q.hasIssuer = values.Has("iss")
	switch {
	case len(q.state) != stateSize:
		return bad("the state is missing or malformed")
	case len(q.code) > maxParameter || len(q.issuer) > maxParameter:
		return bad("the query has a parameter that is too long")
	case strings.ContainsFunc(q.code, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return bad("the code is malformed")
	case !values.Has("error") && q.code == "":
		return bad("the query has neither code nor error")
	}
	if values.Has("error") {
		clean := scrubber{secrets: []string{q.state}}
		q.errorCode = clean.display(rfcText(values.Get("error")), maxCode)
		if q.errorCode == "" {
			q.errorCode = "unknown_error"
		}
		q.errorText = clean.display(values.Get("error_description"), maxDescription)
	}
	return q, nil
}

// pending is one callback on its way.
type pending struct {
	m        *Manager
	flow     tokenstore.Flow
	query    callbackQuery
	target   Target
	verifier string
	cookie   *http.Cookie // deletes the flow's; set once it is consumed
}

func (p *pending) fail(kind CallbackKind, code, description string, cause error) *CallbackError {
	return &CallbackError{
		Kind: kind, Code: code, Description: description, Err: cause,
		Key: p.flow.Key, Name: p.target.Name, ReturnTo: p.flow.ReturnTo, ExpiredCookie: p.cookie,
	}
}

// check does every check, and changes nothing.
func (p *pending) check(ctx context.Context, r CallbackRequest) error {
	invalid := func(why string) error { return &CallbackError{Kind: CallbackInvalid, Description: why} }
	if p.flow.Key.Definition != r.Definition {
		return invalid("the state belongs to another integration")
	}
	if r.Cookie == nil || !sameHash(r.Cookie(p.flow.CookieName), p.flow.CookieHash) {
		return invalid("the flow was begun in another browser, or its cookie is gone")
	}
	if !r.HasPrincipal || r.Principal == "" {
		return p.fail(CallbackNoPrincipal, "", "nobody is signed in", nil)
	}
	if r.Principal != p.flow.Principal || r.Allowed == nil || !r.Allowed(p.flow.Key) {
		return &CallbackError{Kind: CallbackForbidden, Description: "somebody else began this flow, or it is no longer allowed"}
	}
	if p.m.cfg.Targets == nil {
		return p.fail(CallbackFailed, reasonURLs, "the manager was made without Config.Targets", nil)
	}
	var err error
	p.target, err = p.m.cfg.Targets.Target(ctx, p.flow.Key)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrGone):
		return p.fail(CallbackFailed, reasonDefinitionGone, "the integration is no longer defined", err)
	default:
		return p.fail(CallbackFailed, reasonStore, "what is known of the integration cannot be read at the moment; try again", err)
	}
	if p.target.EntityID != p.flow.EntityID {
		return p.fail(CallbackFailed, ReasonEntityChanged, "the tenant was changed meanwhile; start again", nil)
	}
	issuer, err := p.target.Client.IssuerFor(p.flow.EntityID, p.target.Values)
	switch {
	case err != nil:
		return p.fail(CallbackFailed, reasonURLs, "the definition's issuer is wrong", err)
	case issuer != "" && p.query.hasIssuer && p.query.issuer != issuer:
		return invalid("the answer comes from another issuer")
	case !p.query.hasIssuer && p.target.Client.RequireIss:
		return invalid("the answer does not name its issuer")
	}
	return p.open(ctx)
}

// open unseals the flow, and makes sure that the code goes where the browser was
// sent from: an address that was changed meanwhile must not get it.
func (p *pending) open(ctx context.Context) error {
	sealed, err := openFlow(ctx, p.m.cfg.Sealer, p.flow)
	if err != nil && ctx.Err() != nil { // which says nothing about the keys
		return ctx.Err()
	}
	if errors.Is(err, tokenstore.ErrUnknownKey) { // removed a moment ago: flows are not sealed again
		return p.fail(CallbackFailed, reasonSealed, "the sealing keys were changed meanwhile; start again", err)
	}
	if errors.Is(err, tokenstore.ErrKeysAway) {
		return p.fail(CallbackFailed, reasonSealed, "the service that holds the sealing keys cannot be reached at the moment; start again later", err)
	}
	if err != nil {
		return p.fail(CallbackFailed, reasonSealed, "the stored flow cannot be opened; check the sealing keys", err)
	}
	changed, err := sealed.For.changed(p.target)
	switch {
	case err != nil:
		return p.fail(CallbackFailed, reasonURLs, "the definition's URLs are wrong", err)
	case changed != "":
		return p.fail(CallbackFailed, changed, "the definition was changed meanwhile; start again", nil)
	}
	p.verifier = sealed.Verifier
	return nil
}

// sameHash compares in constant time.
func sameHash(text, hash string) bool {
	return text != "" && subtle.ConstantTimeCompare([]byte(hashText(text)), []byte(hash)) == 1
}
