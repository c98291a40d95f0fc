package integrations_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func parsed(t testing.TB, text string) integrations.Definition {
	t.Helper()
	d, err := integrations.ParseDefinition([]byte(text))
	require.NoError(t, err)
	return d
}

func TestMerge(t *testing.T) {
	for name, test := range map[string]struct {
		patch string
		check func(*testing.T, integrations.Definition)
	}{
		"nothing": {`{}`, func(t *testing.T, d integrations.Definition) {
			want := fullDefinition()
			want.OAuth.ClientSecret = tokenstore.Secret{}
			integrations.ForgetSecret(&d)
			assert.Equal(t, want, d)
		}},
		"one member": {`{"description": "new", "oauth": {"audience": "other"}}`, func(t *testing.T, d integrations.Definition) {
			assert.Equal(t, "new", d.Description)
			assert.Equal(t, "other", d.OAuth.Audience)
			assert.Equal(t, []string{"a", "b"}, d.OAuth.Scopes)
		}},
		"null takes out": {`{"description": null, "test_url": null, "oauth": {"issuer": null, "require_iss": null, "response": {"root": null}, "token_params": null, "authorization_params": {"prompt": null}}}`, func(t *testing.T, d integrations.Definition) {
			assert.Empty(t, d.Description+d.TestURL+d.OAuth.Issuer+d.OAuth.Response.Root)
			assert.Nil(t, d.OAuth.TokenParams)
			assert.Equal(t, []string{"r1", "r2"}, d.OAuth.AuthorizationParams["resource"])
			assert.NotContains(t, d.OAuth.AuthorizationParams, "prompt")
		}},
		"lists are replaced": {`{"api_hosts": ["other.example.com"], "test_url": null, "oauth": {"scopes": "x y"}}`, func(t *testing.T, d integrations.Definition) {
			assert.Equal(t, []string{"other.example.com"}, d.APIHosts)
			assert.Equal(t, []string{"x", "y"}, d.OAuth.Scopes)
		}},
		"no OAuth": {`{"oauth": null}`, func(t *testing.T, d integrations.Definition) { assert.Nil(t, d.OAuth) }},
		"a new secret": {`{"oauth": {"client_secret": "` + canary + `2"}}`, func(t *testing.T, d integrations.Definition) {
			assert.Equal(t, canary+"2", d.OAuth.ClientSecret.Reveal())
		}},
		"a public client": {`{"oauth": {"client_auth": "none", "disable_pkce": null}}`, func(t *testing.T, d integrations.Definition) {
			assert.True(t, d.OAuth.ClientSecret.IsZero())
			text, err := json.Marshal(d)
			require.NoError(t, err)
			assert.NotContains(t, string(text), "client_secret_set")
		}},
		"what it was": {`{"name": "Full.Form-1", "org": "acme", "oauth": {"client_secret_set": false}}`, func(t *testing.T, d integrations.Definition) {
			text, err := json.Marshal(d)
			require.NoError(t, err)
			assert.Contains(t, string(text), `"client_secret_set":true`, "the patch cannot say that there is none")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := parsed(t, fullForm)
			require.NoError(t, d.Merge([]byte(test.patch)))
			test.check(t, d)
			if d.OAuth != nil && name != "a new secret" {
				assert.True(t, d.OAuth.ClientSecret.IsZero(), "the form does not have it")
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	for name, test := range map[string]struct{ patch, field, message string }{
		"no object":        {`[]`, "", "must be an object"},
		"no JSON":          {`{`, "", "is not JSON"},
		"duplicate":        {`{"description": "a", "description": "b"}`, "description", "stands there twice"},
		"another name":     {`{"name": "Other"}`, "name", "cannot change"},
		"no name":          {`{"name": null}`, "name", "must be"},
		"another org":      {`{"org": "globex"}`, "org", "cannot change"},
		"no org":           {`{"org": null}`, "org", "cannot change"},
		"unknown":          {`{"nam": "x"}`, "nam", "is not known"},
		"nested":           {`{"oauth": {"response": {"root": ".", "access_token": 1}}}`, "oauth.response.access_token", "must be text"},
		"breaks a rule":    {`{"oauth": {"variables": null}}`, "oauth.token_url", "contains {region}, which is not declared"},
		"secret taken out": {`{"oauth": {"client_secret": null}}`, "oauth.client_secret", "is empty"},
		"secret emptied":   {`{"oauth": {"client_secret": "", "client_secret_set": true}}`, "oauth.client_secret", "is empty"},
		"odd secret_set":   {`{"oauth": {"client_secret_set": "yes"}}`, "oauth.client_secret_set", "must be true or false"},
		"any host":         {`{"oauth": {"variables": {"instance": {"hosts": null, "any_host": true}}}}`, "oauth.variables.instance.any_host", "is for definitions in code only"},
		"null in a list":   {`{"api_hosts": [null]}`, "api_hosts[0]", "must be text, not null"},
	} {
		t.Run(name, func(t *testing.T) {
			d := parsed(t, fullForm)
			list := fields(t, d.Merge([]byte(test.patch)))
			require.Contains(t, list, test.field)
			assert.True(t, strings.HasPrefix(list[test.field], test.message), list[test.field])
			assert.Equal(t, fullDefinition(), d, "unchanged")
		})
	}
}

func TestMergeIntoDefinitionWithoutOAuth(t *testing.T) {
	d := parsed(t, `{"name": "N"}`)
	patch := `{"oauth": {"client_id": "id", "authorization_url": "https://a.example/", "token_url": "https://a.example/t", "client_secret_set": true`
	assert.Contains(t, fields(t, d.Merge([]byte(patch+`}}`))), "oauth.client_secret", "there is none to keep")
	require.NoError(t, d.Merge([]byte(patch+`, "client_secret": "`+canary+`"}}`)))
	assert.Equal(t, canary, d.OAuth.ClientSecret.Reveal())
}

// A definition of code is held to the same rules, and to those of its own.
func TestValidateDefinition(t *testing.T) {
	require.NoError(t, integrations.ValidateDefinition(fullDefinition()))
	require.NoError(t, integrations.ValidateStored(fullDefinition()))

	d := fullDefinition()
	d.OAuth.Variables["instance"] = oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}
	d.OAuth.DefaultLifetime = time.Microsecond
	require.NoError(t, integrations.ValidateDefinition(d))
	list := fields(t, integrations.ValidateStored(d))
	assert.Contains(t, list, "oauth.variables.instance.any_host")
	assert.Contains(t, list, "oauth.default_lifetime_ms")
	assert.Len(t, list, 2)

	d = parsed(t, form(t, `{"oauth": {"client_secret": null, "client_secret_set": true}}`))
	assert.Contains(t, fields(t, integrations.ValidateDefinition(d)), "oauth.client_secret", "it must be put in first")

	d = fullDefinition()
	d.Config[2].Options = []any{10, uint8(20), 3.5}
	d.Config[2].Default = 10
	d.Config[4].Default = map[string]any{"x": make(chan int)}
	d.Config[5].Default = tokenstore.NewSecret(canary)
	list = fields(t, integrations.ValidateDefinition(d))
	assert.Equal(t, map[string]string{
		"config[2].options[2]": "must be a whole number within 64 bits",
		"config[4].default":    "cannot be written as JSON",
		"config[5].default":    "cannot be given for a secret: set it as a value of the integration instead",
	}, list)

	for field, change := range map[string]func(*integrations.Definition){
		"oauth.flow":           func(d *integrations.Definition) { d.OAuth.Flow = "device" },
		"oauth.client_auth":    func(d *integrations.Definition) { d.OAuth.ClientAuth = "guess" },
		"oauth.refresh_policy": func(d *integrations.Definition) { d.OAuth.RefreshPolicy = "always" },
		"oauth.variables.region.kind": func(d *integrations.Definition) {
			d.OAuth.Variables["region"] = oauthflow.Variable{Kind: "ip"}
		},
		"oauth.variables.instance": func(d *integrations.Definition) {
			d.OAuth.Variables["instance"] = oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"a.example.com"}, AnyHost: true}
		},
		"oauth.variables.a-b": func(d *integrations.Definition) {
			d.OAuth.Variables["a-b"] = oauthflow.Variable{Kind: oauthflow.Label}
		},
		"oauth.default_lifetime_ms":  func(d *integrations.Definition) { d.OAuth.DefaultLifetime = -1 },
		"oauth.dead_grant_errors[1]": func(d *integrations.Definition) { d.OAuth.DeadGrantErrors = []string{"a", "b\x00"} },
		"config[1].type":             func(d *integrations.Definition) { d.Config[1].Type = "number" },
		"description":                func(d *integrations.Definition) { d.Description = "\xff" },
	} {
		d := fullDefinition()
		change(&d)
		list := fields(t, integrations.ValidateDefinition(d))
		require.Contains(t, list, field)
		assert.NotRegexp(t, goWord, list[field])
	}
}

func TestInvalidErrorReadsWell(t *testing.T) {
	err := error(&integrations.InvalidError{Fields: []integrations.FieldError{{"oauth.token_url", "is empty"}, {"", "is not JSON"}}})
	assert.EqualError(t, err, "integrations: oauth.token_url is empty\nintegrations: the document is not JSON")
	assert.False(t, errors.Is(fmt.Errorf("x: %w", err), integrations.ErrInvalid))
}
