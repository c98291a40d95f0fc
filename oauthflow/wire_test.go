package oauthflow_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// The secrets that wire tests send: none of them may ever be in a text.
const (
	canaryRefresh = "canary-refresh-token-1/+="
	canarySecret  = "canary-client-secret-%&"
	canaryCode    = "canary-code-4711"
	canaryVerify  = "canary-verifier-0815"
)

// wireClient is a valid client whose endpoints are below base.
func wireClient(base string) *oauthflow.Client {
	return &oauthflow.Client{
		Provider: oauthflow.Provider{
			AuthorizationURL: base + "/authorize",
			TokenURL:         base + "/token",
		},
		ClientID:     "client id:1",
		ClientSecret: tokenstore.NewSecret(canarySecret),
		Scopes:       []string{"read", "write"},
	}
}

func refreshRequest(c *oauthflow.Client) oauthflow.TokenRequest {
	return oauthflow.TokenRequest{Client: c, Refresh: true, Params: url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {canaryRefresh},
	}}
}

// roundTripFunc is an in-process provider.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// inProcess serves requests with h, and reads their bodies as a transport does.
func inProcess(h http.HandlerFunc) http.RoundTripper {
	return roundTripFunc(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		in := r.Clone(r.Context())
		in.Body = io.NopCloser(strings.NewReader(string(body)))
		rec := httptest.NewRecorder()
		h(rec, in)
		return rec.Result(), nil
	})
}

func newServer(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // see reply
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// bothWays runs test against h over sockets and in process.
func bothWays(t *testing.T, h http.HandlerFunc, test func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client)) {
	t.Helper()
	t.Run("socket", func(t *testing.T) {
		server := newServer(t, h)
		test(t, &oauthflow.Requester{}, wireClient(server.URL))
	})
	t.Run("in process", func(t *testing.T) {
		test(t, &oauthflow.Requester{Transport: inProcess(h)}, wireClient("https://provider.example"))
	})
}

// tokenError returns err as a *TokenError, after looking for secrets in it.
func tokenError(t *testing.T, err error) *oauthflow.TokenError {
	t.Helper()
	var e *oauthflow.TokenError
	require.ErrorAs(t, err, &e)
	requireClean(t, err)
	return e
}

// reply writes a body with a media type. It reads the request first: closing a
// connection with unread bytes on it resets it, and the reply may be lost.
func reply(status int, mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// chain lists every error in err's tree.
func chain(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // this walks the tree by hand
	case interface{ Unwrap() error }:
		all = append(all, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, chain(inner)...)
		}
	}
	return all
}

// quiet takes the log of servers whose clients misbehave on purpose.
var quiet = log.New(io.Discard, "", 0)

var errGate = errors.New("the stopwatch ran out")
