package oauthtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// RoundTripper returns the provider as a transport: requests to the hosts of
// Config.URL and Config.APIURL are answered in process, without sockets, so it
// works in a testing/synctest bubble; any other host does not exist. Like
// net/http's, it streams replies, undoes gzip that it asked for itself, and
// reports faults as *net.OpError.
func (p *Provider) RoundTripper() http.RoundTripper {
	return &transport{provider: p, hosts: []string{p.config.URL, p.config.APIURL}}
}

type transport struct {
	provider *Provider
	hosts    []string // origins; nil: all
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body == nil {
		body = http.NoBody
	}
	defer func() { _ = body.Close() }()
	if err := t.reach(req); err != nil {
		return nil, err
	}
	// The whole body is read before anything is done about it, so an error in
	// reading means that nothing was processed.
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(req.Context())
	r, askedGzip := serverRequest(ctx, req, content)
	w := newPipe()
	stop := context.AfterFunc(req.Context(), func() { w.fail(req.Context().Err()) })
	go func() {
		defer stop()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // panics carry it as it is
				panic(v)
			}
			w.fail(errReset()) // no effect on a reply that is complete
		}()
		t.provider.ServeHTTP(w, r)
		if err := req.Context().Err(); err != nil {
			w.fail(err) // not an end of the body: the handler may have given up for this
		}
		w.finish()
	}()
	<-w.begun
	if w.err != nil {
		cancel()
		return nil, w.err
	}
	res := &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent, ContentLength: -1,
		Body: &pipeBody{w.reader, cancel}, Request: req,
	}
	if askedGzip && strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		res.Header.Del("Content-Encoding")
		res.Uncompressed = true
		res.Body = &gunzip{ReadCloser: res.Body}
	}
	return res, nil
}

// reach fails as dialing would, for hosts that are not the provider's, and while
// it is down.
func (t *transport) reach(req *http.Request) error {
	known := t.hosts == nil
	for _, origin := range t.hosts {
		known = known || origin == req.URL.Scheme+"://"+req.URL.Host
	}
	if !known {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}}
	}
	if err := req.Context().Err(); err != nil {
		return err
	}
	early := req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/oauth2/v2.0/token") && t.provider.takeEarly(Token)
	if early || t.provider.isDown() {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return nil
}

// serverRequest is the request as a server would see it.
func serverRequest(ctx context.Context, req *http.Request, content []byte) (r *http.Request, askedGzip bool) {
	r = req.Clone(ctx)
	r.Body = io.NopCloser(bytes.NewReader(content))
	r.ContentLength = int64(len(content))
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if user := req.URL.User; user != nil && r.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	if r.Header.Get("Accept-Encoding") == "" && r.Header.Get("Range") == "" && req.Method != http.MethodHead {
		r.Header.Set("Accept-Encoding", "gzip")
		askedGzip = true
	}
	return r, askedGzip
}

func errReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// pipe is the http.ResponseWriter whose other end is a response's body.
type pipe struct {
	header http.Header
	reader *io.PipeReader
	writer *io.PipeWriter
	begun  chan struct{} // closed when status, header or err are there

	mu     sync.Mutex
	closed bool // begun is
	status int
	sent   http.Header
	err    error
}

func newPipe() *pipe {
	w := &pipe{header: http.Header{}, begun: make(chan struct{})}
	w.reader, w.writer = io.Pipe()
	return w
}

// Header implements http.ResponseWriter.
func (w *pipe) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *pipe) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed, w.status, w.sent = true, status, w.header.Clone()
	close(w.begun)
}

// Write implements http.ResponseWriter. It returns when the client has read.
func (w *pipe) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if len(b) == 0 {
		return 0, nil
	}
	return w.writer.Write(b)
}

// FlushError lets http.ResponseController flush: nothing is buffered here.
func (w *pipe) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return nil
}

func (w *pipe) reset() { w.fail(errReset()) }

// fail ends the exchange with an error: instead of a reply, or in its middle.
func (w *pipe) fail(err error) {
	w.mu.Lock()
	if !w.closed {
		w.closed, w.err = true, err
		close(w.begun)
	}
	w.mu.Unlock()
	_ = w.writer.CloseWithError(err)
}

func (w *pipe) finish() {
	w.WriteHeader(http.StatusOK)
	_ = w.writer.Close()
}

// pipeBody tells the handler when the client has had enough.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// gunzip undoes gzip, beginning with the first read.
type gunzip struct {
	io.ReadCloser
	z   *gzip.Reader
	err error
}

func (g *gunzip) Read(b []byte) (int, error) {
	if g.z == nil && g.err == nil {
		g.z, g.err = gzip.NewReader(g.ReadCloser)
		if errors.Is(g.err, io.EOF) {
			g.err = io.ErrUnexpectedEOF
		}
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.z.Read(b)
}
