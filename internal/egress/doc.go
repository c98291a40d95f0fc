// Package egress decides where a request may go that a definition made at run
// time causes.
//
// The threat is server-side request forgery: whoever is an administrator of one
// customer, or talks one into it, writes URLs that this server then fetches. From
// inside a network those could be its databases, its neighbours' admin pages, or
// the cloud's metadata service, which hands out credentials to whoever asks. So
// such requests reach public addresses only, over https, at port 443, unless the
// operator opens more (Config.Egress).
//
// What is checked, and when:
//
//   - [Policy.CheckURL] says what can be said without DNS. It refuses each way of
//     writing an address that is not public, and names that only local networks
//     have. Every request passes it, those that follow a redirect too.
//   - [Policy.Resolve] looks the name up as well. It is for the moment a URL is
//     saved, so that a mistake shows at once; it protects nothing by itself,
//     because the name can mean another address a second later (DNS rebinding).
//   - [Policy.RoundTripper] looks the name up for each connection and dials the
//     very address that it checked.
//
// Start reading at [Policy]; what counts as public stands in address.go.
//
// Not known here, and therefore not refused: a network's own addresses that are
// public in form, and NAT64 under a prefix of the network's own (RFC 6052 §2.2).
// Filter those in the network.
package egress
