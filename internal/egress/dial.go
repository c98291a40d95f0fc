package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	// dialLookup bounds a look-up before a connection is made.
	dialLookup = 10 * time.Second
	// attemptDelay is how long an address may take before the next one is tried
	// beside it (RFC 8305 §5).
	attemptDelay = 250 * time.Millisecond
	// maxAttempts is how many addresses of a name are tried: whoever answers for
	// the name can return hundreds.
	maxAttempts = 8
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer dials what the policy allows, with the host's own way of dialling.
type dialer struct {
	policy *Policy
	dial   dialFunc
}

// DialContext connects to address, "host:port" as http.Transport writes it: the
// host of the URL, or of the proxy.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	r := routeOf(ctx)
	if r.proxied {
		return d.dial(ctx, network, address) // the operator's proxy may be anywhere
	}
	addrs, err := d.addrs(ctx, address)
	if err != nil {
		return nil, hint(r, err)
	}
	conn, err := d.race(ctx, network, addrs)
	if err != nil {
		return nil, hint(r, err)
	}
	return conn, nil
}

// addrs returns the addresses behind address that may be dialled, in the order to
// try them.
func (d *dialer) addrs(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, ok := parsePort(text)
	if !ok {
		return nil, &net.AddrError{Err: "invalid port", Addr: address}
	}
	host = strings.ToLower(host)
	var found []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{addr}
	} else {
		short, cancel := context.WithTimeout(ctx, dialLookup)
		defer cancel()
		if found, err = d.policy.lookup(short, host); err != nil {
			return nil, err
		}
	}

	var first, other []netip.AddrPort // of the family that the resolver prefers, and of the other
	for _, addr := range found {
		addr = addr.Unmap()
		if !d.policy.allows(host, addr, port) {
			continue
		}
		ap := netip.AddrPortFrom(addr, port)
		if len(first) == 0 || first[0].Addr().Is4() == addr.Is4() {
			first = append(first, ap)
		} else {
			other = append(other, ap)
		}
	}
	if len(first) == 0 {
		return nil, refusal(target{host: host, port: port}, found[0])
	}
	return alternate(first, other), nil
}

// alternate takes from both in turn (RFC 8305 §4), maxAttempts at most.
func alternate(first, other []netip.AddrPort) []netip.AddrPort {
	var all []netip.AddrPort
	for len(all) < maxAttempts && len(first)+len(other) > 0 {
		if len(first) > 0 {
			all, first = append(all, first[0]), first[1:]
		}
		first, other = other, first
	}
	return all
}

// race returns the first connection that any of addrs gives, or the first error.
// It stands in for what net.Dialer does with the addresses of a name, for dialers
// of any kind.
func (d *dialer) race(ctx context.Context, network string, addrs []netip.AddrPort) (net.Conn, error) {
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	type outcome struct {
		conn net.Conn
		err  error
	}
	outcomes := make(chan outcome)
	attempt := func(address string) {
		conn, err := d.dial(ctx, network, address)
		if conn == nil && err == nil {
			err = errors.New("the dialer returned neither a connection nor an error")
		}
		select {
		case outcomes <- outcome{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
		}
	}

	next := time.NewTimer(0)
	defer next.Stop()
	var failed error
	for running := 0; running > 0 || len(addrs) > 0; {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case o := <-outcomes:
			running--
			if o.err == nil {
				return o.conn, nil
			}
			if failed == nil {
				failed = o.err
			}
			next.Reset(0)
		case <-next.C:
			if len(addrs) > 0 {
				go attempt(addrs[0].String())
				addrs, running = addrs[1:], running+1
				next.Reset(attemptDelay)
			}
		}
	}
	return nil, failed
}

// hint adds to the failure of a direct dial that a proxy was left out: in networks
// without a direct way out it is the reason.
func hint(r route, err error) error {
	if r.proxy == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &hintedError{err}
}

type hintedError struct{ err error }

func (e *hintedError) Error() string {
	return fmt.Sprintf("%v (not through the proxy that the server has for it: "+
		"if that refuses private addresses, its operator can set Config.EgressProxy)", e.err)
}

func (e *hintedError) Unwrap() error { return e.err }

// Timeout reports what the error below says; url.Error looks no deeper.
func (e *hintedError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}
