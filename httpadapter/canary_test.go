package httpadapter_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Nothing secret is in any answer or in the log, at any level: no token, code,
// client secret or flow cookie, whatever was asked and whatever failed.
func TestNothingSecretIsShown(t *testing.T) {
	s := newSite(t)
	var shown strings.Builder
	b := s.as(alice)
	see := func(method, path, body string, opts ...option) string {
		w := b.send(method, path, body, opts...)
		shown.WriteString(w.Body.String())
		if location := w.Header().Get("Location"); !strings.HasPrefix(location, provider) {
			shown.WriteString(location)
		}
		return w.Body.String()
	}
	var secrets []string
	for _, c := range []struct {
		name string
		fail *oauthtest.Step
		deny bool
	}{{"Graph", nil, false}, {"Graph", nil, true}, {"Drive", new(oauthtest.Fail(400, "invalid_grant", "no")), false}, {"Drive", nil, false}} {
		authorize := b.start("/oauth/connect/"+c.name, "{}")
		for name, value := range b.cookies {
			if strings.Contains(name, "flow") {
				secrets = append(secrets, value)
			}
		}
		if c.fail != nil {
			s.provider.Script(oauthtest.Token, *c.fail)
		}
		callback := b.consent(authorize)
		if c.deny {
			callback = b.deny(b.start("/oauth/connect/"+c.name, "{}"))
		}
		secrets = append(secrets, queryOf(t, callback).Get("state"))
		if code := queryOf(t, callback).Get("code"); code != "" {
			secrets = append(secrets, code)
		}
		see(http.MethodGet, callback, "", asPage)
		see(http.MethodGet, callback, "", header("Accept", "application/json"))
	}
	see(http.MethodPost, "/api/workflows/list_users/execute", "{}")
	for _, refresh := range []struct {
		name string
		step oauthtest.Step
	}{
		{"Drive", oauthtest.Serve()},
		{"Drive", oauthtest.Fail(503, "temporarily_unavailable", "later")},
		{"Drive", oauthtest.Raw(200, "text/html", "<p>rt-canary</p>")},
		{"Graph", oauthtest.Fail(400, "invalid_grant", "dead")},
	} {
		s.provider.Script(oauthtest.Token, refresh.step)
		see(http.MethodPost, "/api/integrations/"+refresh.name+"/refresh", "")
		see(http.MethodGet, "/", "", asPage)
		see(http.MethodGet, "/api/integrations", "")
	}
	see(http.MethodPost, "/api/integrations/Drive/test", "")
	admin := s.as(root)
	seeAll := func(method, path, body string) {
		w := admin.send(method, path, body)
		shown.WriteString(w.Body.String() + w.Header().Get("Location"))
	}
	seeAll(http.MethodPost, "/api/integrations", stored(t, "Stored"))
	seeAll(http.MethodPost, "/api/integrations", stored(t, "Bad", "oauth.nope=x", "oauth.client_secret=canary-refused-secret"))
	seeAll(http.MethodPost, "/api/integrations", stored(t, "Stored"))
	seeAll(http.MethodPatch, "/api/integrations/Stored", `{"oauth":{"client_secret":"canary-next-secret"}}`)
	seeAll(http.MethodPatch, "/api/integrations/Stored", `{"oauth":{"client_secret":["canary-refused-secret"]}}`)
	seeAll(http.MethodPatch, "/api/integrations/Plain/config", `{"api_key":"canary-config-secret"}`)
	seeAll(http.MethodPatch, "/api/integrations/Plain/config?org=acme", `{"api_key":"canary-config-secret-2"}`)
	seeAll(http.MethodPatch, "/api/integrations/Plain/config", `{"region":"us","api_key":["canary-refused-secret"]}`)
	for _, path := range []string{"/", "/api/integrations", "/api/integrations/Stored", "/api/integrations/Graph", "/api/integrations/Plain",
		"/api/integrations/Plain/config", "/api/integrations/Plain/config?org=acme", "/api/integrations/Stored/events",
		"/api/integrations/Graph/mappings", "/api/orgs"} {
		seeAll(http.MethodGet, path, "")
	}
	seeAll(http.MethodDelete, "/api/integrations/Stored", "")
	for _, path := range []string{"/api/workflows/list_users/execute", "/api/workflows/fail/execute", "/api/integrations/Graph/disconnect"} {
		see(http.MethodPost, path, "{}")
	}
	for _, path := range []string{
		"/", "/workflows", "/oauth/connect/Graph", "/api/integrations", "/api/integrations/Graph", "/api/integrations/Graph/events",
		"/api/integrations/Graph/connections",
		"/api/integrations/Drive/events", "/api/workflows", "/api/executions", "/nope", "/api/nope",
	} {
		see(http.MethodGet, path, "", asPage)
	}
	for _, item := range object(t, b.get("/api/executions"))["items"].([]any) {
		id := item.(map[string]any)["id"].(string)
		for _, path := range []string{"/executions/" + id, "/api/executions/" + id, "/api/executions/" + id + "/logs"} {
			see(http.MethodGet, path, "", asPage)
		}
	}

	secrets = append(secrets, "canary-client-secret", "rt-canary", "canary-refused-secret", "canary-next-secret", "canary-config-secret")
	secrets = append(secrets, s.provider.Secrets()...)
	require.Greater(t, len(secrets), 15)
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
			require.NotContains(t, shown.String(), form)
			require.NotContains(t, s.log.String(), form)
		}
	}
	require.Contains(t, shown.String(), "[REDACTED]", "list_users tried to log its token")
}
