package e2e_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// No secret stands in the database file, its WAL, logs, pages, JSON or errors: not
// raw, and not in any form in which text travels. The provider repeats the secrets
// it is sent, in API answers and in errors, as careless ones do.
func TestNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	key := bytes.Repeat([]byte("canary-key\xfe\xff"), 3)[:32]
	s := newSite(t, "BIFROST_KEY="+base64.StdEncoding.EncodeToString(key))
	p := startProvider(t, s.base, `canary-client secret+/="quoted"&more`, "basic")
	s.env = append(append(s.env, "EGRESS=127.0.0.1"), p.env()...)
	a := s.start(t, s.addr())
	c := newClient(a)
	secrets := map[string]string{
		"client secret": p.secret,
		"key":           string(key),
		"key, encoded":  base64.StdEncoding.EncodeToString(key),
	}

	// A flow that is left open: its state and cookie are secrets while it lives.
	b, err := c.begin(ctx, integration)
	require.NoError(t, err)
	u, err := url.Parse(b.AuthorizationURL)
	require.NoError(t, err)
	secrets["state"] = u.Query().Get("state")
	base, err := url.Parse(s.base)
	require.NoError(t, err)
	for _, cookie := range c.http.Jar.Cookies(base) {
		secrets["cookie "+cookie.Name] = cookie.Value
	}

	// Tokens come, are used, repeated by the API, renewed, and refused at last.
	require.NoError(t, c.connect(ctx, integration))
	p.control(t, map[string]any{"echo": true})
	for range 3 {
		e, err := c.execute(ctx, false)
		require.NoError(t, err)
		require.Equal(t, "succeeded", e.Status, e)
		require.Contains(t, string(e.Result), "(sent ", "the API did not repeat the token, so nothing was tested")
		pause(ctx, tokenLife)
	}
	p.control(t, map[string]any{"deny": true})
	e, err := c.execute(ctx, false)
	require.NoError(t, err)
	require.Equal(t, "failed", e.Status)
	st, err := c.status(ctx)
	require.NoError(t, err)
	require.Equal(t, "reauth_required", st.Status)

	// Strangers at the callback, and a start with a wrong key.
	_, _ = c.call(ctx, http.MethodGet, "/oauth/callback/"+integration+"?code=nobody&state="+secrets["state"]+"x", nil, nil)
	_, _ = c.call(ctx, http.MethodGet, "/oauth/callback/"+integration+"?code=nobody&code=twice&state="+secrets["state"], nil, nil)
	wrong := s.launch(t, freeAddr(t), "BIFROST_KEY="+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	select {
	case <-wrong.exited:
		require.NotZero(t, wrong.cmd.ProcessState.ExitCode(), "a wrong key was accepted")
	case <-time.After(patience):
		require.Fail(t, "a wrong key was accepted")
	}

	places := madeAtRunTime(ctx, t, c, p, secrets)
	for name, data := range crawl(ctx, t, c) {
		places[name] = data
	}
	for i, issued := range p.journal(t).Issued {
		secrets[fmt.Sprintf("%s %d", issued.Kind, i)] = issued.Value
	}
	running := files(t, s.home)
	require.Contains(t, running, "bifrost.db-wal")
	for name, data := range running {
		places["while running: "+name] = data
	}
	a.stop(t)
	for name, data := range files(t, s.home) {
		places["at rest: "+name] = data
	}
	places["printed"] = []byte(a.output.String())
	places["printed with a wrong key"] = []byte(wrong.output.String())

	// What is no secret must be found, or the search looks in the wrong place.
	require.Contains(t, string(places["at rest: bifrost.db"]), p.ClientID)
	for place, data := range places {
		for name, secret := range secrets {
			for form, text := range forms(secret) {
				if bytes.Contains(data, []byte(text)) {
					t.Errorf("%s: contains the %s, %s", place, name, form)
				}
			}
		}
	}
	t.Logf("%d secrets in %d places", len(secrets), len(places))
}

// madeAtRunTime gives an integration secrets over HTTP, rightly and wrongly, and
// returns what was answered.
func madeAtRunTime(ctx context.Context, t *testing.T, c *client, p *provider, secrets map[string]string) map[string][]byte {
	t.Helper()
	secret := func(name string) string {
		secrets[name] = "canary of " + name + ` +/="&`
		return secrets[name]
	}
	answers := map[string][]byte{}
	said := func(name string, err error) {
		if err != nil {
			answers["answer to "+name] = []byte(err.Error())
		}
	}
	d := p.definition()
	d["config"] = []object{{"key": "pepper", "type": "secret"}, {"key": "region", "type": "string", "options": []string{"eu"}}}
	d["oauth"].(object)["client_secret"] = secret("made client secret")
	_, err := c.create(ctx, d)
	require.NoError(t, err)
	require.NoError(t, c.change(ctx, created, object{"oauth": object{"client_secret": secret("changed client secret")}}))
	require.NoError(t, c.configure(ctx, created, object{"pepper": secret("config secret")}))
	require.NoError(t, c.configure(ctx, created+"?org=acme", object{"pepper": secret("override")}))
	require.NoError(t, c.mapTo(ctx, created, "acme", "t1"))

	// The provider refuses this client, the server these requests.
	said("a connect", c.connect(ctx, created))
	for name, patch := range map[string]object{
		"a faulty URL": {"oauth": object{"client_secret": secret("with a faulty URL"), "token_url": "ftp://x"}},
		"a list":       {"oauth": object{"client_secret": []string{secret("in a list")}}},
		"a stranger":   {"client_secret": secret("in the wrong place")},
		"a default":    {"config": []object{{"key": "pepper", "type": "secret", "default": secret("as a default")}}},
	} {
		err := c.change(ctx, created, patch)
		require.Error(t, err, name)
		said(name, err)
	}
	for name, values := range map[string]object{
		"a wrong option": {"pepper": secret("with a wrong option"), "region": "mars"},
		"an object":      {"pepper": object{"value": secret("in an object")}},
	} {
		err := c.configure(ctx, created, values)
		require.Error(t, err, name)
		said(name, err)
	}
	d["name"], d["oauth"].(object)["client_secret"] = "another name", secret("of a refused definition")
	_, err = c.create(ctx, d)
	require.Error(t, err)
	said("a wrong name", err)
	return answers
}

// forms are the ways in which a secret may travel.
func forms(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	return map[string]string{
		"raw":          secret,
		"JSON-escaped": strings.Trim(string(quoted), `"`),
		"URL-encoded":  url.QueryEscape(secret),
		"path-encoded": url.PathEscape(secret),
		"base64":       strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		"base64url":    base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"hex":          hex.EncodeToString([]byte(secret)),
	}
}

// crawl reads everything the site shows: all pages that are linked from the first,
// and the JSON of every resource.
func crawl(ctx context.Context, t *testing.T, c *client) map[string][]byte {
	t.Helper()
	seen := map[string][]byte{}
	queue := []string{
		"/", "/oauth/connect/" + integration, "/api/integrations", "/api/integrations/" + integration,
		"/api/integrations/" + integration + "/events", "/api/integrations/" + integration + "/connections",
		"/oauth/connect/" + created, path(created, ""), path(created, "/events"), path(created, "/connections"), path(created, "/mappings"),
		path(created, "/config"), path(created+"?org=acme", "/config"), path(created+"?org=acme", ""), "/api/schema/definition.json", "/api/orgs",
		"/api/workflows", "/api/executions", "/healthz",
	}
	var list struct {
		Items []execution `json:"items"`
	}
	_, err := c.call(ctx, http.MethodGet, "/api/executions?limit=100", nil, &list)
	require.NoError(t, err)
	require.NotEmpty(t, list.Items)
	for _, e := range list.Items {
		queue = append(queue, "/api/executions/"+e.ID, "/api/executions/"+e.ID+"/logs")
	}
	for len(queue) > 0 && len(seen) < 500 {
		path := queue[0]
		queue = queue[1:]
		if _, done := seen[path]; done {
			continue
		}
		body, kind := read(ctx, t, c, path)
		seen[path] = body
		if !strings.HasPrefix(kind, "text/html") {
			continue
		}
		page, err := readPage(&http.Response{Body: io.NopCloser(bytes.NewReader(body))})
		require.NoError(t, err)
		for _, a := range all(page.root, "a", "link") {
			if href := attr(a, "href"); strings.HasPrefix(href, "/") && !slices.Contains(queue, href) {
				queue = append(queue, href)
			}
		}
	}
	return seen
}

func read(ctx context.Context, t *testing.T, c *client, path string) (body []byte, kind string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.site.base+path, nil)
	require.NoError(t, err)
	res, err := c.http.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", path, body)
	return body, res.Header.Get("Content-Type")
}

// files reads everything the quickstart keeps, write-ahead logs included. Its own
// key file is no leak: here the key comes from the environment.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			found[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name()))
			require.NoError(t, err)
		}
	}
	require.Contains(t, found, "bifrost.db")
	return found
}
