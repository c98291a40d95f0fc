package httpadapter

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// connectionView is one connection: the fields of its integration, and its key.
type connectionView struct {
	integrationView
	Key keyView `json:"key"`
}

// keyView is whose a connection is, beside its definition.
type keyView struct {
	Org     string `json:"org"` // empty: the integration-level connection
	User    string `json:"user"`
	Account string `json:"account"`
}

// connections lists the connections under one definition: an admin's all, a
// member's organization's own and his personal ones.
func (h *Handler) connections(w http.ResponseWriter, r *http.Request, c caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	after, err := keyCursor(r)
	if err != nil {
		return err
	}
	name := h.pathValue(r, "integration")
	if after != nil {
		s, err := h.bf.Integrations.Status(r.Context(), name, c.options()...)
		if err != nil {
			return err
		}
		after.Definition = s.ID
	}
	out := list[connectionView]{Items: []connectionView{}}
	for s, err := range h.bf.Integrations.Connections(r.Context(), name, after, c.options()...) {
		if err != nil {
			return err
		}
		if !c.mayKnow(s.Key) {
			continue
		}
		if len(out.Items) == limit {
			out.NextCursor = cursorAt(out.Items[limit-1].Key)
			break
		}
		out.Items = append(out.Items, connectionView{viewIntegration(s), keyView{s.Key.Org, s.Key.User, s.Key.Account}})
	}
	return writeJSON(w, http.StatusOK, out)
}

func cursorAt(k keyView) string {
	text, _ := json.Marshal(k) // strings always encode
	return base64.RawURLEncoding.EncodeToString(text)
}

// keyCursor reads a cursor that is a key; nil without one.
func keyCursor(r *http.Request) (*tokenstore.Key, error) {
	cursor := r.URL.Query().Get("cursor")
	if cursor == "" {
		return nil, nil
	}
	var k keyView
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(text, &k) != nil {
		return nil, errBadCursor
	}
	return &tokenstore.Key{Org: k.Org, User: k.User, Account: k.Account}, nil
}
