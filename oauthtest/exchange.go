package oauthtest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Exchange is one request to a scripted endpoint, in the hands of a [Step].
type Exchange struct {
	provider *Provider
	endpoint endpoint
	w        http.ResponseWriter
	request  *http.Request
	form     url.Values
	formErr  error
	entry    *entry
	done     *Reply // the result of Process
	sent     bool
}

// Request is the request; its body has been read.
func (x *Exchange) Request() *http.Request { return x.request }

// Form is the request's form body.
func (x *Exchange) Form() url.Values { return x.form }

// Process does what the provider does with such a request, saves the state and
// returns the reply without sending it. A second call returns the same reply.
func (x *Exchange) Process() *Reply {
	if x.done == nil {
		x.done = x.endpoint.process(x)
		x.provider.remember(x.done.secrets...)
	}
	return x.done
}

// Send sends a reply. It is booked as delivered before its first byte leaves: the
// client may act on it before a write returns.
func (x *Exchange) Send(r *Reply) {
	x.sent = true
	x.provider.answering(x.entry, r)
	x.provider.delivering(x.entry, r)
	if err := r.write(x.w); err != nil {
		x.provider.undelivered(x.entry)
	}
}

// Wait waits, and returns false if the client went away meanwhile.
func (x *Exchange) Wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.request.Context().Done():
		return false
	}
}

// Hang waits until the client goes away. It is how an endpoint never answers.
func (x *Exchange) Hang() {
	x.sent = true
	<-x.request.Context().Done()
}

// Reset breaks the connection: the client sees a reset instead of (the rest of)
// a reply.
func (x *Exchange) Reset() {
	x.sent = true
	reset(x.w)
}

// reset breaks the connection under w and does not return where a panic is the
// only way to do that (HTTP/2).
func reset(w http.ResponseWriter) {
	if r, ok := w.(interface{ reset() }); ok {
		r.reset()
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // RST, not FIN
	}
	_ = conn.Close()
}

// maxForm bounds a form: more than any token, less than a mistake.
const maxForm = 1 << 20

var errForm = errors.New("the body is not a form of at most 1 MiB")

// readForm reads the body. Parameters of the query do not count: secrets do not
// belong there.
func readForm(r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil || len(body) > maxForm {
		return nil, errForm
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errForm
	}
	return form, nil
}
