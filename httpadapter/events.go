package httpadapter

import (
	"net/http"
	"strconv"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// eventView is one line of the history.
type eventView struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Who    string    `json:"who"` // empty: Bifrost itself
	Reason string    `json:"reason"`
	// Whose connection or settings; all empty: the integration-level ones.
	Org     string `json:"org"`
	User    string `json:"user"`
	Account string `json:"account"`
}

func viewEvent(e tokenstore.Event) eventView {
	return eventView{strconv.FormatInt(e.ID, 10), e.At.UTC(), e.Kind, e.Actor, e.Reason, e.Key.Org, e.Key.User, e.Key.Account}
}

// events shows the history, newest first. Members see nothing of other users' own
// connections; a page of theirs is filled up with what is older.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, c caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	before, err := idCursor(r)
	if err != nil {
		return err
	}
	out := list[eventView]{Items: []eventView{}}
	for {
		batch, err := h.bf.Integrations.Events(r.Context(), h.pathValue(r, "integration"), before, limit, c.options()...)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if before = e.ID; !c.mayKnow(e.Key) {
				continue
			}
			out.Items = append(out.Items, viewEvent(e))
			if len(out.Items) == limit {
				out.NextCursor = strconv.FormatInt(before, 10)
				return writeJSON(w, http.StatusOK, out)
			}
		}
		if len(batch) < limit {
			return writeJSON(w, http.StatusOK, out)
		}
	}
}
