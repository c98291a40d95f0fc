package egress

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// lookupTimeout bounds a look-up while somebody waits for a form to be saved.
const lookupTimeout = 3 * time.Second

// Resolve is CheckURL and a look-up of the host, at most 3 s long. It refuses a
// name if any of its addresses is not allowed, with an [*Error]. That the look-up
// fails is no error: the name may be known later, and is checked when it is
// dialled. If ctx ends, its error is returned.
func (p *Policy) Resolve(ctx context.Context, u *url.URL) error {
	t, err := p.check(u)
	if err != nil {
		return err
	}
	_, err = p.resolve(ctx, t)
	return err
}

// resolve reports whether t is known to be allowed; if not, and without an error,
// it could not be looked up.
func (p *Policy) resolve(ctx context.Context, t target) (known bool, err error) {
	if t.open || t.addr.IsValid() {
		return true, nil
	}
	short, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := p.lookup(short, t.host)
	if err != nil {
		return false, ctx.Err()
	}
	for _, addr := range addrs {
		if !p.allows(t.host, addr, t.port) {
			return false, refusal(t, addr)
		}
	}
	return true, nil
}

// lookup returns at least one address, or an error.
func (p *Policy) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := p.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// allows decides about one connection: to addr, for a URL whose host is host, in
// lower case and maybe an address itself.
func (p *Policy) allows(host string, addr netip.Addr, port uint16) bool {
	if p.opensName(host, port) || p.opensAddr(addr, port) {
		return true
	}
	_, literal := netip.ParseAddr(host)
	return port == httpsPort && public(addr) && (literal == nil || !local(host))
}

func refusal(t target, addr netip.Addr) *Error {
	reason := "resolves to an address that is not public"
	if public(addr) {
		reason = "resolves to a public address, which can be reached at port 443 only"
		if t.port == httpsPort {
			reason = "is a name that exists in local networks only"
		}
	}
	return &Error{Host: t.host, Reason: reason, Entry: t.entry(), Addr: addr}
}
