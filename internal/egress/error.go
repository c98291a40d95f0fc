package egress

import (
	"fmt"
	"net/netip"
)

// Error says that a request may not go where it wants to. Customers may read its
// text: of the URL it has the host alone, and it does not say what a name
// resolves to.
type Error struct {
	// Host as the URL has it, at most 255 bytes; empty if it has none. A stranger
	// may have written it.
	Host string
	// Reason completes "host …", as in "is not a public address".
	Reason string
	// Entry is what opens the host if the operator adds it to Config.Egress; empty
	// if the URL has to change.
	Entry string
	// Addr is the refused address that the host resolved to, for the operator's
	// log; the zero Addr if nothing was looked up.
	Addr netip.Addr
}

func (e *Error) Error() string {
	text := fmt.Sprintf("host %+q %s", e.Host, e.Reason)
	if e.Host == "" {
		text = "the URL " + e.Reason
	}
	if e.Entry != "" {
		text += fmt.Sprintf("; the server's operator can open it by adding %+q to Config.Egress", e.Entry)
	}
	return text
}
