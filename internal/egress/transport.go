package egress

import (
	"context"
	"net"
	"net/http"
	"net/url"
)

// RoundTripper returns base, restricted to what the policy allows. Every request
// passes [Policy.CheckURL] first, so redirects do too; a refused one fails with an
// [*Error] and nothing of it leaves. base nil means http.DefaultTransport.
//
// An [http.Transport] is cloned. The clone has connections of its own, since one
// that an unrestricted request opened was not checked; it keeps how base dials,
// but looks names up itself and hands base's DialContext the address that it
// checked. It leaves out DialTLSContext and DialTLS, which look names up
// themselves, and what RegisterProtocol added. CloseIdleConnections closes those of
// the clone.
//
// Whether another RoundTripper dials, and what, cannot be known: for it the name
// is looked up before each request ([Policy.Resolve]). That is the best that can
// be done, and no protection against a name that resolves otherwise a moment later.
func (p *Policy) RoundTripper(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	if t, ok := base.(*http.Transport); ok {
		return newTransport(p, t)
	}
	return &foreign{policy: p, base: base}
}

// foreign restricts a RoundTripper of which nothing is known.
type foreign struct {
	policy *Policy
	base   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f *foreign) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := f.policy.check(req.URL)
	if err == nil {
		var known bool
		if known, err = f.policy.resolve(req.Context(), t); err == nil && !known && t.byAddr {
			err = unknownAddr(t)
		}
	}
	if err != nil {
		return nil, drop(req, err)
	}
	return f.base.RoundTrip(req)
}

// transport restricts an http.Transport.
type transport struct {
	policy *Policy
	proxy  func(*http.Request) (*url.URL, error) // the base's; may be nil
	clone  *http.Transport
}

func newTransport(p *Policy, base *http.Transport) *transport {
	t := &transport{policy: p, proxy: base.Proxy, clone: base.Clone()}
	dialer := &dialer{policy: p, dial: t.clone.DialContext}
	if legacy := t.clone.Dial; dialer.dial == nil && legacy != nil { //nolint:staticcheck // a host may still set it
		dialer.dial = func(_ context.Context, network, address string) (net.Conn, error) { return legacy(network, address) }
	}
	if dialer.dial == nil {
		dialer.dial = new(net.Dialer).DialContext
	}
	// A transport with a dialer of its own speaks HTTP/2 only if told to. If the base
	// does, its TLSNextProto has it by now, and leads to its own connections.
	if base.TLSNextProto["h2"] != nil {
		t.clone.TLSNextProto, t.clone.ForceAttemptHTTP2 = nil, true
	}
	t.clone.DialContext = dialer.DialContext
	t.clone.Dial, t.clone.DialTLS, t.clone.DialTLSContext = nil, nil, nil //nolint:staticcheck // must not be used instead
	t.clone.Proxy = func(req *http.Request) (*url.URL, error) {
		if r := routeOf(req.Context()); r.proxied {
			return r.proxy, nil
		}
		return nil, nil
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	to, err := t.policy.check(req.URL)
	if err != nil {
		return nil, drop(req, err)
	}
	r, err := t.route(req)
	if err == nil && r.proxied && to.byAddr {
		err = unknownAddr(to)
	}
	if err != nil {
		return nil, drop(req, err)
	}
	if r.proxy != nil {
		req = req.WithContext(context.WithValue(req.Context(), routeKey{}, r))
	}
	return t.clone.RoundTrip(req)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *transport) CloseIdleConnections() { t.clone.CloseIdleConnections() }

// route is which way one request goes.
type route struct {
	proxy   *url.URL // that the base would have used; nil if none
	proxied bool     // it is used
}

type routeKey struct{}

func routeOf(ctx context.Context) route {
	r, _ := ctx.Value(routeKey{}).(route)
	return r
}

func (t *transport) route(req *http.Request) (route, error) {
	if t.proxy == nil {
		return route{}, nil
	}
	proxy, err := t.proxy(req)
	if err != nil && !t.policy.proxy {
		return route{}, nil
	}
	// By plain http only this machine is reached: a proxy would reach its own.
	return route{proxy: proxy, proxied: proxy != nil && t.policy.proxy && req.URL.Scheme == "https"}, err
}

// unknownAddr refuses a request that is allowed only to some addresses, where
// nobody can say to which it will go.
func unknownAddr(t target) *Error {
	return &Error{Host: t.host, Entry: t.entry(), Reason: "is allowed only at some addresses, and its address cannot be known here"}
}

// drop keeps RoundTripper's contract: the body is closed on errors too.
func drop(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}
