package httpadapter

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/integrations"
)

// Org is one organization of the host.
type Org struct {
	ID   string `json:"id"`   // [A-Za-z0-9._~-]{1,128}; others are not shown
	Name string `json:"name"` // for people; may be empty
}

// Orgs is the host's directory of organizations. Administrators look in it to find
// the one they mean; nothing depends on it otherwise. It must be safe for
// concurrent use. An error of it is answered with 503, and logged.
type Orgs interface {
	// Lookup returns the organization with an id; false if there is none.
	Lookup(ctx context.Context, id string) (Org, bool, error)
	// Search returns at most limit organizations that fit what a person has typed,
	// the most useful first; query is at most 256 bytes, and empty for all. cursor is
	// empty at first, then what the call before returned as next, which is empty after
	// the last page. Strangers cannot ask, but cursors are what a client sends:
	// [ErrBadCursor] refuses one.
	Search(ctx context.Context, query, cursor string, limit int) (orgs []Org, next string, err error)
}

// ErrBadCursor is what an [Orgs] returns for a cursor that it has not given out.
var ErrBadCursor = errors.New("httpadapter: bad cursor")

// OrgList is a directory for a few organizations that rarely change. Search finds
// the text in ids and names, in any case.
type OrgList []Org

// Lookup implements [Orgs].
func (l OrgList) Lookup(_ context.Context, id string) (Org, bool, error) {
	for _, org := range l {
		if org.ID == id {
			return org, true, nil
		}
	}
	return Org{}, false, nil
}

// Search implements [Orgs], in the list's order.
func (l OrgList) Search(_ context.Context, query, cursor string, limit int) (orgs []Org, next string, err error) {
	skip := 0
	if cursor != "" {
		if skip, err = strconv.Atoi(cursor); err != nil || skip < 0 {
			return nil, "", ErrBadCursor
		}
	}
	query = strings.ToLower(query)
	found := 0
	for _, org := range l {
		if !strings.Contains(strings.ToLower(org.ID), query) && !strings.Contains(strings.ToLower(org.Name), query) {
			continue
		}
		if found++; found <= skip {
			continue
		}
		if len(orgs) == limit {
			return orgs, strconv.Itoa(skip + limit), nil
		}
		orgs = append(orgs, org)
	}
	return orgs, "", nil
}

// maxQuery is how long ?q= may be, in bytes.
const maxQuery = 256

// listOrgs searches the host's directory, or looks one organization up.
func (h *Handler) listOrgs(w http.ResponseWriter, r *http.Request, _ caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	found, next, err := h.findOrgs(r.Context(), r.URL.Query(), limit)
	if err != nil {
		return err
	}
	out := list[Org]{Items: []Org{}, NextCursor: next}
	for _, org := range found {
		if integrations.ValidOrg(org.ID) {
			out.Items = append(out.Items, org)
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

func (h *Handler) findOrgs(ctx context.Context, query url.Values, limit int) (orgs []Org, next string, err error) {
	id, one, err := saidOnce(query, "id")
	if err != nil {
		return nil, "", err
	}
	text, _, err := saidOnce(query, "q")
	if err != nil {
		return nil, "", err
	}
	if !plainLine(text, maxQuery) {
		return nil, "", invalidField("q", "must be at most "+strconv.Itoa(maxQuery)+" bytes of text without control characters")
	}
	if h.cfg.Orgs == nil || one && !integrations.ValidOrg(id) {
		return nil, "", nil
	}
	if one {
		org, ok, err := h.cfg.Orgs.Lookup(ctx, id)
		if err == nil && ok {
			orgs = []Org{org}
		}
		return orgs, "", directoryError(err)
	}
	orgs, next, err = h.cfg.Orgs.Search(ctx, text, query.Get("cursor"), limit)
	return orgs, next, directoryError(err)
}

func directoryError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrBadCursor):
		return errBadCursor
	}
	return &problem{
		Status: http.StatusServiceUnavailable, Type: "unavailable",
		Detail: "The directory of organizations cannot be read at the moment. Try again.", cause: err,
	}
}
