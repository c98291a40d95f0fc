package httpadapter_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
)

// stored is the JSON form of an integration at the test provider; members are laid
// over it.
func stored(t *testing.T, name string, members ...string) string {
	t.Helper()
	urls := oauthtest.At(provider)
	oauth := map[string]any{
		"client_id": "app", "client_secret": "canary-client-secret", "authorization_url": urls.AuthorizationURL,
		"token_url": urls.TokenURL, "revocation_url": urls.RevocationURL, "scopes": []string{"offline_access"},
	}
	form := map[string]any{"name": name, "default_entity_id": "common", "oauth": oauth}
	for _, m := range members {
		path, value, _ := strings.Cut(m, "=")
		into := form
		if inner, ok := strings.CutPrefix(path, "oauth."); ok {
			into, path = oauth, inner
		}
		into[path] = value
	}
	text, err := json.Marshal(form)
	require.NoError(t, err)
	return string(text)
}

func TestDefinitionFromBirthToDeath(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	w := b.post("/api/integrations", stored(t, "Stored", "description=Made at run time"))
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	require.Equal(t, base+"/api/integrations/Stored", w.Header().Get("Location"))
	created := object(t, w)
	require.Equal(t, "stored", created["source"])
	require.Equal(t, "not_connected", created["status"])
	require.Equal(t, false, created["shadowed"])
	require.Equal(t, base+"/oauth/callback/Stored", created["redirect_uri"])
	definition := created["definition"].(map[string]any)
	require.Equal(t, "Made at run time", definition["description"])
	require.Equal(t, true, definition["oauth"].(map[string]any)["client_secret_set"])
	require.NotContains(t, w.Body.String(), "canary")
	require.Equal(t, created, object(t, b.get("/api/integrations/Stored")))
	require.Equal(t, created, object(t, b.get("/api/integrations/"+created["id"].(string))), "by its id, too")

	s.as(alice).connect("Stored", "")
	w = b.send(http.MethodPatch, "/api/integrations/Stored", `{"description":null,"oauth":{"scopes":["a","b"]}}`,
		header("Content-Type", "application/merge-patch+json"))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.NotContains(t, w.Body.String(), "canary")
	changed := object(t, w)
	require.Equal(t, created["id"], changed["id"])
	require.Empty(t, changed["description"])
	require.Equal(t, []any{"a", "b"}, changed["definition"].(map[string]any)["oauth"].(map[string]any)["scopes"])
	require.Equal(t, "active", object(t, s.as(alice).get("/api/integrations/Stored"))["status"])

	// Whoever moves the endpoints must know the secret, and the connections end.
	w = b.send(http.MethodPatch, "/api/integrations/Stored", `{"oauth":{"token_url":"`+provider+`/moved"}}`)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code, w.Body)
	require.Equal(t, "oauth.client_secret", object(t, w)["errors"].([]any)[0].(map[string]any)["field"])
	w = b.send(http.MethodPatch, "/api/integrations/Stored", `{"oauth":{"token_url":"`+provider+`/moved","client_secret":"canary-client-secret"}}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.NotContains(t, w.Body.String(), "canary")
	require.Equal(t, "reauth_required", object(t, s.as(alice).get("/api/integrations/Stored"))["status"])

	w = b.send(http.MethodDelete, "/api/integrations/Stored", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	removed := object(t, w)
	require.Equal(t, []string{"connections", "failed", "pending", "unsupported"}, keys(removed))
	require.EqualValues(t, 1, removed["connections"])
	require.Equal(t, http.StatusNotFound, b.get("/api/integrations/Stored").Code)

	// Code definitions are shown, and changed in code.
	view := object(t, b.get("/api/integrations/Graph"))
	require.Equal(t, "Graph", view["definition"].(map[string]any)["name"])
	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		w = b.send(method, "/api/integrations/Graph", "{}")
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "code-defined", object(t, w)["type"])
		w = b.send(method, "/api/integrations/Graph?org=acme", "{}")
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "not-own-definition", object(t, w)["type"])
	}
	w = s.as(alice).get("/api/integrations/Graph")
	require.NotContains(t, keys(object(t, w)), "definition", "members see no definition")
	require.NotContains(t, keys(object(t, w)), "shadowed")
}

// An organization's own: named by the body, by ?org=, or by both alike.
func TestDefinitionOfAnOrganization(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	for _, test := range []struct{ query, name, org, owner string }{
		{"?org=acme", "A", "", "acme"}, {"", "B", "acme", "acme"}, {"?org=acme", "C", "acme", "acme"}, {"", "D", "", ""},
	} {
		w := b.post("/api/integrations"+test.query, stored(t, test.name, "org="+test.org))
		require.Equal(t, http.StatusCreated, w.Code, w.Body)
		view := object(t, w)
		require.Equal(t, test.owner, view["org"])
		location := base + "/api/integrations/" + test.name
		if test.owner != "" {
			location += "?org=" + test.owner
			require.Equal(t, base+"/oauth/callback/"+view["id"].(string), view["redirect_uri"])
		}
		require.Equal(t, location, w.Header().Get("Location"))
		require.Equal(t, view, object(t, b.get(location)))
	}
	w := b.post("/api/integrations?org=acme", stored(t, "E", "org=globex"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Equal(t, "org", object(t, w)["errors"].([]any)[0].(map[string]any)["field"])
	require.NotContains(t, w.Body.String(), "globex")
	require.Equal(t, http.StatusNotFound, s.as(gina).get("/api/integrations/A").Code)
	require.Equal(t, http.StatusOK, b.send(http.MethodDelete, "/api/integrations/A?org=acme", "").Code)
	require.Equal(t, http.StatusNotFound, b.get("/api/integrations/A?org=acme").Code)
}

func TestDefinitionsRefused(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	require.Equal(t, http.StatusCreated, b.post("/api/integrations", stored(t, "Stored")).Code)
	const refused = "canary-refused-value"
	for _, test := range []struct {
		name, method, path, body, media string
		status                          int
		field, says                     string
	}{
		{"twice", "POST", "", stored(t, "Stored"), "", 409, "", "exists"},
		{"defined in code", "POST", "", stored(t, "Graph"), "", 409, "", "exists"},
		{"not JSON", "POST", "", `{"name": "` + refused, "", 400, "", "one JSON object"},
		{"a list", "POST", "", `[{"name":"A"}]`, "application/json", 400, "", "one JSON object"},
		{"nothing", "POST", "", "", "application/json", 400, "", "one JSON object"},
		{"a form", "POST", "", "name=A", "application/x-www-form-urlencoded", 400, "", "Content-Type: application/json"},
		{"XML", "PATCH", "/Stored", "<a/>", "application/xml", 400, "", "Content-Type: application/json"},
		{"a patch that is a list", "PATCH", "/Stored", "[]", "application/merge-patch+json", 400, "", "one JSON object"},
		{"too large", "POST", "", `{"name":"` + strings.Repeat("a", 90<<10) + `"}`, "", 413, "", "81920 bytes"},
		{"too large a form", "POST", "", `{"name":"` + strings.Repeat("a", 70<<10) + `"}`, "", 422, "", "The body is longer than 64 KiB"},
		{"twice a member", "POST", "", `{"name":"A","name":"` + refused + `"}`, "", 422, "name", "twice"},
		{"other case", "POST", "", `{"Name":"` + refused + `"}`, "", 422, "Name", "but name is"},
		{"bad name", "POST", "", stored(t, refused+"!"), "", 422, "name", ""},
		{"bad org", "POST", "", stored(t, "A", "org=a/b"), "", 422, "org", ""},
		{"http", "POST", "", stored(t, "A", "oauth.token_url=http://"+refused+".example/"), "", 422, "oauth.token_url", ""},
		{"private address", "POST", "", stored(t, "A", "oauth.token_url=https://169.254.169.254/"+refused), "", 422, "oauth.token_url", ""},
		{"undeclared variable", "POST", "", stored(t, "A", "oauth.token_url="+provider+"/{region}/token"), "", 422, "oauth.token_url", ""},
		{"another name", "PATCH", "/Stored", `{"name":"` + refused + `"}`, "", 422, "name", "cannot change"},
		{"another organization", "PATCH", "/Stored", `{"org":"acme"}`, "", 422, "org", "cannot change"},
		{"another type", "PATCH", "/Stored", `{"oauth":"` + refused + `"}`, "", 422, "oauth", "must be an object"},
		{"other endpoints without the secret", "PATCH", "/Stored", `{"oauth":{"client_id":"` + refused + `"}}`, "", 422, "oauth.client_secret", "must be given again"},
		{"a body to delete", "DELETE", "/Stored", `{"force":true}`, "", 422, "force", "not supported"},
	} {
		var opts []option
		if test.media != "" {
			opts = append(opts, header("Content-Type", test.media))
		}
		w := b.send(test.method, "/api/integrations"+test.path, test.body, opts...)
		require.Equal(t, test.status, w.Code, "%s: %s", test.name, w.Body)
		checkAnswer(t, w, "/api/integrations")
		require.NotContains(t, w.Body.String(), "canary", test.name)
		p := object(t, w)
		require.Contains(t, p["detail"], test.says, test.name)
		if test.field != "" {
			require.Equal(t, test.field, p["errors"].([]any)[0].(map[string]any)["field"], test.name)
		}
	}
	require.Equal(t, "Stored", object(t, b.get("/api/integrations/Stored"))["name"], "nothing has happened to it")
	require.NotContains(t, s.log.String(), "canary")

	// The field errors are all there, the detail is for reading.
	w := b.post("/api/integrations", `{"name":"A","config":[`+strings.Repeat(`{"key":"!","type":"x"},`, 30)+`{"key":"a","type":"string"}]}`)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Len(t, object(t, w)["errors"], 60)
	require.Contains(t, object(t, w)["detail"], "and 50 more")
}

func TestSchema(t *testing.T) {
	s := newSite(t)
	for _, who := range []string{root, alice} {
		w := s.as(who).get("/api/schema/definition.json")
		require.Equal(t, http.StatusOK, w.Code)
		require.JSONEq(t, string(integrations.DefinitionSchema()), w.Body.String())
	}
}

// Code defines the name of a stored definition: both are listed, page by page, and
// the stored one can be looked at and deleted by its id.
func TestShadowedDefinition(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	id := object(t, b.post("/api/integrations", stored(t, "Stored")))["id"].(string)
	require.NoError(t, s.bf.Integrations.Define(integrations.Definition{Name: "Stored", DefaultEntityID: "common", OAuth: client()}))
	shadowed := map[string]bool{}
	for path := "/api/integrations?limit=1"; path != ""; {
		page := object(t, b.get(path))
		item := page["items"].([]any)[0].(map[string]any)
		if item["name"] == "Stored" {
			shadowed[item["source"].(string)] = item["shadowed"].(bool)
		}
		path = ""
		if cursor := page["next_cursor"].(string); cursor != "" {
			path = "/api/integrations?limit=1&cursor=" + cursor
		}
	}
	require.Equal(t, map[string]bool{"code": false, "stored": true}, shadowed)
	require.Equal(t, "code", object(t, b.get("/api/integrations/Stored"))["source"])
	view := object(t, b.get("/api/integrations/"+id))
	require.Equal(t, "stored", view["source"])
	require.Equal(t, "Stored", view["definition"].(map[string]any)["name"])
	w := b.post("/oauth/connect/"+id, "{}")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "code-defined", object(t, w)["type"])
	require.Equal(t, http.StatusConflict, b.get("/oauth/connect/"+id).Code)
	page := b.get("/", asPage)
	checkPage(t, page)
	require.Equal(t, 1, strings.Count(page.Body.String(), "in this one&#39;s place"))
	require.Equal(t, 1, strings.Count(page.Body.String(), `action="/oauth/connect/Stored"`))
	require.Equal(t, http.StatusOK, b.send(http.MethodDelete, "/api/integrations/"+id, "").Code)
	require.Equal(t, http.StatusNotFound, b.get("/api/integrations/"+id).Code)
}

// A stored definition that cannot be used is shown, and can be deleted.
func TestBrokenDefinition(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*integrations.DefinitionRecord)
		shown  bool
	}{
		"secret": {func(r *integrations.DefinitionRecord) { r.Sealed[len(r.Sealed)-1] ^= 1 }, true},
		"whole":  {func(r *integrations.DefinitionRecord) { r.Body = []byte(`{"from":"the future"}`) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := bifrost.Memory()
			// Not started, it reads definitions every time.
			b := newSite(t, func(c *siteConfig) { c.store, c.stopped = store, true }).as(root)
			require.Equal(t, http.StatusCreated, b.post("/api/integrations", stored(t, "Stored")).Code)
			records, _, err := store.Definitions().Definitions(t.Context(), 0, 10)
			require.NoError(t, err)
			test.damage(&records[0])
			_, err = store.Definitions().PutDefinition(t.Context(), records[0])
			require.NoError(t, err)

			view := object(t, b.get("/api/integrations/Stored"))
			require.Contains(t, view["status_message"], "Cannot be used")
			require.Contains(t, keys(view), "definition")
			require.Equal(t, test.shown, view["definition"] != nil)
			page := b.get("/", asPage)
			checkPage(t, page)
			require.Contains(t, page.Body.String(), `<span class="badge bad">Cannot be used</span>`)
			require.Equal(t, http.StatusServiceUnavailable, b.post("/oauth/connect/Stored", "{}").Code)
			require.Equal(t, http.StatusOK, b.send(http.MethodDelete, "/api/integrations/Stored", "").Code)
		})
	}
}

// Client credentials need no person: there is no Connect, and Refresh asks for a
// token.
func TestClientCredentials(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	w := b.post("/api/integrations", `{"name":"Daemon","default_entity_id":"acme","oauth":{"flow":"client_credentials","client_id":"app",
		"client_secret":"canary-client-secret","token_url":"`+oauthtest.At(provider).TokenURL+`","scopes":["https://graph.oauthtest.example/.default"]}}`)
	require.Equal(t, http.StatusCreated, w.Code, w.Body)
	require.Equal(t, "client_credentials", object(t, w)["flow"])
	require.Empty(t, object(t, w)["redirect_uri"])
	for _, w := range []*httptest.ResponseRecorder{b.post("/oauth/connect/Daemon", "{}"), b.get("/oauth/connect/Daemon", header("Accept", "application/json"))} {
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "not-interactive", object(t, w)["type"])
	}
	page := b.get("/", asPage)
	checkPage(t, page)
	require.Contains(t, page.Body.String(), "No token yet")
	require.Contains(t, page.Body.String(), `action="/api/integrations/Daemon/refresh"`)
	require.NotContains(t, page.Body.String(), "/oauth/connect/Daemon")

	w = b.post("/api/integrations/Daemon/refresh", "", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	page = b.get("/", asPage)
	checkPage(t, page)
	require.Contains(t, page.Body.String(), "Daemon has a fresh access token.")
	require.Contains(t, page.Body.String(), "Active")
	require.NotContains(t, page.Body.String(), "/api/integrations/Daemon/disconnect")
	require.Equal(t, "active", object(t, b.get("/api/integrations/Daemon"))["status"])
	w = b.post("/api/integrations/Daemon/disconnect", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-interactive", object(t, w)["type"])

	// An organization without credentials of its own is served by these.
	require.Equal(t, "fallback", object(t, s.as(alice).get("/api/integrations/Daemon"))["connection"])
	w = s.as(alice).post("/api/integrations/Daemon/refresh", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-own-connection", object(t, w)["type"])
}
