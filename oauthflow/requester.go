package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// defaultTimeout is T of the refresh protocol: connecting, sending and reading
// together.
const defaultTimeout = 15 * time.Second

// Requester sends token requests. The zero value works; it is safe for
// concurrent use.
type Requester struct {
	// Transport carries the requests; nil means [NewTransport]. An
	// [http.Transport] of your own must not speak HTTP/2, or the gate of a
	// TokenRequest holds back only the body.
	Transport http.RoundTripper
	// Timeout is the total deadline of one request, dialling and reading the
	// reply included; 0 means 15 s.
	Timeout time.Duration
}

// TokenRequest is one request to the token endpoint (RFC 6749 §4.1.3, §6). It
// prints without its parameters.
type TokenRequest struct {
	Client   *Client
	EntityID string            // value of {entity_id}; may be empty if no URL has it
	Values   map[string]string // of template variables other than entity_id
	// Transport carries this request; nil means the Requester's.
	Transport http.RoundTripper
	// Params are the grant's own: grant_type, code, redirect_uri, code_verifier,
	// refresh_token, scope. The client's credentials and TokenParams are added.
	Params url.Values
	// Refresh selects RefreshURL, where set, and RefreshParams.
	Refresh bool
	// Gate, if set, is called at most once: when the connection stands,
	// immediately before the first byte of the request would leave. Its error
	// stops the request; nothing of it reaches the provider then.
	Gate func() error
}

// Format implements fmt.Formatter: the parameters are secrets.
func (r TokenRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "TokenRequest(refresh: %t)", r.Refresh)
}

// MarshalJSON implements json.Marshaler and leaves everything out.
func (r TokenRequest) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// Do sends the request once and reads the reply totally: whatever a 2xx reply
// says that can be understood is kept, because the old refresh token may be spent.
// Redirects are never followed, and at most 1 MiB of the reply is read.
//
// The error is always a [*TokenError]. If it came with a Reply, that holds a new
// refresh token whose access token was not usable: store it before anything else.
//
// TokenError.Sent is false only if nothing of the body left and nothing will. A
// failed Gate is such a case: ClassTransient, and errors.Is finds Gate's error.
func (r *Requester) Do(ctx context.Context, req TokenRequest) (*Reply, error) {
	c := req.Client
	if c == nil {
		return nil, &TokenError{Class: ClassOperator, Detail: "TokenRequest.Client is nil: set it"}
	}
	field, extra := "TokenURL", c.TokenParams
	if req.Refresh {
		field, extra = c.refreshField(), c.RefreshParams
	}
	a, failed := r.send(ctx, outgoing{
		client: c, field: field, values: withEntity(req.EntityID, req.Values),
		params: req.Params, extra: extra, gate: req.Gate, transport: req.Transport,
	})
	if failed != nil {
		return nil, failed
	}
	reply, failed := a.read(c)
	if failed != nil {
		return reply, failed
	}
	return reply, nil
}

// RevocationRequest is one request to the revocation endpoint (RFC 7009 §2.1).
type RevocationRequest struct {
	Client   *Client
	EntityID string            // value of {entity_id}; may be empty if no URL has it
	Values   map[string]string // of template variables other than entity_id
	// Transport carries this request; nil means the Requester's.
	Transport http.RoundTripper
	Token     tokenstore.Secret
	Hint      string // "refresh_token" or "access_token"; may be empty
}

// Revoke asks the provider to forget a token (RFC 7009), once. It returns nil if
// the provider agreed, which it also does for tokens it does not know;
// [ErrNoRevocation] if it has no endpoint or does not revoke this kind of token;
// else a [*TokenError]. Best effort: give ctx a short deadline, and do not let its
// failure stop a disconnect.
func (r *Requester) Revoke(ctx context.Context, req RevocationRequest) error {
	c := req.Client
	if c == nil || c.RevocationURL == "" {
		return ErrNoRevocation
	}
	if req.Token.IsZero() {
		return nil
	}
	params := url.Values{"token": {req.Token.Reveal()}}
	if req.Hint != "" {
		params.Set("token_type_hint", req.Hint)
	}
	a, failed := r.send(ctx, outgoing{
		client: c, field: "RevocationURL", values: withEntity(req.EntityID, req.Values),
		params: params, transport: req.Transport,
	})
	if failed != nil {
		return failed
	}
	if a.status >= 200 && a.status <= 299 {
		return nil // RFC 7009 §2.2: the body is to be ignored
	}
	failed = a.failure(c, a.members())
	if failed.Code == "unsupported_token_type" {
		return ErrNoRevocation
	}
	return failed
}

// ErrNoRevocation is returned by [Requester.Revoke] for a provider that cannot
// revoke.
var ErrNoRevocation = errors.New("oauthflow: the provider cannot revoke this token")
