package httpadapter

import (
	"net/http"
	"regexp"
)

// A note tells the next page what has just happened. It travels as a cookie with
// a code and a name, never as text: whoever can plant a cookie cannot make the page
// say what they like.

// Codes of notes. Those of failures are types of problems.
const (
	noteConnected    = "connected"
	noteRefreshed    = "refreshed"
	noteDisconnected = "disconnected-" // and a revocation
)

type note struct {
	Good bool
	Text string
}

// notes are the texts; each follows the integration's name.
var notes = map[string]note{
	noteConnected:                    {true, "is connected."},
	noteRefreshed:                    {true, "has a fresh access token."},
	noteDisconnected + "pending":     {true, "is disconnected, and the provider is being asked to revoke its tokens. If it is away, it is asked again for a day, unless you connect again."},
	noteDisconnected + "unsupported": {true, "is disconnected. The provider offers no way to revoke tokens; remove the app's access in the account's settings there if they must end now."},
	noteDisconnected + "failed":      {false, "is disconnected here, but its tokens cannot be revoked from here any more: they do not open, or the definition has changed since they came. Remove the app's access in the account's settings at the provider."},
	"not-own-connection":             {false, "is served by the shared connection, which only an administrator may change."},
	"not-connected":                  {false, "is not connected."},
	"reauth-required":                {false, "must be connected again; see below for the reason."},
	"unavailable":                    {false, "could not be renewed at the moment; see below for the reason, and try again later."},
}

var notePattern = regexp.MustCompile(`^([a-z-]{1,40})\.([A-Za-z][A-Za-z0-9_.-]{0,63})$`)

func (h *Handler) noteCookie() string {
	if h.base.Scheme == "https" {
		return "__Host-bifrost_note"
	}
	return "bifrost_note"
}

func (h *Handler) setNote(w http.ResponseWriter, code, name string) {
	if value := code + "." + name; notePattern.MatchString(value) {
		h.putNote(w, value, 60)
	}
}

func (h *Handler) putNote(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: h.noteCookie(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: h.base.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// takeNote returns what the last request left for this page, once.
func (h *Handler) takeNote(w http.ResponseWriter, r *http.Request) *note {
	cookie, err := r.Cookie(h.noteCookie())
	if err != nil || r.Method != http.MethodGet {
		return nil
	}
	h.putNote(w, "", -1)
	parts := notePattern.FindStringSubmatch(cookie.Value)
	if parts == nil {
		return nil
	}
	n, ok := notes[parts[1]]
	if !ok {
		return nil
	}
	n.Text = parts[2] + " " + n.Text
	return &n
}

// backToIntegrations answers a form of the Integrations page: back to it, with a
// note of what happened. Errors the page has nothing to say about are pages of
// their own.
func (h *Handler) backToIntegrations(w http.ResponseWriter, r *http.Request, c caller, name, code string, err error) error {
	if err != nil {
		p := problemOf(err)
		if _, ok := notes[p.Type]; !ok {
			return err
		}
		code = p.Type
	}
	h.setNote(w, code, name)
	redirect(w, h.linkOf("/", c))
	return nil
}

// redirect is http.Redirect for POST: 303, and no body that repeats the URL.
func redirect(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
