package oauthflow

import (
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Errors of [Manager]; every *ConnectionError is one of the first three.
var (
	// ErrNotConnected: nobody has connected an account under this key.
	ErrNotConnected = errors.New("oauthflow: not connected")
	// ErrReauthRequired: only a person who connects again can help.
	ErrReauthRequired = errors.New("oauthflow: a person must connect again")
	// ErrUnavailable: no usable token now, but trying later may help.
	ErrUnavailable = errors.New("oauthflow: no usable token at the moment")
	// ErrConnected: something is connected already, and was not to be replaced.
	ErrConnected = errors.New("oauthflow: connected already")
	// ErrClosed: the manager was closed.
	ErrClosed = errors.New("oauthflow: closed")
)

// ConnectionError says why a connection has no usable token. It holds no secret.
type ConnectionError struct {
	Kind       error // ErrNotConnected, ErrReauthRequired or ErrUnavailable
	Key        tokenstore.Key
	Status     tokenstore.Status
	Reason     string        // tokenstore.Connection.Reason
	Code       string        // the provider's error code, if it gave one
	Message    string        // what went wrong and what to do
	RetryAfter time.Duration // how long to wait before asking again; 0 if unknown
	Err        error         // the cause, often a *TokenError; may be nil
}

// Error implements error.
func (e *ConnectionError) Error() string {
	msg := e.Kind.Error()
	if e.Reason != "" {
		msg += " (" + e.Reason + ")"
	}
	if e.Message != "" {
		msg += ": " + e.Message
	}
	return msg
}

// Unwrap makes errors.Is and errors.As see both the kind and the cause.
func (e *ConnectionError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Class says what a failed token request means for the connection.
type Class string

// The classes of failures.
const (
	// ClassDead: this grant will never work again.
	ClassDead Class = "dead"
	// ClassOperator: the client registration is wrong (invalid_client); whoever
	// runs the server must mend it, reconnecting does not help.
	ClassOperator Class = "operator"
	// ClassConfiguration: this connection asks for something it may not have
	// (invalid_scope).
	ClassConfiguration Class = "configuration"
	// ClassTransient: known not to have been processed; try again later.
	ClassTransient Class = "transient"
	// ClassUnclassified: a refusal that is not known to mean a dead grant.
	ClassUnclassified Class = "unclassified"
	// ClassUnknown: nobody but the provider knows whether it was processed.
	ClassUnknown Class = "unknown"
)

// TokenError is a failed token request. It never contains anything that was
// sent, nor the body of the reply.
type TokenError struct {
	Class Class
	// Sent reports whether any byte of the request may have left.
	Sent bool
	// Status is the HTTP status of the reply; 0 if there was none.
	Status int
	// Code and SubCode are the reply's error and suberror members (RFC 6749
	// §5.2), limited to the characters the RFC allows.
	Code    string
	SubCode string
	// Description is error_description, cleaned of control characters and capped;
	// for display only.
	Description string
	// RetryAfter is what the provider asked for; 0 if it did not.
	RetryAfter time.Duration
	// Detail is Bifrost's own explanation, where the reply was not OAuth.
	Detail string
	// Err is the transport's error, cleaned of URLs' query parts; may be nil.
	Err error
}
