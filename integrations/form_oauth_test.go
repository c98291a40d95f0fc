package integrations_test

import (
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// The faults that oauthflow finds have the form's paths, with the map's keys and the
// list's indices, and the form's words.
func TestFaultsOfTheClientAreTheForms(t *testing.T) {
	d := fullDefinition()
	host := func(hosts ...string) oauthflow.Variable {
		return oauthflow.Variable{Kind: oauthflow.Host, Hosts: hosts}
	}
	d.OAuth.Flow, d.OAuth.ClientAuth, d.OAuth.RefreshPolicy = "device", "guess", "always"
	d.OAuth.AuthorizationURL = "https://example.com/{tenant}"
	d.OAuth.Scopes = []string{"read", "read", "a,b", "a b", "a b"}
	d.OAuth.TokenParams = url.Values{"code": {canary}, "client_id": {canary}}
	d.OAuth.Response.Scope = "."
	d.OAuth.DeadGrantErrors = []string{"gone", "\n"}
	d.OAuth.Variables = map[string]oauthflow.Variable{
		"0":         {Kind: "ip"},
		`a].b"c["`:  {Kind: oauthflow.Label},
		"Scope":     host("a.example.com", "10.0.0.1"),
		"unlisted":  host(),
		"forbidden": {Kind: oauthflow.Value, AnyHost: true},
	}
	list := fields(t, integrations.ValidateDefinition(d))
	for path, message := range map[string]string{
		"oauth.flow":                     `is not valid: leave it empty or set "authorization_code" or "client_credentials"`,
		"oauth.client_auth":              `is not valid: use "client_secret_post", "client_secret_basic" or "none"`,
		"oauth.refresh_policy":           `is not valid: use "ask", "grace", "reusable" or "never", or leave it empty`,
		"oauth.authorization_url":        `contains {tenant}, which is not declared`,
		"oauth.scopes[2]":                "has the scope_separator in it: write one scope per element",
		"oauth.scopes[3]":                "has spaces: write one scope per element",
		"oauth.scopes[4]":                "has spaces: write one scope per element",
		"oauth.token_params.client_id":   "is set for you: use client_id and client_secret",
		"oauth.token_params.code":        "is set for you: take it out",
		"oauth.response.scope":           "is not valid: write member names with single dots between them",
		"oauth.dead_grant_errors[1]":     "cannot be an error code: take it out",
		"oauth.variables.0.kind":         `is not valid: use "label", "segment", "value" or "host"`,
		`oauth.variables["a].b\"c[\""]`:  "has a name that cannot stand in a URL",
		"oauth.variables.Scope.hosts[1]": "is not a host name: write one like api.example.com, or *.example.com for every name below it",
		"oauth.variables.unlisted":       "is a host without an allow-list: set hosts, or any_host for every public host name",
		"oauth.variables.forbidden":      `has an allow-list, which only kind "host" has: take it out`,
	} {
		assert.True(t, strings.HasPrefix(list[path], message), "%s %s", path, list[path])
	}
	for _, message := range list {
		assert.NotRegexp(t, goWord, message)
	}

	list = fields(t, integrations.ValidateStored(d))
	assert.Equal(t, "is a host without an allow-list: set hosts to the names that it may be", list["oauth.variables.unlisted"], "any_host would be refused")
}

// Every field that oauthflow can name has a name in the form; fields of different
// parts share a table, so no name may stand for two.
func TestOAuthFieldsAreComplete(t *testing.T) {
	want := map[string]bool{}
	var visit func(v reflect.Type)
	visit = func(v reflect.Type) {
		for i := range v.NumField() {
			field := v.Field(i)
			if field.Anonymous {
				visit(field.Type)
				continue
			}
			assert.False(t, want[field.Name], "%s stands for two fields", field.Name)
			want[field.Name] = true
		}
	}
	visit(reflect.TypeFor[oauthflow.Client]())
	visit(reflect.TypeFor[oauthflow.ResponseMapping]())
	visit(reflect.TypeFor[oauthflow.Variable]())
	for name := range want {
		assert.NotEmpty(t, integrations.OAuthFields[name], "%s has no name in the form", name)
	}
	assert.Len(t, integrations.OAuthFields, len(want))
}
