package httpadapter

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// connect starts a flow (POST), or shows a page with a button that does: a GET
// from anywhere must start nothing.
func (h *Handler) connect(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	f := fields{}
	var err error
	if r.Method == http.MethodPost {
		if f, err = readFields(r, "return_to"); err != nil {
			return err
		}
	}
	returnTo, err := h.returnTo(r, f)
	if err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		return h.connectPage(w, r, c, name, returnTo)
	}
	started, err := h.bf.Integrations.Connect(r.Context(), name,
		integrations.ConnectOptions{Principal: c.User, ReturnTo: returnTo}, c.options()...)
	if err != nil {
		return err
	}
	http.SetCookie(w, started.Cookie)
	if surfacePage.speaksJSON(r) {
		return writeJSON(w, http.StatusOK, startedView{started.AuthorizationURL, started.ExpiresAt.UTC()})
	}
	redirect(w, started.AuthorizationURL)
	return nil
}

type startedView struct {
	AuthorizationURL string    `json:"authorization_url"`
	ExpiresAt        time.Time `json:"expires_at"`
}

// returnTo reads return_to from the body or the query, and checks it.
func (h *Handler) returnTo(r *http.Request, f fields) (string, error) {
	said, err := f.text("return_to")
	if err != nil {
		return "", err
	}
	if query := r.URL.Query()["return_to"]; len(query) > 0 {
		if len(query) > 1 || said != "" && said != query[0] {
			return "", invalidField("return_to", "is given twice")
		}
		said = query[0]
	}
	return said, h.checkReturnTo(said)
}

// connectForm is what a Connect button needs.
type connectForm struct {
	Action   string // URL of the POST
	ReturnTo string
	Label    string
	Urgent   bool // nothing works until it is pressed
	// origin is where the POST redirects to, for the page's policy.
	origin string
}

// connectForm returns the Connect button of an integration, or nil where a person
// cannot connect it.
func (h *Handler) connectForm(s integrations.Status, c caller, returnTo string) *connectForm {
	if s.ConnectURL == "" || s.Flow != oauthflow.AuthorizationCode || s.AuthorizationOrigin == "" || s.Shadowed {
		return nil
	}
	form := &connectForm{
		Action: h.connectLink(s.Name, c), ReturnTo: returnTo,
		Label: "Connect", Urgent: s.Status != tokenstore.Active && s.Status != tokenstore.Degraded, origin: s.AuthorizationOrigin,
	}
	if s.Via == integrations.ViaOwn {
		form.Label = "Reconnect"
	}
	return form
}

func (h *Handler) connectLink(name string, c caller) string {
	return h.linkOf("/oauth/connect/"+url.PathEscape(name), c)
}

// connectView is the body of the page with the Connect button.
type connectView struct {
	integrationCard
	Org   string
	Whose string // the user or account that the connection is for; empty: the scope's own
	Host  string // the provider's
	Back  string
}

func (h *Handler) connectPage(w http.ResponseWriter, r *http.Request, c caller, name, returnTo string) error {
	s, err := h.bf.Integrations.Status(r.Context(), name, c.options()...)
	if err != nil {
		return err
	}
	form := h.connectForm(s, c, returnTo)
	if form == nil {
		return &problem{
			Status: http.StatusConflict, Type: "not-interactive",
			Detail: s.Name + " cannot be connected in a browser. " + s.StatusMessage,
		}
	}
	card := h.card(c.view(s), c)
	form.Urgent, form.Action = true, h.connectLink(name, c) // name may be an id, because another definition has the name
	card.Connect = form
	return h.show(w, r, view{
		template: "connect", title: "Connect " + s.Name, section: "integrations", caller: &c, formTargets: []string{form.origin},
		body: connectView{
			integrationCard: card, Org: c.org, Whose: c.whose(), Host: strings.SplitAfter(form.origin, "//")[1], Back: h.back(r, c, returnTo),
		},
	})
}

// back is the way out of a page that leads to a provider: to where the person came
// from, else to the Integrations page.
func (h *Handler) back(r *http.Request, c caller, returnTo string) string {
	if location, ok := h.returnLocation(returnTo); ok {
		return location
	}
	if hasPages(r) {
		return h.linkOf("/", c)
	}
	return h.link("/", "")
}
