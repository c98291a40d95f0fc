// Package loopback knows which hosts are this machine. There, and only there,
// http is as good as https.
package loopback

import (
	"net/netip"
	"strings"
)

// Host reports whether a URL's host name, without port, is this machine. Names
// are not looked up: what DNS says may change between the check and the use.
func Host(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
