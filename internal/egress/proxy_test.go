package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/egress"
)

// newProxy tunnels to the site, whatever it is asked for, and notes what that was.
func newProxy(t *testing.T, to *site) (proxy *url.URL, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var hosts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hosts = append(hosts, r.Method+" "+r.Host)
		mu.Unlock()
		if r.Method != http.MethodConnect {
			return
		}
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", to.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, read, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, read); _ = there.Close() }() // what was read ahead comes first
		go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
	}))
	t.Cleanup(server.Close)
	proxy, err := url.Parse(server.URL)
	require.NoError(t, err)
	return proxy, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, hosts...)
	}
}

func TestProxyIsLeftOut(t *testing.T) {
	s := newSite(t, ok)
	proxy, asked := newProxy(t, s)
	base := s.transport()
	base.Proxy = http.ProxyURL(proxy)
	p := parse(t)
	p.Resolver = always("93.184.215.14")
	_, err := get(t, p.RoundTripper(base), "https://example.com/")
	require.NoError(t, err)
	require.Empty(t, asked())
	require.Equal(t, []string{"93.184.215.14:443"}, s.dials())

	// In a network without a direct way out.
	for name, c := range map[string]struct {
		answer resolver
		dial   error
	}{
		"no route": {always("93.184.215.14"), errors.New("no route to host")},
		"timeout":  {always("93.184.215.14"), context.DeadlineExceeded},
		"no DNS":   {unknownHost, nil},
		"inside":   {always("10.0.0.1"), nil},
	} {
		p.Resolver = c.answer
		base.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, c.dial }
		_, err = get(t, p.RoundTripper(base), "https://www.example.com/")
		require.ErrorContains(t, err, "Config.EgressProxy", name)
		require.NotContains(t, err.Error(), proxy.Host, name)
		if c.dial != nil {
			require.ErrorIs(t, err, c.dial, name)
		}
		var timeout interface{ Timeout() bool }
		require.Equal(t, errors.Is(c.dial, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout(), name)
	}
	base.Proxy = nil
	_, err = get(t, p.RoundTripper(base), "https://example.com/")
	require.NotContains(t, err.Error(), "EgressProxy", "there is no proxy to use")
}

func TestProxyIsUsed(t *testing.T) {
	s := newSite(t, ok)
	proxy, asked := newProxy(t, s)
	base := s.Client().Transport.(*http.Transport).Clone()
	base.DialContext = nil
	base.Proxy = func(req *http.Request) (*url.URL, error) {
		if req.URL.Hostname() == "direct.example.com" {
			return nil, nil
		}
		return proxy, nil
	}
	p, err := egress.Parse([]string{"127.0.0.2", "open.example.com:8443"}, true)
	require.NoError(t, err)
	p.Resolver = always("10.0.0.1") // names mean something else behind the proxy
	rt := p.RoundTripper(base)

	_, err = get(t, rt, "https://example.com/")
	require.NoError(t, err)
	_, err = get(t, rt, "https://open.example.com:8443/")
	require.NoError(t, err)
	want := []string{"CONNECT example.com:443", "CONNECT open.example.com:8443"}
	require.Equal(t, want, asked(), "by name: the proxy looks it up")

	for _, refused := range []string{
		"https://127.0.0.1/", "https://10.0.0.1/", "https://2130706433/", "http://example.com/", "https://a.internal/", "https://example.com:22/",
		"https://a.internal:22/",     // "127.0.0.2" opens an address, which the proxy may not mean
		"https://direct.example.com", // not through the proxy, so the dial is checked
		proxy.String(),
	} {
		_, err := get(t, rt, refused)
		var e *egress.Error
		require.ErrorAs(t, err, &e, refused)
	}

	// This machine is not the proxy's.
	_, err = get(t, rt, "http://127.0.0.2:1/")
	require.Error(t, err)
	require.Equal(t, want, asked())
}
