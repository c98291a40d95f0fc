package httpadapter

import (
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
)

// mappingView ties an organization to the external side's tenant.
type mappingView struct {
	Org        string    `json:"org"`
	EntityID   string    `json:"entity_id"`
	EntityName string    `json:"entity_name"`
	UpdatedAt  time.Time `json:"updated_at"`
	UpdatedBy  string    `json:"updated_by"`
}

func viewMapping(m integrations.Mapping) mappingView {
	return mappingView{m.Org, m.EntityID, m.EntityName, m.UpdatedAt.UTC(), m.UpdatedBy}
}

// listMappings lists a definition's mappings by organization.
func (h *Handler) listMappings(w http.ResponseWriter, r *http.Request, c caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	after := r.URL.Query().Get("cursor") // the last organization of the page before
	if after != "" && !integrations.ValidOrg(after) {
		return errBadCursor
	}
	out := list[mappingView]{Items: []mappingView{}}
	for m, err := range h.bf.Integrations.Mappings(r.Context(), h.pathValue(r, "integration"), after, c.options()...) {
		if err != nil {
			return err
		}
		if len(out.Items) == limit {
			out.NextCursor = out.Items[limit-1].Org
			break
		}
		out.Items = append(out.Items, viewMapping(m))
	}
	return writeJSON(w, http.StatusOK, out)
}

// setMapping maps the organization in the path.
func (h *Handler) setMapping(w http.ResponseWriter, r *http.Request, c caller) error {
	m := integrations.Mapping{}
	var err error
	if m.Org, err = h.mappedOrg(r, c); err != nil {
		return err
	}
	f, err := readFields(r, "entity_id", "entity_name")
	if err != nil {
		return err
	}
	if m.EntityID, err = f.text("entity_id"); err != nil {
		return err
	}
	if m.EntityName, err = f.text("entity_name"); err != nil {
		return err
	}
	m, err = h.bf.Integrations.SetMapping(r.Context(), h.pathValue(r, "integration"), m, c.User, c.options()...)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewMapping(m))
}

func (h *Handler) removeMapping(w http.ResponseWriter, r *http.Request, c caller) error {
	org, err := h.mappedOrg(r, c)
	if err != nil {
		return err
	}
	if err := noFields(r); err != nil {
		return err
	}
	if err := h.bf.Integrations.RemoveMapping(r.Context(), h.pathValue(r, "integration"), org, c.User, c.options()...); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// mappedOrg is the organization in the path. In an organization's view it is that
// one: nobody changes another's by a link that was meant for the first.
func (h *Handler) mappedOrg(r *http.Request, c caller) (string, error) {
	org := h.pathValue(r, "org")
	if c.org != "" && org != c.org {
		return "", invalidField("org", "must be the organization that ?org= names; leave ?org= out")
	}
	return org, nil
}

// configView is one configuration value.
type configView struct {
	Key         string `json:"key"`
	Type        string `json:"type"`
	Description string `json:"description"`
	Required    bool   `json:"required"`
	Options     []any  `json:"options"` // empty: anything of the type
	Default     any    `json:"default"` // null: none
	Value       any    `json:"value"`   // null for secrets, and where nothing is set
	Set         bool   `json:"set"`
	Origin      string `json:"origin"` // "default", "override", or empty: not set
}

func (h *Handler) config(w http.ResponseWriter, r *http.Request, c caller) error {
	values, err := h.bf.Integrations.Config(r.Context(), h.pathValue(r, "integration"), c.options()...)
	if err != nil {
		return err
	}
	return writeConfig(w, values)
}

func writeConfig(w http.ResponseWriter, values []integrations.ConfigValue) error {
	out := list[configView]{Items: []configView{}}
	for _, v := range values {
		if v.Options == nil {
			v.Options = []any{}
		}
		out.Items = append(out.Items, configView{
			Key: v.Key, Type: string(v.Type), Description: v.Description, Required: v.Required, Options: v.Options,
			Default: v.Default, Value: v.Value, Set: v.Set, Origin: string(v.Origin),
		})
	}
	return writeJSON(w, http.StatusOK, out)
}

// setConfig sets the values that the body names, and leaves the others.
func (h *Handler) setConfig(w http.ResponseWriter, r *http.Request, c caller) error {
	text, f, err := readDocument(r)
	if err != nil {
		return err
	}
	if len(memberNames(text)) != len(f) {
		return malformed("A key is given twice.")
	}
	values := make(map[string]any, len(f))
	for key, value := range f {
		values[key] = value
	}
	list, err := h.bf.Integrations.SetConfig(r.Context(), h.pathValue(r, "integration"), values, c.User, c.options()...)
	if err != nil {
		return err
	}
	return writeConfig(w, list)
}
