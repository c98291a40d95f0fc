package httpadapter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// badge is a status in a word and a color.
type badge struct {
	Tone string // "good", "warn", "bad", "idle"
	Text string
}

func statusBadge(s tokenstore.Status) badge {
	switch s {
	case tokenstore.Active:
		return badge{"good", "Active"}
	case tokenstore.Degraded:
		return badge{"warn", "Degraded"}
	case tokenstore.ReauthRequired:
		return badge{"bad", "Reconnect required"}
	case integrations.Connecting:
		return badge{"idle", "Connecting"}
	default:
		return badge{"idle", "Not connected"}
	}
}

// integrationCard is one integration on a page.
type integrationCard struct {
	ID, Name, Description string
	Badge                 badge
	Shared                bool // served by the fallback
	Owner                 string
	OwnerLink             string // where an organization's own is managed; empty: here
	Message, Note         string
	Error                 *errorNote
	Account, Entity       string
	Requested, Granted    []string
	Differs               bool // the provider did not name all requested scopes as granted
	Expires, Renewed      *stamp
	RedirectURI           string
	Connect               *connectForm
	Refresh, Disconnect   string // URLs of the POSTs; empty: not offered
}

// Facts reports whether there is anything to list.
func (k integrationCard) Facts() bool {
	return k.Account != "" || k.Entity != "" || k.Expires != nil || k.Renewed != nil || len(k.Requested)+len(k.Granted) > 0
}

type errorNote struct {
	Code, Message string
	At            *stamp
}

// card describes an integration for a person; s is what the caller may see.
func (h *Handler) card(s integrations.Status, c caller) integrationCard {
	now := time.Now()
	k := integrationCard{
		ID: s.ID, Name: s.Name, Description: s.Description, Badge: statusBadge(s.Status),
		Shared: s.Via == integrations.ViaFallback, Owner: s.Owner, Message: cleanText(s.StatusMessage, 600),
		Entity: s.EntityID, Requested: s.ScopesRequested, Granted: s.ScopesGranted,
		Expires: stampOf(s.ExpiresAt, now), Renewed: stampOf(s.LastRefreshAt, now), RedirectURI: s.RedirectURI,
	}
	for _, name := range k.Requested {
		k.Differs = k.Differs || k.Granted != nil && !slices.Contains(k.Granted, name)
	}
	minted := s.Flow == oauthflow.ClientCredentials
	switch {
	case s.Broken:
		k.Badge = badge{"bad", "Cannot be used"}
	case s.Flow == "":
		k.Badge = badge{"idle", "No sign-in needed"}
	case minted && s.Status == tokenstore.NotConnected:
		k.Badge = badge{"idle", "No token yet"}
	}
	if k.Account = cleanText(s.AccountName, 200); k.Account == "" {
		k.Account = cleanText(s.AccountID, 200)
	}
	if e := s.LastError; e != nil {
		k.Message = cleanText(strings.TrimSuffix(s.StatusMessage, e.Message), 600) // it stands below
		k.Error = &errorNote{cleanText(e.Code, 100), cleanText(e.Message, 500), stampOf(e.At, now)}
	}
	if s.Shadowed {
		k.Note = "The program defines an integration of this name in code, which is used in this one's place."
		return k
	}
	// An organization's own integration is managed in its view, so that an
	// administrator always sees for whom a button acts.
	if s.Owner != "" && s.Owner != c.org {
		k.OwnerLink = h.link("/", s.Owner)
		return k
	}
	k.Connect = h.connectForm(s, c, "")
	base := "/api/integrations/" + url.PathEscape(s.Name)
	if s.Via == integrations.ViaOwn || minted && s.Via == integrations.ViaNone {
		k.Refresh = h.linkOf(base+"/refresh", c)
	}
	if s.Via == integrations.ViaOwn && !minted {
		k.Disconnect = h.linkOf(base+"/disconnect", c)
	}
	return k
}

type integrationsView struct {
	Cards []integrationCard
	Org   string
	Whose string // the user or account whose connections are shown; empty: the scope's own
	Next  string // link to more
}

// integrationsPage is where accounts are connected by hand.
func (h *Handler) integrationsPage(w http.ResponseWriter, r *http.Request, c caller) error {
	all, err := h.bf.Integrations.List(r.Context(), c.options()...)
	if err != nil {
		return err
	}
	page, next, err := pageOfStatuses(r, all)
	if err != nil {
		return err
	}
	body := integrationsView{Org: c.org, Whose: c.whose(), Next: h.next(r, "/", c, next)}
	var targets []string
	for _, s := range page {
		card := h.card(c.view(s), c)
		if card.Connect != nil {
			targets = append(targets, card.Connect.origin)
		}
		body.Cards = append(body.Cards, card)
	}
	return h.show(w, r, view{
		template: "integrations", title: "Integrations", section: "integrations", caller: &c, path: "/",
		formTargets: targets, body: body,
	})
}

// next returns the link to the next page of a list; empty if there is none. It
// keeps the query's other parameters that mean something.
func (h *Handler) next(r *http.Request, path string, c caller, cursor string) string {
	if cursor == "" {
		return ""
	}
	query := c.query()
	query.Set("cursor", cursor)
	for _, name := range []string{"limit", "workflow"} {
		if value := r.URL.Query().Get(name); value != "" {
			query.Set(name, value)
		}
	}
	return h.link(path, "") + "?" + query.Encode()
}
