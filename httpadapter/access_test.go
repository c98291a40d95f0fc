package httpadapter_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/httpadapter"
)

// Routes × principals. The world: Graph is connected globally and for acme, Drive
// globally only (so acme is served by the fallback), and an execution of
// fail exists for acme and for globex, and one of echo, which is for administrators,
// for acme.
func TestRoutesByPrincipal(t *testing.T) {
	s := newSite(t)
	s.as(root).connect("Graph", "")
	s.as(root).connect("Graph", "?org=acme")
	s.as(root).connect("Drive", "")
	run := func(org string) string {
		w := s.as(root).post("/api/workflows/fail/execute?org="+org, "{}")
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		id, _ := object(t, w)["id"].(string)
		return id
	}
	acmes, globexs := run("acme"), run("globex")
	delayed, _ := object(t, s.as(root).post("/api/workflows/echo/execute?org=acme",
		`{"input":{"text":"a"},"async":true,"run_at":"2100-01-01T00:00:00Z"}`))["id"].(string)

	closed := httpadapter.New(s.bf, httpadapter.Config{})
	columns := []struct {
		name, who string
		query     string
		handler   *httpadapter.Handler
	}{
		{"nil hook", alice, "", closed},
		{"nobody", nobody, "", nil},
		{"hook fails", "fault", "", nil},
		{"user without role", "eve acme none", "", nil},
		{"member without org", "eve  member", "", nil},
		{"member", alice, "", nil},
		{"member, own org said", alice, "org=acme", nil},
		{"member, other org said", alice, "org=globex", nil},
		{"member, empty org said", alice, "org=", nil},
		{"member of an impossible org", "eve a/b member", "", nil},
		{"admin", root, "", nil},
		{"admin for acme", root, "org=acme", nil},
		{"admin, empty org", root, "org=", nil},
		{"admin, impossible org", root, "org=a%00b", nil},
		{"admin, dots", root, "org=..", nil},
		{"admin, org twice", root, "org=acme&org=globex", nil},
	}
	rows := []struct {
		method, path, body string
		want               []int // by column
	}{
		//                                                            nil nob flt rol noo mem own oth emp imp adm acm emp imp dot two
		{"GET", "/api/integrations", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Nope", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Warehouse", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph/events", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph/connections", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		// A member can name no user but himself, by whatever route.
		{"GET", "/api/integrations/Graph?user=me", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph?user=alice&account=a", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph?user=", "", []int{401, 401, 503, 403, 401, 422, 422, 404, 404, 404, 422, 422, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Graph/connections?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/refresh?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/refresh?user=me", "", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/disconnect?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/test?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"GET", "/oauth/connect/Graph?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/oauth/connect/Graph?user=bob", "{}", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/oauth/connect/Graph?user=me", "{}", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/?user=bob", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		// For administrators: members do not even learn which integrations there are.
		{"POST", "/api/integrations", `{"name":"Made"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 201, 201, 404, 404, 404, 400}},
		{"POST", "/api/integrations", `{"name":"Made"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations", `{"name":"Graph"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 201, 404, 404, 404, 400}},
		{"POST", "/api/integrations", `{"name":"Theirs","org":"globex"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 201, 422, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Graph", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 200, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Graph", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"PATCH", "/api/integrations/Made", `{"description":"a"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"PATCH", "/api/integrations/Graph", `{"description":"a"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"PATCH", "/api/integrations/Nope", `{"description":"a"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Made", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Made", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Unset/mappings", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"PUT", "/api/integrations/Unset/mappings/acme", `{"entity_id":"a"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"PUT", "/api/integrations/Unset/mappings/globex", `{"entity_id":"a"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 422, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Unset/mappings/acme", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 204, 404, 404, 404, 404, 400}},
		{"DELETE", "/api/integrations/Unset/mappings/globex", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 204, 422, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Plain/config", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/integrations/Nope/config", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"PATCH", "/api/integrations/Plain/config", `{"region":"us"}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/orgs", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/schema/definition.json", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/workflows", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/executions", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/executions/" + acmes, "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/executions/" + acmes + "/logs", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/api/executions/" + globexs, "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 404, 404, 404, 404, 400}},
		{"GET", "/api/executions/" + globexs + "/logs", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 404, 404, 404, 404, 400}},
		{"GET", "/api/executions/nonsense", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"POST", "/api/workflows/fail/execute", "{}", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/workflows/echo/execute", `{"input":{"text":"a"}}`, []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/workflows/nope/execute", "{}", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + acmes + "/cancel", "", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + acmes + "/retry", "", []int{401, 401, 503, 403, 401, 202, 202, 404, 404, 404, 202, 202, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + globexs + "/cancel", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 409, 404, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + globexs + "/retry", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 202, 404, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + delayed + "/retry", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/executions/" + delayed + "/cancel", "", []int{401, 401, 503, 403, 401, 403, 403, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/executions/nonsense/cancel", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"GET", "/", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/workflows", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/executions/" + acmes, "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"GET", "/executions/" + globexs, "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 200, 404, 404, 404, 404, 400}},
		{"GET", "/oauth/connect/Graph", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/oauth/connect/Graph", "{}", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/oauth/connect/Warehouse", "{}", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		{"POST", "/oauth/connect/Plain", "{}", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Nope/refresh", "", []int{401, 401, 503, 403, 401, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 400}},
		// Served by the fallback: not acme's to change, whoever asks for acme.
		{"POST", "/api/integrations/Drive/refresh", "", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 200, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Drive/disconnect", "", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 200, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/refresh", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Drive/test", "", []int{401, 401, 503, 403, 401, 409, 409, 404, 404, 404, 409, 409, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/test", "", []int{401, 401, 503, 403, 401, 200, 200, 404, 404, 404, 200, 200, 404, 404, 404, 400}},
		{"POST", "/api/integrations/Graph/disconnect", "", []int{401, 401, 503, 403, 401, 200, 409, 404, 404, 404, 200, 409, 404, 404, 404, 400}},
		// Open to everybody, and telling nobody anything.
		{"GET", "/api/nope", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404}},
		{"GET", "/nope", "", []int{404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404}},
		// The callback looks at the flow before anything else; a hook that fails, or
		// none, ends it before that.
		{"GET", "/oauth/callback/Graph", "", []int{401, 400, 503, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400}},
	}
	for _, row := range rows {
		for i, column := range columns {
			b := s.as(column.who)
			if column.handler != nil {
				other := *s
				other.handler = column.handler
				b = other.as(column.who)
			}
			path := row.path
			if column.query != "" {
				separator := "?"
				if strings.Contains(path, "?") {
					separator = "&"
				}
				path += separator + column.query
			}
			w := b.send(row.method, path, row.body)
			require.Equal(t, row.want[i], w.Code, "%s %s as %s: %s", row.method, path, column.name, w.Body)
			checkAnswer(t, w, row.path)
		}
	}
	require.NotContains(t, s.log.String(), "panic")
}

// checkAnswer checks what is true of every answer.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, path string) {
	t.Helper()
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; script-src 'self'; "+
		"img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
	media := w.Header().Get("Content-Type")
	switch {
	case strings.HasPrefix(path, "/api/") && w.Code >= 400:
		require.Equal(t, "application/problem+json", media)
		p := object(t, w)
		require.EqualValues(t, w.Code, p["status"])
		require.NotEmpty(t, p["type"])
		require.NotEmpty(t, p["title"])
		require.NotEmpty(t, p["detail"])
	case w.Code == http.StatusNoContent:
		require.Empty(t, w.Body.String())
	case strings.HasPrefix(path, "/api/schema/"):
		require.Equal(t, "application/schema+json", media)
	case strings.HasPrefix(path, "/api/"):
		require.Equal(t, "application/json", media)
	}
	if w.Code == http.StatusServiceUnavailable {
		require.NotEmpty(t, w.Header().Get("Retry-After"))
		require.NotContains(t, w.Body.String(), "canary")
	}
}

// A nil hook is said once, loudly.
func TestNilHookWarnsOnce(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.adapter.Principal = nil })
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, s.as(root).get("/api/integrations").Code)
	}
	require.Equal(t, 1, strings.Count(s.log.String(), "Config.Principal is nil"))
}

func TestUnauthenticatedIsTheHosts(t *testing.T) {
	s := newSite(t, func(c *siteConfig) {
		c.adapter.Unauthenticated = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login", http.StatusFound)
		})
	})
	w := s.as(nobody).get("/")
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "/login", w.Header().Get("Location"))
	require.Empty(t, w.Header().Get("Content-Security-Policy"), "the host's page has its own policy")
	require.Equal(t, http.StatusForbidden, s.as("eve acme none").get("/").Code, "signed in, but not allowed")
	require.Equal(t, http.StatusBadRequest, s.as(nobody).get("/oauth/callback/Graph").Code)
}

// Members learn of a fallback that it serves them, and nothing else.
func TestMembersSeeOfAFallbackThatItExists(t *testing.T) {
	s := newSite(t)
	s.as(root).connect("Graph", "")
	secret := []string{"alice@acme.example", "entity_id\":\"common", "Directory.Read.All"}

	w := s.as(alice).get("/api/integrations/Graph")
	view := object(t, w)
	require.Equal(t, "fallback", view["connection"])
	require.Equal(t, "active", view["status"])
	require.Empty(t, view["entity_id"])
	require.Nil(t, view["expires_at"])
	require.Nil(t, view["last_error"])
	for _, path := range []string{"/api/integrations/Graph", "/api/integrations/Graph/connections", "/oauth/connect/Graph"} {
		for _, text := range secret {
			require.NotContains(t, s.as(alice).get(path).Body.String(), text, path)
		}
	}
	events := object(t, s.as(alice).get("/api/integrations/Graph/events"))
	require.Empty(t, events["items"])

	require.Equal(t, "own", object(t, s.as(root).get("/api/integrations/Graph"))["connection"])
	require.Equal(t, "common", object(t, s.as(root).get("/api/integrations/Graph?org=acme"))["entity_id"], "administrators see it")
}

// Two organizations and one name: each sees its own.
func TestOrganizationsOwnIntegration(t *testing.T) {
	s := newSite(t)
	view := object(t, s.as(gina).get("/api/integrations/Warehouse"))
	require.Equal(t, "globex", view["org"])
	require.Equal(t, base+"/oauth/callback/"+warehouse().ID(), view["redirect_uri"])
	s.as(gina).connect("Warehouse", "")
	require.Equal(t, "own", object(t, s.as(gina).get("/api/integrations/Warehouse"))["connection"])

	names := func(who, query string) (list []string) {
		items, _ := object(t, s.as(who).get("/api/integrations"+query))["items"].([]any)
		for _, item := range items {
			m, _ := item.(map[string]any)
			name, _ := m["name"].(string)
			list = append(list, name)
		}
		return list
	}
	require.Equal(t, []string{"Drive", "Graph", "Plain", "Unset"}, names(alice, ""))
	require.Equal(t, []string{"Drive", "Graph", "Plain", "Unset", "Warehouse"}, names(gina, ""))
	require.Equal(t, []string{"Drive", "Graph", "Plain", "Unset", "Warehouse"}, names(root, ""))
}
