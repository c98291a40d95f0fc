package egress

import "net/netip"

// IPv6 addresses are public inside the block that IANA assigns global unicast
// addresses from, and nowhere else (RFC 4291 §2.4). That leaves out, among others,
// ::/96 (IPv4-compatible), 64:ff9b:1::/48 (local NAT64, RFC 8215), 100::/64
// (discard, RFC 6666), 5f00::/16 (segment routing, RFC 9602), fc00::/7 (unique
// local, RFC 4193; the AWS metadata service at fd00:ec2::254 is in it), fe80::/10,
// fec0::/10 (site-local, RFC 3879) and ff00::/8.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// nat64 holds IPv4 addresses in its last 32 bits (RFC 6052 §2.1). Behind DNS64
// the public ones are how IPv4-only hosts are reached.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// notPublic are the blocks of IANA's special-purpose registries (RFC 6890) and
// what else is not somebody's host on the internet. Blocks that the registries
// call globally reachable are here too: nobody offers an API there.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network, RFC 791 §3.2; Linux connects 0.0.0.0 to itself
	netip.MustParsePrefix("10.0.0.0/8"),       // private, RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT, RFC 6598; Alibaba's metadata at 100.100.100.200
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback, RFC 1122 §3.2.1.3
	netip.MustParsePrefix("168.63.129.16/32"), // public in form, but Azure's host agent answers there (WireServer)
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local, RFC 3927; most clouds' metadata at 169.254.169.254
	netip.MustParsePrefix("172.16.0.0/12"),    // private, RFC 1918
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments, RFC 6890 §2.1; Oracle's metadata at 192.0.0.192
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation, RFC 5737
	netip.MustParsePrefix("192.31.196.0/24"),  // AS112, RFC 7535
	netip.MustParsePrefix("192.52.193.0/24"),  // automatic multicast tunnelling, RFC 7450
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays, RFC 7526
	netip.MustParsePrefix("192.168.0.0/16"),   // private, RFC 1918
	netip.MustParsePrefix("192.175.48.0/24"),  // AS112, RFC 7534
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks, RFC 2544
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation, RFC 5737
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation, RFC 5737
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast, RFC 1112 §4
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, RFC 1112 §4; broadcast, RFC 919 §7

	netip.MustParsePrefix("2001::/23"),         // protocol assignments, RFC 2928; Teredo (RFC 4380) embeds IPv4 addresses
	netip.MustParsePrefix("2001:db8::/32"),     // documentation, RFC 3849
	netip.MustParsePrefix("2002::/16"),         // 6to4, RFC 3056: embeds IPv4 addresses
	netip.MustParsePrefix("2620:4f:8000::/48"), // AS112, RFC 7534
	netip.MustParsePrefix("3fff::/20"),         // documentation, RFC 9637
}

// public reports whether addr is somebody's address on the internet.
func public(addr netip.Addr) bool {
	addr = addr.Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Zone() != "" || !addr.IsGlobalUnicast() || addr.Is6() && !globalUnicast6.Contains(addr) {
		return false
	}
	for _, block := range notPublic {
		if block.Contains(addr) {
			return false
		}
	}
	return true
}
