package oauthflow_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestValidateAcceptsWhatWorks(t *testing.T) {
	for name, change := range map[string]func(*oauthflow.Client){
		"plain":         func(*oauthflow.Client) {},
		"explicit flow": func(c *oauthflow.Client) { c.Flow = oauthflow.AuthorizationCode },
		"templates": func(c *oauthflow.Client) {
			c.AuthorizationURL = "https://{entity_id}.example.com/{entity_id}?x={entity_id}"
			c.RefreshURL, c.RevocationURL = c.AuthorizationURL, c.AuthorizationURL
			c.Issuer, c.RequireIss = "https://example.com/{entity_id}/v2.0", true
			c.Variables = kinds("entity_id", oauthflow.Label)
		},
		"basic":  func(c *oauthflow.Client) { c.ClientAuth = oauthflow.AuthBasic },
		"public": func(c *oauthflow.Client) { c.ClientAuth, c.ClientSecret = oauthflow.AuthNone, tokenstore.Secret{} },
		"knobs": func(c *oauthflow.Client) {
			c.AuthorizationParams = url.Values{"access_type": {"offline"}, "response_type": {"code"}}
			c.TokenParams = url.Values{"audience": {"x"}, "grant_type": {"special"}}
			c.ScopeSeparator, c.Response.Root, c.DeadGrantErrors = ",", "data.token", []string{"gone"}
			c.RefreshPolicy, c.ReuseGrace, c.DefaultLifetime = oauthflow.Grace, 30*time.Second, time.Hour
		},
		"host": func(c *oauthflow.Client) {
			c.TokenURL = "https://{entity_id}:8443/token"
			c.Variables = kinds("entity_id", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"*.example.com", "tenant.internal"}})
		},
		"any host": func(c *oauthflow.Client) {
			c.RevocationURL = "https://{entity_id}/revoke"
			c.Variables = kinds("entity_id", oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true})
		},
		"client credentials": func(c *oauthflow.Client) {
			c.Flow, c.AuthorizationURL, c.Audience = oauthflow.ClientCredentials, "", "api"
			c.TokenParams = url.Values{"resource": {"x"}}
		},
		"loopback": func(c *oauthflow.Client) {
			c.AuthorizationURL, c.TokenURL = "http://localhost:1/a", "http://127.0.0.1:1/t"
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := wireClient("https://provider.example")
			change(c)
			assert.NoError(t, c.Validate())
			entity := "tenant"
			if c.HostVariable() {
				entity = "tenant.example.com"
			}
			assert.NoError(t, c.Check(entity, nil))
		})
	}
}

func TestValidateNamesFieldAndRemedy(t *testing.T) {
	for want, change := range map[string]func(*oauthflow.Client){
		"Flow \"device\" is not valid: leave it empty":                        func(c *oauthflow.Client) { c.Flow = "device" },
		"AuthorizationURL is empty: set it":                                   func(c *oauthflow.Client) { c.AuthorizationURL = "" },
		"TokenURL is empty: set it":                                           func(c *oauthflow.Client) { c.TokenURL = "" },
		"TokenURL is not an absolute URL: it must begin with https://":        func(c *oauthflow.Client) { c.TokenURL = "example.com" },
		"TokenURL begins with http://":                                        func(c *oauthflow.Client) { c.TokenURL = "http://example.com/t" },
		"RefreshURL begins with http://":                                      func(c *oauthflow.Client) { c.RefreshURL = "http://example.com/t" },
		"RevocationURL contains {tenant}, which is not declared":              func(c *oauthflow.Client) { c.RevocationURL = "https://example.com/{tenant}" },
		"AuthorizationURL has the parameter state in its query":               func(c *oauthflow.Client) { c.AuthorizationURL += "?state=1" },
		"TokenURL has the parameter client_secret in its query":               func(c *oauthflow.Client) { c.TokenURL += "?client_secret=canary" },
		"TokenURL has a query that is not well-formed":                        func(c *oauthflow.Client) { c.TokenURL += "?a=%zz" },
		"Variables[\"a-b\"] has a name that cannot stand in a URL: names are": func(c *oauthflow.Client) { c.Variables = kinds("a-b", oauthflow.Label) },
		"Variables[a].Kind \"ip\" is not valid: use Label":                    func(c *oauthflow.Client) { c.Variables = kinds("a", "ip") },
		"Variables[a] has an allow-list": func(c *oauthflow.Client) {
			c.Variables = kinds("a", oauthflow.Variable{Kind: oauthflow.Label, AnyHost: true})
		},
		"Variables[a] is a host without an allow-list": func(c *oauthflow.Client) { c.Variables = kinds("a", oauthflow.Host) },
		"Variables[a] has Hosts and AnyHost": func(c *oauthflow.Client) {
			c.Variables = kinds("a", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"a.example.com"}, AnyHost: true})
		},
		"Variables[a].Hosts[0] \"*.com\" allows every name": func(c *oauthflow.Client) {
			c.Variables = kinds("a", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"*.com"}})
		},
		"Variables[a].Hosts[1] \"10.0.0.1\" is not a host name": func(c *oauthflow.Client) {
			c.Variables = kinds("a", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"a.example.com", "10.0.0.1"}})
		},
		"AuthorizationParams[audience] is set for you: use Audience alone": func(c *oauthflow.Client) {
			c.Audience, c.AuthorizationParams = "a", url.Values{"audience": {"b"}}
		},
		"TokenParams[audience] is set for you: use Audience alone": func(c *oauthflow.Client) {
			c.Flow, c.Audience, c.TokenParams = oauthflow.ClientCredentials, "a", url.Values{"audience": {"b"}}
		},
		"TokenParams[scope] is set for you: use Scopes": func(c *oauthflow.Client) {
			c.Flow, c.TokenParams = oauthflow.ClientCredentials, url.Values{"scope": {"b"}}
		},
		"TokenURL has the parameter scope in its query": func(c *oauthflow.Client) {
			c.Flow, c.TokenURL = oauthflow.ClientCredentials, "https://example.com/?scope=x"
		},
		"Audience has control characters": func(c *oauthflow.Client) { c.Audience = "a\n" },
		"ClientAuth is AuthNone, but Flow is ClientCredentials": func(c *oauthflow.Client) {
			c.Flow, c.ClientAuth, c.ClientSecret = oauthflow.ClientCredentials, oauthflow.AuthNone, tokenstore.Secret{}
		},
		"Issuer is empty, but RequireIss is set":          func(c *oauthflow.Client) { c.RequireIss = true },
		"Issuer is not an absolute URL":                   func(c *oauthflow.Client) { c.Issuer = "example.com" },
		"Issuer has a query":                              func(c *oauthflow.Client) { c.Issuer = "https://example.com/?a=b" },
		"ClientID is empty: set the id":                   func(c *oauthflow.Client) { c.ClientID = "" },
		"ClientID has control characters":                 func(c *oauthflow.Client) { c.ClientID = "a\r\nb" },
		"ClientID has spaces around it":                   func(c *oauthflow.Client) { c.ClientID = " a" },
		"ClientSecret is empty: set the secret":           func(c *oauthflow.Client) { c.ClientSecret = tokenstore.Secret{} },
		"ClientSecret has control characters":             func(c *oauthflow.Client) { c.ClientSecret = tokenstore.NewSecret("canary\n") },
		"ClientSecret has spaces around it":               func(c *oauthflow.Client) { c.ClientSecret = tokenstore.NewSecret("canary ") },
		"ClientSecret is set, but ClientAuth is AuthNone": func(c *oauthflow.Client) { c.ClientAuth = oauthflow.AuthNone },
		"DisablePKCE is set for a public client": func(c *oauthflow.Client) {
			c.ClientAuth, c.ClientSecret, c.DisablePKCE = oauthflow.AuthNone, tokenstore.Secret{}, true
		},
		"ClientAuth \"guess\" is not valid: use AuthPost, AuthBasic":             func(c *oauthflow.Client) { c.ClientAuth = "guess" },
		"ScopeSeparator \"\\n\" is not valid: leave it empty":                    func(c *oauthflow.Client) { c.ScopeSeparator = "\n" },
		"Scopes[0] is empty: take it out":                                        func(c *oauthflow.Client) { c.Scopes = []string{""} },
		"Scopes[1] \"a b\" has spaces: write one scope":                          func(c *oauthflow.Client) { c.Scopes = []string{"a", "a b"} },
		"Scopes[0] \"a,b\" has the ScopeSeparator":                               func(c *oauthflow.Client) { c.Scopes, c.ScopeSeparator = []string{"a,b"}, "," },
		"AuthorizationParams[code_challenge_method] is set for you: take it out": func(c *oauthflow.Client) { c.AuthorizationParams = url.Values{"code_challenge_method": {"plain"}} },
		"AuthorizationParams[scope] is set for you: use Scopes":                  func(c *oauthflow.Client) { c.AuthorizationParams = url.Values{"scope": {"a"}} },
		"TokenParams[client_secret] is set for you: use ClientID and ClientSecret": func(c *oauthflow.Client) {
			c.TokenParams = url.Values{"client_secret": {"canary"}}
		},
		"RefreshParams[refresh_token] is set for you: take it out": func(c *oauthflow.Client) { c.RefreshParams = url.Values{"refresh_token": {"canary"}} },
		"RefreshParams has a parameter without":                    func(c *oauthflow.Client) { c.RefreshParams = url.Values{"": {"x"}} },
		"Response.Root \"a..b\" is not valid: write member":        func(c *oauthflow.Client) { c.Response.Root = "a..b" },
		"Response.AccessToken is the path of the refresh token":    func(c *oauthflow.Client) { c.Response.AccessToken = "refresh_token" },
		"Response.ExpiresAt \".\" is not valid: write":             func(c *oauthflow.Client) { c.Response.ExpiresAt = "." },
		"DefaultLifetime is negative":                              func(c *oauthflow.Client) { c.DefaultLifetime = -1 },
		"ReuseGrace is negative":                                   func(c *oauthflow.Client) { c.ReuseGrace = -1 },
		"RefreshPolicy \"always\" is not valid: use Ask":           func(c *oauthflow.Client) { c.RefreshPolicy = "always" },
		"ReuseGrace is 0, but RefreshPolicy is":                    func(c *oauthflow.Client) { c.RefreshPolicy = oauthflow.Grace },
		"DeadGrantErrors[0] cannot be an error code":               func(c *oauthflow.Client) { c.DeadGrantErrors = []string{""} },
		"DeadGrantErrors[1] \"\\n\" cannot be":                     func(c *oauthflow.Client) { c.DeadGrantErrors = []string{"gone", "\n"} },
	} {
		t.Run(want, func(t *testing.T) {
			c := wireClient("https://provider.example")
			change(c)
			err := c.Validate()
			require.ErrorContains(t, err, "oauthflow: "+want)
			assertClean(t, every(err))
			assert.Len(t, strings.Split(err.Error(), "\n"), 1, "one fault, one line")
		})
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := (&oauthflow.Client{}).Validate()
	for _, field := range []string{"AuthorizationURL", "TokenURL", "ClientID", "ClientSecret"} {
		assert.ErrorContains(t, err, "oauthflow: "+field+" is empty")
	}
}

// Whoever shows the faults elsewhere, beside the fields of a form, needs no text of
// them taken apart.
func TestValidateErrorsHaveParts(t *testing.T) {
	c := wireClient("https://provider.example")
	c.TokenURL = "https://provider.example/{tenant}"
	c.Variables = kinds("shop", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"a.example.com", "10.0.0.1"}},
		"a-b", oauthflow.Label, "1", "ip", "", oauthflow.Label)
	c.Scopes = []string{"a", "a b", "", "a b"}
	c.TokenParams = url.Values{"code": {"canary"}, "client_id": {"canary"}, "": {"canary"}}
	c.Response.Root = "."

	for range 20 {
		var joined interface{ Unwrap() []error }
		err := c.Validate()
		require.ErrorAs(t, err, &joined)
		var list []string
		for _, e := range joined.Unwrap() {
			var fault *oauthflow.FieldError
			require.ErrorAs(t, e, &fault)
			assert.NotEmpty(t, fault.Problem)
			if fault.Value != "" {
				assert.NotContains(t, fault.Problem, fault.Value)
				assert.EqualError(t, fault, "oauthflow: "+fault.Field+" "+strconv.Quote(fault.Value)+" "+fault.Problem)
			} else {
				assert.EqualError(t, fault, "oauthflow: "+fault.Field+" "+fault.Problem)
			}
			list = append(list, strings.TrimSpace(fault.Field+" "+fault.Value))
		}
		require.Equal(t, []string{
			`Variables[""]`, `Variables["1"].Kind ip`, `Variables["a-b"]`, "Variables[shop].Hosts[1] 10.0.0.1", "TokenURL",
			"Scopes[1] a b", "Scopes[2]", "Scopes[3] a b", "TokenParams", "TokenParams[client_id]", "TokenParams[code]", "Response.Root .",
		}, list, "in the same order each time")

		var template *oauthflow.TemplateError
		require.ErrorAs(t, err, &template, "behind the one of TokenURL")
		assert.Equal(t, "TokenURL", template.Field)
		assert.Equal(t, "tenant", template.Variable)
	}
}

func TestCheck(t *testing.T) {
	c := wireClient("https://provider.example")
	require.NoError(t, c.Check("", nil))
	for _, field := range []*string{&c.AuthorizationURL, &c.TokenURL, &c.RefreshURL, &c.RevocationURL, &c.Issuer} {
		before := *field
		*field = "https://example.com/{entity_id}"
		var e *oauthflow.TemplateError
		require.ErrorAs(t, c.Check("", nil), &e)
		assert.True(t, e.Missing)
		require.ErrorAs(t, c.Check("../x", nil), &e)
		assert.False(t, e.Missing)
		assert.NotEmpty(t, e.Field)
		require.NoError(t, c.Check("tenant", nil))
		*field = before
	}
}

func TestCheckTakesValues(t *testing.T) {
	c := wireClient("https://provider.example")
	c.TokenURL, c.Variables = "https://{region}.example.com/{entity_id}", kinds("region", oauthflow.Label)
	assert.EqualError(t, c.Check("tenant", nil), "oauthflow: TokenURL contains {region}, but it has no value: set the config value region")
	require.NoError(t, c.Check("tenant", map[string]string{"region": "eu", "entity_id": ".."}), "the entity id is the argument")
	require.NoError(t, c.Validate(), "a value is not the definition's")
}
