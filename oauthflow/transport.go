package oauthflow

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout = 8 * time.Second
	// maxReplyHeader is far above any real reply's header, and below what hurts.
	maxReplyHeader = 64 << 10
)

// overKey is the context key of a context that ends when a request is over, for
// better or worse. (The request's own ends earlier, and closing the connection then
// would hide its error behind "use of closed network connection".)
type overKey struct{}

// NewTransport returns the transport that token requests need:
//
//   - HTTP/1.1 and one request per connection. HTTP/2 and idle connections let
//     net/http replay a request, and a refresh token must not be sent twice.
//   - A connection is closed when its request has ended, even in the middle of a
//     handshake, and closing discards what the kernel has not sent yet (SO_LINGER 0):
//     nothing of a request arrives long after it was given up.
//   - Proxies from the environment (HTTPS_PROXY, NO_PROXY).
//
// Change what you need, TLSClientConfig for instance, before the first use.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			// net/http goes on dialling after a request ended, in case another one
			// could use the connection. Here none can.
			over, ours := ctx.Value(overKey{}).(context.Context)
			if ours {
				ctx = over
			}
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a platform without it loses only the promptness
			}
			if ours {
				context.AfterFunc(over, func() { _ = conn.Close() })
			}
			return conn, nil
		},
		TLSHandshakeTimeout:    dialTimeout,
		DisableKeepAlives:      true,
		Protocols:              protocols,
		MaxResponseHeaderBytes: maxReplyHeader,
		// A request is buffered whole, so it leaves in one piece or not at all.
		WriteBufferSize: 64 << 10,
	}
}
