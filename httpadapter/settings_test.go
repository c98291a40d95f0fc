package httpadapter_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMappings(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	const path = "/api/integrations/Graph/mappings"
	require.JSONEq(t, `{"items": [], "next_cursor": ""}`, b.get(path).Body.String())
	for _, org := range []string{"globex", "acme", "initech"} {
		w := b.send(http.MethodPut, path+"/"+org, `{"entity_id":"`+org+`","entity_name":"The `+org+` tenant"}`)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		m := object(t, w)
		require.Equal(t, []string{"entity_id", "entity_name", "org", "updated_at", "updated_by"}, keys(m))
		require.Equal(t, org, m["org"])
		require.Equal(t, "root", m["updated_by"])
		require.NotEmpty(t, m["updated_at"])
	}
	orgs := func(query string) (list []string, next string) {
		page := object(t, b.get(path+query))
		for _, item := range page["items"].([]any) {
			list = append(list, item.(map[string]any)["org"].(string))
		}
		return list, page["next_cursor"].(string)
	}
	first, next := orgs("?limit=2")
	require.Equal(t, []string{"acme", "globex"}, first)
	rest, next := orgs("?limit=2&cursor=" + next)
	require.Equal(t, []string{"initech"}, rest)
	require.Empty(t, next)
	own, _ := orgs("?org=globex")
	require.Equal(t, []string{"globex"}, own)

	require.Equal(t, "acme", object(t, b.get("/api/integrations/Graph?org=acme"))["entity_id"])
	require.Contains(t, s.as(alice).start("/oauth/connect/Graph", "{}"), provider+"/acme/")

	w := b.send(http.MethodDelete, path+"/acme", "")
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, http.StatusNotFound, b.send(http.MethodDelete, path+"/acme", "").Code)
	require.Equal(t, "common", object(t, b.get("/api/integrations/Graph?org=acme"))["entity_id"])

	const canary = "canary-refused-value"
	for _, test := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"PUT", path + "/acme", `{"entity_id":"evil.example/` + canary + `"}`, 422, "entity_id"},
		{"PUT", path + "/acme", `{"entity_id":"../` + canary + `"}`, 422, "entity_id"},
		{"PUT", path + "/acme", `{"entity_id":""}`, 422, "entity_id"},
		{"PUT", path + "/acme", `{}`, 422, "entity_id"},
		{"PUT", path + "/acme", `{"entity_id":7}`, 422, "entity_id"},
		{"PUT", path + "/acme", `{"entity_id":"a","entity_name":"` + canary + `\u0000"}`, 422, "entity_name"},
		{"PUT", path + "/acme", `{"entity_id":"a","entity_name":"` + strings.Repeat("a", 201) + `"}`, 422, "entity_name"},
		{"PUT", path + "/acme", `{"entity_id":"a","org":"globex"}`, 422, "org"},
		{"PUT", path + "/acme", `{"entity_id"`, 400, ""},
		{"PUT", path + "/" + url.PathEscape(canary+" x"), `{"entity_id":"a"}`, 422, "org"},
		{"PUT", path + "/a%2Fb", `{"entity_id":"a"}`, 422, "org"},
		{"PUT", path + "/globex?org=acme", `{"entity_id":"a"}`, 422, "org"},
		{"PUT", "/api/integrations/Warehouse/mappings/globex", `{"entity_id":"a"}`, 404, ""},
		{"PUT", "/api/integrations/Warehouse/mappings/globex?org=globex", `{"entity_id":"globex"}`, 200, ""},
		{"DELETE", path + "/a%00b", "", 404, ""},
		{"GET", path + "?cursor=a%00", "", 422, "cursor"},
		{"GET", path + "?limit=0", "", 422, "limit"},
	} {
		w := b.send(test.method, test.path, test.body)
		require.Equal(t, test.status, w.Code, "%s %s %s: %s", test.method, test.path, test.body, w.Body)
		checkAnswer(t, w, test.path)
		require.NotContains(t, w.Body.String(), canary)
		if test.field != "" {
			require.Equal(t, test.field, object(t, w)["errors"].([]any)[0].(map[string]any)["field"], test.body)
		}
	}
}

func TestConfig(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	const path = "/api/integrations/Plain/config"
	values := func(query string) map[string]map[string]any {
		t.Helper()
		w := b.get(path + query)
		require.Equal(t, http.StatusOK, w.Code)
		return configOf(t, object(t, w))
	}
	all := values("")
	require.Equal(t, map[string]any{
		"key": "region", "type": "string", "description": "Where", "required": false, "options": []any{"eu", "us"}, "default": "eu",
		"value": "eu", "set": true, "origin": "default",
	}, all["region"])
	require.Equal(t, map[string]any{
		"key": "api_key", "type": "secret", "description": "", "required": false, "options": []any{}, "default": nil, "value": nil,
		"set": false, "origin": "",
	}, all["api_key"])

	set := func(query, body string) map[string]map[string]any {
		t.Helper()
		w := b.send(http.MethodPatch, path+query, body)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.NotContains(t, w.Body.String(), "canary")
		return configOf(t, object(t, w))
	}
	set("", `{"api_key":"canary-config-secret","page.size":100,"labels":{"a":[1]}}`)
	own := set("?org=acme", `{"region":"us"}`)
	require.Equal(t, own, values("?org=acme"))
	for key, want := range map[string][]any{
		"region": {"us", true, "override"}, "api_key": {nil, true, "default"},
		"page.size": {100.0, true, "default"}, "labels": {map[string]any{"a": []any{1.0}}, true, "default"},
	} {
		require.Equal(t, want, []any{own[key]["value"], own[key]["set"], own[key]["origin"]}, key)
	}
	require.Equal(t, "eu", values("")["region"]["value"], "the others' is what it was")
	require.Equal(t, "eu", set("?org=acme", `{"region":null}`)["region"]["value"])
	require.Equal(t, false, set("", `{"api_key":"","page.size":null}`)["api_key"]["set"])

	const canary = "canary-refused-value"
	for _, test := range []struct {
		body   string
		status int
		field  string
	}{
		{`{"region":"` + canary + `"}`, 422, "region"},
		{`{"region":7}`, 422, "region"},
		{`{"page.size":"` + canary + `"}`, 422, "page.size"},
		{`{"page.size":1.5}`, 422, "page.size"},
		{`{"api_key":{"a":"` + canary + `"}}`, 422, "api_key"},
		{`{"api_key":"` + canary + strings.Repeat("a", 64<<10) + `"}`, 422, "api_key"},
		{`{"nope":"` + canary + `"}`, 422, "nope"},
		{`{"region":"us","region":"eu"}`, 400, ""},
		{`{"region":`, 400, ""},
		{`{"labels":"` + strings.Repeat("a", 1<<20) + `"}`, 413, ""},
	} {
		w := b.send(http.MethodPatch, path, test.body)
		require.Equal(t, test.status, w.Code, "%.80s: %s", test.body, w.Body)
		checkAnswer(t, w, path)
		require.NotContains(t, w.Body.String(), canary)
		if test.field != "" {
			require.Equal(t, test.field, object(t, w)["errors"].([]any)[0].(map[string]any)["field"])
		}
	}
	require.NotContains(t, s.log.String(), "canary")
}

func configOf(t *testing.T, page map[string]any) map[string]map[string]any {
	t.Helper()
	require.Equal(t, []string{"items", "next_cursor"}, keys(page))
	values := map[string]map[string]any{}
	for _, item := range page["items"].([]any) {
		v := item.(map[string]any)
		values[v["key"].(string)] = v
	}
	return values
}

// A test says whether the API took the token, and nothing of what it answered.
func TestTest(t *testing.T) {
	s := newSite(t)
	const path = "/api/integrations/Graph/test"
	w := s.as(alice).post(path, "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-connected", object(t, w)["type"])
	s.as(root).connect("Graph", "")
	w = s.as(alice).post(path, "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-own-connection", object(t, w)["type"], "the fallback is not a member's to test")

	s.as(alice).connect("Graph", "")
	for range 5 {
		w = s.as(alice).post(path, "{}")
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		result := object(t, w)
		require.Equal(t, []string{"duration_ms", "http_status", "ok"}, keys(result))
		require.Equal(t, true, result["ok"])
		require.EqualValues(t, 200, result["http_status"])
	}
	w = s.as(alice).post(path, "")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "too-many-requests", object(t, w)["type"])
	require.Regexp(t, `^[1-9][0-9]?$`, w.Header().Get("Retry-After"))
	require.Equal(t, http.StatusOK, s.as(root).post(path, "").Code, "another connection")
	require.Equal(t, http.StatusUnprocessableEntity, s.as(root).post(path, `{"url":"https://evil.example"}`).Code, "nothing else can be asked for")
	w = s.as(root).post("/api/integrations/Plain/test", "")
	require.Equal(t, http.StatusConflict, w.Code)
}
