package oauthtest_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Each policy as a story: which refresh token is presented when, and what comes
// of it. Token 0 is the first; every success that returns a token numbers it on.
func TestRotation(t *testing.T) {
	type step struct {
		after   time.Duration
		present int
		want    string // "new", "same" as the newest, "none", or "dead"
	}
	for _, test := range []struct {
		name     string
		rotation oauthtest.Rotation
		steps    []step
		revoked  string
	}{
		{"strict", oauthtest.Strict, []step{{0, 0, "new"}, {0, 1, "new"}, {time.Hour, 2, "new"}}, ""},
		{"strict, replay", oauthtest.Strict, []step{{0, 0, "new"}, {0, 0, "dead"}, {0, 1, "dead"}}, "reuse"},
		{"strict, old replay", oauthtest.Strict, []step{{0, 0, "new"}, {0, 1, "new"}, {0, 0, "dead"}, {0, 2, "dead"}}, "reuse"},
		{"grace, inside", oauthtest.Grace, []step{{0, 0, "new"}, {30 * time.Second, 0, "same"}, {0, 1, "new"}}, ""},
		{"grace, outside", oauthtest.Grace, []step{{0, 0, "new"}, {31 * time.Second, 0, "dead"}, {0, 1, "dead"}}, "reuse"},
		{"grace, successor was used", oauthtest.Grace, []step{{0, 0, "new"}, {0, 1, "new"}, {0, 0, "dead"}}, "reuse"},
		{"grace does not move", oauthtest.Grace, []step{{0, 0, "new"}, {20 * time.Second, 0, "same"}, {20 * time.Second, 0, "dead"}}, "reuse"},
		{"replace, inside", oauthtest.Replace, []step{{0, 0, "new"}, {time.Second, 0, "new"}, {0, 2, "new"}}, ""},
		{"replace, withdrawn", oauthtest.Replace, []step{{0, 0, "new"}, {time.Second, 0, "new"}, {0, 1, "dead"}, {0, 2, "dead"}}, "reuse"},
		{"replace, outside", oauthtest.Replace, []step{{0, 0, "new"}, {31 * time.Second, 0, "dead"}}, "reuse"},
		{"reusable", oauthtest.Reusable, []step{{0, 0, "new"}, {time.Hour, 0, "new"}, {0, 1, "new"}, {0, 3, "new"}}, ""},
		{"static", oauthtest.Static, []step{{0, 0, "none"}, {time.Hour, 0, "none"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, oauthtest.Config{Rotation: test.rotation})
				a := inProcess(t, p)
				first := a.connect("alice")
				tokens := []string{first.str("refresh_token")}
				for i, s := range test.steps {
					pass(s.after)
					r := a.refresh(tokens[s.present])
					switch s.want {
					case "dead":
						a.requireError(r, http.StatusBadRequest, "invalid_grant")
						continue
					case "new":
						require.NotContains(t, tokens, r.str("refresh_token"), i)
						tokens = append(tokens, r.str("refresh_token"))
					case "same":
						require.Equal(t, tokens[len(tokens)-1], r.str("refresh_token"), i)
					case "none":
						require.NotContains(t, r.Members, "refresh_token")
					}
					require.Equal(t, http.StatusOK, r.Status, i)
				}
				f := p.Families()[0]
				require.Equal(t, test.revoked, f.Revoked)
				require.Equal(t, test.revoked == "reuse", p.Counts().Reuse == 1)
				if test.revoked != "" {
					require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, first.str("access_token")).Status, "access tokens die with the family")
				}
			})
		})
	}
}

// The journal knows what a client must not do, whatever the provider makes of it.
func TestJournalOfReplays(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Rotation: oauthtest.Reusable})
	a := inProcess(t, p)
	first := a.connect("alice").str("refresh_token")

	p.Script(oauthtest.Refresh, oauthtest.Reset(), oauthtest.Lose())
	_, err := a.tryRefresh(first) // not processed
	require.Error(t, err)
	_, err = a.tryRefresh(first) // processed, the reply lost
	require.Error(t, err)
	require.Equal(t, http.StatusOK, a.refresh(first).Status) // delivered
	counts := p.Counts()
	require.Equal(t, 2, counts.Repeated)
	require.Zero(t, counts.AfterSuccessor, "no successor had been delivered yet")

	a.refresh(first)
	counts = p.Counts()
	require.Equal(t, 3, counts.Repeated)
	require.Equal(t, 1, counts.AfterSuccessor)

	journal := p.Journal()
	last := journal[len(journal)-1]
	require.Equal(t, 4, last.Presentation)
	require.True(t, last.AfterSuccessor)
	require.Len(t, last.RefreshToken, 64)
	require.NotContains(t, last.RefreshToken, first)
	require.False(t, journal[1].Delivered)
	require.Zero(t, journal[1].Status)
}

func TestForgedRefreshTokens(t *testing.T) {
	p := newProvider(t, oauthtest.Config{RefreshTokenSize: 16 << 10})
	a := inProcess(t, p)
	token := a.connect("alice").str("refresh_token")
	require.GreaterOrEqual(t, len(token), 16<<10)
	for name, forged := range map[string]string{
		"none": "", "garbage": "rt_x", "another kind": "at_" + token[3:], "cut": token[:len(token)-4], "longer": token + "AAAA",
		"first": "rt_" + flip(token[3:], 0), "middle": "rt_" + flip(token[3:], 100), "last": flip(token, len(token)-1),
	} {
		a.requireError(a.refresh(forged), http.StatusBadRequest, "invalid_grant")
		require.Empty(t, p.Families()[0].Revoked, name)
	}
	require.Equal(t, http.StatusOK, a.refresh(token).Status, "forgeries did no harm")
}

// flip changes one character to another of the same alphabet.
func flip(s string, i int) string {
	c := "A"
	if s[i] == 'A' {
		c = "B"
	}
	return s[:i] + c + s[i+1:]
}

func TestRevokeUser(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	acme, globex, bruno := a.connect("alice"), a.connect("alice@globex.example"), a.connect("bruno")

	n, err := p.Revoke("alice@acme.example")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	a.requireError(a.refresh(acme.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, acme.str("access_token")).Status)
	globex = a.refresh(globex.str("refresh_token"))
	require.Equal(t, http.StatusOK, globex.Status)

	n, err = p.Revoke("alice")
	require.NoError(t, err)
	require.Equal(t, 1, n, "those that still lived")
	a.requireError(a.refresh(globex.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	require.Equal(t, http.StatusOK, a.refresh(bruno.str("refresh_token")).Status)
	require.Equal(t, "password_changed", p.Families()[0].Revoked)
	require.Equal(t, http.StatusOK, a.connect("alice").Status, "with the new password")
}

func TestExpireAll(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	r := a.connect("alice")
	require.NoError(t, p.ExpireAll())
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, r.str("access_token")).Status)
	require.Equal(t, 1, p.Counts().Unauthorized)
	r = a.refresh(r.str("refresh_token"))
	require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, r.str("access_token")).Status)
}

func TestRevocationEndpoint(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Clients: []oauthtest.Client{oauthtest.DefaultClient(), {ID: "other", Secret: "other"}}})
	a := inProcess(t, p)
	revoke := func(pairs ...string) reply {
		r, err := a.post(t.Context(), a.urls.RevocationURL, pairs...)
		require.NoError(t, err)
		return r
	}
	r := a.connect("alice")
	a.requireError(revoke("token", r.str("access_token"), "client_secret", "wrong"), http.StatusUnauthorized, "invalid_client")
	a.requireError(revoke(), http.StatusBadRequest, "invalid_request")
	a.requireError(revoke("token", r.str("refresh_token"), "client_id", "other", "client_secret", "other"), http.StatusBadRequest, "unauthorized_client")
	require.Equal(t, http.StatusOK, revoke("token", "unknown").Status, "RFC 7009 §2.2")

	require.Equal(t, http.StatusOK, revoke("token", r.str("access_token"), "token_type_hint", "refresh_token").Status, "a wrong hint is only a hint")
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, r.str("access_token")).Status)
	next := a.refresh(r.str("refresh_token"))
	require.Equal(t, http.StatusOK, next.Status, "the grant lives")

	for range 2 {
		revoked := revoke("token", r.str("refresh_token")) // an older one of the family
		require.Equal(t, http.StatusOK, revoked.Status)
		require.Empty(t, revoked.Body)
	}
	a.requireError(a.refresh(next.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, next.str("access_token")).Status)
	require.Equal(t, "client", p.Families()[0].Revoked)
	require.Equal(t, 7, p.Counts().Revocations)
}

func TestUsersAreTheTenantsOwn(t *testing.T) {
	bothWays(t, oauthtest.Config{PageSize: 3}, func(t *testing.T, _ *oauthtest.Provider, a *app) {
		t.Helper()
		acme := a.connect("zoe").str("access_token") // a new account, listed with the others
		globex := a.connect("alice@globex.example").str("access_token")
		names, pages := a.allUsers(a.urls.UsersURL, acme)
		require.Equal(t, "alice bruno chiara dmitri esther farid greta hiro zoe", names)
		require.Equal(t, 3, pages)
		names, pages = a.allUsers(a.urls.UsersURL+"?%24top=1", globex)
		require.Equal(t, "alice ines jonas kamala", names)
		require.Equal(t, 4, pages)
		names, pages = a.allUsers(a.urls.UsersURL+"?$top=999", globex)
		require.Equal(t, "alice ines jonas kamala", names)
		require.Equal(t, 1, pages)

		for _, bad := range []string{"?$top=0", "?$top=1000", "?$top=x", "?$skiptoken=!"} {
			require.Equal(t, http.StatusBadRequest, a.get(a.urls.UsersURL+bad, acme).Status, bad)
		}
		for _, bad := range []string{"", "at_x", "x"} {
			r := a.get(a.urls.UsersURL, bad)
			require.Equal(t, http.StatusUnauthorized, r.Status)
			require.True(t, strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer "))
			require.Equal(t, bad != "", strings.Contains(r.Header.Get("WWW-Authenticate"), "invalid_token"))
			require.Equal(t, "InvalidAuthenticationToken", r.Members["error"].(map[string]any)["code"])
		}
	})
}

// allUsers follows @odata.nextLink to the end.
func (a *app) allUsers(next, token string) (names string, pages int) {
	a.t.Helper()
	var all []string
	for next != "" {
		r := a.get(next, token)
		require.Equal(a.t, http.StatusOK, r.Status, r.Body)
		value, ok := r.Members["value"].([]any)
		require.True(a.t, ok)
		for _, u := range value {
			name, _, _ := strings.Cut(u.(map[string]any)["userPrincipalName"].(string), "@")
			all = append(all, name)
		}
		pages++
		next = r.str("@odata.nextLink")
	}
	return strings.Join(all, " "), pages
}
