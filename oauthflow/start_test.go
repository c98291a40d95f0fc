package oauthflow_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestStart(t *testing.T) {
	w := newWorld(t)
	started, state := w.start()
	u, err := url.Parse(started.AuthorizationURL)
	require.NoError(t, err)
	q := u.Query()
	require.Equal(t, "https://login.example.com", started.Origin)
	require.Equal(t, "/common/authorize", u.Path)
	require.Len(t, state, 43, "32 random bytes as base64url")
	require.Equal(t, "S256", q.Get("code_challenge_method"))
	require.Len(t, q.Get("code_challenge"), 43)
	require.Equal(t, w.target.RedirectURI, q.Get("redirect_uri"))
	require.Regexp(t, `^__Host-bifrost_flow_[0-9a-f]{8}$`, started.Cookie.Name)
	require.Len(t, started.Cookie.Value, 43)
	c := started.Cookie
	require.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.SameSite == http.SameSiteLaxMode && c.MaxAge == 600 && c.Domain == "")
	require.WithinDuration(t, time.Now().Add(10*time.Minute), started.ExpiresAt, time.Second)

	again, _ := w.start()
	require.NotEqual(t, started.Cookie.Name, again.Cookie.Name, "one per flow")
	plain, err := w.process(func(c *oauthflow.Config) { c.Secure = false }).
		Start(context.Background(), w.target, oauthflow.StartOptions{Principal: "alice"})
	require.NoError(t, err)
	require.Regexp(t, `^bifrost_flow_[0-9a-f]{8}$`, plain.Cookie.Name)
	require.False(t, plain.Cookie.Secure)

	_, err = w.m.Start(context.Background(), w.target, oauthflow.StartOptions{})
	require.ErrorContains(t, err, "Principal")
	unresolved := w.target
	unresolved.EntityID = ""
	_, err = w.m.Start(context.Background(), unresolved, oauthflow.StartOptions{Principal: "alice"})
	require.ErrorContains(t, err, "entity_id")
}

func TestPKCECanBeSwitchedOff(t *testing.T) {
	w := newWorld(t)
	w.target.Client.DisablePKCE = true
	started, _ := w.start()
	require.NotContains(t, started.AuthorizationURL, "code_challenge")
	w.connect("g")
	require.False(t, w.idp.requests[0].Has("code_verifier"))
}

func TestAccountFromTheIDToken(t *testing.T) {
	tests := map[string]struct {
		extra    string
		id, name string
	}{
		"none":          {``, "", ""},
		"sub and email": {`,"id_token":"` + idToken(map[string]any{"sub": "s", "email": "a@b"}) + `"`, "s", "a@b"},
		"oid and name":  {`,"id_token":"` + idToken(map[string]any{"oid": "o", "sub": "s", "name": "A"}) + `"`, "o", "A"},
		"wrong types":   {`,"id_token":"` + idToken(map[string]any{"sub": 7, "name": []string{"A"}}) + `"`, "", ""},
		"cleaned":       {`,"id_token":"` + idToken(map[string]any{"sub": "s", "name": "A\u202eB\r\n"}) + `"`, "s", "AB"},
		"no JWT":        {`,"id_token":"abc"`, "", ""},
		"not base64":    {`,"id_token":"a.!!.c"`, "", ""},
		"not JSON":      {`,"id_token":"a.e30x.c"`, "", ""},
		"a number":      {`,"id_token":7`, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.extra = tt.extra
			w.connect("g")
			c := w.row()
			require.Equal(t, tt.id, c.AccountID)
			require.Equal(t, tt.name, c.AccountName)
		})
	}
}
