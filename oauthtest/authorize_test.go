package oauthtest_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// open gets a page, or the answer to a form.
func (a *app) open(method, target string, form url.Values) reply {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, target, strings.NewReader(form.Encode()))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r, err := a.send(req)
	require.NoError(a.t, err)
	return r
}

// Nobody is redirected to a place that is not known to be the application's.
func TestRequestsThatAreNotRedirected(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Clients: []oauthtest.Client{
		oauthtest.DefaultClient(),
		{ID: "exact", RedirectURIs: []string{"https://app.example.com/cb?x=1"}},
		{ID: "both", RedirectURIs: []string{"https://app.example.com/cb"}, LoopbackRedirects: true},
	}})
	a := inProcess(t, p)
	for _, test := range []struct {
		name     string
		changes  []string
		redirect bool // the request is good
	}{
		{"as it is", nil, true},
		{"unknown client", []string{"client_id", "nobody"}, false},
		{"no client", []string{"client_id", ""}, false},
		{"no redirect URI", []string{"redirect_uri", ""}, false},
		{"loopback by address", []string{"redirect_uri", "http://127.0.0.1:1234/x"}, true},
		{"loopback, version 6", []string{"redirect_uri", "http://[::1]:1234/x"}, true},
		{"not loopback", []string{"redirect_uri", "http://app.example.com/cb"}, false},
		{"looks like loopback", []string{"redirect_uri", "http://localhost.example.com/cb"}, false},
		{"userinfo", []string{"redirect_uri", "http://localhost@example.com/"}, false},
		{"fragment", []string{"redirect_uri", "http://localhost/#x"}, false},
		{"not http", []string{"redirect_uri", "javascript://localhost/%0Aalert(1)"}, false},
		{"exact", []string{"client_id", "exact", "redirect_uri", "https://app.example.com/cb?x=1"}, true},
		{"exact but for a slash", []string{"client_id", "exact", "redirect_uri", "https://app.example.com/cb/?x=1"}, false},
		{"exact but for the query", []string{"client_id", "exact", "redirect_uri", "https://app.example.com/cb"}, false},
		{"registered, so no loopback", []string{"client_id", "exact", "redirect_uri", callback}, false},
		{"registered and loopback", []string{"client_id", "both", "redirect_uri", callback}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := *a
			a.t = t
			r := a.open(http.MethodGet, a.authorizationURL(test.changes...), nil)
			if test.redirect {
				require.Equal(t, http.StatusOK, r.Status)
				return
			}
			require.Equal(t, http.StatusBadRequest, r.Status)
			require.Empty(t, r.Header.Get("Location"))
			require.NotContains(t, r.Body, "<form")
		})
	}
	for _, doubled := range []string{"&client_id=exact", "&redirect_uri=http://localhost/2"} {
		r := a.open(http.MethodGet, a.authorizationURL()+doubled, nil)
		require.Equal(t, http.StatusBadRequest, r.Status, doubled)
	}
}

// What is wrong otherwise is told to the application.
func TestErrorsForTheApplication(t *testing.T) {
	a := inProcess(t, newProvider(t, oauthtest.Config{}))
	for _, test := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"no response_type", []string{"response_type", ""}, "invalid_request"},
		{"token", []string{"response_type", "token"}, "unsupported_response_type"},
		{"form_post", []string{"response_mode", "form_post"}, "invalid_request"},
		{"no PKCE", []string{"code_challenge", ""}, "invalid_request"},
		{"plain", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"no method, so plain", []string{"code_challenge_method", ""}, "invalid_request"},
		{"short challenge", []string{"code_challenge", "short"}, "invalid_request"},
		{"padded challenge", []string{"code_challenge", challenge()[:42] + "="}, "invalid_request"},
		{"no scope", []string{"scope", ""}, "invalid_scope"},
		{"secret in the URL", []string{"client_secret", "x"}, "invalid_request"},
		{"prompt=none", []string{"prompt", "none"}, "login_required"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := *a
			a.t = t
			r := a.open(http.MethodGet, a.authorizationURL(test.changes...), nil)
			require.Equal(t, http.StatusSeeOther, r.Status)
			u, err := url.Parse(r.Header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, test.want, u.Query().Get("error"))
			require.Equal(t, "state-1", u.Query().Get("state"))
			require.True(t, strings.HasPrefix(u.String(), callback+"?"))
		})
	}
	r := a.open(http.MethodGet, a.authorizationURL()+"&state=2", nil)
	require.Contains(t, r.Header.Get("Location"), "error=invalid_request")
}

var (
	inputs = regexp.MustCompile(`<input [^>]*name="([^"]*)"[^>]* value="([^"]*)"`)
	action = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
)

func hidden(body string) url.Values {
	form := url.Values{}
	for _, m := range inputs.FindAllStringSubmatch(body, -1) {
		form.Set(m[1], m[2])
	}
	return form
}

// The pages, step by step, as somebody with curl sees them.
func TestPages(t *testing.T) {
	bothWays(t, oauthtest.Config{Clients: []oauthtest.Client{{
		ID: "test-client", Secret: "test-client-secret", Name: `<b>"App"</b>`,
		RedirectURIs: []string{"https://app.example.com:8443/cb?keep=this"},
	}}}, func(t *testing.T, _ *oauthtest.Provider, a *app) {
		t.Helper()
		base, _, _ := strings.Cut(a.urls.AuthorizationURL, "/common/")

		signIn := a.open(http.MethodGet, a.authorizationURL("redirect_uri", "https://app.example.com:8443/cb?keep=this"), nil)
		requirePage(t, signIn, "form-action 'self'")
		require.Contains(t, signIn.Body, `name="username" type="text" value="alice"`)
		require.Contains(t, signIn.Body, `name="password" type="password"`)
		require.Contains(t, signIn.Body, "&lt;b&gt;&#34;App&#34;&lt;/b&gt;", "escaped")

		form := hidden(signIn.Body)
		form.Set("username", "chiara")
		form.Set("password", "whatever")
		consent := a.open(http.MethodPost, base+action.FindStringSubmatch(signIn.Body)[1], form)
		// Chromium applies form-action to the redirect after the form, too.
		requirePage(t, consent, "form-action 'self' https://app.example.com:8443")
		require.Contains(t, consent.Body, "chiara@acme.example")
		require.Contains(t, consent.Body, "Directory.Read.All")
		require.Contains(t, consent.Body, `name="decision" value="allow"`)
		require.Contains(t, consent.Body, ">Deny</button>")

		form = hidden(consent.Body)
		again := a.open(http.MethodPost, base+action.FindStringSubmatch(consent.Body)[1], form)
		require.Contains(t, again.Body, ">Allow</button>", "no decision: asked again")
		form.Set("decision", "allow")
		back := a.open(http.MethodPost, base+action.FindStringSubmatch(consent.Body)[1], form)
		require.Equal(t, http.StatusSeeOther, back.Status)
		require.Regexp(t, `^https://app\.example\.com:8443/cb\?keep=this&code=[^&]+&state=state-1$`, back.Header.Get("Location"))
		require.Equal(t, "no-referrer", back.Header.Get("Referrer-Policy"))

		style := a.open(http.MethodGet, base+"/style.css", nil)
		require.Equal(t, "text/css; charset=utf-8", style.Header.Get("Content-Type"))
		home := a.open(http.MethodGet, base+"/", nil)
		requirePage(t, home, "form-action 'self'")
		require.Contains(t, home.Body, "hiro@acme.example")
	})
}

func requirePage(t *testing.T, r reply, formAction string) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.Status)
	require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
	require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", r.Header.Get("Referrer-Policy"))
	require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
	require.Empty(t, r.Header.Values("Set-Cookie"), "cookies ignore ports, so there are none")
	csp := r.Header.Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'; ")
	require.Contains(t, csp, "frame-ancestors 'none'; ")
	require.True(t, strings.HasSuffix(csp, formAction), csp)
	require.NotContains(t, r.Body, "<script")
	require.NotContains(t, r.Body, "style=")
	require.Contains(t, r.Body, `<meta name="viewport"`)
	require.Contains(t, r.Body, `<html lang="en">`)
}

func TestForgedAndForeignForms(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	signIn := a.open(http.MethodGet, a.authorizationURL(), nil)
	good := hidden(signIn.Body).Get("request")
	base, _, _ := strings.Cut(a.urls.AuthorizationURL, "authorize")

	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	for name, request := range map[string]string{"none": "", "garbage": "form_AAAA", "flipped": string(flipped), "cut": good[:len(good)-1]} {
		for _, step := range []string{"signin", "consent"} {
			r := a.open(http.MethodPost, base+step, url.Values{"request": {request}, "username": {"alice"}, "decision": {"allow"}})
			require.Equal(t, http.StatusBadRequest, r.Status, name+" "+step)
			require.Contains(t, r.Body, "not made here")
		}
	}
	r := a.open(http.MethodPost, base+"consent", url.Values{"request": {good}, "decision": {"allow"}})
	require.Equal(t, http.StatusBadRequest, r.Status, "consent without sign-in")
	r = a.open(http.MethodPost, strings.Replace(base, "/common/", "/acme/", 1)+"signin", url.Values{"request": {good}, "username": {"alice"}})
	require.Equal(t, http.StatusBadRequest, r.Status, "a form of another tenant's page")
}

func TestPagesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := inProcess(t, newProvider(t, oauthtest.Config{}))
		signIn := a.open(http.MethodGet, a.authorizationURL(), nil)
		pass(11 * time.Minute)
		base, _, _ := strings.Cut(a.urls.AuthorizationURL, "authorize")
		r := a.open(http.MethodPost, base+"signin", hidden(signIn.Body))
		require.Equal(t, http.StatusBadRequest, r.Status)
		require.Contains(t, r.Body, "too old")
	})
}

func TestOtherMethodsAndPaths(t *testing.T) {
	a := inProcess(t, newProvider(t, oauthtest.Config{}))
	require.Equal(t, http.StatusMethodNotAllowed, a.open(http.MethodGet, a.urls.TokenURL, nil).Status)
	require.Equal(t, http.StatusNotFound, a.open(http.MethodGet, a.urls.UsersURL+"/1", nil).Status)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, a.authorizationURL(), nil)
	require.NoError(t, err)
	res, err := a.http.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}
