package oauthtest

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

//go:embed pages
var pageFiles embed.FS

var (
	pageTemplates = template.Must(template.ParseFS(pageFiles, "pages/*.html"))
	style         = must(pageFiles.ReadFile("pages/style.css"))
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // an embedded file is missing: found by the first test
	}
	return value
}

// page is what the templates are given.
type page struct {
	Provider string // Config.Title
	Heading  string
	Problem  string
	Tenant   string // as in the URL, for form actions
	Request  string // the sealed authorization request
	Client   string
	User     string
	Example  string // a user name with a domain
	In       string // the name of the user's tenant
	Scopes   []scopeLine
	Tenants  []tenantLine
}

type scopeLine struct{ Name, Meaning string }

type tenantLine struct {
	Name, ID string
	Users    []string
}

// meanings are what the consent page says of well-known scopes.
var meanings = map[string]string{
	"offline_access":     "Keep access when you are not there",
	"openid":             "Know who you are",
	"profile":            "See your name",
	"email":              "See your e-mail address",
	"User.Read":          "Read your profile",
	"User.Read.All":      "Read all users' profiles",
	"Directory.Read.All": "Read your organization's directory",
}

func (p *Provider) showSignIn(w http.ResponseWriter, req *authRequest, username, problem string) {
	if username == "" {
		username = "alice"
	}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusUnprocessableEntity
	}
	p.render(w, status, "signin.html", page{
		Heading: "Sign in", Problem: problem, Tenant: req.Tenant, Request: p.sealed(req),
		Client: p.config.client(req.Client).Name, User: username,
		Example: "alice@" + p.config.Tenants[len(p.config.Tenants)-1].Domain,
	})
}

func (p *Provider) showConsent(w http.ResponseWriter, req *authRequest, tenant *Tenant) {
	lines := make([]scopeLine, len(req.Scopes))
	for i, scope := range req.Scopes {
		lines[i] = scopeLine{scope, meanings[scope]}
	}
	p.render(w, http.StatusOK, "consent.html", page{
		Heading: "Permissions requested", Tenant: req.Tenant, Request: p.sealed(req),
		Client: p.config.client(req.Client).Name, User: tenant.principal(req.User), In: tenant.Name, Scopes: lines,
	}, formTarget(req.RedirectURI))
}

// problem is the page for requests that must not be redirected.
func (p *Provider) problem(w http.ResponseWriter, text string) {
	p.render(w, http.StatusBadRequest, "problem.html", page{Heading: "That did not work", Problem: text})
}

// home says what this server is, to whoever opens its address.
func (p *Provider) home(w http.ResponseWriter, _ *http.Request) {
	lines := make([]tenantLine, len(p.config.Tenants))
	for i := range p.config.Tenants {
		t := &p.config.Tenants[i]
		lines[i] = tenantLine{Name: t.Name, ID: t.ID}
		for _, u := range p.directory(t) {
			lines[i].Users = append(lines[i].Users, t.principal(u.Username))
		}
	}
	p.render(w, http.StatusOK, "home.html", page{Heading: "A provider for trying things out", Tenants: lines})
}

func (p *Provider) render(w http.ResponseWriter, status int, name string, data page, formTargets ...string) {
	data.Provider = p.config.Title
	var b bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "oauthtest: a page template is broken: "+err.Error(), http.StatusInternalServerError)
		return
	}
	pageHeader(w, formTargets...)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the client went away: nobody to tell
}

// pageHeader sets what every page is sent with. Forms may lead to formTargets
// too: Chromium applies form-action to the redirect that answers a form as well.
func pageHeader(w http.ResponseWriter, formTargets ...string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action "+
		strings.Join(append([]string{"'self'"}, formTargets...), " "))
}

// formTarget is a redirect URI as a CSP source: its origin, or its scheme where it
// is an application's own.
func formTarget(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil || u.Scheme == "":
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}

func (p *Provider) tenantNames() string {
	names := make([]string, len(p.config.Tenants))
	for i, t := range p.config.Tenants {
		names[i] = t.ID + " (" + t.Domain + ")"
	}
	return strings.Join(names, ", ")
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(style)
}
