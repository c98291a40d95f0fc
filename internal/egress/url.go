package egress

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/internal/loopback"
)

// Lengths in bytes (RFC 1035 §2.3.4).
const (
	maxHost  = 255
	maxName  = 253
	maxLabel = 63
)

// target is the part of a URL that decides.
type target struct {
	host string     // in lower case, without brackets
	addr netip.Addr // valid if host is an address
	port uint16
	// open says that an entry opens host: what it resolves to does not matter.
	open bool
	// byAddr says that only an entry for the address can allow the request, so
	// that it must not go where the address stays unknown.
	byAddr bool
}

// CheckURL reports, as an [*Error], what is wrong with u as far as this can be
// seen without DNS: scheme, user information, port, the spelling of the host,
// addresses that are not public, names that only local networks have.
func (p *Policy) CheckURL(u *url.URL) error {
	_, err := p.check(u)
	return err
}

func (p *Policy) check(u *url.URL) (target, error) {
	t, fault := parseTarget(u)
	refuse := func(reason string) (target, error) { return target{}, &Error{Host: shown(u), Reason: reason} }
	openable := func(reason string) (target, error) {
		return target{}, &Error{Host: shown(u), Reason: reason, Entry: t.entry()}
	}
	if fault != "" {
		return refuse(fault)
	}

	t.open = p.opensName(t.host, t.port) || t.addr.IsValid() && p.opensAddr(t.addr, t.port)
	https := u.Scheme == "https"
	switch {
	case !https && (u.Scheme != "http" || !loopback.Host(t.host)):
		return refuse("can be reached by https only: change the scheme")
	case t.open:
		return t, nil
	case t.addr.IsValid() && !public(t.addr):
		return openable("is not a public address")
	case !t.addr.IsValid() && p.opensSome(t.port) && (!https || t.port != httpsPort || local(t.host)):
		t.byAddr = true
		return t, nil
	case !t.addr.IsValid() && local(t.host):
		return openable("is a name that exists in local networks only")
	case t.port != httpsPort:
		return openable("can be reached at port 443 only")
	}
	return t, nil
}

// entry is what opens t.
func (t target) entry() string {
	switch {
	case t.port != httpsPort:
		return net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
	default:
		return t.host
	}
}

// parseTarget takes u apart, or says what is wrong with it. It accepts only URLs
// whose host net/http dials as it is written.
func parseTarget(u *url.URL) (target, string) {
	switch {
	case u == nil || u.Scheme == "" || u.Opaque != "" || u.Host == "":
		return target{}, "must be a whole one, with scheme and host"
	case u.User != nil:
		return target{}, "must not come with a user name or a password in the URL"
	}
	t := target{host: strings.ToLower(u.Hostname()), port: httpsPort}
	if u.Scheme == "http" {
		t.port = 80
	}
	if text := u.Port(); text != "" {
		var ok bool
		if t.port, ok = parsePort(text); !ok {
			return t, "must have a port from 1 to 65535"
		}
	}
	if addr, err := netip.ParseAddr(t.host); err == nil {
		t.addr, t.host = addr.Unmap(), addr.Unmap().String()
		if addr.Zone() != "" {
			return t, "must not have a zone: it names one of this server's own networks"
		}
		if addr.Is6() != strings.HasPrefix(u.Host, "[") {
			return t, "must be in brackets if it is an IPv6 address, and only then"
		}
		return t, ""
	}
	if strings.HasPrefix(u.Host, "[") {
		return t, "has brackets without an IPv6 address in them"
	}
	return t, nameFault(t.host)
}

// nameFault says why name, in lower case, is not a host name; empty if it is one.
//
// It is strict because others are lenient: resolvers read 2130706433, 0x7f.1 and
// 0177.0.0.1 as addresses, net/http turns full-width digits into digits, and a
// trailing dot makes another string of the same host.
func nameFault(name string) string {
	if len(name) > maxName {
		return "is too long for a host name"
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "has an empty label: remove the superfluous dot"
		case len(label) > maxLabel:
			return "has a label of more than 63 characters"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "has a label that begins or ends with a hyphen"
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			case c >= 0x80:
				return "has letters outside ASCII: write it in punycode (xn--…)"
			default:
				return "has characters that a host name cannot have"
			}
		}
		last = label
	}
	// https://url.spec.whatwg.org/#ends-in-a-number-checker
	if digits, hex := strings.CutPrefix(last, "0x"); only(last, "0123456789") || hex && only(digits, "0123456789abcdef") {
		return "ends in a number, so it may be an address in disguise: write an address as four decimal numbers, or with colons in brackets"
	}
	return ""
}

func only(s, chars string) bool { return strings.Trim(s, chars) == "" }

// localDomains are top-level names that public DNS does not have and will not get,
// and that local resolvers may answer for. Their members resolve to private
// addresses, or to nothing; the list is for refusing them where nobody looks the
// name up, behind a proxy for instance. (.example and .invalid are not here: no
// resolver answers for them.)
var localDomains = map[string]bool{
	"localhost": true, "test": true, // RFC 6761
	"local": true, "intranet": true, "private": true, "corp": true, "home": true, "lan": true, // RFC 6762, appendix G
	"internal":    true, // reserved for private use by ICANN, 2024
	"onion":       true, // RFC 7686
	"alt":         true, // RFC 9476
	"localdomain": true, // the default of many resolv.conf
}

// local reports whether name, in lower case, can only be one of a local network.
func local(name string) bool {
	if name == "home.arpa" || strings.HasSuffix(name, ".home.arpa") { // RFC 8375
		return true
	}
	dot := strings.LastIndexByte(name, '.')
	return dot < 0 || localDomains[name[dot+1:]] // without a dot, search domains complete it
}

// shown is the host as an error shows it.
func shown(u *url.URL) string {
	if u == nil {
		return ""
	}
	host := u.Hostname()
	return host[:min(len(host), maxHost)]
}
