package httpadapter

import (
	"net/http"
	"strconv"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// integrationView is one integration in one scope, as the API shows it. Times
// that are unknown are null.
type integrationView struct {
	ID            string       `json:"id"`
	Name          string       `json:"name"`
	Description   string       `json:"description"`
	Org           string       `json:"org"` // owner of the definition; empty if it is global
	Source        string       `json:"source"`
	Flow          string       `json:"flow"`
	RedirectURI   string       `json:"redirect_uri"`
	Status        string       `json:"status"`
	Connection    string       `json:"connection"`
	StatusMessage string       `json:"status_message"`
	LastError     *failureView `json:"last_error"`
	ExpiresAt     *time.Time   `json:"expires_at"`
	EntityID      string       `json:"entity_id"`
	Account       accountView  `json:"account"`
	Scopes        scopesView   `json:"scopes"`
	LastRefreshAt *time.Time   `json:"last_refresh_at"`
	UpdatedAt     *time.Time   `json:"updated_at"`

	// Revocation says after a disconnect what the provider did: "revoked",
	// "unsupported", or "failed".
	Revocation string `json:"revocation,omitempty"`
}

type failureView struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

type accountView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type scopesView struct {
	Requested []string `json:"requested"`
	Granted   []string `json:"granted"` // null if the provider did not say
}

func viewIntegration(s integrations.Status) integrationView {
	v := integrationView{
		ID: s.ID, Name: s.Name, Description: s.Description, Org: s.Owner, Source: s.Source, Flow: string(s.Flow),
		RedirectURI: s.RedirectURI, Status: string(s.Status), Connection: string(s.Via), StatusMessage: s.StatusMessage,
		ExpiresAt: timeView(s.ExpiresAt), EntityID: s.EntityID,
		Account: accountView{s.AccountID, s.AccountName}, Scopes: scopesView{s.ScopesRequested, s.ScopesGranted},
		LastRefreshAt: timeView(s.LastRefreshAt), UpdatedAt: timeView(s.UpdatedAt),
	}
	if s.ScopesRequested == nil {
		v.Scopes.Requested = []string{}
	}
	if s.LastError != nil {
		v.LastError = &failureView{s.LastError.Code, s.LastError.Message, s.LastError.At.UTC()}
	}
	return v
}

func timeView(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (h *Handler) listIntegrations(w http.ResponseWriter, r *http.Request, c caller) error {
	all, err := h.bf.Integrations.List(r.Context(), c.option())
	if err != nil {
		return err
	}
	page, next, err := pageOfStatuses(r, all)
	if err != nil {
		return err
	}
	out := list[integrationView]{Items: []integrationView{}, NextCursor: next}
	for _, s := range page {
		out.Items = append(out.Items, viewIntegration(c.view(s)))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (h *Handler) getIntegration(w http.ResponseWriter, r *http.Request, c caller) error {
	s, err := h.bf.Integrations.Status(r.Context(), h.pathValue(r, "integration"), c.option())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewIntegration(c.view(s)))
}

// refresh renews the scope's own connection now.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	if err := noFields(r); err != nil {
		return err
	}
	s, err := h.bf.Integrations.Refresh(r.Context(), name, c.option())
	if fromPage(r) {
		return h.backToIntegrations(w, r, c, name, noteRefreshed, err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewIntegration(c.view(s)))
}

// disconnect removes the scope's own connection and says what the provider did.
func (h *Handler) disconnect(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	if err := noFields(r); err != nil {
		return err
	}
	revocation, err := h.bf.Integrations.Disconnect(r.Context(), name, c.User, c.option())
	if fromPage(r) {
		return h.backToIntegrations(w, r, c, name, noteDisconnected+string(revocation), err)
	}
	if err != nil {
		return err
	}
	s, err := h.bf.Integrations.Status(r.Context(), name, c.option())
	if err != nil {
		return err
	}
	v := viewIntegration(c.view(s))
	v.Revocation = string(revocation)
	return writeJSON(w, http.StatusOK, v)
}

// noFields refuses bodies with content: a parameter that is ignored looks as if it
// had worked.
func noFields(r *http.Request) error {
	_, err := readFields(r)
	return err
}

// eventView is one line of the history.
type eventView struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Who    string    `json:"who"` // empty: Bifrost itself
	Reason string    `json:"reason"`
	Org    string    `json:"org"` // whose connection; empty: the global one
}

func viewEvent(e tokenstore.Event) eventView {
	return eventView{strconv.FormatInt(e.ID, 10), e.At.UTC(), e.Kind, e.Actor, e.Reason, e.Key.Org}
}

func (h *Handler) events(w http.ResponseWriter, r *http.Request, c caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	before, err := idCursor(r)
	if err != nil {
		return err
	}
	all, err := h.bf.Integrations.Events(r.Context(), h.pathValue(r, "integration"), before, limit, c.option())
	if err != nil {
		return err
	}
	out := list[eventView]{Items: []eventView{}}
	for _, e := range all {
		out.Items = append(out.Items, viewEvent(e))
	}
	if len(all) == limit {
		out.NextCursor = out.Items[limit-1].ID
	}
	return writeJSON(w, http.StatusOK, out)
}
