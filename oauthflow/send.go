package oauthflow

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxReply is how much of a reply is read, after decompression.
const maxReply = 1 << 20

// answer is what came back, whatever it was.
type answer struct {
	status int
	header http.Header
	body   []byte
	// broken says that body is not the whole body: the connection broke, the
	// limit was reached, the compression was wrong.
	broken     error
	scrub      scrubber
	receivedAt time.Time
}

var errTooLarge = errors.New("the reply is larger than 1 MiB")

// outgoing is one request to one of the client's endpoints.
type outgoing struct {
	client    *Client
	field     string            // of the endpoint's URL
	values    map[string]string // of the URL's variables
	params    url.Values        // the grant's; secret
	extra     url.Values        // the definition's
	gate      func() error      // see TokenRequest.Gate
	transport http.RoundTripper // nil: the requester's
}

// send posts o, once. A returned answer means that a status line came back; any
// other outcome is a *TokenError.
func (r *Requester) send(ctx context.Context, o outgoing) (*answer, *TokenError) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	g := &gate{check: func() error {
		if err := ctx.Err(); err != nil || o.gate == nil {
			return err
		}
		return o.gate()
	}}
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	req, err := o.build(httptrace.WithClientTrace(context.WithValue(ctx, overKey{}, over), g.trace()), g)
	if err != nil {
		return nil, o.notBuilt(err)
	}
	scrub := newScrubber(o, req.URL)

	transport := o.transport
	if transport == nil {
		transport = r.Transport
	}
	if transport == nil {
		transport = NewTransport() // keeps nothing between requests, so a new one will do
	}
	// The transport itself, not an http.Client: it follows no redirect.
	res, err := transport.RoundTrip(req) //nolint:bodyclose // readBody closes it
	if err == nil && res == nil {
		err = errors.New("the transport returned neither a response nor an error")
	}
	if err != nil {
		sent, refused := g.shut()
		return nil, sendFailure(sent, refused, scrub.clean(err, sent), timeout)
	}
	a := &answer{status: res.StatusCode, header: res.Header, scrub: scrub}
	a.body, a.broken = readBody(res)
	// An answer may come while the gate is being asked: the caller reads what it found.
	_, _ = g.shut()
	a.broken = scrub.clean(a.broken, true)
	a.receivedAt = time.Now()
	return a, nil
}

// build writes the request down, with g for its body.
func (o outgoing) build(ctx context.Context, g *gate) (*http.Request, error) {
	endpoint, err := o.client.endpoint(o.field, o.values)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, nil)
	if err != nil { // its text repeats the URL
		return nil, errors.New("oauthflow: " + o.field + " is not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Replies are small, and compressed ones from those who ignore this are
	// unpacked below, by whatever transport they came.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "bifrost-go")
	form := make(url.Values)
	for name, values := range o.params {
		form[name] = values
	}
	for name, values := range o.extra {
		// What a caller asks for in this one request stands against a definition's
		// parameters, which are for all; only the grant type has names of its own.
		if _, set := o.params[name]; slices.Contains(reservedToken, name) || set && name != "grant_type" {
			continue
		}
		form[name] = values
	}
	authenticate(req, o.client, form)
	body := form.Encode()
	g.body = bytes.NewReader([]byte(body))
	// No GetBody: with it, net/http may send the request a second time.
	req.Body, req.ContentLength, req.Close = g, int64(len(body)), true
	return req, nil
}

// notBuilt is the error for a request that cannot be written down.
func (o outgoing) notBuilt(err error) *TokenError {
	class := ClassOperator
	var t *TemplateError
	if errors.As(err, &t) && o.values[t.Variable] != "" {
		class = ClassConfiguration // the template is good, this connection's value is not
	}
	return &TokenError{Class: class, Err: err}
}

func sendFailure(sent bool, refused, err error, timeout time.Duration) *TokenError {
	e := &TokenError{Class: ClassTransient, Err: err}
	switch {
	case sent:
		e.Class, e.Sent = ClassUnknown, true
	case refused != nil:
		e.Err = refused
	}
	if errors.Is(err, context.DeadlineExceeded) && refused == nil {
		e.Detail = fmt.Sprintf("no connection within %v", timeout)
		if sent {
			e.Detail = fmt.Sprintf("no reply within %v", timeout)
		}
	}
	return e
}

// authenticate adds the client's credentials, in one place only (RFC 6749 §2.3.1).
func authenticate(req *http.Request, c *Client, form url.Values) {
	secret := c.ClientSecret.Reveal()
	switch c.ClientAuth {
	case AuthBasic:
		req.Header.Set("Authorization", "Basic "+basicCredentials(c))
	case AuthNone:
		form.Set("client_id", c.ClientID)
	default:
		form.Set("client_id", c.ClientID)
		if secret != "" { // an empty client_secret makes some providers refuse public clients
			form.Set("client_secret", secret)
		}
	}
}

// basicCredentials form-encodes before base64: ids and secrets may have colons.
func basicCredentials(c *Client) string {
	pair := url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.ClientSecret.Reveal())
	return base64.StdEncoding.EncodeToString([]byte(pair))
}

// readBody reads at most maxReply of the decompressed body and closes it.
func readBody(res *http.Response) ([]byte, error) {
	if res.Body == nil {
		return nil, nil
	}
	defer func() { _ = res.Body.Close() }()
	var src io.Reader = res.Body
	switch encoding := strings.ToLower(strings.TrimSpace(res.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzip, err := gzip.NewReader(src)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		src = unzip
	default:
		return nil, errors.New("the reply has a Content-Encoding that was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(src, maxReply+1))
	if len(body) > maxReply {
		return body[:maxReply], errTooLarge
	}
	return body, err
}
