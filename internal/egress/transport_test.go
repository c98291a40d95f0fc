package egress_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/egress"
)

// site is an https server that a transport takes for any address it dials. Its
// certificate is good for example.com, *.example.com and 127.0.0.1.
type site struct {
	*httptest.Server
	hits atomic.Int32

	mu      sync.Mutex
	dialled []string
}

func newSite(t *testing.T, handler http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		handler(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// transport trusts the site and reaches it at every address.
func (s *site) transport() *http.Transport {
	base := s.Client().Transport.(*http.Transport).Clone()
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		s.mu.Lock()
		s.dialled = append(s.dialled, address)
		s.mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	return base
}

func (s *site) dials() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.dialled...)
}

func (s *site) port() string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// get follows redirects and returns the major version of the protocol.
func get(t *testing.T, rt http.RoundTripper, url string) (proto int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(t, res.Body.Close())
	return res.ProtoMajor, nil
}

func ok(http.ResponseWriter, *http.Request) {}

func TestTransportDialsWhatItChecked(t *testing.T) {
	s := newSite(t, ok)
	p := parse(t)
	p.Resolver = always("10.0.0.1", "93.184.215.14", "169.254.169.254")
	_, err := get(t, p.RoundTripper(s.transport()), "https://example.com/")
	require.NoError(t, err)
	require.EqualValues(t, 1, s.hits.Load())
	require.Equal(t, []string{"93.184.215.14:443"}, s.dials(), "the public one alone, and not by name")
}

// The name is public when it is saved, and this machine when it is used.
func TestRebinding(t *testing.T) {
	s := newSite(t, ok)
	var turn atomic.Int32
	p := parse(t)
	p.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) {
		if turn.Add(1) == 1 {
			return addrs("93.184.215.14"), nil
		}
		return addrs("127.0.0.1"), nil
	})
	require.NoError(t, p.Resolve(t.Context(), parseURL(t, "https://example.com/")))
	_, err := get(t, p.RoundTripper(s.transport()), "https://example.com/")
	var refused *egress.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "127.0.0.1", refused.Addr.String())
	require.Empty(t, s.dials())
}

// The same with nothing faked but the look-up.
func TestLoopbackListener(t *testing.T) {
	s := newSite(t, ok)
	base := s.Client().Transport.(*http.Transport)
	base.DialContext = nil
	target := "https://example.com:" + s.port() + "/"
	for entry, open := range map[string]bool{
		"127.0.0.1:" + s.port(): true, "127.0.0.0/8": true, "example.com": true, "*.com:" + s.port(): true,
		"127.0.0.1:1": false, "127.0.0.2": false, "10.0.0.0/8": false, "*.example.com": false,
	} {
		p := parse(t, entry)
		p.Resolver = always("127.0.0.1")
		rt := p.RoundTripper(base)
		s.hits.Store(0)
		_, err := get(t, rt, target)
		if open {
			require.NoError(t, err, entry)
			require.EqualValues(t, 1, s.hits.Load(), entry)
		} else {
			var refused *egress.Error
			require.ErrorAs(t, err, &refused, entry)
			require.Zero(t, s.hits.Load(), entry)
		}
		rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	}
}

func TestRedirects(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	})
	p := parse(t)
	p.Resolver = resolver(func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "inside.example.com" {
			return addrs("10.0.0.1"), nil
		}
		return addrs("93.184.215.14"), nil
	})
	for to, allowed := range map[string]bool{
		"/elsewhere":                                      true,
		"https://www.example.com/":                        true,
		"http://example.com/":                             false,
		"https://127.0.0.1/":                              false,
		"https://127.0.0.1:" + s.port() + "/":             false,
		"http://localhost:" + s.port() + "/":              false,
		"https://[::1]/":                                  false,
		"https://2130706433/":                             false,
		"http://169.254.169.254/latest/":                  false,
		"https://inside.example.com/":                     false,
		"https://user:pw@www.example.com/":                false,
		"https://metadata.google.internal/":               false,
		"https://www.example.com:" + s.port():             false,
		"https://" + strings.ToUpper("[::FFFF:10.0.0.1]"): false,
	} {
		s.hits.Store(0)
		_, err := get(t, p.RoundTripper(s.transport()), "https://example.com/?to="+url.QueryEscape(to))
		if allowed {
			require.NoError(t, err, to)
			require.EqualValues(t, 2, s.hits.Load(), to)
			continue
		}
		var refused *egress.Error
		require.ErrorAs(t, err, &refused, to)
		require.EqualValues(t, 1, s.hits.Load(), to)
	}
}

func TestNoSharedConnections(t *testing.T) {
	s := newSite(t, ok)
	base := s.transport()
	_, err := get(t, base, "https://example.com/")
	require.NoError(t, err)

	p := parse(t)
	p.Resolver = always("127.0.0.1")
	_, err = get(t, p.RoundTripper(base), "https://example.com/")
	var refused *egress.Error
	require.ErrorAs(t, err, &refused, "the base's connection, which stands open, must not serve")

	// As golang.org/x/net/http2 leaves a transport: with a function that puts
	// connections into the base's own pool.
	shared := s.transport()
	shared.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{
		"h2": func(string, *tls.Conn) http.RoundTripper { panic("the base's pool") },
	}
	p.Resolver = always("93.184.215.14")
	proto, err := get(t, p.RoundTripper(shared), "https://example.com/")
	require.NoError(t, err)
	require.Equal(t, 2, proto)
}

func TestTransportKeepsProtocols(t *testing.T) {
	s := newSite(t, ok)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig
	protocols := func(set func(*http.Protocols)) *http.Protocols {
		p := new(http.Protocols)
		set(p)
		return p
	}
	for name, c := range map[string]struct {
		base *http.Transport
		want int
	}{
		"http/1 only":   {&http.Transport{Protocols: protocols(func(p *http.Protocols) { p.SetHTTP1(true) })}, 1},
		"both":          {&http.Transport{Protocols: protocols(func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) })}, 2},
		"forced":        {&http.Transport{ForceAttemptHTTP2: true}, 2},
		"not asked for": {&http.Transport{}, 1}, // because of TLSClientConfig, as in net/http
		"switched off":  {&http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.base.TLSClientConfig = trust.Clone()
			c.base.TLSClientConfig.NextProtos = nil
			p := parse(t, "127.0.0.1")
			proto, err := get(t, p.RoundTripper(c.base), s.URL)
			require.NoError(t, err)
			require.Equal(t, c.want, proto)
		})
	}

	// The zero transport speaks HTTP/2; used before or not, so does its restriction.
	for _, used := range []bool{false, true} {
		base := &http.Transport{}
		if used {
			_, err := get(t, base, s.URL)
			require.Error(t, err, "the certificate is not known")
			base.TLSClientConfig.RootCAs = trust.RootCAs
		}
		p := parse(t, "127.0.0.1")
		rt := p.RoundTripper(base)
		if !used {
			base.TLSClientConfig.RootCAs = trust.RootCAs
			rt = p.RoundTripper(base)
		}
		proto, err := get(t, rt, s.URL)
		require.NoError(t, err)
		require.Equal(t, 2, proto)
	}
}

type key struct{}

func TestTransportKeepsTheDialer(t *testing.T) {
	s := newSite(t, ok)
	p := parse(t)
	p.Resolver = always("93.184.215.14")

	base := s.transport()
	var saw any
	inner := base.DialContext
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		saw = ctx.Value(key{})
		return inner(ctx, network, address)
	}
	base.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("it would look the name up itself")
	}
	req, err := http.NewRequestWithContext(context.WithValue(t.Context(), key{}, "value"), http.MethodGet, "https://example.com/", nil)
	require.NoError(t, err)
	res, err := p.RoundTripper(base).RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "value", saw, "the request's context reaches the dialer")

	old := s.transport()
	dial := old.DialContext
	old.DialContext = nil
	old.Dial = func(network, address string) (net.Conn, error) { //nolint:staticcheck // a host may still set it
		return dial(t.Context(), network, address)
	}
	_, err = get(t, p.RoundTripper(old), "https://example.com/")
	require.NoError(t, err)
	require.Equal(t, []string{"93.184.215.14:443", "93.184.215.14:443"}, s.dials())
}

// body notes that it was closed.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestRefusedRequestsAreNotSent(t *testing.T) {
	var reached atomic.Int32
	fake := roundTripper(func(*http.Request) (*http.Response, error) {
		reached.Add(1)
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	for name, base := range map[string]http.RoundTripper{"default": nil, "fake": fake} {
		rt := parse(t).RoundTripper(base)
		for _, url := range []string{"https://127.0.0.1/", "http://example.com/", "https://a.internal/"} {
			sent := &body{Reader: strings.NewReader("secret")}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, sent)
			require.NoError(t, err)
			res, err := rt.RoundTrip(req) //nolint:bodyclose // there is none
			require.Nil(t, res)
			var refused *egress.Error
			require.ErrorAs(t, err, &refused, name)
			require.True(t, sent.closed, "%s %s", name, url)
		}
	}
	require.Zero(t, reached.Load())
}

// A RoundTripper that is not an http.Transport: names are looked up before.
func TestForeignRoundTripper(t *testing.T) {
	fake := roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: req}, nil
	})
	for name, c := range map[string]struct {
		entry  string
		url    string
		answer resolver
		passes bool
	}{
		"public":                  {"1.1.1.1", "https://example.com/", always("93.184.215.14"), true},
		"private":                 {"1.1.1.1", "https://example.com/", always("10.0.0.1"), false},
		"opened":                  {"10.0.0.1", "https://example.com/", always("10.0.0.1"), true},
		"unknown name":            {"1.1.1.1", "https://example.com/", unknownHost, true},
		"unknown, needs an entry": {"127.0.0.1", "http://localhost:80/", unknownHost, false},
		"opened by name":          {"idp.internal", "https://idp.internal/", unknownHost, true},
	} {
		p := parse(t, c.entry)
		p.Resolver = c.answer
		_, err := get(t, p.RoundTripper(fake), c.url)
		require.Equal(t, c.passes, err == nil, "%s: %v", name, err)
	}
}
