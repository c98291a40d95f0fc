package oauthtest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/internal/loopback"
)

// authRequest is an authorization request (RFC 6749 §4.1.1) on its way through the
// pages. It travels sealed in a hidden field, not in a cookie: cookies ignore
// ports, and would meet those of the application next door.
type authRequest struct {
	Tenant      string // as in the URL
	Client      string
	RedirectURI string
	State       string
	Challenge   string
	Nonce       string
	Scopes      []string
	Expires     time.Time
	// SignedIn is the tenant of the user who signed in, User the user's name.
	SignedIn string
	User     string
}

// pageLife is how long somebody may take for a page.
const pageLife = 10 * time.Minute

var s256Challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// authorize checks a request and shows the sign-in page.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	tenant := r.PathValue("tenant")
	client := p.config.client(query.Get("client_id"))
	redirectURI := query.Get("redirect_uri")
	// Nobody is redirected before client and redirect URI are known to be good
	// (RFC 6749 §4.1.2.1).
	switch {
	case err != nil:
		p.problem(w, "The request's query cannot be read.")
		return
	case !p.knowsTenant(tenant):
		p.problem(w, "AADSTS90002: There is no tenant “"+tenant+"”. Known are "+p.tenantNames()+".")
		return
	case client == nil || len(query["client_id"]) > 1:
		p.problem(w, "AADSTS700016: There is no application “"+query.Get("client_id")+"” here. Check client_id.")
		return
	case len(query["redirect_uri"]) != 1 || !client.redirectsTo(redirectURI):
		p.problem(w, "AADSTS50011: The redirect URI “"+redirectURI+"” is not registered for "+client.Name+".")
		return
	}
	req := &authRequest{
		Tenant: tenant, Client: client.ID, RedirectURI: redirectURI, State: query.Get("state"),
		Challenge: query.Get("code_challenge"), Nonce: query.Get("nonce"), Scopes: strings.Fields(query.Get("scope")),
		Expires: p.config.Now().Add(pageLife),
	}
	if code, description := checkRequest(query, client, req); code != "" {
		p.redirect(w, req, url.Values{"error": {code}, "error_description": {description}})
		return
	}
	p.showSignIn(w, req, query.Get("login_hint"), "")
}

// checkRequest finds what is wrong with a request whose redirect URI is good.
func checkRequest(query url.Values, client *Client, req *authRequest) (code, description string) {
	for name, values := range query {
		if len(values) > 1 {
			return "invalid_request", "Parameter " + name + " is repeated."
		}
	}
	method := query.Get("code_challenge_method")
	switch {
	case query.Get("response_type") == "":
		return "invalid_request", "response_type is missing."
	case query.Get("response_type") != "code":
		return "unsupported_response_type", "Only response_type=code is supported."
	case query.Has("response_mode") && query.Get("response_mode") != "query":
		return "invalid_request", "Only response_mode=query is supported."
	case query.Has("client_secret"):
		return "invalid_request", "client_secret must not be in the URL."
	case req.Challenge == "" && !client.PKCEOptional:
		return "invalid_request", "PKCE is required: code_challenge is missing."
	case req.Challenge != "" && (method != "S256" || !s256Challenge.MatchString(req.Challenge)):
		return "invalid_request", "code_challenge_method must be S256, and the challenge 43 characters of base64url."
	case len(req.Scopes) == 0:
		return "invalid_scope", "scope is missing."
	case query.Get("prompt") == "none":
		return "login_required", "Nobody is signed in, and prompt=none forbids to ask."
	}
	return "", ""
}

// redirectsTo reports whether uri may be redirected to: exactly as registered, or
// on loopback where that is allowed.
func (c *Client) redirectsTo(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	if len(c.RedirectURIs) > 0 && !c.LoopbackRedirects {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.Fragment != "" || u.User != nil {
		return false
	}
	return loopback.Host(u.Hostname())
}

// signIn takes the sign-in form and shows the consent page.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	req, form, ok := p.resume(w, r)
	if !ok {
		return
	}
	username := form.Get("username")
	tenant, name, problem := p.findAccount(req.Tenant, username)
	if problem != "" {
		p.showSignIn(w, req, username, problem)
		return
	}
	req.SignedIn, req.User = tenant.ID, name
	p.showConsent(w, req, tenant)
}

// findAccount says who signs in under a user name, with or without a domain. The
// password is not looked at.
func (p *Provider) findAccount(pathTenant, username string) (t *Tenant, name, problem string) {
	name, domain := splitUser(username)
	if !userName.MatchString(name) {
		return nil, "", "Enter a user name of letters, digits and . _ -, such as alice."
	}
	t = p.config.tenant(pathTenant) // nil for "common": then the user name decides
	if domain != "" {
		byDomain := p.config.tenant(domain)
		switch {
		case byDomain == nil || byDomain.Domain != domain:
			return nil, "", "There is no tenant with the domain " + domain + ". Known are " + p.tenantNames() + "."
		case t != nil && t != byDomain:
			return nil, "", "This application signs in accounts of " + t.Name + " only."
		}
		return byDomain, name, ""
	}
	if t == nil {
		t = &p.config.Tenants[0]
		for i := range p.config.Tenants {
			if p.config.Tenants[i].has(name) {
				t = &p.config.Tenants[i]
				break
			}
		}
	}
	return t, name, ""
}

// consent takes the consent form and sends the browser back.
func (p *Provider) consent(w http.ResponseWriter, r *http.Request) {
	req, form, ok := p.resume(w, r)
	if !ok {
		return
	}
	tenant := p.config.tenant(req.SignedIn)
	if tenant == nil || req.User == "" {
		p.problem(w, "Nobody has signed in. Go back to the application and start again.")
		return
	}
	switch strings.ToLower(form.Get("decision")) {
	case "allow":
	case "deny":
		p.redirect(w, req, url.Values{
			"error":             {"access_denied"},
			"error_description": {"AADSTS65004: User declined to consent to access the app.\r\nTrace ID: 00000000-0000-0000-0000-000000000000"},
		})
		return
	default:
		p.showConsent(w, req, tenant)
		return
	}
	text := "code_" + rand.Text() + rand.Text()
	p.remember(text)
	err := p.change(func(s *state, now time.Time) bool {
		if !tenant.has(req.User) && !slices.Contains(s.Accounts[tenant.ID], req.User) {
			s.Accounts[tenant.ID] = append(s.Accounts[tenant.ID], req.User)
		}
		s.Codes[fingerprint(text)] = &code{
			Client: req.Client, RedirectURI: req.RedirectURI, Challenge: req.Challenge, Nonce: req.Nonce,
			Tenant: tenant.ID, User: req.User, Scopes: req.Scopes, Expires: now.Add(p.config.CodeLifetime),
		}
		return true
	})
	if err != nil {
		p.redirect(w, req, url.Values{"error": {"server_error"}, "error_description": {"The provider cannot save its state."}})
		return
	}
	p.redirect(w, req, url.Values{"code": {text}})
}

// resume reads a page's form and the request sealed in it.
func (p *Provider) resume(w http.ResponseWriter, r *http.Request) (*authRequest, url.Values, bool) {
	form, err := readForm(r)
	req := new(authRequest)
	p.mu.Lock()
	payload, genuine := p.state.unseal("form", form.Get("request"))
	p.mu.Unlock()
	switch {
	case err != nil || !genuine || json.Unmarshal(payload, req) != nil || !strings.EqualFold(req.Tenant, r.PathValue("tenant")):
		p.problem(w, "This form was not made here. Go back to the application and start again.")
		return nil, nil, false
	case !p.config.Now().Before(req.Expires) || p.config.client(req.Client) == nil:
		p.problem(w, "This page is too old. Go back to the application and start again.")
		return nil, nil, false
	}
	return req, form, true
}

// sealed is the request as it stands in a form.
func (p *Provider) sealed(req *authRequest) string {
	payload, _ := json.Marshal(req) // strings and a time always encode
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.seal("form", payload)
}

// redirect answers the application (RFC 6749 §4.1.2). It is a 303, so that a
// posted form becomes a GET.
func (p *Provider) redirect(w http.ResponseWriter, req *authRequest, params url.Values) {
	if req.State != "" {
		params.Set("state", req.State)
	}
	if p.config.Issuer != "" {
		params.Set("iss", p.config.Issuer)
	}
	separator := "?"
	if strings.Contains(req.RedirectURI, "?") {
		separator = "&"
	}
	pageHeader(w)
	w.Header().Set("Location", req.RedirectURI+separator+params.Encode())
	w.WriteHeader(http.StatusSeeOther)
}
