package oauthtest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

func TestClientAuthentication(t *testing.T) {
	const secret = "s3 cr:et+%" // needs form-encoding in a Basic header
	p := newProvider(t, oauthtest.Config{Clients: []oauthtest.Client{
		{ID: "any", Secret: secret},
		{ID: "post", Secret: secret, Auth: oauthtest.AuthPost},
		{ID: "basic", Secret: secret, Auth: oauthtest.AuthBasic},
		{ID: "public"},
	}})
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
	}
	for _, test := range []struct {
		name, header string
		form         url.Values
		want         string // error code; "unsupported_grant_type" is past authentication
	}{
		{"any, post", "", url.Values{"client_id": {"any"}, "client_secret": {secret}}, "unsupported_grant_type"},
		{"any, basic", basic("any", secret), nil, "unsupported_grant_type"},
		{"any, basic with its client_id", basic("any", secret), url.Values{"client_id": {"any"}}, "unsupported_grant_type"},
		{"any, none", "", url.Values{"client_id": {"any"}}, "invalid_client"},
		{"any, wrong secret", "", url.Values{"client_id": {"any"}, "client_secret": {"x"}}, "invalid_client"},
		{"any, wrong secret in header", basic("any", "x"), nil, "invalid_client"},
		{"post, post", "", url.Values{"client_id": {"post"}, "client_secret": {secret}}, "unsupported_grant_type"},
		{"post, basic", basic("post", secret), nil, "invalid_client"},
		{"basic, basic", basic("basic", secret), nil, "unsupported_grant_type"},
		{"basic, post", "", url.Values{"client_id": {"basic"}, "client_secret": {secret}}, "invalid_client"},
		{"public, none", "", url.Values{"client_id": {"public"}}, "unsupported_grant_type"},
		{"public with an empty secret", "", url.Values{"client_id": {"public"}, "client_secret": {""}}, "invalid_client"},
		{"public in header", basic("public", ""), nil, "invalid_client"},
		{"both", basic("any", secret), url.Values{"client_id": {"any"}, "client_secret": {secret}}, "invalid_request"},
		{"two names", basic("any", secret), url.Values{"client_id": {"post"}}, "invalid_client"},
		{"not form-encoded", "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+secret)), nil, "invalid_client"},
		{"bearer", "Bearer x", url.Values{"client_id": {"public"}}, "invalid_client"},
		{"nobody", "", nil, "invalid_client"},
		{"stranger", "", url.Values{"client_id": {"x"}, "client_secret": {"y"}}, "invalid_client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := inProcess(t, p)
			form := url.Values{"grant_type": {"nothing"}}
			for k, v := range test.form {
				form[k] = v
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, strings.NewReader(form.Encode()))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if test.header != "" {
				req.Header.Set("Authorization", test.header)
			}
			r, err := a.send(req)
			require.NoError(t, err)
			status := http.StatusBadRequest
			if test.want == "invalid_client" {
				status = http.StatusUnauthorized
				require.Contains(t, r.Header.Get("WWW-Authenticate"), "Basic")
			}
			a.requireError(r, status, test.want)
		})
	}
}

func TestMalformedTokenRequests(t *testing.T) {
	a := inProcess(t, newProvider(t, oauthtest.Config{}))
	for _, test := range []struct{ name, query, mediaType, body string }{
		{"JSON", "", "application/json", `{"grant_type":"refresh_token"}`},
		{"no media type", "", "", "grant_type=refresh_token"},
		{"repeated", "", "application/x-www-form-urlencoded", "grant_type=refresh_token&grant_type=refresh_token"},
		{"unreadable", "", "application/x-www-form-urlencoded", "grant_type=%zz"},
		{"too long", "", "application/x-www-form-urlencoded", strings.Repeat("x", 1<<20+1)},
		{"secret in the URL", "?client_secret=x", "application/x-www-form-urlencoded", "grant_type=refresh_token"},
		{"token in the URL", "?refresh_token=x", "application/x-www-form-urlencoded", "grant_type=refresh_token"},
		{"no grant", "", "application/x-www-form-urlencoded", "client_id=test-client&client_secret=test-client-secret"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL+test.query, strings.NewReader(test.body))
		require.NoError(t, err)
		if test.mediaType != "" {
			req.Header.Set("Content-Type", test.mediaType)
		}
		r, err := a.send(req)
		require.NoError(t, err)
		a.requireError(r, http.StatusBadRequest, "invalid_request")
	}
}

func TestCodes(t *testing.T) {
	p := newProvider(t, oauthtest.Config{Clients: []oauthtest.Client{
		oauthtest.DefaultClient(),
		{ID: "other", Secret: "other"},
		{ID: "plain", Secret: "plain", PKCEOptional: true},
	}})
	a := inProcess(t, p)
	t.Run("wrong redirect URI", func(t *testing.T) {
		a.requireError(a.redeem(a.code("alice"), "redirect_uri", callback+"/"), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("wrong verifier", func(t *testing.T) {
		a.requireError(a.redeem(a.code("alice"), "code_verifier", strings.ToUpper(verifier)), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("no verifier", func(t *testing.T) {
		a.requireError(a.redeem(a.code("alice"), "code_verifier", ""), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("another client", func(t *testing.T) {
		a.requireError(a.redeem(a.code("alice"), "client_id", "other", "client_secret", "other"), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("unknown code", func(t *testing.T) {
		a.requireError(a.redeem("code_X"), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("PKCE optional", func(t *testing.T) {
		plain := *a
		plain.t, plain.id, plain.secret = t, "plain", "plain"
		without := []string{"code_challenge", "", "code_challenge_method", ""}
		require.Equal(t, http.StatusOK, plain.redeem(plain.code("alice", without...), "code_verifier", "").Status)
		a.requireError(plain.redeem(plain.code("alice", without...)), http.StatusBadRequest, "invalid_grant") // a verifier nobody asked for
		a.requireError(plain.redeem(plain.code("alice"), "code_verifier", ""), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("a replay revokes what the code gave", func(t *testing.T) {
		code := a.code("alice")
		first := a.redeem(code)
		require.Equal(t, http.StatusOK, first.Status)
		for range 2 {
			a.requireError(a.redeem(code), http.StatusBadRequest, "invalid_grant")
		}
		a.requireError(a.refresh(first.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
		require.Equal(t, http.StatusUnauthorized, a.get(a.urls.UsersURL, first.str("access_token")).Status)
		families := p.Families()
		require.Equal(t, "code_reuse", families[len(families)-1].Revoked)
	})
	t.Run("of 20 at once one succeeds", func(t *testing.T) {
		code := a.code("alice")
		var wg sync.WaitGroup
		statuses := make([]int, 20)
		for i := range statuses {
			wg.Go(func() {
				r, err := a.post(t.Context(), a.urls.TokenURL, "grant_type", "authorization_code", "code", code,
					"redirect_uri", callback, "code_verifier", verifier)
				if err == nil {
					statuses[i] = r.Status
				}
			})
		}
		wg.Wait()
		ok := 0
		for _, s := range statuses {
			if s == http.StatusOK {
				ok++
			} else {
				require.Equal(t, http.StatusBadRequest, s)
			}
		}
		require.Equal(t, 1, ok)
	})
}

// Everything that ages, in a bubble where an hour takes no time.
func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, oauthtest.Config{AccessLifetime: 90 * time.Second, RefreshLifetime: time.Hour, CodeLifetime: time.Minute})
		a := inProcess(t, p)

		code := a.code("alice")
		pass(time.Minute)
		a.requireError(a.redeem(code), http.StatusBadRequest, "invalid_grant")

		r := a.connect("alice")
		require.EqualValues(t, 90, r.Members["expires_in"])
		pass(90*time.Second - 1)
		require.Equal(t, http.StatusOK, a.get(a.urls.UsersURL, r.str("access_token")).Status)
		pass(1)
		expired := a.get(a.urls.UsersURL, r.str("access_token"))
		require.Equal(t, http.StatusUnauthorized, expired.Status)
		require.Contains(t, expired.Header.Get("WWW-Authenticate"), `error="invalid_token"`)

		pass(50 * time.Minute)
		r = a.refresh(r.str("refresh_token"))
		require.Equal(t, http.StatusOK, r.Status)
		pass(time.Hour + time.Second)
		a.requireError(a.refresh(r.str("refresh_token")), http.StatusBadRequest, "invalid_grant")

		a.connect("alice") // a change: what is over is forgotten
		pass(time.Hour)
		a.connect("alice")
		require.Len(t, p.Families(), 2)
	})
}

func TestScopes(t *testing.T) {
	a := inProcess(t, newProvider(t, oauthtest.Config{}))
	r := a.connect("alice")
	narrow := a.refresh(r.str("refresh_token"), "scope", "Directory.Read.All")
	require.Equal(t, "Directory.Read.All", narrow.str("scope"))
	a.requireError(a.refresh(narrow.str("refresh_token"), "scope", "Mail.Read"), http.StatusBadRequest, "invalid_scope")
	whole := a.refresh(narrow.str("refresh_token"))
	require.Equal(t, "offline_access Directory.Read.All", whole.str("scope"), "a narrowed token does not narrow the grant")
}

func TestIDTokens(t *testing.T) {
	for _, kind := range []oauthtest.IDToken{oauthtest.NoIDToken, oauthtest.UnsignedIDToken, oauthtest.HS256IDToken} {
		t.Run(string(kind), func(t *testing.T) {
			p := newProvider(t, oauthtest.Config{IDToken: kind})
			a := inProcess(t, p)
			require.NotContains(t, a.connect("alice").Members, "id_token", "openid was not asked for")
			r := a.connect("bruno", "scope", "openid offline_access", "nonce", "n-1")
			if kind == oauthtest.NoIDToken {
				require.NotContains(t, r.Members, "id_token")
				return
			}
			parts := strings.Split(r.str("id_token"), ".")
			require.Len(t, parts, 3)
			header, err := base64.RawURLEncoding.DecodeString(parts[0])
			require.NoError(t, err)
			require.Contains(t, string(header), `"alg":"`+string(kind)+`"`)
			payload, err := base64.RawURLEncoding.DecodeString(parts[1])
			require.NoError(t, err)
			var claims map[string]any
			require.NoError(t, json.Unmarshal(payload, &claims))
			tenant := oauthtest.DefaultTenants()[0]
			require.Equal(t, "bruno@acme.example", claims["preferred_username"])
			require.Equal(t, tenant.GUID(), claims["tid"])
			require.Equal(t, "https://login.oauthtest.example/"+tenant.GUID()+"/v2.0", claims["iss"])
			require.Equal(t, "test-client", claims["aud"])
			require.Equal(t, "n-1", claims["nonce"])
			require.Len(t, claims["oid"], 36)
			if kind == oauthtest.UnsignedIDToken {
				require.Empty(t, parts[2])
				return
			}
			mac := hmac.New(sha256.New, []byte(a.secret))
			mac.Write([]byte(parts[0] + "." + parts[1]))
			require.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), parts[2])
		})
	}
}
