package integrations_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// canary is the client secret of every form in these tests.
const canary = "canary-5ecret"

// plainForm is the smallest useful form.
const plainForm = `{
	"name": "Graph",
	"api_hosts": ["api.example.com"],
	"config": [{"key": "region", "type": "string", "default": "eu"}, {"key": "retries", "type": "int"}],
	"oauth": {
		"client_id": "id", "client_secret": "` + canary + `",
		"authorization_url": "https://provider.example/authorize",
		"token_url": "https://provider.example/token"
	}
}`

// form returns plainForm with a merge patch applied.
func form(t testing.TB, patch string) string {
	t.Helper()
	var base, change any
	require.NoError(t, json.Unmarshal([]byte(plainForm), &base))
	require.NoError(t, json.Unmarshal([]byte(patch), &change), patch)
	text, err := json.Marshal(mergePatch(base, change))
	require.NoError(t, err)
	return string(text)
}

func mergePatch(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, _ := target.(map[string]any)
	result = maps.Clone(result)
	if result == nil {
		result = map[string]any{}
	}
	for name, value := range change {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = mergePatch(result[name], value)
		}
	}
	return result
}

// fullForm has every member.
const fullForm = `{
	"name": "Full.Form-1", "description": "Everything <there> is", "org": "acme",
	"default_entity_id": "tenant-1", "entity_provider": "list_tenants",
	"api_hosts": ["api.example.com", "localhost:8080"], "api_header": "X-Token",
	"test_url": "https://api.example.com/v1/me?fields=id", "no_fallback": true, "allow_account_change": true,
	"config": [
		{"key": "region", "type": "string", "description": "Where", "required": true, "options": ["eu", "us"], "default": "eu"},
		{"key": "instance", "type": "string"},
		{"key": "page.size", "type": "int", "options": [10, 9007199254740993], "default": 9007199254740993},
		{"key": "dry-run", "type": "bool", "default": false},
		{"key": "mapping", "type": "json", "default": {"b": [1.50, null], "a": "<"}},
		{"key": "api_key", "type": "secret", "required": true}
	],
	"oauth": {
		"flow": "authorization_code", "client_id": "id", "client_secret": "` + canary + `", "client_auth": "client_secret_basic",
		"authorization_url": "https://{region}.provider.example/{entity_id}/authorize?a=b",
		"token_url": "https://{region}.provider.example/{entity_id}/token",
		"refresh_url": "https://{instance}/refresh", "revocation_url": "https://provider.example/revoke",
		"issuer": "https://provider.example/{entity_id}", "require_iss": true,
		"scopes": ["a", "b"], "audience": "https://api.example.com/",
		"authorization_params": {"prompt": "consent", "resource": ["r1", "r2"], "response_type": []},
		"token_params": {"p": "1"}, "refresh_params": {"q": ""},
		"variables": {"region": {"kind": "label"}, "instance": {"kind": "host", "hosts": ["*.example.com"]}},
		"disable_pkce": true, "scope_separator": ",",
		"response": {"root": "data", "access_token": "a.b", "refresh_token": "c", "scope": "d", "expires_in": "e", "expires_at": "f"},
		"default_lifetime_ms": 3600000, "refresh_policy": "grace", "reuse_grace_ms": 30000, "dead_grant_errors": ["gone"]
	}
}`

func fullDefinition() integrations.Definition {
	return integrations.Definition{
		Name: "Full.Form-1", Description: "Everything <there> is", Org: "acme",
		DefaultEntityID: "tenant-1", EntityProvider: "list_tenants",
		APIHosts: []string{"api.example.com", "localhost:8080"}, APIHeader: "X-Token",
		TestURL: "https://api.example.com/v1/me?fields=id", NoFallback: true, AllowAccountChange: true,
		Config: []integrations.ConfigField{
			{Key: "region", Type: integrations.ConfigString, Description: "Where", Required: true, Options: []any{"eu", "us"}, Default: "eu"},
			{Key: "instance", Type: integrations.ConfigString},
			{Key: "page.size", Type: integrations.ConfigInt, Options: []any{int64(10), int64(9007199254740993)}, Default: int64(9007199254740993)},
			{Key: "dry-run", Type: integrations.ConfigBool, Default: false},
			{Key: "mapping", Type: integrations.ConfigJSON, Default: json.RawMessage(`{"b":[1.50,null],"a":"\u003c"}`)},
			{Key: "api_key", Type: integrations.ConfigSecret, Required: true},
		},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{
				AuthorizationURL: "https://{region}.provider.example/{entity_id}/authorize?a=b",
				TokenURL:         "https://{region}.provider.example/{entity_id}/token",
				RefreshURL:       "https://{instance}/refresh",
				RevocationURL:    "https://provider.example/revoke",
				Issuer:           "https://provider.example/{entity_id}", RequireIss: true,
				Variables: map[string]oauthflow.Variable{
					"region":   {Kind: oauthflow.Label},
					"instance": {Kind: oauthflow.Host, Hosts: []string{"*.example.com"}},
				},
				AuthorizationParams: url.Values{"prompt": {"consent"}, "resource": {"r1", "r2"}, "response_type": nil},
				TokenParams:         url.Values{"p": {"1"}}, RefreshParams: url.Values{"q": {""}},
				DisablePKCE: true, ClientAuth: oauthflow.AuthBasic, ScopeSeparator: ",",
				Response: oauthflow.ResponseMapping{
					Root: "data", AccessToken: "a.b", RefreshToken: "c", Scope: "d", ExpiresIn: "e", ExpiresAt: "f",
				},
				DefaultLifetime: time.Hour, RefreshPolicy: oauthflow.Grace, ReuseGrace: 30 * time.Second,
				DeadGrantErrors: []string{"gone"},
			},
			Flow: oauthflow.AuthorizationCode, ClientID: "id", ClientSecret: tokenstore.NewSecret(canary),
			Scopes: []string{"a", "b"}, Audience: "https://api.example.com/",
		},
	}
}

func TestParseDefinitionReadsEverything(t *testing.T) {
	d, err := integrations.ParseDefinition([]byte(fullForm))
	require.NoError(t, err)
	assert.Equal(t, fullDefinition(), d)

	var same integrations.Definition
	require.NoError(t, json.Unmarshal([]byte(fullForm), &same))
	assert.Equal(t, d, same)
}

// A field of a definition that has no place in the form would be lost when the
// definition is stored: every field of the full definition must be set, and all of
// it must come back.
func TestFormHasEveryField(t *testing.T) {
	d := fullDefinition()
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			if !field.IsExported() {
				continue
			}
			at := path + "." + field.Name
			assert.False(t, value.IsZero(), "%s is not in the full definition: give it a place in the form, and a value here", at)
			if value.Kind() == reflect.Struct && field.Type != reflect.TypeFor[tokenstore.Secret]() {
				visit(at, value)
			}
		}
	}
	visit("Definition", reflect.ValueOf(d))
	visit("Definition.OAuth", reflect.ValueOf(*d.OAuth))
	visit("Definition.Config[0]", reflect.ValueOf(d.Config[0]))
	host := d.OAuth.Variables["instance"]
	host.AnyHost = true // in code only, but written
	visit("Definition.OAuth.Variables", reflect.ValueOf(host))

	text, err := json.Marshal(d)
	require.NoError(t, err)
	again, err := integrations.ParseDefinition(text)
	require.NoError(t, err)
	assert.True(t, again.OAuth.ClientSecret.IsZero())
	again.OAuth.ClientSecret = d.OAuth.ClientSecret
	integrations.ForgetSecret(&again)
	assert.Equal(t, d, again)
}

func TestMarshalKeepsOrderAndSecret(t *testing.T) {
	d := fullDefinition()
	first, err := json.Marshal(d)
	require.NoError(t, err)
	assert.NotContains(t, string(first), canary)
	assert.Contains(t, string(first), `"client_secret_set":true`)
	assert.True(t, strings.HasPrefix(string(first), `{"name":"Full.Form-1","description":`), "the order is the form's: %s", first)
	for range 20 {
		again, err := json.Marshal(d)
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}

	parsed, err := integrations.ParseDefinition(first)
	require.NoError(t, err)
	again, err := json.Marshal(parsed)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(again), "client_secret_set too: the secret is kept elsewhere")

	d.OAuth.ClientSecret, d.OAuth.ClientAuth = tokenstore.Secret{}, oauthflow.AuthNone
	public, err := json.Marshal(d)
	require.NoError(t, err)
	assert.NotContains(t, string(public), "client_secret_set")

	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "definition", fullDefinition())
	assert.NotContains(t, log.String()+fmt.Sprintf("%v %+v %#v", d, d, d), canary)
}

// accepted are forms that must be read, and fit the schema.
func accepted(t testing.TB) map[string]string {
	forms := map[string]string{
		"plain": plainForm, "full": fullForm,
		"nothing but a name":          `{"name": "N"}`,
		"no OAuth, said":              `{"name": "N", "oauth": null}`,
		"empty texts are none":        form(t, `{"description": "", "org": "", "test_url": "", "api_header": "", "oauth": {"refresh_url": "", "issuer": "", "audience": "", "scope_separator": "", "response": {"root": ""}}}`),
		"scopes in one text":          form(t, `{"oauth": {"scopes": " a  b "}}`),
		"scopes in an empty text":     form(t, `{"oauth": {"scopes": ""}}`),
		"lines in a description":      form(t, `{"description": "a\r\n\tb"}`),
		"post":                        form(t, `{"oauth": {"client_auth": "post"}}`),
		"basic":                       form(t, `{"oauth": {"client_auth": "basic"}}`),
		"public":                      form(t, `{"oauth": {"client_auth": "none", "client_secret": null}}`),
		"public, secret set":          form(t, `{"oauth": {"client_auth": "none", "client_secret": null, "client_secret_set": true}}`),
		"secret kept":                 form(t, `{"oauth": {"client_secret": null, "client_secret_set": true}}`),
		"client credentials":          form(t, `{"oauth": {"flow": "client_credentials", "authorization_url": null}}`),
		"kind alone":                  form(t, `{"oauth": {"token_url": "https://{region}.example.com/t", "variables": {"region": "label"}}}`),
		"entity redeclared":           form(t, `{"oauth": {"variables": {"entity_id": "label"}}}`),
		"any_host false":              form(t, `{"oauth": {"variables": {"region": {"kind": "label", "any_host": false}}}}`),
		"loopback":                    form(t, `{"api_hosts": ["127.0.0.1:81", "[::1]"], "test_url": "http://127.0.0.1:81/", "oauth": {"token_url": "http://localhost:1/t"}}`),
		"defaults that are none":      form(t, `{"config": [{"key": "a", "type": "int", "default": ""}, {"key": "b", "type": "bool", "default": ""}]}`),
		"options without a default":   form(t, `{"config": [{"key": "a", "type": "int", "options": [1, 2]}]}`),
		"empty lists":                 form(t, `{"api_hosts": [], "config": [], "oauth": {"scopes": [], "dead_grant_errors": [], "authorization_params": {}, "variables": {}}}`),
		"entity id left to mappings":  form(t, `{"oauth": {"token_url": "https://example.com/{entity_id}"}}`),
		"variable left to the values": form(t, `{"config": [{"key": "x", "type": "string", "required": true}], "oauth": {"token_url": "https://example.com/{x}", "variables": {"x": "segment"}}}`),
	}
	forms["null default"] = strings.Replace(plainForm, `"type": "int"`, `"type": "int", "default": null`, 1)
	return forms
}

func TestParseDefinitionAccepts(t *testing.T) {
	for name, text := range accepted(t) {
		t.Run(name, func(t *testing.T) {
			d, err := integrations.ParseDefinition([]byte(text))
			require.NoError(t, err)
			written, err := json.Marshal(d)
			require.NoError(t, err)
			again, err := integrations.ParseDefinition(written)
			require.NoError(t, err, "%s", written)
			rewritten, err := json.Marshal(again)
			require.NoError(t, err)
			assert.Equal(t, string(written), string(rewritten))
		})
	}
}

func TestParseDefinitionReadsShortForms(t *testing.T) {
	d, err := integrations.ParseDefinition([]byte(form(t, `{"oauth": {"scopes": " a  b ", "client_auth": "basic", "variables": {"region": "label"}}}`)))
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, d.OAuth.Scopes)
	assert.Equal(t, oauthflow.AuthBasic, d.OAuth.ClientAuth)
	assert.Equal(t, oauthflow.Variable{Kind: oauthflow.Label}, d.OAuth.Variables["region"])
}

// fields returns the messages of an InvalidError by path.
func fields(t testing.TB, err error) map[string]string {
	t.Helper()
	var invalid *integrations.InvalidError
	require.True(t, errors.As(err, &invalid), "%v", err)
	require.NotEmpty(t, invalid.Fields)
	list := map[string]string{}
	for _, f := range invalid.Fields {
		require.NotContains(t, list, f.Field, "one fault a field")
		require.NotEmpty(t, f.Message)
		list[f.Field] = f.Message
	}
	assert.NotContains(t, err.Error(), canary)
	assert.Len(t, strings.Split(err.Error(), "\n"), len(invalid.Fields), "one line each")
	return list
}
