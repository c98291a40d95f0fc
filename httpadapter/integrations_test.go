package httpadapter_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
)

// The fields of an integration, by name: scripts rely on them.
func TestIntegrationFields(t *testing.T) {
	s := newSite(t)
	view := object(t, s.as(root).get("/api/integrations/Graph"))
	names := []string{
		"account", "connection", "definition", "description", "entity_id", "expires_at", "flow", "id", "last_error", "last_refresh_at", "name", "org",
		"redirect_uri", "scopes", "shadowed", "source", "status", "status_message", "updated_at",
	}
	require.Equal(t, names, keys(view))
	require.Equal(t, "Graph", view["name"])
	require.Equal(t, "Microsoft Graph", view["description"])
	require.Empty(t, view["org"])
	require.Equal(t, "code", view["source"])
	require.Equal(t, "authorization_code", view["flow"])
	require.Equal(t, base+"/oauth/callback/Graph", view["redirect_uri"])
	require.Equal(t, "not_connected", view["status"])
	require.Equal(t, "none", view["connection"])
	for _, name := range []string{"expires_at", "last_error", "last_refresh_at", "updated_at"} {
		require.Nil(t, view[name], name)
	}

	s.as(root).connect("Graph", "")
	view = object(t, s.as(root).get("/api/integrations/Graph"))
	require.Equal(t, names, keys(view))
	require.Equal(t, "active", view["status"])
	require.Equal(t, "own", view["connection"])
	require.Equal(t, "common", view["entity_id"])
	require.Equal(t, map[string]any{
		"requested": []any{"offline_access", "Directory.Read.All"}, "granted": []any{"offline_access", "Directory.Read.All"},
	}, view["scopes"])
	require.Equal(t, []string{"id", "name"}, keys(view["account"].(map[string]any)))
	expires, err := time.Parse(time.RFC3339, view["expires_at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), expires, time.Minute)
	require.Equal(t, time.UTC, expires.Location())
}

func TestRefreshAndDisconnect(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	w := b.post("/api/integrations/Graph/refresh", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-connected", object(t, w)["type"])

	s.as(root).connect("Graph", "")
	for _, action := range []string{"refresh", "disconnect"} {
		w = b.post("/api/integrations/Graph/"+action, "")
		require.Equal(t, http.StatusConflict, w.Code)
		require.Equal(t, "not-own-connection", object(t, w)["type"])
	}
	require.Equal(t, 1, s.tokenRequests(), "the shared connection is untouched")

	b.connect("Graph", "")
	w = b.post("/api/integrations/Graph/refresh", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.NotNil(t, object(t, w)["last_refresh_at"])
	require.Equal(t, 3, s.tokenRequests())

	w = b.post("/api/integrations/Graph/disconnect", "{}")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "pending", object(t, w)["revocation"])
	require.Equal(t, "fallback", object(t, w)["connection"], "what serves the organization from now on")

	var events map[string]any
	require.Eventually(t, func() bool { // nobody waits for the provider
		events = object(t, b.get("/api/integrations/Graph/events"))
		return events["items"].([]any)[0].(map[string]any)["what"] == "revoked"
	}, 10*time.Second, time.Millisecond)
	var what []string
	for _, item := range events["items"].([]any) {
		e := item.(map[string]any)
		require.Equal(t, []string{"account", "at", "id", "org", "reason", "user", "what", "who"}, keys(e))
		what = append(what, e["what"].(string)+" "+e["who"].(string))
	}
	require.Equal(t, []string{"revoked ", "disconnected alice"}, what[:2])
	require.Equal(t, "connected alice", what[len(what)-1])

	var paged []string
	for path := "/api/integrations/Graph/events?limit=1"; ; {
		page := object(t, b.get(path))
		for _, item := range page["items"].([]any) {
			paged = append(paged, item.(map[string]any)["what"].(string)+" "+item.(map[string]any)["who"].(string))
		}
		cursor := page["next_cursor"].(string)
		if cursor == "" {
			break
		}
		path = "/api/integrations/Graph/events?limit=1&cursor=" + cursor
	}
	require.Equal(t, what, paged)
}

func TestConnections(t *testing.T) {
	s := newSite(t)
	s.as(root).connect("Graph", "")
	s.as(alice).connect("Graph", "")
	s.as(gina).connect("Graph", "")
	orgs := func(who, query string) (list []any, next string) {
		w := s.as(who).get("/api/integrations/Graph/connections" + query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		page := object(t, w)
		for _, item := range page["items"].([]any) {
			c := item.(map[string]any)
			require.Equal(t, "active", c["status"])
			require.Equal(t, "own", c["connection"])
			list = append(list, c["key"].(map[string]any)["org"])
		}
		return list, page["next_cursor"].(string)
	}
	all, next := orgs(root, "")
	require.Equal(t, []any{"", "acme", "globex"}, all)
	require.Empty(t, next)
	own, _ := orgs(alice, "")
	require.Equal(t, []any{"acme"}, own, "a member sees nobody else's")

	first, next := orgs(root, "?limit=2")
	require.Equal(t, []any{"", "acme"}, first)
	rest, next := orgs(root, "?limit=2&cursor="+next)
	require.Equal(t, []any{"globex"}, rest)
	require.Empty(t, next)
	require.Equal(t, http.StatusUnprocessableEntity, s.as(root).get("/api/integrations/Graph/connections?cursor=x").Code)
}

// What the provider says decides between "later" and "a person must act".
func TestRefreshFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		step   oauthtest.Step
		status int
		kind   string
		then   string
		code   string
	}{
		{"down", oauthtest.Fail(http.StatusServiceUnavailable, "temporarily_unavailable", "back <soon>"), 503, "unavailable", "degraded", "temporarily_unavailable"},
		{"dead", oauthtest.Fail(http.StatusBadRequest, "invalid_grant", "password changed"), 409, "reauth-required", "reauth_required", "invalid_grant"},
		{"our client", oauthtest.Fail(http.StatusUnauthorized, "invalid_client", "secret expired"), 503, "unavailable", "degraded", "invalid_client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			b := s.as(alice)
			b.connect("Graph", "")
			s.provider.Script(oauthtest.Token, test.step)
			w := b.post("/api/integrations/Graph/refresh", "")
			require.Equal(t, test.status, w.Code, w.Body)
			p := object(t, w)
			require.Equal(t, test.kind, p["type"])
			require.NotEmpty(t, p["detail"])
			view := object(t, b.get("/api/integrations/Graph"))
			require.Equal(t, test.then, view["status"])
			failure := view["last_error"].(map[string]any)
			require.Equal(t, []string{"at", "code", "message"}, keys(failure))
			require.Equal(t, test.code, failure["code"])
			require.NotEmpty(t, view["status_message"])
		})
	}
}

func TestListsArePaged(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.empty = true })
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("I%d", i)
		want = append(want, name)
		require.NoError(t, s.bf.Integrations.Define(integrations.Definition{Name: name}))
	}
	require.NoError(t, s.bf.Integrations.Define(integrations.Definition{Name: "I3", Org: "acme"}))
	want = slices.Insert(want, 4, "I3")

	var got []string
	pages := 0
	for path := "/api/integrations?limit=2"; path != ""; pages++ {
		page := object(t, s.as(root).get(path))
		require.Equal(t, []string{"items", "next_cursor"}, keys(page))
		for _, item := range page["items"].([]any) {
			got = append(got, item.(map[string]any)["name"].(string))
		}
		path = ""
		if cursor := page["next_cursor"].(string); cursor != "" {
			path = "/api/integrations?limit=2&cursor=" + cursor
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, 4, pages)

	for _, query := range []string{"limit=0", "limit=-1", "limit=x", "limit=1.5", "limit=99999999999999999999", "cursor=%21"} {
		w := s.as(root).get("/api/integrations?" + query)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, query)
		require.NotEmpty(t, object(t, w)["errors"], query)
	}
	require.Equal(t, http.StatusOK, s.as(root).get("/api/integrations?limit=5000").Code, "more than there is to give is not wrong")
	require.Equal(t, http.StatusUnprocessableEntity, s.as(root).get("/api/integrations/I3/events?cursor=-1").Code)
}

func TestEmptyLists(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.empty = true })
	for _, path := range []string{"/api/integrations", "/api/workflows", "/api/executions"} {
		require.JSONEq(t, `{"items": [], "next_cursor": ""}`, s.as(root).get(path).Body.String(), path)
	}
}

func keys(m map[string]any) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
