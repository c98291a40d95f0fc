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

// NewTransport returns the transport that token requests need:
//
//   - HTTP/1.1 and one request per connection. HTTP/2 and idle connections let
//     net/http replay a request, and a refresh token must not be sent twice.
//   - Closing a connection discards what the kernel has not sent yet (SO_LINGER 0),
//     so that nothing of a request arrives long after it was given up.
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
			conn, err := dialer.DialContext(ctx, network, address)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a platform without it loses only the promptness
			}
			return conn, err
		},
		TLSHandshakeTimeout:    dialTimeout,
		DisableKeepAlives:      true,
		Protocols:              protocols,
		MaxResponseHeaderBytes: maxReplyHeader,
		// A request is buffered whole, so it leaves in one piece or not at all.
		WriteBufferSize: 64 << 10,
	}
}
