package httpadapter_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

func TestRefreshingByHandIsBounded(t *testing.T) {
	s := newSite(t)
	const path = "/api/integrations/Graph/refresh"
	s.as(root).connect("Graph", "")
	s.as(alice).connect("Graph", "")
	before := s.tokenRequests()
	for n, who := range []string{alice, bob, alice, bob, alice, bob, alice} {
		w := s.as(who).post(path, "{}")
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.Equal(t, "active", object(t, w)["status"])
		require.Equal(t, before+min(n+1, 5), s.tokenRequests(), "what is as new as that stays")
	}
	require.Equal(t, http.StatusOK, s.as(root).post(path, "{}").Code)
	require.Equal(t, before+6, s.tokenRequests(), "another connection")
}

func TestRefreshingByHandIsRefusedWhileItFails(t *testing.T) {
	s := newSite(t)
	const path = "/api/integrations/Graph/refresh"
	s.as(alice).connect("Graph", "")
	before := s.tokenRequests()
	for range 5 {
		s.provider.Script(oauthtest.Refresh, oauthtest.Raw(http.StatusServiceUnavailable, "text/plain", ""))
		require.Equal(t, http.StatusServiceUnavailable, s.as(alice).post(path, "{}").Code)
	}
	w := s.as(bob).post(path, "{}")
	require.Equal(t, http.StatusTooManyRequests, w.Code, w.Body)
	require.Equal(t, "too-many-requests", object(t, w)["type"])
	require.Regexp(t, `^[1-9][0-9]?$`, w.Header().Get("Retry-After"))
	page := s.as(bob).post(path, "", asPage)
	require.Contains(t, page.Body.String(), "five times a minute")
	require.Equal(t, before+5, s.tokenRequests())
}

func TestRefreshingByHandWhatIsNotConnected(t *testing.T) {
	s := newSite(t)
	for range 7 {
		w := s.as(alice).post("/api/integrations/Graph/refresh", "{}")
		require.Equal(t, "not-connected", object(t, w)["type"], w.Body)
	}
}
