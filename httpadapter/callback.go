package httpadapter

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// callback is where providers send browsers back to. It decides nothing: the
// stored flow does, see oauthflow.Manager.Callback.
func (h *Handler) callback(w http.ResponseWriter, r *http.Request, _ caller) error {
	if strings.Contains(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose"), "prefetch") {
		return &problem{Status: http.StatusServiceUnavailable, Type: "prefetch", Detail: "This link can be followed once, so not ahead of time."}
	}
	who, err := h.identify(r)
	signedIn := err == nil
	if err != nil && !errors.Is(err, ErrNoPrincipal) {
		return err
	}
	// An unknown path leads to the same answer as a known one with a wrong state.
	definition, _, err := h.bf.Integrations.CallbackDefinition(r.Context(), h.pathValue(r, "integration"))
	if err != nil {
		return err
	}
	finished, err := h.bf.Integrations.Callback(r.Context(), oauthflow.CallbackRequest{
		RawQuery: r.URL.RawQuery, Definition: definition, Cookie: onlyCookie(r),
		Principal: who.User, HasPrincipal: signedIn, Allowed: who.mayConnect,
	})
	if err != nil {
		return h.callbackFailed(w, r, who, err)
	}
	if finished.ExpiredCookie != nil {
		http.SetCookie(w, finished.ExpiredCookie)
	}
	location, ok := h.returnLocation(finished.ReturnTo)
	if !ok {
		location = h.origin + h.linkOf("/", who.about(finished.Key))
		if hasPages(r) {
			h.setNote(w, noteConnected, finished.Name)
		}
	}
	redirect(w, location)
	return nil
}

// onlyCookie looks a cookie up, unless there are several of that name: then one
// was planted.
func onlyCookie(r *http.Request) func(name string) string {
	return func(name string) string {
		cookies := r.CookiesNamed(name)
		if len(cookies) != 1 {
			return ""
		}
		return cookies[0].Value
	}
}

// callbackFailed answers a callback that did not lead to a connection. Nothing of
// the request is repeated: the address holds a code and a state.
func (h *Handler) callbackFailed(w http.ResponseWriter, r *http.Request, who Principal, err error) error {
	var failed *oauthflow.CallbackError
	if !errors.As(err, &failed) {
		return err
	}
	if failed.ExpiredCookie != nil {
		http.SetCookie(w, failed.ExpiredCookie)
	}
	c := who.about(failed.Key)
	m := message{Title: "This sign-in cannot be finished", Back: h.back(r, c, failed.ReturnTo), BackLabel: "Back"}
	p := &problem{Status: http.StatusBadRequest, Type: "callback-invalid", cause: failed.Err}
	switch failed.Kind {
	case oauthflow.CallbackNoPrincipal:
		p.Status, p.Type = http.StatusUnauthorized, "unauthenticated"
		m.Title, m.Reload = "Sign in, then reload this page", true
		m.Text = []string{
			"You came back from the provider, but this server does not see who you are. Nothing is lost yet.",
			"Some servers keep their sign-in cookie from links that come from other sites: then Reload is enough. " +
				"Otherwise sign in, in this browser, and come back to this page within a few minutes.",
		}
	case oauthflow.CallbackForbidden:
		p.Status, p.Type = http.StatusForbidden, "forbidden"
		m.Title = "This sign-in is not yours to finish"
		m.Text = []string{"It was begun by another user, or you may no longer connect this account. Nothing has been stored."}
	case oauthflow.CallbackDenied:
		p.Type = "denied"
		m.Title = "The provider did not allow the connection"
		m.Text = []string{"Nothing has been connected. This is the reason that the provider gave:"}
		m.quote(failed.Code, failed.Description)
	case oauthflow.CallbackFailed:
		p.Type = "exchange-failed"
		m.Title = "The connection could not be made"
		m.Text = []string{"You have signed in, but what follows did not work, and nothing has been connected. This is the reason:"}
		m.quote(failed.Code, failed.Description)
		if failed.ExpiredCookie == nil {
			// Nothing was sent: the store, or the definition.
			m.Text = []string{"Something is wrong on this server. Nothing has been connected."}
			p.Status, p.Type = http.StatusServiceUnavailable, "unavailable"
		}
	default:
		m.Text = []string{
			"The link is incomplete, was used already, has expired, or was opened in another browser than the one it was begun in.",
			"Begin again from the page where you pressed Connect.",
		}
	}
	p.Title, p.Detail = m.Title, strings.Join(append(m.Text, strings.TrimSpace(m.Code+" "+m.Quote)), " ")
	view := view{template: "message", title: m.Title, status: p.Status}
	if failed.Kind == oauthflow.CallbackDenied || failed.Kind == oauthflow.CallbackFailed {
		m.Again = h.again(r, c, failed.Key, failed.ReturnTo)
	}
	if m.Again != nil {
		view.formTargets = []string{m.Again.origin}
	}
	if surfacePage.speaksJSON(r) {
		return p
	}
	h.logCause(r, p)
	p.headers(w)
	view.body = m
	return h.show(w, r, view)
}

// again is the button that tries the same connection once more.
func (h *Handler) again(r *http.Request, c caller, key tokenstore.Key, returnTo string) *connectForm {
	target, err := h.bf.Integrations.Target(r.Context(), key)
	if err != nil {
		return nil
	}
	s, err := h.bf.Integrations.Status(r.Context(), target.Name, c.options()...)
	if err != nil || s.ID != key.Definition {
		return nil
	}
	form := h.connectForm(s, c, returnTo)
	if form != nil {
		form.Label, form.Urgent = "Try again", true
	}
	return form
}

// quote shows what a provider said, as little as a person needs.
func (m *message) quote(code, description string) {
	m.Code, m.Quote = cleanText(code, 100), cleanText(cmp.Or(description, "It gave no reason."), 500)
	if m.Quote == m.Code {
		m.Quote = ""
	}
}
