package httpadapter

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
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

	// Shadowed and Definition are for administrators; nil for others. Definition is
	// the JSON form without secrets, and null if it cannot be read; lists lack it.
	Shadowed   *bool           `json:"shadowed,omitempty"`
	Definition json.RawMessage `json:"definition,omitempty"`

	// Revocation says after a disconnect what becomes of the tokens at the provider:
	// "pending", "unsupported", or "failed".
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

// viewFor is an integration as the caller may see it.
func viewFor(c caller, s integrations.Status) integrationView {
	v := viewIntegration(c.view(s))
	if c.admin() {
		v.Shadowed = &s.Shadowed
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
	all, err := h.bf.Integrations.List(r.Context(), c.options()...)
	if err != nil {
		return err
	}
	page, next, err := pageOfStatuses(r, all)
	if err != nil {
		return err
	}
	out := list[integrationView]{Items: []integrationView{}, NextCursor: next}
	for _, s := range page {
		out.Items = append(out.Items, viewFor(c, s))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (h *Handler) getIntegration(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	s, err := h.bf.Integrations.Status(r.Context(), name, c.options()...)
	if err != nil {
		return err
	}
	v := viewFor(c, s)
	if c.admin() {
		if v.Definition, err = h.definitionForm(r.Context(), name, c.options()...); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

// refresh renews the scope's own connection now, five times a minute at most.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	if err := noFields(r); err != nil {
		return err
	}
	s, err := h.bf.Integrations.RefreshByHand(r.Context(), name, c.options()...)
	if fromPage(r) {
		return h.backToIntegrations(w, r, c, name, noteRefreshed, err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewFor(c, s))
}

// disconnect removes the scope's own connection and says whether the provider is asked
// to revoke it.
func (h *Handler) disconnect(w http.ResponseWriter, r *http.Request, c caller) error {
	name := h.pathValue(r, "integration")
	if err := noFields(r); err != nil {
		return err
	}
	revocation, err := h.bf.Integrations.Disconnect(r.Context(), name, c.User, c.options()...)
	if fromPage(r) {
		return h.backToIntegrations(w, r, c, name, noteDisconnected+string(revocation), err)
	}
	if err != nil {
		return err
	}
	s, err := h.bf.Integrations.Status(r.Context(), name, c.options()...)
	if err != nil {
		return err
	}
	v := viewFor(c, s)
	v.Revocation = string(revocation)
	return writeJSON(w, http.StatusOK, v)
}

// noFields refuses bodies with content: a parameter that is ignored looks as if it
// had worked.
func noFields(r *http.Request) error {
	_, err := readFields(r)
	return err
}

// test asks the API whether the scope's own connection works. What it answers is
// not shown: whoever may test must not see by that what the token reaches.
func (h *Handler) test(w http.ResponseWriter, r *http.Request, c caller) error {
	if err := noFields(r); err != nil {
		return err
	}
	result, err := h.bf.Integrations.Test(r.Context(), h.pathValue(r, "integration"), c.options()...)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, testView{result.OK, result.HTTPStatus, result.Duration.Milliseconds()})
}

type testView struct {
	OK         bool  `json:"ok"`
	HTTPStatus int   `json:"http_status"` // 0: no answer came
	DurationMS int64 `json:"duration_ms"`
}
