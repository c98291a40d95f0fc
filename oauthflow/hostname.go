package oauthflow

import (
	"slices"
	"strings"
)

const maxHostName = 253

// hostName reports whether s is a DNS name of two labels or more. Its last label
// has letters only, or begins with xn--, as all top-level domains do; so it is
// nothing that anybody might read as an address: 127.0.0.0x1, 2130706433.
func hostName(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > maxHostName || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !validLabel(label) {
			return false
		}
	}
	last := strings.ToLower(labels[len(labels)-1])
	return len(last) >= 2 && (strings.HasPrefix(last, "xn--") || strings.Trim(last, "abcdefghijklmnopqrstuvwxyz") == "")
}

// notPublic are top-level domains that mean something inside a network only, or
// nothing at all (RFC 2606, RFC 6761, RFC 8375, RFC 9476, and what ICANN will not
// delegate because networks use it).
var notPublic = []string{
	"localhost", "local", "internal", "arpa", "test", "example", "invalid", "onion", "alt",
	"localdomain", "lan", "home", "corp", "mail", "intranet", "private",
}

// allows reports whether a host name, in lower case, is on the allow-list.
func (v Variable) allows(host string) bool {
	if v.AnyHost {
		return hostName(host) && !slices.Contains(notPublic, host[strings.LastIndexByte(host, '.')+1:])
	}
	return slices.ContainsFunc(v.Hosts, func(entry string) bool {
		entry = strings.ToLower(entry)
		if allowListProblem(entry) != "" {
			return false
		}
		suffix, below := strings.CutPrefix(entry, "*")
		return host == entry || below && strings.HasSuffix(host, suffix)
	})
}

// allowListProblem says what is wrong with an entry of Variable.Hosts; empty if
// nothing is.
func allowListProblem(entry string) string {
	name, below := strings.CutPrefix(entry, "*.")
	switch {
	case below && !hostName(name) && hostName("x."+name) && !ownedTLD(name):
		return "allows every name below a top-level domain, which anybody can register: write a domain of the provider's, like *.example.com"
	case !hostName(name) && !(below && ownedTLD(name)):
		return "is not a host name: write one like api.example.com, or *.example.com for every name below it"
	}
	return ""
}

// allowed lists the allowed names for a message.
func (v Variable) allowed() string {
	switch {
	case v.AnyHost:
		return "a public one"
	case len(v.Hosts) == 0:
		return "its allow-list is empty: set Variable.Hosts"
	}
	return "one of " + strings.Join(v.Hosts, ", ")
}

// sample is a value that a variable may have, for looking at templates before
// there are values.
func (v Variable) sample() string {
	switch {
	case v.Kind != Host:
		return "x"
	case v.AnyHost || len(v.Hosts) == 0:
		return "www.example.com"
	}
	return strings.Replace(v.Hosts[0], "*", "x", 1)
}

// HostVariable reports whether an endpoint's whole host is a variable: whoever
// sets that decides which machines requests are sent to.
func (p *Provider) HostVariable() bool {
	for _, field := range endpointFields {
		if t, err := parseTemplate(p.template(field), p.Variables); t != nil && (err != nil || t.host != nil) {
			return true
		}
	}
	return false
}
