package oauthflow_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestNewTransport(t *testing.T) {
	transport := oauthflow.NewTransport()
	assert.True(t, transport.DisableKeepAlives)
	assert.NotNil(t, transport.Proxy)
	var proto, header string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto, header = r.Proto, r.Header.Get("Connection")
		reply(200, jsonType, `{"access_token":"A"}`)(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	_, err := (&oauthflow.Requester{Transport: trusting(t, server)}).Do(t.Context(), refreshRequest(wireClient(server.URL)))
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1", proto, "although the server offers HTTP/2")
	assert.Equal(t, "close", header)
}

// What was given up is over: net/http alone would go on with the handshake.
func TestConnectionsEndWithTheirRequest(t *testing.T) {
	silent := newCounter(t, nil)
	start := time.Now()
	_, err := (&oauthflow.Requester{Timeout: 50 * time.Millisecond}).Do(t.Context(), refreshRequest(wireClient("https://"+silent.Addr().String())))
	assert.False(t, tokenError(t, err).Sent)
	silent.finish()
	assert.Less(t, time.Since(start), 4*time.Second)
}

func TestNewTransportServesOthersToo(t *testing.T) {
	server := newServer(t, reply(200, "text/plain", "hello"))
	client := &http.Client{Transport: oauthflow.NewTransport()}
	for range 2 {
		res, err := client.Get(server.URL)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		require.NoError(t, err)
		assert.Equal(t, "hello", string(body))
	}
}

// A request's own transport goes before the requester's.
func TestRequestHasATransportOfItsOwn(t *testing.T) {
	refused := errors.New("this address is not allowed")
	transport := oauthflow.NewTransport()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	req := refreshRequest(wireClient("http://localhost:1"))
	req.Transport = transport
	req.Gate = func() error { t.Error("the gate was asked"); return nil }
	_, err := (&oauthflow.Requester{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("the requester's transport")
	})}).Do(t.Context(), req)
	require.ErrorIs(t, err, refused)
	assert.False(t, tokenError(t, err).Sent)
}
