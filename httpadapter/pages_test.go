package httpadapter_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
)

// checkPage parses a page and checks what is true of every one: no script, no
// inline style, every field has a label, ids are unique, forms lead to us.
func checkPage(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	checkAnswer(t, w, "/")
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	dec := xml.NewDecoder(strings.NewReader(strings.Replace(w.Body.String(), "<!doctype html>", "", 1)))
	dec.Strict, dec.AutoClose, dec.Entity = false, append(xml.HTMLAutoClose, "meta", "link", "input", "br"), xml.HTMLEntity
	ids, labels, fields, refs := map[string]bool{}, map[string]bool{}, []string{}, []string{}
	headings := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, w.Body.String())
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		at := map[string]string{}
		for _, a := range e.Attr {
			name := a.Name.Local
			require.False(t, strings.HasPrefix(name, "on") || name == "style", "inline %s on %s", name, e.Name.Local)
			at[name] = a.Value
		}
		if id := at["id"]; id != "" {
			require.False(t, ids[id], "id %s twice", id)
			ids[id] = true
		}
		for _, name := range []string{"aria-labelledby", "aria-describedby"} {
			if at[name] != "" {
				refs = append(refs, at[name])
			}
		}
		switch e.Name.Local {
		case "script", "style", "iframe", "object", "base":
			t.Fatalf("<%s>", e.Name.Local)
		case "h1":
			headings++
		case "label":
			labels[at["for"]] = true
		case "input", "textarea", "select":
			if at["type"] != "hidden" {
				fields = append(fields, at["id"])
			}
		case "form":
			require.True(t, strings.HasPrefix(at["action"], "/"), at["action"])
			require.False(t, strings.HasPrefix(at["action"], "//"), at["action"])
		case "a":
			require.Regexp(t, `^(/|#|https://app\.example\.com/|$)`, at["href"])
		case "html":
			require.Equal(t, "en", at["lang"])
		}
	}
	require.Equal(t, 1, headings)
	for _, id := range fields {
		require.True(t, labels[id], "no label for field %q", id)
	}
	for _, id := range refs {
		require.True(t, ids[id], "nothing has the id %q", id)
	}
}

func TestEveryPage(t *testing.T) {
	s := newSite(t)
	s.as(root).connect("Graph", "")
	s.as(root).connect("Drive", "")
	s.as(gina).connect("Warehouse", "")
	s.provider.Script(oauthtest.Token, oauthtest.Fail(http.StatusBadRequest, "invalid_grant", "<i>changed</i>"))
	s.as(root).post("/api/integrations/Drive/refresh", "")
	id := func(name, body string) string {
		return object(t, s.as(root).post("/api/workflows/"+name+"/execute?org=acme", body))["id"].(string)
	}
	table, failed, text, waiting := id("list_users", "{}"), id("fail", "{}"), id("echo", `{"input":{"text":"</code><b>"}}`), id("wait", `{"async":true}`)
	empty := newSite(t, func(c *siteConfig) { c.empty = true })
	for _, test := range []struct {
		site      *site
		who, path string
		status    int
		says      []string
	}{
		{s, root, "/", 200, []string{"All organizations", "Graph", "Active", "Reconnect required", "&lt;i&gt;changed", "Manage it there", base + "/oauth/callback/Graph"}},
		{s, root, "/?org=acme", 200, []string{"<b>acme</b>", "Shared connection", "Show all"}},
		{s, root, "/?limit=2", 200, []string{"More integrations", "limit=2"}},
		{s, alice, "/", 200, []string{"<b>acme</b>", "Shared connection", "does not work at the moment", "Not connected", "Cannot be connected"}},
		{s, gina, "/", 200, []string{"Warehouse", "Active"}},
		{s, root, "/workflows", 200, []string{"echo", "Execute", "&#34;text&#34;", "Succeeded", "Failed", "Running"}},
		{s, alice, "/workflows?workflow=fail", 200, []string{"Last executions of fail", "Show all workflows"}},
		{s, root, "/executions/" + table, 200, []string{"Alice Archer", "displayName", "asking", "8 rows"}},
		{s, alice, "/executions/" + failed, 200, []string{"&lt;b&gt;bold&lt;/b&gt; failure", "It has logged nothing"}},
		{s, alice, "/executions/" + text, 200, []string{"&lt;/code&gt;", "Input"}},
		{s, alice, "/executions/" + waiting, 200, []string{"still at work", `http-equiv="refresh"`}},
		{s, alice, "/oauth/connect/Graph", 200, []string{"login.oauthtest.example", "<b>acme</b>"}},
		{s, alice, "/oauth/connect/Nope", 404, []string{"Nothing is here"}},
		{s, alice, "/nope", 404, []string{"Nothing is here", "To Integrations"}},
		{s, nobody, "/", 401, []string{"not signed in"}},
		{s, "fault", "/", 503, []string{"Not available"}},
		{s, alice, "/oauth/callback/Graph?state=x", 400, []string{"cannot be finished"}},
		{empty, root, "/", 200, []string{"No integrations yet", "bf.Integrations.Define"}},
		{empty, alice, "/workflows", 200, []string{"No workflows yet", "AllowMembers", "Nothing has been executed"}},
	} {
		w := test.site.as(test.who).get(test.path, asPage)
		require.Equal(t, test.status, w.Code, "%s: %s", test.path, w.Body)
		for _, text := range test.says {
			require.Contains(t, w.Body.String(), text, test.path)
		}
		checkPage(t, w)
	}
}

// Chromium blocks the redirect to a provider that form-action does not name.
func TestPolicyNamesWhereConnectLeads(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.adapter.FormOrigins = []string{"https://*.other.example"} })
	d := integrations.Definition{Name: "Other", DefaultEntityID: "common", OAuth: client()}
	d.OAuth.AuthorizationURL, d.OAuth.TokenURL = "https://other.example/authorize", "https://other.example/token"
	require.NoError(t, s.bf.Integrations.Define(d))
	policy := func(path string) string {
		return s.as(root).get(path, asPage).Header().Get("Content-Security-Policy")
	}
	require.True(t, strings.HasSuffix(policy("/"), "form-action 'self' "+provider+" https://other.example https://*.other.example"), policy("/"))
	require.True(t, strings.HasSuffix(policy("/workflows"), "form-action 'self'"))
	require.True(t, strings.HasSuffix(policy("/nope"), "form-action 'self'"))
}

// A connection that has trouble, or less than was asked for, says so, and offers
// to connect again.
func TestDegradedOffersReconnect(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	s.provider.Script(oauthtest.Token, oauthtest.Set("scope", "Directory.Read.All"))
	b.connect("Graph", "")
	require.Equal(t, map[string]any{
		"requested": []any{"offline_access", "Directory.Read.All"}, "granted": []any{"Directory.Read.All"},
	}, object(t, b.get("/api/integrations/Graph"))["scopes"])
	page := b.get("/", asPage).Body.String()
	_, granted, _ := strings.Cut(page, "Granted scopes")
	granted, _, _ = strings.Cut(granted, "</dd>")
	require.Contains(t, granted, "Directory.Read.All")
	granted, asked, _ := strings.Cut(granted, "Asked for were")
	require.NotContains(t, granted, "offline_access")
	require.Contains(t, asked, "offline_access")

	s.provider.Script(oauthtest.Token, oauthtest.Fail(http.StatusBadRequest, "invalid_request", "who knows"))
	b.post("/api/integrations/Graph/refresh", "")
	page = b.get("/", asPage).Body.String()
	require.Contains(t, page, "Degraded")
	require.Contains(t, page, "who knows")
	require.Contains(t, page, ">Reconnect</button>")
}

// The buttons: forms that a browser posts come back to the page they were on.
func TestForms(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	b.connect("Graph", "?org=acme")
	page := b.get("/?org=acme", asPage).Body.String()
	for _, action := range []string{
		"/oauth/connect/Graph?org=acme", "/api/integrations/Graph/refresh?org=acme", "/api/integrations/Graph/disconnect?org=acme",
	} {
		require.Contains(t, page, `method="post" action="`+action+`"`)
	}
	submit := func(path string) string {
		w := b.post(path, "", asPage)
		require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
		require.Equal(t, "/?org=acme", w.Header().Get("Location"))
		return b.get("/?org=acme", asPage).Body.String()
	}
	require.Contains(t, submit("/api/integrations/Graph/refresh?org=acme"), "Graph has a fresh access token.")
	require.NotContains(t, b.get("/?org=acme", asPage).Body.String(), "Graph has a fresh access token.", "said once")
	require.Contains(t, submit("/api/integrations/Graph/disconnect?org=acme"), "the provider is being asked to revoke its tokens")
	require.Contains(t, submit("/api/integrations/Graph/disconnect?org=acme"), "Graph is not connected.")
	b.connect("Drive", "")
	require.Contains(t, submit("/api/integrations/Drive/disconnect?org=acme"), "only an administrator may change")

	w := b.post("/api/integrations/Nope/refresh", "", asPage)
	require.Equal(t, http.StatusNotFound, w.Code)
	checkPage(t, w)
	w = s.as(alice).post("/api/integrations/Graph/refresh", "org=globex", asPage)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code, "fields nobody asked for")
}

func TestExecuteForm(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	w := b.post("/api/workflows/fail/execute?org=acme", "", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Regexp(t, `^/executions/[0-9a-f-]{36}\?org=acme$`, w.Header().Get("Location"))
	require.Contains(t, b.get(w.Header().Get("Location"), asPage).Body.String(), "Failed")

	w = b.post("/api/workflows/echo/execute", url.Values{"input": {`{"text": "hi", "tags": ["a"]}`}}.Encode(), asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Contains(t, b.get(w.Header().Get("Location"), asPage).Body.String(), "Succeeded")

	for input, says := range map[string]string{
		`{"text": 7, "x</textarea><b>": 1}`: "does not",
		`{"text": `:                         "This is not JSON.",
	} {
		w = b.post("/api/workflows/echo/execute?org=acme", url.Values{"input": {input}}.Encode(), asPage)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, w.Body)
		page := w.Body.String()
		require.Contains(t, page, "&#34;text&#34;: ", "what was written is still there")
		require.Contains(t, page, `aria-invalid="true"`)
		require.Contains(t, page, `role="alert"`)
		require.NotContains(t, page, "</textarea><b>")
		if strings.HasSuffix(input, ": ") {
			require.Contains(t, page, says)
		}
		checkPage(t, w)
	}
	w = s.as(alice).post("/api/workflows/echo/execute", "input={}", asPage)
	require.Equal(t, http.StatusForbidden, w.Code)
	checkPage(t, w)
}

// A planted cookie cannot make the page say what it likes.
func TestNotesAreCodes(t *testing.T) {
	s := newSite(t)
	for _, value := range []string{
		"Call 555-1234 to keep your account", "connected.<b>x</b>", "evil.Graph", "connected.", ".Graph", "connected", strings.Repeat("a", 5000),
	} {
		b := s.as(alice)
		w := b.get("/", asPage, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-bifrost_note", Value: value}) })
		require.Equal(t, http.StatusOK, w.Code)
		require.NotContains(t, w.Body.String(), `role="status"`, value)
	}
}

func TestStyle(t *testing.T) {
	s := newSite(t)
	href := regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)">`).FindStringSubmatch(s.as(nobody).get("/nope", asPage).Body.String())
	require.NotNil(t, href)
	w := s.as(nobody).get(href[1])
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/css; charset=utf-8", w.Header().Get("Content-Type"))
	require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
	require.Contains(t, w.Body.String(), "prefers-color-scheme: dark")
	require.NotContains(t, w.Body.String(), "url(")
}

func TestOrganizationsAreOfferedToAdmins(t *testing.T) {
	directory := &downable{OrgList: httpadapter.OrgList{{ID: "acme"}, {ID: "glo<b>ex"}, {ID: "globex", Name: "Globex <Inc>"}}}
	s := newSite(t, func(c *siteConfig) { c.adapter.Orgs = directory })
	page := func(who, path string) string {
		w := s.as(who).get(path, asPage)
		require.Equal(t, http.StatusOK, w.Code)
		checkPage(t, w)
		return w.Body.String()
	}
	text := page(root, "/workflows?org=acme")
	require.Contains(t, text, `<a href="/workflows?org=acme" aria-current="true">acme</a>`)
	require.Contains(t, text, `<a href="/workflows?org=globex">Globex &lt;Inc&gt;</a>`)
	require.NotContains(t, text, "glo&lt;", "an id that no address can hold is not offered")
	require.NotContains(t, page(alice, "/"), "globex", "members see no other organization")
	directory.down = true
	require.Contains(t, page(root, "/"), "Show organization", "without a directory there is still the form")
}
