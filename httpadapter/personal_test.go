package httpadapter_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rows lists the connections that somebody sees, as org/user/account.
func (b *browser) rows(query string) (list []string) {
	b.t.Helper()
	w := b.get("/api/integrations/Graph/connections" + query)
	require.Equal(b.t, http.StatusOK, w.Code, w.Body)
	for _, item := range object(b.t, w)["items"].([]any) {
		key := item.(map[string]any)["key"].(map[string]any)
		list = append(list, key["org"].(string)+"/"+key["user"].(string)+"/"+key["account"].(string))
	}
	return list
}

func TestPersonalConnections(t *testing.T) {
	s := newSite(t)
	a, b, admin := s.as(alice), s.as(bob), s.as(root)
	a.connect("Graph", "")
	a.connect("Graph", "?user=me")
	a.connect("Graph", "?user=alice&account=sales")
	b.connect("Graph", "?user=bob")
	b.connect("Graph", "?account=shop")
	admin.connect("Graph", "?user=me")
	admin.connect("Graph", "?org=globex&user=gina")

	require.Equal(t, []string{"acme//", "acme//shop", "acme/alice/", "acme/alice/sales"}, a.rows(""))
	require.Equal(t, []string{"acme/alice/", "acme/alice/sales"}, a.rows("?user=me"))
	require.Equal(t, []string{"acme/alice/sales"}, a.rows("?user=alice&account=sales"))
	require.Equal(t, []string{"acme//", "acme//shop", "acme/bob/"}, b.rows(""))
	require.Equal(t, []string{"globex/gina/"}, s.as(gina).rows("?user=me"))
	require.Equal(t, []string{"/root/", "acme//", "acme//shop", "acme/alice/", "acme/alice/sales", "acme/bob/", "globex/gina/"}, admin.rows(""))
	require.Equal(t, []string{"acme/bob/"}, admin.rows("?org=acme&user=bob"))

	// The history names whose it was, and members see no other user's.
	for who, want := range map[string][]string{
		alice: {"/shop", "alice/sales", "alice/", "/"}, bob: {"/shop", "bob/", "/"}, root: {"gina/", "root/", "/shop", "bob/", "alice/sales", "alice/", "/"},
	} {
		var seen []string
		for path := "/api/integrations/Graph/events?limit=2"; path != ""; {
			page := object(t, s.as(who).get(path))
			for _, item := range page["items"].([]any) {
				e := item.(map[string]any)
				seen = append(seen, e["user"].(string)+"/"+e["account"].(string))
			}
			path = ""
			if cursor := page["next_cursor"].(string); cursor != "" {
				path = "/api/integrations/Graph/events?limit=2&cursor=" + cursor
			}
		}
		require.Equal(t, want, seen, who)
	}

	// One at a time: what is done to one leaves the others.
	require.Equal(t, "own", object(t, a.get("/api/integrations/Graph?user=me"))["connection"])
	require.Equal(t, "none", object(t, a.get("/api/integrations/Graph?account=nope"))["connection"], "nothing falls back from it")
	require.Equal(t, http.StatusOK, a.post("/api/integrations/Graph/refresh?user=me", "").Code)
	require.Equal(t, http.StatusOK, a.post("/api/integrations/Graph/test?user=me", "").Code)
	w := a.post("/api/integrations/Graph/disconnect?user=me", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "none", object(t, w)["connection"])
	require.Equal(t, []string{"acme//", "acme//shop", "acme/alice/sales"}, a.rows(""))
	require.Equal(t, []string{"acme//", "acme//shop", "acme/bob/"}, b.rows(""))
}

// Another user's connection answers as one that does not exist, byte by byte.
func TestOtherUsersAreUnknown(t *testing.T) {
	s := newSite(t)
	s.as(bob).connect("Graph", "?user=bob")
	asked := s.tokenRequests()
	b := s.as(alice)
	nonsense := b.get("/api/integrations/Nonsense").Body.String()
	for _, user := range []string{"bob", "BOB", "Alice", "alice ", "root", "nobody", "me2", "*", "%", "' OR '1'='1", "\uff41lice", "ali\u200bce"} {
		for _, route := range []struct{ method, path string }{
			{"GET", "/api/integrations/Graph"}, {"GET", "/api/integrations/Graph/connections"}, {"POST", "/api/integrations/Graph/refresh"},
			{"POST", "/api/integrations/Graph/disconnect"}, {"POST", "/api/integrations/Graph/test"}, {"POST", "/oauth/connect/Graph"},
			{"GET", "/oauth/connect/Graph"}, {"GET", "/"},
		} {
			w := b.send(route.method, route.path+"?user="+url.QueryEscape(user), "", header("Accept", "application/json"))
			require.Equal(t, http.StatusNotFound, w.Code, "%s %s %s", route.method, route.path, user)
			require.Equal(t, nonsense, w.Body.String())
			require.Empty(t, w.Result().Cookies())
		}
	}
	for query, status := range map[string]int{
		"user=": 422, "account=": 422, "user=me&account=": 422, "user=a%00": 422, "account=a%0a": 422, "account=%ff": 422,
		"account=" + strings.Repeat("a", 257): 422, "user=" + strings.Repeat("a", 257): 422,
		"user=me&user=me": 400, "account=a&account=b": 400, "user=me&user=bob": 400,
	} {
		for _, who := range []string{alice, root} {
			w := s.as(who).get("/api/integrations/Graph?" + query)
			require.Equal(t, status, w.Code, "%s as %s", query, who)
			checkAnswer(t, w, "/api/integrations/Graph")
		}
	}
	w := b.get("/api/integrations/Graph?user=me&account=")
	require.Equal(t, "account", object(t, w)["errors"].([]any)[0].(map[string]any)["field"])
	require.Equal(t, asked, s.tokenRequests())

	// A cursor that was made up leads to nothing of others.
	w = b.get("/api/integrations/Graph/connections?cursor=eyJvcmciOiJhY21lIiwidXNlciI6ImEifQ")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, object(t, w)["items"])
}

// A link that an error gives out (ConnectURL) leads through all pages to the
// connection that it names.
func TestConnectingPersonally(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	page := b.get("/oauth/connect/Graph?account=sales&org=acme&user=alice", asPage)
	require.Equal(t, http.StatusOK, page.Code)
	checkPage(t, page)
	require.Contains(t, page.Body.String(), `action="/oauth/connect/Graph?account=sales&amp;user=alice"`)
	require.Contains(t, page.Body.String(), "<b><bdi>alice, sales</bdi></b> alone")

	w := b.post("/oauth/connect/Graph?account=sales&user=alice", "", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	denied := b.get(b.deny(w.Header().Get("Location")), asPage)
	require.Equal(t, http.StatusBadRequest, denied.Code)
	require.Contains(t, denied.Body.String(), "Try again")
	require.Contains(t, denied.Body.String(), `action="/oauth/connect/Graph?account=sales&amp;user=alice"`)

	w = b.post("/oauth/connect/Graph?account=sales&user=alice", "", asPage)
	done := b.get(b.consent(w.Header().Get("Location")), asPage)
	require.Equal(t, base+"/?account=sales&user=alice", done.Header().Get("Location"))
	require.Equal(t, []string{"acme/alice/sales"}, b.rows(""))
	page = b.get("/?account=sales&user=alice", asPage)
	checkPage(t, page)
	require.Contains(t, page.Body.String(), "Graph is connected.")
	require.Contains(t, page.Body.String(), `action="/api/integrations/Graph/disconnect?account=sales&amp;user=alice"`)
	require.NotContains(t, b.get("/", asPage).Body.String(), "/disconnect", "the organization has none")
	w = b.post("/api/integrations/Graph/disconnect?account=sales&user=alice", "", asPage)
	require.Equal(t, "/?account=sales&user=alice", w.Header().Get("Location"))
	require.Empty(t, b.rows(""))

	// A flow for a user is that user's to finish, as a member; an administrator may
	// have begun it, for himself to finish.
	admin := s.as(root)
	w = admin.get(admin.consent(admin.start("/oauth/connect/Graph?org=acme&user=bob", "{}")))
	require.Equal(t, base+"/?org=acme&user=bob", w.Header().Get("Location"))
	was := s.as(root)
	callback := was.consent(was.start("/oauth/connect/Graph?org=acme&user=gina", "{}"))
	was.who = "root acme member" // the role is another one by now
	w = was.get(callback, asPage)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.NotContains(t, w.Body.String(), "gina")
	require.Equal(t, []string{"acme/bob/"}, s.as(root).rows("?org=acme"))
}
