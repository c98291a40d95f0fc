package httpadapter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/bifrost-go/bifrost/integrations"
)

// createIntegration stores a definition, for the organization that the body or
// ?org= names, or a global one.
func (h *Handler) createIntegration(w http.ResponseWriter, r *http.Request, c caller) error {
	text, _, err := readDocument(r)
	if err != nil {
		return err
	}
	d, err := integrations.ParseDefinition(text)
	if err != nil {
		return err
	}
	switch {
	case d.Org == "":
		d.Org = c.org
	case c.org != "" && d.Org != c.org:
		return invalidField("org", "must be the organization that ?org= names; leave one of them out")
	}
	s, err := h.bf.Integrations.Create(r.Context(), d, c.User)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.origin+h.link("/api/integrations/"+s.Name, s.Owner))
	return h.writeStored(w, r, c, http.StatusCreated, s)
}

// changeIntegration applies a merge patch (RFC 7396) to a stored definition.
func (h *Handler) changeIntegration(w http.ResponseWriter, r *http.Request, c caller) error {
	patch, _, err := readDocument(r)
	if err != nil {
		return err
	}
	s, err := h.bf.Integrations.Update(r.Context(), h.pathValue(r, "integration"), c.User,
		func(d *integrations.Definition) error { return d.Merge(patch) }, c.options()...)
	if err != nil {
		return err
	}
	return h.writeStored(w, r, c, http.StatusOK, s)
}

// writeStored answers with a stored definition, in its owner's view.
func (h *Handler) writeStored(w http.ResponseWriter, r *http.Request, c caller, status int, s integrations.Status) error {
	v := viewFor(c, s)
	var err error
	if v.Definition, err = h.definitionForm(r.Context(), s.ID, scopeOption(s.Owner)); err != nil {
		return err
	}
	return writeJSON(w, status, v)
}

// definitionForm returns the JSON form of a definition whose status was just had,
// without secrets; null for one that cannot be opened.
func (h *Handler) definitionForm(ctx context.Context, name string, opts ...integrations.Option) (json.RawMessage, error) {
	d, err := h.bf.Integrations.Definition(ctx, name, opts...)
	switch {
	case errors.Is(err, integrations.ErrUnavailable):
		return json.RawMessage("null"), nil
	case err != nil:
		return nil, err
	}
	return json.Marshal(d)
}

// removalView says what a deletion took away.
type removalView struct {
	Connections int `json:"connections"`
	Pending     int `json:"pending"`     // being revoked
	Unsupported int `json:"unsupported"` // the provider offers no way
	Failed      int `json:"failed"`      // not to be revoked by us
}

// deleteIntegration removes a stored definition with everything that hangs on it.
func (h *Handler) deleteIntegration(w http.ResponseWriter, r *http.Request, c caller) error {
	if err := noFields(r); err != nil {
		return err
	}
	removed, err := h.bf.Integrations.Delete(r.Context(), h.pathValue(r, "integration"), c.User, c.options()...)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, removalView{removed.Connections, removed.Pending, removed.Unsupported, removed.Failed})
}

// schema serves the JSON Schema of definitions.
func (h *Handler) schema(w http.ResponseWriter, _ *http.Request, _ caller) error {
	w.Header().Set("Content-Type", "application/schema+json")
	_, _ = w.Write(integrations.DefinitionSchema()) // the client went away, or not
	return nil
}
