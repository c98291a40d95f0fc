package egress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// httpsPort is the only port that is open without an entry.
const httpsPort = 443

// Policy says where requests may go. The zero value allows public addresses only,
// by https, at port 443; [Parse] makes one that allows more. Safe for concurrent
// use once made.
//
// An entry opens one of:
//
//	127.0.0.1, ::1, 127.0.0.1:9000, [::1]:9000   an address
//	10.0.0.0/8, fd00::/8, 10.0.0.0/8:8443, [fd00::/8]:8443   a prefix
//	idp.corp.internal, idp.corp.internal:8443   a host name
//	*.corp.internal, *.corp.internal:8443   every name below it, itself excluded
//
// Without a port an entry opens any port. An address or prefix opens its
// addresses for names that resolve to them as well. A name is opened whatever it
// resolves to: enter only names whose DNS is in good hands. https stays required,
// except for localhost and loopback addresses once an entry opens them.
type Policy struct {
	// Resolver looks names up; nil means net.DefaultResolver. Set it before use.
	Resolver Resolver

	nets  []openNet
	names []openName
	proxy bool
}

// Resolver is what a Policy needs of a [net.Resolver].
type Resolver interface {
	// LookupNetIP returns the addresses of host; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// openNet and openName are parsed entries. Port 0 stands for any port.
type (
	openNet struct {
		prefix netip.Prefix
		port   uint16
	}
	openName struct {
		name  string // in lower case; "*.corp.internal" is kept as ".corp.internal"
		below bool
		port  uint16
	}
)

// Parse reads the entries of Config.Egress. With proxy, requests go through the
// proxy that their transport knows, if it knows one: the operator vouches that it
// refuses private addresses, because names are resolved there and nothing of them
// can be checked here. Without, they never use a proxy.
func Parse(entries []string, proxy bool) (*Policy, error) {
	p := &Policy{proxy: proxy}
	for _, entry := range entries {
		if err := p.add(entry); err != nil {
			return nil, fmt.Errorf("egress: entry %+q: %w", entry, err)
		}
	}
	return p, nil
}

func (p *Policy) add(entry string) error {
	host, port, err := splitEntry(entry)
	if err != nil {
		return err
	}
	if strings.Contains(host, "/") {
		prefix, err := parsePrefix(host)
		if err != nil {
			return err
		}
		p.nets = append(p.nets, openNet{prefix: prefix, port: port})
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("zones are not compared: write %s", addr.WithZone(""))
		}
		addr = addr.Unmap()
		p.nets = append(p.nets, openNet{prefix: netip.PrefixFrom(addr, addr.BitLen()), port: port})
		return nil
	}
	name, below := strings.CutPrefix(strings.ToLower(host), "*.")
	if strings.Contains(name, "*") {
		return errors.New("* stands for whole labels before a suffix, as in *.example.com; every address is 0.0.0.0/0 and ::/0")
	}
	if fault := nameFault(name); fault != "" {
		return fmt.Errorf("neither an address, a prefix, a host name nor *.suffix: %s", fault)
	}
	if below {
		name = "." + name
	}
	p.names = append(p.names, openName{name: name, below: below, port: port})
	return nil
}

// splitEntry takes the port off, 0 if there is none.
func splitEntry(entry string) (host string, port uint16, err error) {
	if strings.Contains(entry, "://") {
		return "", 0, errors.New("an entry is a host, not a URL: leave the scheme and the path out")
	}
	host, text, found := entry, "", false
	if inner, ok := strings.CutPrefix(entry, "["); ok {
		var rest string
		host, rest, ok = strings.Cut(inner, "]")
		if !ok || !strings.Contains(host, ":") {
			return "", 0, errors.New("brackets hold an IPv6 address or prefix: [::1]:8443")
		}
		if text, found = strings.CutPrefix(rest, ":"); !found && rest != "" {
			return "", 0, errors.New("after the bracket comes a port or nothing: [::1]:8443")
		}
	} else if strings.Count(entry, ":") == 1 {
		host, text, found = strings.Cut(entry, ":")
	}
	if host == "" {
		return "", 0, errors.New("it has no host: write an address, a prefix, a host name or *.suffix")
	}
	if !found {
		return host, 0, nil
	}
	if port, ok := parsePort(text); ok {
		return host, port, nil
	}
	return "", 0, fmt.Errorf("the port %+q is not a number from 1 to 65535", text)
}

// parsePrefix wants the form that says what it means: 10.0.0.1/8 could be a
// mistake for 10.0.0.1/32.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return prefix, errors.New("it is not a prefix such as 10.0.0.0/8 or fd00::/8")
	case prefix.Addr().Is4In6():
		return prefix, errors.New("write an IPv4 prefix as such: 10.0.0.0/8")
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("bits are set behind the prefix: write %s, or %s/%d for the one address",
			prefix.Masked(), prefix.Addr(), prefix.Addr().BitLen())
	}
	return prefix, nil
}

// parsePort reads a port in digits. Port 0 cannot be dialled.
func parsePort(text string) (uint16, bool) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil && port != 0
}

// opensName reports whether an entry opens this name, in lower case, at port.
func (p *Policy) opensName(name string, port uint16) bool {
	return slices.ContainsFunc(p.names, func(e openName) bool {
		return (e.port == 0 || e.port == port) && (name == e.name || e.below && strings.HasSuffix(name, e.name))
	})
}

// opensAddr reports whether an entry opens this address at port.
func (p *Policy) opensAddr(addr netip.Addr, port uint16) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p.nets, func(e openNet) bool {
		return (e.port == 0 || e.port == port) && e.prefix.Contains(addr)
	})
}

// opensSome reports whether an entry opens any address at port.
func (p *Policy) opensSome(port uint16) bool {
	return slices.ContainsFunc(p.nets, func(e openNet) bool { return e.port == 0 || e.port == port })
}
