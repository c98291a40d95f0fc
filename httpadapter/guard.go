package httpadapter

import (
	"net/http"
	"slices"
	"strings"
)

// contentPolicy is the Content-Security-Policy of everything that is served.
// formTargets are further origins that forms may lead to: where a Connect button
// stands, the provider's, because Chromium applies form-action to the redirect
// that answers a form, too.
func contentPolicy(formTargets []string) string {
	policy := "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	var added []string
	for _, origin := range formTargets {
		if cspSource(origin) && !slices.Contains(added, origin) {
			added = append(added, origin)
			policy += " " + origin
		}
	}
	return policy
}

// cspSource reports whether origin can stand in a policy without changing its
// meaning.
func cspSource(origin string) bool {
	host, ok := strings.CutPrefix(origin, "https://")
	if !ok {
		if host, ok = strings.CutPrefix(origin, "http://"); !ok {
			return false
		}
	}
	host = strings.TrimPrefix(host, "*.")
	for i := range len(host) {
		if c := host[i]; !unreserved(c) && strings.IndexByte(":[]", c) < 0 {
			return false
		}
	}
	return host != ""
}

// secure sets the headers of every answer.
func secure(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", contentPolicy(nil))
}

// insecure takes them back, for an answer that is the host's.
func insecure(w http.ResponseWriter) {
	for _, name := range []string{"Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "Content-Security-Policy"} {
		w.Header().Del(name)
	}
}

// checkHost answers requests whose Host is not BaseURL's, and reports whether it
// did. On a loopback BaseURL this is what keeps a web page, whose name was made to
// resolve to 127.0.0.1, from talking to the server in the user's browser.
func (h *Handler) checkHost(w http.ResponseWriter, r *http.Request, s surface) bool {
	if !h.checksHost || sameHost(r.Host, h.base.Host, h.base.Scheme) {
		return false
	}
	if s == surfacePage && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// localhost and 127.0.0.1 are one server and two cookie jars.
		target := h.origin + h.base.EscapedPath() + h.below(r).URL.EscapedPath()
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	h.fail(w, r, s, &problem{
		Status: http.StatusMisdirectedRequest, Type: "misdirected",
		Detail: "This server is reached at " + h.base.String() + " (bifrost.Config.BaseURL).",
	})
	return true
}

// sameHost compares a Host header with BaseURL's host.
func sameHost(got, want, scheme string) bool {
	return strings.EqualFold(withoutPort(got, scheme), withoutPort(want, scheme))
}

// withoutPort removes the port that the scheme implies.
func withoutPort(host, scheme string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// below returns r with a path below BaseURL's: where the host mounted the adapter
// without http.StripPrefix, BaseURL's path is taken off here.
func (h *Handler) below(r *http.Request) *http.Request {
	if _, done := routing(r); done {
		return r
	}
	u := *r.URL
	if rest, ok := strings.CutPrefix(u.Path, h.base.Path); ok && (rest == "" || rest[0] == '/') {
		u.Path, u.RawPath = rest, strings.TrimPrefix(u.RawPath, h.base.EscapedPath())
	}
	if u.Path == "" {
		u.Path, u.RawPath = "/", ""
	}
	shallow := *r
	shallow.URL = &u
	return &shallow
}
