package egress_test

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/egress"
)

func TestPublicURLs(t *testing.T) {
	p := parse(t)
	for _, raw := range []string{
		"https://example.com", "https://example.com/", "https://example.com:443/x?y#z", "https://example.com:/",
		"https://EXAMPLE.com/", "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		"https://xn--bcher-kva.example/", "https://a_b.example.com/", "https://1.example.com/", "https://127.0.0.1.nip.io/",
		"https://1e100.net/", "https://3com.com/", "https://0x.co/", "https://internal.example.com/", "https://localhost.example.com/",
		"https://8.8.8.8/", "https://1.1.1.1:443/", "https://100.63.255.255/", "https://100.128.0.0/", "https://172.15.0.1/",
		"https://172.32.0.1/", "https://192.169.0.1/", "https://198.17.0.1/", "https://198.20.0.1/", "https://223.255.255.255/",
		"https://169.253.0.1/", "https://168.63.129.15/", "https://[2606:4700:4700::1111]/", "https://[2a00:1450::200e]:443/",
		"https://[::ffff:8.8.8.8]/", "https://[64:ff9b::8.8.8.8]/", "https://[2001:200::1]/", "https://[2001:4860:4860::8888]/",
	} {
		require.NoError(t, p.CheckURL(parseURL(t, raw)), raw)
	}
}

func TestRefusedURLs(t *testing.T) {
	p := parse(t)
	for _, raw := range []string{
		// Not of the kind.
		"http://example.com/", "http://example.com:443/", "ftp://example.com/", "ws://example.com/", "file:///etc/passwd",
		"gopher://example.com/", "//example.com/", "/path", "example.com", "https:///x", "https:example.com", "https://",
		"https://user@example.com/", "https://user:pw@example.com/", "https://@example.com/", "https://8.8.8.8@127.0.0.1/",
		// Ports.
		"https://example.com:80/", "https://example.com:8443/", "https://example.com:0/", "https://example.com:65979/",
		"https://8.8.8.8:22/", "https://[2606:4700:4700::1111]:8080/",
		// Names.
		"https://localhost/", "http://localhost/", "https://LOCALHOST/", "https://a.localhost/", "https://printer/", "https://metadata/",
		"https://metadata.google.internal/", "https://host.docker.internal/", "https://kubernetes.default.svc.cluster.local/",
		"https://nas.lan/", "https://wiki.intranet/", "https://x.corp/", "https://x.home/", "https://x.private/", "https://x.test/",
		"https://router.home.arpa/", "https://home.arpa/", "https://a.b.onion/", "https://x.alt/", "https://x.localdomain/",
		"https://localhost./", "https://example.com./", "https://example..com/", "https://.example.com/", "https://./", "https://../",
		"https://-x.example.com/", "https://x-.example.com/", "https://" + strings.Repeat("a", 64) + ".com/",
		"https://" + strings.Repeat("aa.", 85) + "com/",
		// Names that become others.
		"https://１２７.0.0.1/", "https://127。0。0。1/", "https://ⓛocalhost/", "https://bücher.example/", "https://exa%C3%A4mple.com/",
		"https://a,b.example/", "https://*.example.com/", "https://a=b.example/", "https://example.com;x/", "https://(example).com/",
		// IPv4, not public.
		"https://0.0.0.0/", "https://0.1.2.3/", "https://10.0.0.1/", "https://100.64.0.1/", "https://100.100.100.200/", "https://100.127.255.255/",
		"https://127.0.0.1/", "https://127.255.255.255/", "https://168.63.129.16/", "https://169.254.0.1/", "https://169.254.169.254/",
		"https://172.16.0.1/", "https://172.31.255.255/", "https://192.0.0.1/", "https://192.0.0.192/", "https://192.0.2.1/", "https://192.31.196.1/",
		"https://192.52.193.1/", "https://192.88.99.1/", "https://192.168.1.1/", "https://192.175.48.1/", "https://198.18.0.1/", "https://198.19.255.255/",
		"https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://239.255.255.255/", "https://240.0.0.1/", "https://255.255.255.255/",
		"http://127.0.0.1/", "https://127.0.0.1:443/", "https://127.0.0.1:8080/", "http://169.254.169.254/latest/meta-data/",
		// IPv4, in disguise. Public or not: no honest URL is written so.
		"https://2130706433/", "https://0x7f000001/", "https://0X7F000001/", "https://017700000001/", "https://0177.0.0.1/", "https://0x7f.0.0.1/",
		"https://127.1/", "https://127.0.1/", "https://0/", "https://0x/", "https://127.0.0.0x1/", "https://0x7f.1/", "https://010.0.0.1/",
		"https://127.0.0.1./", "https://127.0.0.01/", "https://256.256.256.256/", "https://1.2.3.4.5/", "https://134744072/", "https://8.8.2056/",
		"https://example.1/", "https://example.0x1f/", "https://a.b.08/",
		// IPv6, not public, or IPv4 inside.
		"https://[::]/", "https://[::1]/", "http://[::1]:9000/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:10.0.0.1]/",
		"https://[::ffff:169.254.169.254]/", "https://[::127.0.0.1]/", "https://[::8.8.8.8]/", "https://[::ffff:0:127.0.0.1]/",
		"https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[64:ff9b::169.254.169.254]/", "https://[64:ff9b:1::8.8.8.8]/",
		"https://[64:ff9b::1:8.8.8.8]/", "https://[100::1]/", "https://[100:0:0:1::1]/", "https://[2001::1]/", "https://[2001:0:7f00:1::]/", "https://[2001:2::1]/",
		"https://[2001:10::1]/", "https://[2001:20::1]/", "https://[2001:30::1]/", "https://[2001:db8::1]/", "https://[2002:7f00:1::1]/",
		"https://[2002:808:808::1]/", "https://[2620:4f:8000::1]/", "https://[3fff::1]/", "https://[4000::1]/", "https://[5f00::1]/", "https://[fc00::1]/",
		"https://[fd00:ec2::254]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[2606:4700::1%25eth0]/", "https://[::1%25lo]/",
		"https://[fec0::1]/", "https://[ff02::1]/",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			continue // net/url is stricter today than it was
		}
		var refused *egress.Error
		require.ErrorAs(t, p.CheckURL(u), &refused, raw)
	}

	// As no parser writes them.
	for _, u := range []*url.URL{
		nil, {},
		{Scheme: "https", Host: "example.com", Opaque: "//127.0.0.1/"},
		{Scheme: "https", Host: "example.com@127.0.0.1"},
		{Scheme: "https", Host: "127.0.0.1\x00.example.com"},
		{Scheme: "https", Host: "example.com\r\nHost: x"},
		{Scheme: "https", Host: "exa mple.com"},
		{Scheme: "https", Host: "[8.8.8.8]"},
		{Scheme: "https", Host: "[example.com]"},
		{Scheme: "https", Host: "2606:4700:4700::1111"},
		{Scheme: "https", Host: "[2606:4700:4700::1111]x"},
		{Scheme: "https", Host: "example.com:+443"},
		{Scheme: "https", Host: "example.com:443:443"},
		{Scheme: "HTTPS", Host: "example.com"},
		{Scheme: "https", Host: "example.com", User: url.User("")},
	} {
		require.Error(t, p.CheckURL(u), "%#v", u)
	}
}

// blocks is written down again here, other than in the package, to be compared.
var blocks = func() (all []*net.IPNet) {
	for cidr := range strings.FieldsSeq(`0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
		192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3
		::/8 100::/8 200::/7 400::/6 800::/5 1000::/4 2001::/23 2001:db8::/32 2002::/16 3fff::/20 4000::/2 8000::/1`) {
		_, block, err := net.ParseCIDR(cidr)
		if err != nil {
			panic(err)
		}
		all = append(all, block)
	}
	return all
}()

func mayBePublic(addr netip.Addr) bool {
	ip := net.IP(addr.AsSlice())
	if len(ip) == 16 && strings.HasPrefix(string(ip), "\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00") {
		ip = ip[12:]
	}
	if four := ip.To4(); four != nil {
		ip = four
	}
	for _, block := range blocks {
		if len(block.IP) == len(ip) && block.Contains(ip) {
			return false
		}
	}
	return true
}

// inetAton reads the forms of IPv4 addresses that C libraries and browsers read.
func inetAton(host string) (netip.Addr, bool) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		if strings.HasPrefix(strings.ToLower(part), "0x") && len(part) == 2 {
			part = "0"
		}
		n, err := strconv.ParseUint(part, 0, 64)
		if err != nil || strings.ContainsAny(part, "_+bBoO") && !strings.HasPrefix(strings.ToLower(part), "0x") {
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if n >= 1<<bits {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

func TestInetAton(t *testing.T) {
	for host, want := range map[string]string{
		"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1", "127.0.1": "127.0.0.1", "0": "0.0.0.0",
	} {
		got, ok := inetAton(host)
		require.True(t, ok, host)
		require.Equal(t, want, got.String(), host)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/", "https://127.1/", "https://0x7f000001/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]:443/",
		"https://[fe80::1%25eth0]/", "https://a@b/", "http://localhost:1/", "https://１２７.1/", "https://8.8.8.8", "https://[2001:db8::]",
	} {
		f.Add(seed)
	}
	p := parse(f)
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || p.CheckURL(u) != nil {
			return
		}
		host := u.Hostname()
		require.Equal(t, "https", u.Scheme)
		require.Contains(t, []string{"", "443"}, strings.TrimLeft(u.Port(), "0"))
		require.Nil(t, u.User)
		if addr, err := netip.ParseAddr(host); err == nil {
			require.True(t, mayBePublic(addr), host)
			return
		}
		_, numeric := inetAton(host)
		require.False(t, numeric, host)
		require.Contains(t, host, ".")
		require.NotContains(t, host, "..")
		require.Empty(t, strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-_."), host)
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.0/8", "127.0.0.1:9000", "[::1]:8443", "[fd00::/8]:1", "*.corp.internal:8443", "a.b", "*", "https://x", "1.2", "::ffff:1.2.3.4/128",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		p, err := egress.Parse([]string{entry}, false)
		if err != nil {
			return
		}
		_, numeric := inetAton(entry)
		_, err = netip.ParseAddr(entry)
		require.False(t, numeric && err != nil, "an address in disguise is opened as a name")
		// What an entry opens is more than nothing, and never plain http elsewhere.
		require.Error(t, p.CheckURL(&url.URL{Scheme: "http", Host: "example.com"}))
		if host, port, err := net.SplitHostPort(entry); err == nil && !strings.ContainsAny(host, "*/") {
			require.NoError(t, p.CheckURL(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}), entry)
		}
	})
}
