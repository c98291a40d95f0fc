package httpadapter

import (
	"fmt"
	"net/url"
	"strings"
)

// maxReturnTo is how long a return_to may be, in bytes.
const maxReturnTo = 2048

// returnPathOK reports whether s is a path that a browser cannot read as
// anything but a path on the origin it is put behind:
//
//   - "/" alone, or "/" and then one of [A-Za-z0-9._~-];
//   - printable ASCII only, no space;
//   - before the first "?" no backslash and no "//".
//
// It is an allow rule over bytes. Parsers are not asked, because they disagree:
// "starts with / but not //" lets "/\evil.com" through, and "url.Parse finds no
// host" lets "/./\evil.com" through.
func returnPathOK(s string) bool {
	if len(s) > maxReturnTo || s == "" || s[0] != '/' {
		return false
	}
	if s == "/" {
		return true
	}
	if !unreserved(s[1]) {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	path, _, _ := strings.Cut(s, "?")
	return !strings.Contains(path, `\`) && !strings.Contains(path, "//")
}

func unreserved(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("._~-", c) >= 0
}

// returnLocation turns a return_to into the absolute URL to redirect to. Paths
// are put behind BaseURL's origin; a URL must begin with exactly one of
// Config.ReturnOrigins, followed by nothing or by such a path.
func (h *Handler) returnLocation(returnTo string) (string, bool) {
	if returnPathOK(returnTo) {
		return h.origin + returnTo, true
	}
	if len(returnTo) > maxReturnTo {
		return "", false
	}
	for _, origin := range h.cfg.ReturnOrigins {
		if rest, ok := strings.CutPrefix(returnTo, origin); ok && (rest == "" || returnPathOK(rest)) {
			return returnTo, true
		}
	}
	return "", false
}

// checkReturnTo refuses what returnLocation would not accept. Empty means
// Bifrost's own page.
func (h *Handler) checkReturnTo(returnTo string) error {
	if returnTo == "" {
		return nil
	}
	if _, ok := h.returnLocation(returnTo); ok {
		return nil
	}
	return invalidField("return_to", "must be a path on this server such as /settings?tab=2, of printable ASCII without // or \\, at most 2048 bytes")
}

// checkOrigin reports what is wrong with an entry of Config.ReturnOrigins.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil ||
		origin != u.Scheme+"://"+u.Host || strings.ContainsAny(origin, "*\\ ") {
		return fmt.Errorf("httpadapter: Config.ReturnOrigins %q: an origin is scheme://host or scheme://host:port, without a path or wildcard", origin)
	}
	return nil
}
