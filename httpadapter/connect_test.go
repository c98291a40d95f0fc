package httpadapter_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConnect(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	w := b.post("/oauth/connect/Graph", `{"return_to":"/done"}`)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	answer := object(t, w)
	require.Len(t, answer, 2)
	expires, err := time.Parse(time.RFC3339, answer["expires_at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), expires, time.Minute)
	require.Contains(t, w.Body.String(), "&state=", "readable without a JSON parser")

	authorize := answer["authorization_url"].(string)
	require.True(t, strings.HasPrefix(authorize, provider+"/common/oauth2/v2.0/authorize?"), authorize)
	query := queryOf(t, authorize)
	require.Equal(t, base+"/oauth/callback/Graph", query.Get("redirect_uri"))
	require.Equal(t, "S256", query.Get("code_challenge_method"))

	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.Regexp(t, `^__Host-bifrost_flow_[0-9a-f]{8}$`, c.Name)
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	require.Equal(t, 600, c.MaxAge)
	require.Len(t, c.Value, 43)

	require.Equal(t, "connecting", object(t, b.get("/api/integrations/Graph"))["status"])
	w = b.get(b.consent(authorize))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, base+"/done", w.Header().Get("Location"))
	require.Empty(t, w.Body.String(), "no page that repeats the address")
	require.Equal(t, "active", object(t, b.get("/api/integrations/Graph"))["status"])
}

func TestConnectOnLoopback(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.base = "http://localhost:8080" })
	w := s.as(root).post("/oauth/connect/Graph", "{}")
	c := w.Result().Cookies()[0]
	require.Regexp(t, `^bifrost_flow_[0-9a-f]{8}$`, c.Name)
	require.False(t, c.Secure)
}

// A browser's form: 303 to the provider, which the page's policy must allow.
func TestConnectForm(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	page := b.get("/oauth/connect/Graph?org=acme&return_to=/done", asPage)
	require.Equal(t, http.StatusOK, page.Code)
	require.Contains(t, page.Body.String(), `<form method="post" action="/oauth/connect/Graph?org=acme">`)
	require.Contains(t, page.Body.String(), `name="return_to" value="/done"`)
	require.Contains(t, page.Body.String(), "login.oauthtest.example")
	require.Equal(t, "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+provider, page.Header().Get("Content-Security-Policy"))
	require.Empty(t, b.cookies)

	w := b.post("/oauth/connect/Graph?org=acme", "return_to=%2Fdone", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.True(t, strings.HasPrefix(w.Header().Get("Location"), provider+"/"))
	require.Equal(t, base+"/done", b.get(b.consent(w.Header().Get("Location"))).Header().Get("Location"))
	require.Equal(t, "own", object(t, b.get("/api/integrations/Graph?org=acme"))["connection"])
	require.Equal(t, "none", object(t, b.get("/api/integrations/Graph"))["connection"])
}

// Without return_to the callback leads to Bifrost's own page, in the right view,
// which says what has happened, once.
func TestBackOnOurOwnPage(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	w := b.get(b.consent(b.start("/oauth/connect/Graph?org=acme", "{}")))
	require.Equal(t, base+"/?org=acme", w.Header().Get("Location"))
	require.Contains(t, b.get("/?org=acme").Body.String(), "Graph is connected.")
	require.NotContains(t, b.get("/?org=acme").Body.String(), "Graph is connected.")

	b = s.as(alice)
	w = b.get(b.consent(b.start("/oauth/connect/Graph?org=acme", "{}")))
	require.Equal(t, base+"/", w.Header().Get("Location"), "members have one view")
}

func TestWhatCannotBeConnected(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ name, kind, says string }{
		{"Plain", "not-interactive", "no authorization code flow"},
		{"Unset", "invalid-definition", "entity_id"},
	} {
		w := s.as(root).post("/oauth/connect/"+test.name, "{}")
		require.Equal(t, http.StatusConflict, w.Code, w.Body)
		require.Equal(t, test.kind, object(t, w)["type"])
		require.Contains(t, object(t, w)["detail"], test.says)
		require.Empty(t, w.Result().Cookies())
		require.Equal(t, http.StatusConflict, s.as(root).get("/oauth/connect/"+test.name).Code)
	}
}
