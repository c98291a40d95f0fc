package httpadapter_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever guesses at what is another organization's gets, byte by byte, the answer
// for what does not exist.
func TestGuessesAreAnsweredLikeNonsense(t *testing.T) {
	s := newSite(t)
	s.as(gina).connect("Graph", "")
	s.as(gina).connect("Warehouse", "")
	globexs := object(t, s.as(gina).post("/api/workflows/fail/execute", "{}"))["id"].(string)
	asked := s.tokenRequests()
	b := s.as(alice)
	routes := []struct{ method, path string }{
		{"GET", "/api/integrations/{}"},
		{"GET", "/api/integrations/{}/events"},
		{"GET", "/api/integrations/{}/connections"},
		{"POST", "/api/integrations/{}/refresh"},
		{"POST", "/api/integrations/{}/disconnect"},
		{"POST", "/api/integrations/{}/test"},
		{"POST", "/oauth/connect/{}"},
	}
	nonsense := b.get("/api/integrations/Nonsense").Body.String()
	same := func(method, path string) {
		t.Helper()
		w := b.send(method, path, "", header("Accept", "application/json"))
		require.Equal(t, http.StatusNotFound, w.Code, "%s %s: %s", method, path, w.Body)
		require.Equal(t, nonsense, w.Body.String(), "%s %s", method, path)
		require.Empty(t, w.Result().Cookies())
	}
	for _, route := range routes {
		for _, name := range []string{
			"Warehouse", warehouse().ID(), "globex:Warehouse", "graph", "GRAPH", "Graph%", "Gr_ph", "%", "' OR '1'='1", `"; --`, "Graph\x00", "Graph ",
			"\uff27raph", "Gra\u0301ph", strings.Repeat("G", 5000),
		} {
			same(route.method, strings.Replace(route.path, "{}", url.PathEscape(name), 1))
		}
		for _, org := range []string{
			"globex", "", "ACME", "Acme", "acme ", " acme", "acme\x00", "acme\x00globex", "acme%", "%", "_cme", "acm_", "acme/../globex",
			"acme' OR '1'='1", "acme;", "\uff41cme", "acme\u0301", "global", "*", strings.Repeat("a", 5000),
		} {
			same(route.method, strings.Replace(route.path, "{}", "Graph", 1)+"?org="+url.QueryEscape(org))
		}
	}
	for _, id := range []string{globexs, strings.ToUpper(globexs), globexs + "%", "%", "' OR '1'='1"} {
		same("GET", "/api/executions/"+url.PathEscape(id))
		same("GET", "/api/executions/"+url.PathEscape(id)+"/logs")
	}
	require.Equal(t, asked, s.tokenRequests())
	require.Equal(t, "own", object(t, s.as(gina).get("/api/integrations/Graph"))["connection"])
	require.Equal(t, "own", object(t, s.as(gina).get("/api/integrations/Warehouse"))["connection"])
	// An administrator's organization that only looks like one has nothing of it.
	require.Equal(t, "none", object(t, s.as(root).get("/api/integrations/Graph?org=GLOBEX"))["connection"])
}

// The redirect URI is BaseURL's, whatever a proxy or a stranger says the host is.
func TestRedirectURIComesFromConfiguration(t *testing.T) {
	s := newSite(t)
	lies := []option{
		host("evil.example"), header("X-Forwarded-Host", "evil.example"), header("X-Forwarded-Proto", "http"),
		header("X-Forwarded-Prefix", "/evil"), header("Forwarded", "host=evil.example;proto=http"), header("X-Original-URL", "/evil"),
	}
	w := s.as(alice).post("/oauth/connect/Graph", "{}", lies...)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	authorize := object(t, w)["authorization_url"].(string)
	require.Equal(t, base+"/oauth/callback/Graph", queryOf(t, authorize).Get("redirect_uri"))
	require.NotContains(t, w.Body.String(), "evil")
	for _, path := range []string{"/api/integrations/Graph", "/", "/oauth/connect/Graph"} {
		require.NotContains(t, s.as(alice).get(path, lies...).Body.String(), "evil", path)
	}
	w = s.as(alice).post("/api/workflows/wait/execute", `{"async":true}`, lies...)
	require.True(t, strings.HasPrefix(w.Header().Get("Location"), base+"/api/executions/"), w.Header())
}
