package httpadapter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"net/url"
	"slices"

	"github.com/bifrost-go/bifrost/integrations"
)

//go:embed templates
var templateFiles embed.FS

//go:embed assets/bifrost.css
var stylesheet []byte

// styleName changes with the content, so that browsers may keep it for good.
var styleName = func() string {
	sum := sha256.Sum256(stylesheet)
	return "bifrost-" + hex.EncodeToString(sum[:4]) + ".css"
}()

// templates are the pages, by name, each within the layout.
var templates = func() map[string]*template.Template {
	base := template.Must(template.ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	pages := map[string]*template.Template{}
	for _, name := range []string{"connect", "execution", "integrations", "message", "workflows"} {
		pages[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return pages
}()

// view is a page to be shown.
type view struct {
	template string
	title    string
	section  string // of the navigation: "integrations", "workflows" or empty
	status   int    // 0: 200
	caller   *caller
	// path is the page's own, where another organization can be chosen on it.
	path string
	// formTargets are origins beside our own that forms of the page lead to.
	formTargets []string
	// reload is after how many seconds the page is to be loaded again; 0: never.
	reload int
	body   any
}

// layout is what the templates see.
type layout struct {
	Title, Section, Style         string
	Nav                           bool
	IntegrationsLink, WorkflowsTo string
	User, Org                     string
	ChooseAt                      string // where the form that chooses an organization leads; empty: no such form
	Offered                       []offeredOrg
	Note                          *note
	Reload                        int
	Body                          any
}

// show renders a page, with a policy that lets its forms go where they lead.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, v view) error {
	data := layout{
		Title: v.title, Section: v.section, Style: h.link("/oauth/assets/"+styleName, ""),
		Nav: hasPages(r) && v.status != http.StatusUnauthorized, Reload: v.reload, Body: v.body,
	}
	org := ""
	if c := v.caller; c != nil {
		org = c.queryOrg()
		data.User, data.Org = c.User, c.org
		if c.admin() && v.path != "" {
			data.ChooseAt = h.link(v.path, "")
			data.Offered = h.offered(r, v.path, data.Org)
		}
	}
	data.IntegrationsLink, data.WorkflowsTo = h.link("/", org), h.link("/workflows", org)
	if v.path != "" {
		data.Note = h.takeNote(w, r)
	}
	var page bytes.Buffer
	if err := templates[v.template].ExecuteTemplate(&page, "layout", data); err != nil {
		return err
	}
	if len(v.formTargets) > 0 {
		v.formTargets = slices.Concat(v.formTargets, h.cfg.FormOrigins)
	}
	w.Header().Set("Content-Security-Policy", contentPolicy(v.formTargets))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.status != 0 {
		w.WriteHeader(v.status)
	}
	_, _ = page.WriteTo(w) // the client went away, or not
	return nil
}

// mostOffered is how many organizations a page offers as links.
const mostOffered = 8

// offeredOrg is an organization that an admin can choose with one click.
type offeredOrg struct {
	Name, Link string
	Current    bool
}

// offered returns what Config.Orgs offers. Without it, or if it fails, there is
// still the form.
func (h *Handler) offered(r *http.Request, path, current string) []offeredOrg {
	if h.cfg.Orgs == nil {
		return nil
	}
	orgs, _, err := h.cfg.Orgs.Search(r.Context(), "", "", mostOffered)
	if err != nil {
		h.log.WarnContext(r.Context(), "httpadapter: Config.Orgs failed", "error", err)
		return nil
	}
	var list []offeredOrg
	for _, org := range orgs {
		if integrations.ValidOrg(org.ID) && len(list) < mostOffered {
			name := cmp.Or(cleanText(org.Name, 100), org.ID)
			list = append(list, offeredOrg{Name: name, Link: h.link(path, org.ID), Current: org.ID == current})
		}
	}
	return list
}

// link returns the address of a page or route, a path on BaseURL's origin.
func (h *Handler) link(path, org string) string {
	link := h.base.EscapedPath() + path
	if org != "" {
		link += "?" + url.Values{"org": {org}}.Encode()
	}
	return link
}

// linkOf is link to what the caller's request is about, a personal connection
// included.
func (h *Handler) linkOf(path string, c caller) string {
	link := h.link(path, "")
	if query := c.query(); len(query) > 0 {
		link += "?" + query.Encode()
	}
	return link
}

// query is what links must carry to stay with what the request is about.
func (c caller) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"org": c.queryOrg(), "user": c.ofUser, "account": c.account} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// whose says in a page's words whose connections the request is about, where they
// are not the scope's own.
func (c caller) whose() string {
	switch user, account := cleanText(c.ofUser, maxLabel), cleanText(c.account, maxLabel); {
	case c.ofUser != "" && c.account != "":
		return user + ", " + account
	case c.ofUser != "":
		return user
	default:
		return account
	}
}

// queryOrg is what links must carry as ?org= to stay in the caller's view.
func (c caller) queryOrg() string {
	if c.admin() {
		return c.org
	}
	return ""
}

// message is the body of a page that says something: an error, mostly.
type message struct {
	Title       string
	Text        []string
	Code, Quote string // what a provider said
	Reload      bool   // offer to load the same address again
	Again       *connectForm
	Back        string
	BackLabel   string
}

// problemPage shows an error to a person.
func (h *Handler) problemPage(w http.ResponseWriter, r *http.Request, p *problem) {
	p.headers(w)
	m := message{Title: p.heading(), Text: []string{p.Detail}}
	if hasPages(r) && p.Status != http.StatusUnauthorized {
		m.Back, m.BackLabel = h.link("/", ""), "To Integrations"
	}
	if err := h.show(w, r, view{template: "message", title: m.Title, status: p.Status, body: m}); err != nil {
		http.Error(w, m.Title, p.Status)
	}
}

// heading is a problem's title for a person.
func (p *problem) heading() string {
	switch {
	case p.Title != "":
		return p.Title
	case p.Status == http.StatusUnauthorized:
		return "You are not signed in"
	case p.Status == http.StatusForbidden:
		return "You may not do this"
	case p.Status == http.StatusNotFound:
		return "Nothing is here"
	case p.Status == http.StatusMisdirectedRequest:
		return "Wrong address"
	case p.Status == http.StatusServiceUnavailable:
		return "Not available at the moment"
	case p.Status >= http.StatusInternalServerError:
		return "Something went wrong"
	}
	return "This cannot be done"
}

// style serves the style sheet.
func (h *Handler) style(w http.ResponseWriter, r *http.Request, _ caller) error {
	if h.pathValue(r, "file") != styleName {
		return errNotFound
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(stylesheet)
	return nil
}

// org of the execution or connection in a page's words.
func orgName(org string) string {
	if org == "" {
		return "global"
	}
	return org
}
