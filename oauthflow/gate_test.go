package oauthflow_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// counter is a server that answers nothing and counts the bytes it gets, after
// TLS where there is any.
type counter struct {
	net.Listener
	accepted chan struct{} // one for each connection
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    int
	bytes    []byte
}

func newCounter(t *testing.T, config *tls.Config) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	c := &counter{Listener: l, accepted: make(chan struct{}, 16)}
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns++
			c.mu.Unlock()
			c.accepted <- struct{}{}
			c.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				buf := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buf)
					c.mu.Lock()
					c.bytes = append(c.bytes, buf[:n]...)
					c.mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
	})
	return c
}

// finish waits for all connections to end and returns what came over them.
func (c *counter) finish() (conns int, bytes string) {
	_ = c.Close()
	c.wg.Wait()
	return c.conns, string(c.bytes)
}

// net/http flushes the header before it reads a body it does not know, so a gate
// in the body's Read alone lets the header out: with it the client's secret.
func TestFailedGateLetsNothingOut(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	clientConfig := trusting(t, certified).TLSClientConfig
	for name, secure := range map[string]bool{"TCP": false, "TLS": true} {
		for header, secret := range map[string]string{"short header": canarySecret, "header of 12 KiB": strings.Repeat("canary-secret", 1000)} {
			for which, transport := range map[string]*http.Transport{
				"own transport": oauthflow.NewTransport(),
				// Somebody's own: a buffer of 4 KiB, idle connections kept.
				"plain transport": {ForceAttemptHTTP2: false},
			} {
				t.Run(name+", "+header+", "+which, func(t *testing.T) {
					scheme, server := "http://", newCounter(t, nil)
					if secure {
						scheme, server = "https://", newCounter(t, &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12})
					}
					transport.TLSClientConfig = clientConfig
					defer transport.CloseIdleConnections()

					c := wireClient(scheme + server.Addr().String())
					c.ClientAuth, c.ClientSecret = oauthflow.AuthBasic, tokenstore.NewSecret(secret)
					req := refreshRequest(c)
					asked := 0
					req.Gate = func() error {
						asked++
						<-server.accepted // it is asked when the connection stands, not before
						return errGate
					}
					_, err := (&oauthflow.Requester{Transport: transport}).Do(t.Context(), req)
					e := tokenError(t, err)
					require.ErrorIs(t, err, errGate)
					assert.False(t, e.Sent)
					assert.Equal(t, oauthflow.ClassTransient, e.Class)

					conns, bytes := server.finish()
					assert.Equal(t, 1, asked, "the gate is asked once")
					assert.Equal(t, 1, conns)
					assert.Empty(t, bytes)
				})
			}
		}
	}
}

// The connection may be fast or slow; the gate is asked after it, not before.
func TestGateIsAskedAfterDialAndTLS(t *testing.T) {
	var order []string // in this order each happens after the one before it was noted
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		order = append(order, "request")
		reply(200, jsonType, `{"access_token":"A"}`)(w, r)
	}))
	server.StartTLS()
	defer server.Close()
	req := refreshRequest(wireClient(server.URL))
	req.Gate = func() error { order = append(order, "gate"); return nil }
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		TLSHandshakeDone: func(tls.ConnectionState, error) { order = append(order, "TLS") },
	})
	_, err := (&oauthflow.Requester{Transport: trusting(t, server)}).Do(ctx, req)
	require.NoError(t, err)
	assert.Equal(t, []string{"TLS", "gate", "request"}, order)
}

// trusting returns the transport of this package, trusting server's certificate.
func trusting(t *testing.T, server *httptest.Server) *http.Transport {
	t.Helper()
	client, ok := server.Client().Transport.(*http.Transport)
	require.True(t, ok)
	transport := oauthflow.NewTransport()
	transport.TLSClientConfig = client.TLSClientConfig
	return transport
}

func TestGateThroughProxy(t *testing.T) {
	for _, open := range []bool{true, false} {
		var requests []string
		proxy := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			requests = append(requests, r.URL.String())
			reply(200, jsonType, `{"access_token":"A"}`)(w, r)
		})
		transport := oauthflow.NewTransport()
		transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
		c := wireClient("http://127.0.0.1:9")
		req := refreshRequest(c)
		req.Gate = func() error {
			if open {
				return nil
			}
			return errGate
		}
		_, err := (&oauthflow.Requester{Transport: transport}).Do(t.Context(), req)
		proxy.Close()
		if open {
			require.NoError(t, err)
			assert.Equal(t, []string{c.TokenURL}, requests)
		} else {
			require.ErrorIs(t, err, errGate)
			assert.Empty(t, requests)
		}
	}
}

// An HTTP/2 connection carries other requests and must not be closed: the gate
// holds back the body then, which has the token in it.
func TestFailedGateLeavesHTTP2ConnectionsAlone(t *testing.T) {
	var bodies []string
	var mu sync.Mutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, r.Proto+" "+string(body))
		reply(200, jsonType, `{"access_token":"A"}`)(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	other, err := client.Post(server.URL, "text/plain", strings.NewReader("other"))
	require.NoError(t, err)
	_ = other.Body.Close()

	req := refreshRequest(wireClient(server.URL))
	req.Gate = func() error { return errGate }
	_, err = (&oauthflow.Requester{Transport: client.Transport}).Do(t.Context(), req)
	e := tokenError(t, err)
	require.ErrorIs(t, err, errGate)
	assert.False(t, e.Sent)

	other, err = client.Post(server.URL, "text/plain", strings.NewReader("other"))
	require.NoError(t, err)
	_ = other.Body.Close()
	server.Close()
	for _, body := range bodies {
		assert.NotContains(t, body, "canary")
		assert.True(t, strings.HasPrefix(body, "HTTP/2.0"))
	}
}

func TestGateInProcess(t *testing.T) {
	asked := 0
	r := &oauthflow.Requester{Transport: inProcess(reply(200, jsonType, `{"access_token":"A"}`))}
	req := refreshRequest(wireClient("https://provider.example"))
	req.Gate = func() error { asked++; return nil }
	_, err := r.Do(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, 1, asked)

	req.Gate = func() error { return errGate }
	_, err = r.Do(t.Context(), req)
	require.ErrorIs(t, err, errGate)
	assert.False(t, tokenError(t, err).Sent)
}

// A transport whose writing goroutine lives on after RoundTrip gave up: what was
// reported as not sent must not be sent afterwards.
func TestGateIsShutWhenRoundTripReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaveUp := make(chan struct{})
		late := make(chan error, 1)
		var asked bool
		r := &oauthflow.Requester{Timeout: time.Second, Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			go func() {
				<-gaveUp
				_, err := io.ReadAll(r.Body)
				late <- err
			}()
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		req := refreshRequest(wireClient("https://provider.example"))
		req.Gate = func() error { asked = true; return nil }
		_, err := r.Do(t.Context(), req)
		e := tokenError(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.False(t, e.Sent)
		assert.Equal(t, oauthflow.ClassTransient, e.Class)
		close(gaveUp)
		require.Error(t, <-late)
		assert.False(t, asked)
	})
}

// An overloaded server answers before it has read anything, while the transport
// is still asking whether it may write. The request is not over before that is
// settled: its gate's findings are read afterwards.
func TestGateIsSettledWhenTheAnswerWasQuicker(t *testing.T) {
	asking, answered := make(chan struct{}), make(chan struct{})
	r := &oauthflow.Requester{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		go func() { _, _ = io.ReadAll(r.Body) }()
		<-asking
		res := respond(http.StatusTooManyRequests, "")
		res.Body = closing{res.Body, answered}
		return res, nil
	})}
	settled := false
	req := refreshRequest(wireClient("https://provider.example"))
	req.Gate = func() error {
		close(asking)
		<-answered
		<-time.After(10 * time.Millisecond)
		settled = true
		return nil
	}
	_, err := r.Do(t.Context(), req)
	assert.Equal(t, oauthflow.ClassTransient, tokenError(t, err).Class)
	assert.True(t, settled)
}

// closing is a body that tells when it is closed.
type closing struct {
	io.ReadCloser
	closed chan struct{}
}

func (c closing) Close() error {
	close(c.closed)
	return c.ReadCloser.Close()
}

// One context ends before anything was sent, the other after.
func TestCancelledContext(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		bothWays(t, func(http.ResponseWriter, *http.Request) { t.Error("a request") }, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
			_, err := r.Do(ctx, refreshRequest(c))
			e := tokenError(t, err)
			require.ErrorIs(t, err, context.Canceled)
			assert.False(t, e.Sent)
			assert.Equal(t, oauthflow.ClassTransient, e.Class)
		})
	})
	t.Run("after", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		_, err := (&oauthflow.Requester{}).Do(ctx, refreshRequest(wireClient(server.URL)))
		e := tokenError(t, err)
		require.ErrorIs(t, err, context.Canceled)
		assert.True(t, e.Sent)
		assert.Equal(t, oauthflow.ClassUnknown, e.Class)
	})
}

func TestRoundTripperThatBreaksItsContract(t *testing.T) {
	r := &oauthflow.Requester{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, nil })}
	_, err := r.Do(t.Context(), refreshRequest(wireClient("https://provider.example")))
	e := tokenError(t, err)
	assert.False(t, e.Sent)

	r.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil })
	_, err = r.Do(t.Context(), refreshRequest(wireClient("https://provider.example")))
	assert.Equal(t, oauthflow.ClassUnknown, tokenError(t, err).Class)

	r.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		_, _ = r.Body.Read(make([]byte, 1))
		return nil, errors.New("lost")
	})
	_, err = r.Do(t.Context(), refreshRequest(wireClient("https://provider.example")))
	e = tokenError(t, err)
	assert.True(t, e.Sent, "one byte is enough")
	assert.Equal(t, oauthflow.ClassUnknown, e.Class)
}
