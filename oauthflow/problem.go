package oauthflow

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// problem is the error for a connection without a usable token.
func (v *view) problem(d decision, cause error) *ConnectionError {
	c := v.conn
	e := &ConnectionError{Kind: ErrUnavailable, Key: c.Key, Status: c.Status, Reason: c.Reason, Err: cause}
	if f := c.LastError; f != nil {
		e.Code, e.Message = f.Code, f.Message
	}
	switch {
	case !c.Connected():
		e.Kind = ErrNotConnected
	case d.step == reauth || d.step == expire || c.Status == tokenstore.ReauthRequired:
		e.Kind, e.Status = ErrReauthRequired, tokenstore.ReauthRequired
	default:
		until := d.until
		if until.Before(c.RetryAt) {
			until = c.RetryAt
		}
		if a := c.Attempt; a != nil && until.Before(a.Deadline) {
			until = a.Deadline
		}
		if !until.IsZero() {
			// Rounded up: who waits exactly so long must not come too early.
			e.RetryAfter = max(0, until.Sub(v.now())+time.Millisecond-1).Truncate(time.Millisecond)
		}
	}
	if e.Message == "" && c.Reason == ReasonNoRefreshToken {
		e.Message = "the access token has expired, and the provider gave no refresh token; " +
			"many want a scope such as offline_access for one"
	}
	return e
}

// without is the error for a connection without a usable access token for a.
func (v *view) without(d decision, a Access, cause error) *ConnectionError {
	e := v.problem(d, cause)
	switch {
	case a == Access{}:
	case d.step == expire: // the grant's own access token may be good
		e.Status, e.Reason, e.Code = v.conn.Status, ReasonNoRefreshToken, ""
		e.Message = "an access token for " + a.String() + " is got with a refresh token, and the provider gave none; " +
			"many want a scope such as offline_access for one"
	case errors.Is(e.Kind, ErrUnavailable) && v.conn.Status == tokenstore.Active:
		e.Message = "there is no usable access token for " + a.String() + " at the moment"
	}
	return e
}

// unreadable is the error for a record that cannot be read or opened.
func unreadable(key tokenstore.Key, reason string, cause error) *ConnectionError {
	e := &ConnectionError{Kind: ErrUnavailable, Key: key, Reason: reason, Err: cause}
	switch reason {
	case reasonStore:
		// The cause is for the log: it may name hosts and users, and members read this.
		e.Message = "the token store cannot be read, and no token in memory is good; nothing was sent to the provider"
		if errors.Is(cause, errWentBack) {
			e.Message = strings.TrimPrefix(errWentBack.Error(), "oauthflow: ")
		}
	case reasonSealed:
		e.Message = "the stored tokens cannot be opened; the server's operator must check the sealing keys"
		if errors.Is(cause, tokenstore.ErrKeysAway) {
			e.Message = "the service that holds the sealing keys cannot be reached at the moment; try again later"
		}
	case reasonUnsaved:
		e.Message = "the renewed token could not be stored yet; check the token store"
	case reasonURLs, reasonAccess:
		e.Message = cause.Error()
	case reasonClosed:
		e.Message = "the manager was closed"
	case reasonBusy:
		e.Message = "another process's refresh has not ended yet"
	}
	return e
}

// Reasons that stand in errors only, never in records.
const (
	reasonStore   = "store_unavailable"
	reasonSealed  = "tokens_unreadable"
	reasonUnsaved = "store_not_writable"
	reasonURLs    = "bad_definition"
	reasonAccess  = "bad_access"
	reasonClosed  = "closed"
	reasonBusy    = "refresh_under_way"

	reasonOtherAccount = "account_changed" // of a [CallbackError]
)

// errTooLate: the attempt took longer to reach the provider than it may.
var errTooLate = errors.New("oauthflow: the connection to the provider took too long; nothing was sent")

// explain turns a failed token request of c's into what is recorded.
func explain(e *TokenError, c *Client) failure {
	f := failure{class: e.Class, code: e.Code, retryAfter: e.RetryAfter, jitter: jitter()}
	if f.code == "" {
		switch {
		case e.Status != 0:
			f.code = fmt.Sprintf("http_%d", e.Status)
		case e.Sent:
			f.code = "no_answer"
		default:
			f.code = "unreachable"
		}
	}
	switch e.Class {
	case ClassDead:
		f.message = "The provider no longer accepts the grant."
	case ClassOperator:
		f.message = "The provider refuses this client; check client id, client secret and client authentication."
	case ClassConfiguration:
		f.message = "The provider refuses what is asked for; check the scopes: " + strings.Join(c.Scopes, " ") + "."
	case ClassTransient:
		f.message = "The provider could not be reached or asked for a pause."
	case ClassUnclassified:
		f.message = "The provider refused without saying why."
	case ClassUnknown:
		f.message = "No usable answer came, so nobody knows what the provider did."
	}
	if e.Detail != "" {
		f.message = strings.TrimSuffix(f.message, ".") + " (" + e.Detail + ")."
	}
	if e.Description != "" {
		f.message += fmt.Sprintf(" It said: %q", e.Description)
	}
	return f
}

// asTokenError returns err as a TokenError. sent says whether the request may
// have left.
func asTokenError(err error, sent bool) *TokenError {
	var te *TokenError
	if !errors.As(err, &te) {
		te = &TokenError{Class: ClassTransient, Err: err}
	}
	if te.Class == ClassTransient && te.Status == 0 && sent {
		// A request that may have left is never "not processed" for want of an answer.
		c := *te
		c.Class, c.Sent = ClassUnknown, true
		return &c
	}
	return te
}
