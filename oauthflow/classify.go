package oauthflow

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
)

// Limits for what is shown of a provider's words, in characters.
const (
	maxCode        = 64
	maxDescription = 400
)

// codes are the error codes whose meaning does not depend on the provider. Where
// a name is one provider's own, it is in that provider's documentation.
var codes = map[string]Class{
	"invalid_grant":        ClassDead,
	"bad_refresh_token":    ClassDead, // GitHub
	"interaction_required": ClassDead,
	"consent_required":     ClassDead,
	"login_required":       ClassDead,
	"token_expired":        ClassDead, // Slack
	"token_revoked":        ClassDead, // Slack

	"invalid_client":               ClassOperator,
	"unauthorized_client":          ClassOperator,
	"incorrect_client_credentials": ClassOperator, // GitHub
	"bad_client_secret":            ClassOperator, // Slack
	"invalid_client_id":            ClassOperator, // Slack

	"invalid_scope":    ClassConfiguration,
	"invalid_target":   ClassConfiguration, // RFC 8707 §2
	"invalid_resource": ClassConfiguration, // Microsoft Entra

	"temporarily_unavailable": ClassTransient,
	"ratelimited":             ClassTransient, // Slack
}

// classify says what a refusal means. It looks at error and suberror, never at
// the description: vendors reword those.
func classify(p *Provider, status int, code, sub string) Class {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return ClassTransient // not processed, whatever else it says
	}
	for _, c := range []string{code, sub} {
		if c != "" && slices.Contains(p.DeadGrantErrors, c) {
			return ClassDead
		}
	}
	for _, c := range []string{code, sub} {
		if class, known := codes[c]; known {
			return class
		}
	}
	// A server's fault under a name nobody knows ("server_error", "Internal Server
	// Error") does not say whether the refresh token was spent before it happened.
	if status >= 500 || status < 200 || (status >= 300 && status <= 399) {
		return ClassUnknown
	}
	return ClassUnclassified
}

// failure is the error for an answer that is no token reply by its status.
func (a *answer) failure(c *Client, m members) *TokenError {
	root, _ := object(m.at(c.Response.Root))
	e := a.refusal(c, m, root)
	switch {
	case e == nil:
		e = a.basic(classify(&c.Provider, a.status, "", ""))
		if a.broken != nil && e.Class == ClassUnclassified {
			e.Class = ClassUnknown // the code was in the part that did not come
		}
		e.Err = a.broken
		switch {
		case a.status >= 300 && a.status <= 399:
			e.Detail = "the endpoint redirects" + a.redirectHost() + ", which is never followed: set the final URL"
		case m == nil && len(a.body) > 0:
			e.Detail = "the reply is no OAuth error, it has media type " + a.mediaType()
		case m == nil && a.broken == nil:
			e.Detail = "the reply is empty"
		default:
			e.Detail = "the reply has no error code"
		}
	case a.status >= 300 && a.status <= 399:
		e.Class = ClassUnknown
	}
	return e
}

// refusal reads an OAuth error (RFC 6749 §5.2), at the top or beside the tokens;
// nil if there is none. Some providers send it with status 200 (GitHub), some
// say "ok": false (Slack).
func (a *answer) refusal(c *Client, places ...members) *TokenError {
	for _, m := range places {
		raw := m["error"]
		if isFalse(raw) && string(m["ok"]) != "false" {
			continue
		}
		code, _ := text(raw)
		sub, _ := text(m["suberror"])
		description, ok := text(m["error_description"])
		if inner, nested := object(raw); nested && !ok { // {"error": {"message": …}}
			description, _ = text(inner["message"])
		}
		e := a.basic(classify(&c.Provider, a.status, code, sub))
		e.Code = a.scrub.display(rfcText(code), maxCode)
		e.SubCode = a.scrub.display(rfcText(sub), maxCode)
		e.Description = a.scrub.display(description, maxDescription)
		return e
	}
	return nil
}

// basic is what every failed answer has in common.
func (a *answer) basic(class Class) *TokenError {
	return &TokenError{
		Class:      class,
		Sent:       true,
		Status:     a.status,
		RetryAfter: retryAfter(a.header, a.receivedAt),
	}
}

// isFalse reports whether an error member says that there is no error.
func isFalse(raw json.RawMessage) bool {
	switch string(raw) {
	case "false", "0", "{}", "[]":
		return true
	}
	return isNothing(raw)
}

// rfcText drops what RFC 6749 §5.2 does not allow in an error code.
func rfcText(s string) string {
	kept := make([]byte, 0, min(len(s), maxReply))
	for _, c := range []byte(s) {
		if c >= 0x20 && c <= 0x7e && c != '"' && c != '\\' {
			kept = append(kept, c)
		}
	}
	return string(kept)
}

// mediaType names the reply's media type, if its header is well-formed.
func (a *answer) mediaType() string {
	t, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || t == "" || len(t) > 100 || !only(t, "/+-._") {
		return "unknown"
	}
	return a.scrub.text(t)
}

// redirectHost names where a redirect points, without path and query: those may
// repeat what was sent.
func (a *answer) redirectHost() string {
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Host == "" || len(u.Host) > 255 || !only(u.Host, ".-:[]") {
		return ""
	}
	return " to " + a.scrub.text(u.Host)
}
