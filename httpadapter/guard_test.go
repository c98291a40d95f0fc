package httpadapter_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/httpadapter"
)

func TestHost(t *testing.T) {
	local := func(c *siteConfig) { c.base = "http://localhost:8080" }
	https := func(c *siteConfig) { c.base = "https://app.example.com/bifrost" }
	checked := func(c *siteConfig) { c.base, c.adapter.CheckHost = "https://app.example.com/bifrost", true }
	for _, test := range []struct {
		name, host, method, path string
		change                   func(*siteConfig)
		status                   int
		location                 string
	}{
		{"loopback, right", "localhost:8080", "GET", "/", local, 200, ""},
		{"loopback, other case", "LOCALHOST:8080", "GET", "/", local, 200, ""},
		{"loopback, other name for it", "127.0.0.1:8080", "GET", "/", local, 307, "http://localhost:8080/"},
		{"page with a query", "127.0.0.1:8080", "GET", "/workflows?org=acme", local, 307, "http://localhost:8080/workflows?org=acme"},
		{"callback", "127.0.0.1:8080", "GET", "/oauth/callback/Graph?state=a&code=b", local, 307, "http://localhost:8080/oauth/callback/Graph?state=a&code=b"},
		{"no open redirect", "evil.example", "GET", "//evil.example/x", local, 307, "http://localhost:8080//evil.example/x"},
		{"rebinding, API", "evil.example", "GET", "/api/integrations", local, 421, ""},
		{"rebinding, other port", "localhost:9090", "GET", "/api/integrations", local, 421, ""},
		{"rebinding, no port", "localhost", "GET", "/api/integrations", local, 421, ""},
		{"rebinding, empty", "", "GET", "/api/integrations", local, 421, ""},
		{"rebinding, change", "evil.example", "POST", "/oauth/connect/Graph", local, 421, ""},
		{"rebinding, definition", "evil.example", "DELETE", "/api/integrations/Graph", local, 421, ""},
		{"rebinding, config", "evil.example", "PATCH", "/api/integrations/Plain/config", local, 421, ""},
		{"rebinding, unknown route", "evil.example", "POST", "/api/nope", local, 421, ""},
		{"not checked behind a proxy", "10.0.0.7:8080", "GET", "/bifrost/api/integrations", https, 200, ""},
		{"checked on request", "10.0.0.7:8080", "GET", "/bifrost/api/integrations", checked, 421, ""},
		{"checked, page", "10.0.0.7:8080", "GET", "/bifrost/workflows", checked, 307, "https://app.example.com/bifrost/workflows"},
		{"the scheme's own port", "app.example.com:443", "GET", "/bifrost/api/integrations", checked, 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.change)
			w := s.as(root).send(test.method, "http://placeholder"+test.path, "", host(test.host))
			require.Equal(t, test.status, w.Code, w.Body)
			require.Equal(t, test.location, w.Header().Get("Location"))
		})
	}
}

func TestCrossSite(t *testing.T) {
	s := newSite(t)
	changes := []string{
		"POST /oauth/connect/Graph", "POST /api/integrations/Graph/refresh", "POST /api/integrations/Graph/disconnect",
		"POST /api/workflows/fail/execute", "POST /api/integrations", "PATCH /api/integrations/Graph", "DELETE /api/integrations/Graph",
		"POST /api/integrations/Graph/test", "PUT /api/integrations/Graph/mappings/acme", "DELETE /api/integrations/Graph/mappings/acme",
		"PATCH /api/integrations/Graph/config",
	}
	for _, test := range []struct {
		name   string
		opts   []option
		denied bool
	}{
		{"another site", []option{header("Sec-Fetch-Site", "cross-site")}, true},
		{"a sibling domain", []option{header("Sec-Fetch-Site", "same-site")}, true},
		{"another origin, old browser", []option{header("Origin", "https://evil.example")}, true},
		{"origin null, old browser", []option{header("Origin", "null")}, true},
		{"same host over http, claimed by a new browser", []option{header("Sec-Fetch-Site", "cross-site"), header("Origin", "http://app.example.com")}, true},
		{"ours", []option{header("Sec-Fetch-Site", "same-origin")}, false},
		{"typed", []option{header("Sec-Fetch-Site", "none")}, false},
		{"ours, behind a proxy that changes Host", []option{header("Origin", base), host("10.0.0.7")}, false},
		{"a script", nil, false},
	} {
		for _, route := range changes {
			method, path, _ := strings.Cut(route, " ")
			w := s.as(root).send(method, path, "{}", test.opts...)
			require.Equal(t, test.denied, w.Code == http.StatusForbidden, "%s %s: %d %s", test.name, route, w.Code, w.Body)
			if test.denied {
				require.Empty(t, w.Result().Cookies())
				require.Contains(t, w.Body.String(), "Another site")
			}
		}
	}
	// Reading from elsewhere is the browser's to forbid: there is no CORS header.
	w := s.as(alice).get("/api/integrations", header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site"))
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
	// And starting by a link starts nothing.
	w = s.as(gina).get("/oauth/connect/Graph", header("Sec-Fetch-Site", "cross-site"))
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Result().Cookies())
	require.Equal(t, "not_connected", object(t, s.as(gina).get("/api/integrations/Graph"))["status"], "not even connecting")
}

func TestMethods(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ method, path, allow string }{
		{"DELETE", "/api/integrations", "GET, HEAD, POST"},
		{"PATCH", "/api/integrations", "GET, HEAD, POST"},
		{"PUT", "/api/integrations/Graph", "GET, HEAD, PATCH, DELETE"},
		{"GET", "/api/integrations/Graph/test", "POST"},
		{"POST", "/api/integrations/Graph/mappings", "GET, HEAD"},
		{"GET", "/api/integrations/Graph/mappings/acme", "PUT, DELETE"},
		{"HEAD", "/api/integrations/Graph/mappings/acme", "PUT, DELETE"},
		{"PUT", "/api/integrations/Graph/config", "GET, HEAD, PATCH"},
		{"POST", "/api/schema/definition.json", "GET, HEAD"},
		{"DELETE", "/api/orgs", "GET, HEAD"},
		{"GET", "/api/integrations/Graph/refresh", "POST"},
		{"GET", "/api/integrations/Graph/disconnect", "POST"},
		{"GET", "/api/workflows/fail/execute", "POST"},
		{"POST", "/api/executions", "GET, HEAD"},
		{"PUT", "/oauth/connect/Graph", "GET, HEAD, POST"},
		{"POST", "/oauth/callback/Graph", "GET"},
		{"HEAD", "/oauth/callback/Graph", "GET"},
		{"OPTIONS", "/api/integrations", "GET, HEAD, POST"},
		{"POST", "/", "GET, HEAD"},
		{"TRACE", "/nope", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
	} {
		w := s.as(root).send(test.method, test.path, "")
		require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", test.method, test.path)
		require.Equal(t, test.allow, w.Header().Get("Allow"), "%s %s", test.method, test.path)
	}
	for _, path := range []string{
		"/api/integrations", "/api/integrations/Graph", "/api/integrations/Graph/mappings", "/api/integrations/Graph/config",
		"/api/schema/definition.json", "/api/orgs",
	} {
		require.Equal(t, http.StatusOK, s.as(root).send("HEAD", path, "").Code, path)
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{
		"/api", "/api/", "/api//integrations", "/api/integrations/", "/api/./integrations", "/api/x/../integrations",
		"/api/integrations/Graph/mappings/", "/api/schema", "/api/schema/other.json", "/api/integrations/Graph%2f..%2fDrive", "/api/integrations/%00", "/api/integrations/..%2f",
		"/api/integrations/graph", "/api/integrations/Graph%20", "/api/workflows/fail", "/api/executions/%2e%2e", "/workflows/", "//", "/favicon.ico",
		"/oauth/assets/other.css", "/oauth/connect/", "/oauth",
	} {
		w := s.as(root).get(path)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		require.Equal(t, strings.HasPrefix(path, "/api"), w.Header().Get("Content-Type") == "application/problem+json", path)
	}
}

func TestBodies(t *testing.T) {
	s := newSite(t)
	big := `{"input":{"text":"` + strings.Repeat("a", 1<<20) + `"}}`
	for _, test := range []struct {
		name, path, body, media string
		status                  int
		says                    string
	}{
		{"too large", "/api/workflows/echo/execute", big, "application/json", 413, "1048576 bytes"},
		{"too large for a connect", "/oauth/connect/Graph", big[:70<<10], "application/json", 413, "65536 bytes"},
		{"too large a form", "/oauth/connect/Graph", "return_to=/" + big[:70<<10], "application/x-www-form-urlencoded", 413, "65536 bytes"},
		{"not JSON", "/api/workflows/echo/execute", "{", "application/json", 400, "one JSON object"},
		{"two values", "/api/workflows/echo/execute", "{}{}", "application/json", 400, "one JSON object"},
		{"null", "/api/workflows/echo/execute", "null", "application/json", 400, "one JSON object"},
		{"array", "/api/workflows/echo/execute", "[]", "application/json", 400, "one JSON object"},
		{"curl -d without a header", "/api/workflows/echo/execute", `{"input":{}}`, "application/x-www-form-urlencoded", 400, "Content-Type: application/json"},
		{"XML", "/api/workflows/echo/execute", "<a/>", "application/xml", 400, "Content-Type: application/json"},
		{"broken media type", "/api/workflows/echo/execute", "{}", ";;", 400, "Content-Type: application/json"},
		{"form field twice", "/oauth/connect/Graph", "return_to=/&return_to=/a", "application/x-www-form-urlencoded", 400, "twice"},
		{"other JSON media type", "/api/workflows/fail/execute", "{}", "application/vnd.api+json; charset=utf-8", 200, "failed"},
		{"no body", "/api/workflows/fail/execute", "", "", 200, "failed"},
		{"unknown field", "/oauth/connect/Graph", `{"Return_To":"/"}`, "application/json", 422, "Return_To"},
		{"unknown field of a refresh", "/api/integrations/Graph/refresh", `{"org":"globex"}`, "application/json", 422, "org"},
		{"unknown field of a test", "/api/integrations/Graph/test", `{"test_url":"https://evil.example"}`, "application/json", 422, "test_url"},
		{"number for a string", "/oauth/connect/Graph", `{"return_to":7}`, "application/json", 422, "return_to"},
	} {
		w := s.as(root).post(test.path, test.body, header("Content-Type", test.media), header("Accept", "application/json"))
		require.Equal(t, test.status, w.Code, "%s: %s", test.name, w.Body)
		require.Contains(t, w.Body.String(), test.says, test.name)
	}
}

func TestNegotiation(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		name   string
		accept string
		json   bool
	}{
		{"curl", "*/*", false},
		{"browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		{"script", "application/json", true},
		{"script that takes anything", "application/json, text/plain, */*", true},
		{"rather HTML", "text/html, application/json;q=0.5", false},
		{"rather JSON", "text/html;q=0.5, application/json", true},
		{"anything but JSON", "application/json;q=0", false},
		{"nonsense", ";;,,q=;application/json", false},
	} {
		w := s.as(alice).post("/oauth/connect/Graph", "", header("Accept", test.accept))
		want := http.StatusSeeOther
		if test.json {
			want = http.StatusOK
		}
		require.Equal(t, want, w.Code, test.name)
	}
}

func TestConfigurationMistakes(t *testing.T) {
	s := newSite(t)
	require.PanicsWithValue(t, "httpadapter: New needs a *bifrost.Bifrost, from bifrost.New", func() {
		httpadapter.New(nil, httpadapter.Config{})
	})
	for _, origin := range []string{"", "/", "example.com", "https://", "https://a.example/", "https://a.example/x", "javascript:alert(1)",
		"https://*.example", "https://user@a.example", "https://a.example?x", "HTTPS://a.example\\"} {
		require.Panics(t, func() {
			httpadapter.New(s.bf, httpadapter.Config{ReturnOrigins: []string{origin}})
		}, origin)
	}
	for _, origin := range []string{"", "*", "https://", "https://*", "https://a b", "https://a.example/x", "https://a.example;script-src *", "'self'", "https:"} {
		require.Panics(t, func() {
			httpadapter.New(s.bf, httpadapter.Config{FormOrigins: []string{origin}})
		}, origin)
	}
}
