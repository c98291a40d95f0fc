package integrations_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// refusedForm is a form with one fault.
type refusedForm struct {
	text    string
	field   string // its path
	message string // begins with
	// semantic faults are those that the schema cannot say.
	semantic bool
}

func refused(t testing.TB) map[string]refusedForm {
	forms := map[string]refusedForm{}
	// shape is a fault of the shape, rule one that only ParseDefinition knows.
	add := func(semantic bool, field, patch, message string) {
		name := field + " " + message + " " + patch[:min(len(patch), 200)]
		require.NotContains(t, forms, name)
		forms[name] = refusedForm{text: form(t, patch), field: field, message: message, semantic: semantic}
	}
	shape := func(field, patch, message string) { add(false, field, patch, message) }
	rule := func(field, patch, message string) { add(true, field, patch, message) }

	shape("name", `{"name": null}`, "must be a letter and then")
	shape("name", `{"name": "1a"}`, "must be a letter and then")
	shape("name", `{"name": 7}`, "must be text, not a number")
	shape("nam", `{"nam": "x"}`, "is not known: take it out")
	shape("Name", `{"Name": "x"}`, "is not known, but name is: take")
	shape("clientSecret", `{"clientSecret": "x"}`, "is not known: take")
	shape(`["a b"]`, `{"a b": "x"}`, "is not known: take")
	shape("oauth.tokenUrl", `{"oauth": {"tokenUrl": "x"}}`, "is not known, but token_url is: take")
	shape("org", `{"org": ".."}`, "must be letters, digits")
	shape("org", `{"org": "a b"}`, "must be letters, digits")
	shape("description", `{"description": ["x"]}`, "must be text, not a list")
	rule("description", `{"description": "a\u0007b"}`, "has control characters")
	rule("default_entity_id", `{"default_entity_id": "a\n"}`, "has control characters")
	rule("entity_provider", `{"entity_provider": "a\u001bb"}`, "has control characters")
	rule("description", `{"description": "a\u0000b"}`, "contains the character U+0000")
	rule("default_entity_id", `{"default_entity_id": "a/b", "oauth": {"token_url": "https://example.com/{entity_id}"}}`, "does not fit into the URLs")
	shape("no_fallback", `{"no_fallback": "true"}`, "must be true or false, not text")
	shape("allow_account_change", `{"allow_account_change": 1}`, "must be true or false, not a number")
	shape("api_hosts", `{"api_hosts": "api.example.com"}`, "must be a list, not text")
	shape("api_hosts[1]", `{"api_hosts": ["api.example.com", 1]}`, "must be text, not a number")
	shape("api_hosts[0]", `{"api_hosts": ["https://api.example.com"]}`, "must be a host name or host:port")
	shape("api_hosts[0]", `{"api_hosts": ["*.example.com"]}`, "must be a host name or host:port")
	shape("api_header", `{"api_header": "a b"}`, "must be the name of a header")
	shape("test_url", `{"test_url": "/me"}`, "must be an absolute URL")
	shape("test_url", `{"test_url": "https://api.example.com/{entity_id}"}`, "is fixed")
	shape("test_url", `{"test_url": "https://api.example.com/#a"}`, "must not have user information")
	rule("test_url", `{"test_url": "https://u:p@api.example.com/"}`, "must not have user information")
	rule("test_url", `{"test_url": "http://api.example.com/"}`, "must begin with https:// and one of api_hosts")
	rule("test_url", `{"test_url": "https://api.example.com:8443/"}`, "must begin with https:// and one of api_hosts")
	rule("test_url", `{"test_url": "https://evil.example/"}`, "must begin with https:// and one of api_hosts")

	shape("config", `{"config": {}}`, "must be a list, not an object")
	shape("config[0]", `{"config": ["region"]}`, "must be an object, not text")
	shape("config[0].key", `{"config": [{"type": "int"}]}`, "must be a letter and then")
	shape("config[0].type", `{"config": [{"key": "a"}]}`, "must be \"string\", \"int\"")
	shape("config[0].type", `{"config": [{"key": "a", "type": "number"}]}`, "must be \"string\", \"int\"")
	shape("config[0].required", `{"config": [{"key": "a", "type": "int", "required": 1}]}`, "must be true or false")
	shape("config[0].secret", `{"config": [{"key": "a", "type": "int", "secret": true}]}`, "is not known")
	rule("config[1].key", `{"config": [{"key": "a", "type": "int"}, {"key": "a", "type": "int"}]}`, "stands there twice")
	shape("config[0].default", `{"config": [{"key": "a", "type": "int", "default": "42"}]}`, "must be a whole number, not text")
	shape("config[0].default", `{"config": [{"key": "a", "type": "int", "default": 1.5}]}`, "must be a whole number within 64 bits")
	rule("config[0].default", `{"config": [{"key": "a", "type": "int", "default": 9223372036854775808}]}`, "must be a whole number within 64 bits")
	shape("config[0].default", `{"config": [{"key": "a", "type": "string", "default": 1}]}`, "must be text, not a number")
	shape("config[0].default", `{"config": [{"key": "a", "type": "bool", "default": "yes"}]}`, "must be true or false, not text")
	shape("config[0].default", `{"config": [{"key": "a", "type": "secret", "default": "`+canary+`"}]}`, "cannot be given for a secret")
	rule("config[0].default", `{"config": [{"key": "a", "type": "string", "default": "c", "options": ["a", "b"]}]}`, "must be one of the options")
	rule("config[0].default", `{"config": [{"key": "a", "type": "string", "default": "`+strings.Repeat("x", 8<<10+1)+`"}]}`, "is longer than 8 KiB")
	shape("config[0].options", `{"config": [{"key": "a", "type": "string", "options": "a"}]}`, "must be a list")
	shape("config[0].options", `{"config": [{"key": "a", "type": "secret", "options": ["a"]}]}`, "can be given for the types")
	shape("config[0].options", `{"config": [{"key": "a", "type": "bool", "options": [true]}]}`, "can be given for the types")
	shape("config[0].options[1]", `{"config": [{"key": "a", "type": "int", "options": [1, "2"]}]}`, "must be a whole number, not text")
	shape("config[0].options[1]", `{"config": [{"key": "a", "type": "string", "options": ["a", "a"]}]}`, "stands there twice")
	shape("config[0].options[0]", `{"config": [{"key": "a", "type": "string", "options": [""]}]}`, "is empty")

	shape("oauth", `{"oauth": "x"}`, "must be an object, not text")
	shape("oauth.flow", `{"oauth": {"flow": "device"}}`, "must be \"authorization_code\" or \"client_credentials\"")
	shape("oauth.client_id", `{"oauth": {"client_id": null}}`, "is empty: set the id")
	shape("oauth.client_id", `{"oauth": {"client_id": 7}}`, "must be text")
	rule("oauth.client_id", `{"oauth": {"client_id": "a\n"}}`, "has control characters")
	shape("oauth.client_secret", `{"oauth": {"client_secret": null}}`, "is empty: set the secret that the provider gave to your app, or client_auth to \"none\"")
	rule("oauth.client_secret", `{"oauth": {"client_secret": "`+canary+` "}}`, "has spaces around it")
	rule("oauth.client_secret", `{"oauth": {"client_secret": "`+canary+`\n"}}`, "has control characters")
	shape("oauth.client_secret", `{"oauth": {"client_auth": "none"}}`, "is set, but client_auth is \"none\"")
	shape("oauth.client_secret_set", `{"oauth": {"client_secret_set": 1}}`, "must be true or false")
	shape("oauth.client_auth", `{"oauth": {"client_auth": "guess"}}`, "must be \"client_secret_post\"")
	shape("oauth.client_auth", `{"oauth": {"flow": "client_credentials", "client_auth": "none", "client_secret": null}}`, "is \"none\", but flow is \"client_credentials\"")
	shape("oauth.authorization_url", `{"oauth": {"authorization_url": null}}`, "is empty: set it to the provider's URL")
	shape("oauth.authorization_url", `{"oauth": {"authorization_url": ""}}`, "is empty: set it to the provider's URL")
	shape("oauth.token_url", `{"oauth": {"token_url": null}}`, "is empty: set it to the provider's URL")
	shape("oauth.token_url", `{"oauth": {"token_url": "provider.example/token"}}`, "is not an absolute URL")
	rule("oauth.token_url", `{"oauth": {"token_url": "http://provider.example/token"}}`, "begins with http://")
	shape("oauth.token_url", `{"oauth": {"token_url": "https://provider.example/token#a"}}`, "has a fragment")
	rule("oauth.token_url", `{"oauth": {"token_url": "https://provider.example/token?client_secret=`+canary+`"}}`, "has the parameter client_secret in its query")
	rule("oauth.token_url", `{"oauth": {"token_url": "https://provider.example/token?a=%zz"}}`, "has a query that is not well-formed")
	rule("oauth.refresh_url", `{"oauth": {"refresh_url": "https://{tenant}.example.com/"}}`, "contains {tenant}, which is not declared: the variables are entity_id; correct the name, or declare it in oauth.variables")
	shape("oauth.revocation_url", `{"oauth": {"revocation_url": "ftp://example.com/"}}`, "is not an absolute URL")
	shape("oauth.issuer", `{"oauth": {"issuer": "example.com"}}`, "is not an absolute URL")
	rule("oauth.issuer", `{"oauth": {"issuer": "https://example.com/?a=b"}}`, "has a query")
	rule("oauth.issuer", `{"oauth": {"require_iss": true}}`, "is empty, but require_iss is set")
	shape("oauth.scopes", `{"oauth": {"scopes": 1}}`, "must be a list of texts, or one text")
	shape("oauth.scopes[1]", `{"oauth": {"scopes": ["a", 1]}}`, "must be text")
	shape("oauth.scopes[1]", `{"oauth": {"scopes": ["a", "b c"]}}`, "has spaces: write one scope per element")
	shape("oauth.scopes[0]", `{"oauth": {"scopes": [""]}}`, "is empty: take it out")
	rule("oauth.scopes[0]", `{"oauth": {"scopes": ["a,b"], "scope_separator": ","}}`, "has the scope_separator in it")
	rule("oauth.audience", `{"oauth": {"audience": " a"}}`, "has spaces around it")
	rule("oauth.authorization_params.scope", `{"oauth": {"authorization_params": {"scope": "a"}}}`, "is set for you: use scopes")
	rule("oauth.token_params.client_secret", `{"oauth": {"token_params": {"client_secret": "`+canary+`"}}}`, "is set for you: use client_id and client_secret")
	rule("oauth.refresh_params.refresh_token", `{"oauth": {"refresh_params": {"refresh_token": "`+canary+`"}}}`, "is set for you: take it out")
	shape("oauth.token_params", `{"oauth": {"token_params": {"": "a"}}}`, "has a parameter without a name")
	shape("oauth.token_params", `{"oauth": {"token_params": "a=b"}}`, "must be an object")
	shape("oauth.token_params.a", `{"oauth": {"token_params": {"a": 1}}}`, "must be text or a list of texts")
	shape("oauth.token_params.a[0]", `{"oauth": {"token_params": {"a": [1]}}}`, "must be text")
	shape("oauth.variables.region", `{"oauth": {"variables": {"region": 1}}}`, "must be an object with kind and hosts")
	shape("oauth.variables.region", `{"oauth": {"variables": {"region": "ip"}}}`, `must be "label", "segment", "value" or "host"`)
	shape("oauth.variables.region.kind", `{"oauth": {"variables": {"region": {"kind": "ip"}}}}`, `must be "label", "segment", "value" or "host"`)
	shape("oauth.variables.region.kind", `{"oauth": {"variables": {"region": {}}}}`, `is missing: set it to "label"`)
	shape("oauth.variables.region.any_host", `{"oauth": {"variables": {"region": {"kind": "host", "any_host": true}}}}`, "is for definitions in code only")
	rule("oauth.variables.region", `{"oauth": {"variables": {"region": "host"}}}`, "is a host without an allow-list: set hosts to")
	rule("oauth.variables.region", `{"oauth": {"variables": {"region": {"kind": "label", "hosts": ["a.example.com"]}}}}`, "has an allow-list")
	rule("oauth.variables.region", `{"oauth": {"variables": {"region": {"kind": "host"}}}}`, "is a host without an allow-list: set hosts to")
	rule("oauth.variables.region.hosts[1]", `{"oauth": {"variables": {"region": {"kind": "host", "hosts": ["a.example.com", "*"]}}}}`, "is not a host name")
	shape(`oauth.variables.a-b`, `{"config": [{"key": "a-b", "type": "string"}], "oauth": {"variables": {"a-b": "label"}}}`, "has a name that cannot stand in a URL")
	rule("oauth.variables.nowhere", `{"oauth": {"variables": {"nowhere": "label"}}}`, "has no value: declare a config key")
	rule("oauth.variables.retries", `{"oauth": {"variables": {"retries": "label"}}}`, "has no value: declare a config key")
	rule("config[0].default", `{"config": [{"key": "region", "type": "string", "default": "e.u"}], "oauth": {"token_url": "https://{region}.example.com/", "variables": {"region": "label"}}}`, "does not fit into the URLs")
	shape("oauth.disable_pkce", `{"oauth": {"disable_pkce": "no"}}`, "must be true or false")
	rule("oauth.disable_pkce", `{"oauth": {"disable_pkce": true, "client_auth": "none", "client_secret": null}}`, "is set for a public client")
	shape("oauth.scope_separator", `{"oauth": {"scope_separator": "x"}}`, "is not valid: leave it empty for a space")
	shape("oauth.response", `{"oauth": {"response": []}}`, "must be an object")
	shape("oauth.response.root", `{"oauth": {"response": {"root": "a..b"}}}`, "is not valid: write member names")
	shape("oauth.response.expires_at", `{"oauth": {"response": {"expires_at": "."}}}`, "is not valid: write member names")
	shape("oauth.default_lifetime_ms", `{"oauth": {"default_lifetime_ms": -1}}`, "is negative")
	shape("oauth.default_lifetime_ms", `{"oauth": {"default_lifetime_ms": "1h"}}`, "must be a number, not text")
	shape("oauth.default_lifetime_ms", `{"oauth": {"default_lifetime_ms": 1.5}}`, "must be a whole number of milliseconds")
	shape("oauth.reuse_grace_ms", `{"oauth": {"reuse_grace_ms": 9223372036855}}`, "must be a whole number of milliseconds")
	shape("oauth.reuse_grace_ms", `{"oauth": {"reuse_grace_ms": -1}}`, "is negative")
	rule("oauth.reuse_grace_ms", `{"oauth": {"refresh_policy": "grace"}}`, "is 0, but refresh_policy is \"grace\"")
	shape("oauth.refresh_policy", `{"oauth": {"refresh_policy": "always"}}`, `must be "ask", "grace", "reusable" or "never"`)
	shape("oauth.dead_grant_errors[1]", `{"oauth": {"dead_grant_errors": ["gone", ""]}}`, "cannot be an error code")
	return forms
}

// goWord finds a name of Go in a message: a person who fills in a form does not
// know what ClientAuth is.
var goWord = regexp.MustCompile(`[a-z](?:[A-Z][a-z]|ID|URL|PKCE)|\bAuth[A-Z]|Definition|Provider\.`)

func TestParseDefinitionRefuses(t *testing.T) {
	for name, test := range refused(t) {
		t.Run(name, func(t *testing.T) {
			d, err := integrations.ParseDefinition([]byte(test.text))
			list := fields(t, err)
			require.Contains(t, list, test.field)
			assert.Len(t, list, 1, "one fault")
			message := list[test.field]
			assert.True(t, strings.HasPrefix(message, test.message), message)
			assert.NotRegexp(t, goWord, message)
			assert.Equal(t, integrations.Definition{}, d)
		})
	}
}

func TestParseDefinitionRefusesWhatIsNoForm(t *testing.T) {
	deep := strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40)
	for name, test := range map[string]struct{ text, field, message string }{
		"nothing":             {"", "", "is not JSON: it ends too early"},
		"cut off":             {`{"name": "N"`, "", "is not JSON: it ends too early"},
		"syntax":              {`{"name": N}`, "", "is not JSON: look at byte 10"},
		"something behind it": {`{"name": "N"} {}`, "", "is not JSON: look at byte"},
		"not an object":       {`[]`, "", "must be an object, not a list"},
		"null":                {`null`, "", "must be an object, not null"},
		"not UTF-8":           {"{\"name\": \"\xff\"}", "", "is not JSON: it is not UTF-8"},
		"too long":            {`{"description": "` + strings.Repeat("x", 64<<10) + `"}`, "", "is longer than 64 KiB"},
		"too long as written": {`{"name": "N", "description": "` + strings.Repeat("<", 20<<10) + `"}`, "", "is longer than 64 KiB"},
		"too deep":            {`{"config": [{"key": "a", "type": "json", "default": ` + deep + `}]}`, "config[0].default" + strings.Repeat("[0]", 29), "is nested deeper than 32 levels"},
		"duplicate":           {`{"name": "N", "oauth": {"client_id": "a", "client_id": "` + canary + `"}}`, "oauth.client_id", "stands there twice"},
		"null member":         {`{"name": "N", "api_hosts": null}`, "api_hosts", "must be a list, not null: leave it out"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := integrations.ParseDefinition([]byte(test.text))
			list := fields(t, err)
			require.Contains(t, list, test.field)
			assert.True(t, strings.HasPrefix(list[test.field], test.message), list[test.field])
		})
	}
}

func TestFaultsHaveAnOrder(t *testing.T) {
	text := []byte(form(t, `{"oauth": {
		"token_params": {"code": "a", "client_id": "b", "redirect_uri": "c", "code_verifier": "d"},
		"variables": {"a": "host", "b": "host", "c": "host", "d": "host"}, "scopes": ["x y", "b c"]
	}}`))
	_, first := integrations.ParseDefinition(text)
	require.Error(t, first)
	for range 20 {
		_, err := integrations.ParseDefinition(text)
		require.EqualError(t, err, first.Error())
	}
}

func TestParseDefinitionListsAllFaults(t *testing.T) {
	_, err := integrations.ParseDefinition([]byte(`{
		"name": "", "no_fallback": 1, "more": 1, "config": [{"key": "-", "type": "text"}],
		"oauth": {"token_url": 1, "client_secret": "` + canary + `", "scopes": ["a b", "c", "a b"]}
	}`))
	list := fields(t, err)
	for _, field := range []string{
		"name", "no_fallback", "more", "config[0].key", "config[0].type", "oauth.token_url",
		"oauth.authorization_url", "oauth.client_id", "oauth.scopes[0]", "oauth.scopes[2]",
	} {
		assert.Contains(t, list, field)
	}
	assert.Len(t, list, 10)
	assert.Contains(t, list["oauth.token_url"], "must be text", "not that it is empty: that follows from it")

	many := map[string]int{}
	for i := range 1000 {
		many[fmt.Sprint("member", i)] = i
	}
	text, err := json.Marshal(many)
	require.NoError(t, err)
	_, err = integrations.ParseDefinition(text)
	assert.LessOrEqual(t, len(fields(t, err)), 100)
}

// Whatever stands in the wrong place may be a secret.
func TestFaultsRepeatNoValue(t *testing.T) {
	for _, patch := range []string{
		`{"name": "` + canary + ` "}`, `{"org": "` + canary + `/"}`, `{"default_entity_id": "` + canary + `/", "oauth": {"token_url": "https://a.example/{entity_id}"}}`,
		`{"api_hosts": ["` + canary + `/"]}`, `{"api_header": "` + canary + ` "}`, `{"test_url": "https://` + canary + `/"}`,
		`{"test_url": "https://u:` + canary + `@api.example.com/"}`, `{"description": "` + canary + `\u0001"}`,
		`{"config": [{"key": "` + canary + ` ", "type": "` + canary + `"}]}`,
		`{"config": [{"key": "a", "type": "int", "default": "` + canary + `", "options": ["` + canary + `"]}]}`,
		`{"config": [{"key": "a", "type": "string", "default": "` + canary + `", "options": ["x"]}]}`,
		`{"config": [{"key": "a", "type": "secret", "default": "` + canary + `"}]}`,
		`{"oauth": {"flow": "` + canary + `", "client_auth": "` + canary + `", "refresh_policy": "` + canary + `"}}`,
		`{"oauth": {"client_id": " ` + canary + `", "audience": " ` + canary + `"}}`,
		`{"oauth": {"scopes": ["` + canary + ` x"]}}`, `{"oauth": {"scopes": ["` + canary + `"], "scope_separator": "-"}}`,
		`{"oauth": {"scope_separator": "` + canary + `"}}`, `{"oauth": {"dead_grant_errors": ["` + canary + `é"]}}`,
		`{"oauth": {"response": {"root": "` + canary + `..", "scope": ".` + canary + `"}}}`,
		`{"oauth": {"variables": {"a": "` + canary + `", "b": {"kind": "` + canary + `"}, "c": {"kind": "host", "hosts": ["` + canary + `*"]}}}}`,
		`{"oauth": {"token_url": "` + canary + `", "authorization_url": "http://` + canary + `.example/", "issuer": "https://u:` + canary + `@a.example/"}}`,
		`{"oauth": {"token_url": "https://a.example/?client_secret=` + canary + `", "revocation_url": "https://a.example/#` + canary + `"}}`,
		`{"oauth": {"authorization_params": {"state": "` + canary + `"}, "token_params": {"code": ["` + canary + `"]}}}`,
	} {
		for _, text := range []string{form(t, patch), patch} {
			_, err := integrations.ParseDefinition([]byte(text))
			fields(t, err) // looks for the canary
		}
		var definition integrations.Definition
		err := json.Unmarshal([]byte(form(t, patch)), &definition)
		require.Error(t, err)
		assert.NotContains(t, fmt.Sprintf("%v %+v", err, err), canary)
	}
}
