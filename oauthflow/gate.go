package oauthflow

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
)

// errShut stops a transport that is still at work when its request was given up.
var errShut = errors.New("oauthflow: the request was given up before it was sent")

// gate stands between a request and the wire. It is asked before the first byte
// leaves, and answers the same ever after.
//
// There are two places to ask. A RoundTripper reads the request's body before it
// can do anything with the token, so the first Read asks. net/http, however,
// flushes the header before it reads a body it does not know to be in memory
// ([http.Transport] since issue 22088), so its trace asks a little earlier, and if
// the answer is no, the connection is closed under it.
type gate struct {
	check func() error

	mu    sync.Mutex
	asked bool
	err   error // the answer
	read  bool  // the body was read: the token may be out
	conn  net.Conn
	body  *bytes.Reader
}

// ask returns the answer, and gets it first if this is the first time.
func (g *gate) ask() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.askLocked()
}

func (g *gate) askLocked() error {
	if !g.asked {
		g.asked = true
		g.err = g.check()
	}
	return g.err
}

// shut ends the gate's life and reports whether anything of the body may have
// been sent, and the error of the check. A transport's writing goroutine may
// outlive its RoundTrip: without this, a request reported as not sent, or answered
// already, could still leave.
func (g *gate) shut() (sent bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err = g.err
	g.asked = true
	if g.err == nil {
		g.err = errShut
	}
	return g.read, err
}

// Read implements io.Reader for the request's body.
func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.askLocked(); err != nil {
		return 0, err
	}
	g.read = true
	return g.body.Read(p)
}

// Close implements io.Closer.
func (g *gate) Close() error { return nil }

// trace asks when net/http has a connection and begins to write into its buffer.
func (g *gate) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			// An HTTP/2 connection serves others too and must not be closed; there
			// the header may leave, and the body's Read is the gate.
			if t, ok := info.Conn.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
				return
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			g.conn = info.Conn
		},
		WroteHeaderField: func(string, []string) {
			if g.ask() == nil {
				return
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.conn != nil {
				_ = g.conn.Close()
				g.conn = nil
			}
		},
	}
}

var _ io.ReadCloser = (*gate)(nil)
