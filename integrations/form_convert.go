package integrations

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// definition returns what the form describes, unchecked.
func (f *definitionForm) definition() Definition {
	d := Definition{
		Name:               f.Name,
		Description:        f.Description,
		Org:                f.Org,
		DefaultEntityID:    f.DefaultEntityID,
		EntityProvider:     f.EntityProvider,
		APIHosts:           f.APIHosts,
		APIHeader:          f.APIHeader,
		TestURL:            f.TestURL,
		NoFallback:         f.NoFallback,
		AllowAccountChange: f.AllowAccountChange,
	}
	for _, field := range f.Config {
		c := ConfigField{Key: field.Key, Type: field.Type, Description: field.Description, Required: field.Required}
		for _, option := range field.Options {
			c.Options = append(c.Options, option)
		}
		if field.Default != nil {
			c.Default = field.Default
		}
		d.Config = append(d.Config, c)
	}
	if f.OAuth != nil {
		d.OAuth = f.OAuth.client()
		d.secretKept = f.OAuth.ClientSecretSet && d.OAuth.ClientSecret.IsZero() && d.OAuth.ClientAuth != oauthflow.AuthNone
	}
	return d
}

func (f *oauthForm) client() *oauthflow.Client {
	c := &oauthflow.Client{
		Provider: oauthflow.Provider{
			AuthorizationURL:    f.AuthorizationURL,
			TokenURL:            f.TokenURL,
			RefreshURL:          f.RefreshURL,
			RevocationURL:       f.RevocationURL,
			Issuer:              f.Issuer,
			RequireIss:          f.RequireIss,
			AuthorizationParams: paramValues(f.AuthorizationParams),
			TokenParams:         paramValues(f.TokenParams),
			RefreshParams:       paramValues(f.RefreshParams),
			DisablePKCE:         f.DisablePKCE,
			ClientAuth:          oauthflow.ClientAuth(f.ClientAuth),
			ScopeSeparator:      f.ScopeSeparator,
			Response:            oauthflow.ResponseMapping(f.Response),
			DefaultLifetime:     time.Duration(f.DefaultLifetime) * time.Millisecond,
			RefreshPolicy:       f.RefreshPolicy,
			ReuseGrace:          time.Duration(f.ReuseGrace) * time.Millisecond,
			DeadGrantErrors:     f.DeadGrantErrors,
		},
		Flow:         f.Flow,
		ClientID:     f.ClientID,
		ClientSecret: tokenstore.NewSecret(f.ClientSecret),
		Scopes:       f.Scopes,
		Audience:     f.Audience,
	}
	for name, v := range f.Variables {
		if c.Variables == nil {
			c.Variables = map[string]oauthflow.Variable{}
		}
		c.Variables[name] = oauthflow.Variable(v)
	}
	return c
}

func paramValues(form map[string]paramForm) url.Values {
	if len(form) == 0 {
		return nil
	}
	params := url.Values{}
	for name, values := range form {
		params[name] = values
	}
	return params
}

// newDefinitionForm returns the form of d. Its error is of values in Config that
// JSON cannot hold.
func newDefinitionForm(d Definition) (*definitionForm, error) {
	f := &definitionForm{
		Name:               d.Name,
		Description:        d.Description,
		Org:                d.Org,
		DefaultEntityID:    d.DefaultEntityID,
		EntityProvider:     d.EntityProvider,
		APIHosts:           d.APIHosts,
		APIHeader:          d.APIHeader,
		TestURL:            d.TestURL,
		NoFallback:         d.NoFallback,
		AllowAccountChange: d.AllowAccountChange,
	}
	for _, c := range d.Config {
		field, err := newConfigFieldForm(c)
		if err != nil {
			return nil, fmt.Errorf("integrations: config field %q: %w", c.Key, err)
		}
		f.Config = append(f.Config, field)
	}
	if d.OAuth != nil {
		f.OAuth = newOAuthForm(d.OAuth)
		f.OAuth.ClientSecretSet = !d.OAuth.ClientSecret.IsZero() || d.secretKept
	}
	return f, nil
}

func newConfigFieldForm(c ConfigField) (configFieldForm, error) {
	f := configFieldForm{Key: c.Key, Type: c.Type, Description: c.Description, Required: c.Required}
	if c.Type == ConfigSecret {
		return f, nil // were a default there, it would be a secret
	}
	for _, option := range c.Options {
		raw, err := json.Marshal(option)
		if err != nil {
			return f, err
		}
		f.Options = append(f.Options, raw)
	}
	if c.Default != nil {
		raw, err := json.Marshal(c.Default)
		if err != nil {
			return f, err
		}
		f.Default = raw
	}
	return f, nil
}

func newOAuthForm(c *oauthflow.Client) *oauthForm {
	f := &oauthForm{
		Flow:                c.Flow,
		ClientID:            c.ClientID,
		ClientAuth:          clientAuthForm(c.ClientAuth),
		AuthorizationURL:    c.AuthorizationURL,
		TokenURL:            c.TokenURL,
		RefreshURL:          c.RefreshURL,
		RevocationURL:       c.RevocationURL,
		Issuer:              c.Issuer,
		RequireIss:          c.RequireIss,
		Scopes:              c.Scopes,
		Audience:            c.Audience,
		AuthorizationParams: newParamForms(c.AuthorizationParams),
		TokenParams:         newParamForms(c.TokenParams),
		RefreshParams:       newParamForms(c.RefreshParams),
		DisablePKCE:         c.DisablePKCE,
		ScopeSeparator:      c.ScopeSeparator,
		Response:            responseForm(c.Response),
		DefaultLifetime:     millisForm(c.DefaultLifetime.Milliseconds()),
		RefreshPolicy:       c.RefreshPolicy,
		ReuseGrace:          millisForm(c.ReuseGrace.Milliseconds()),
		DeadGrantErrors:     c.DeadGrantErrors,
	}
	for name, v := range c.Variables {
		if f.Variables == nil {
			f.Variables = map[string]variableForm{}
		}
		v.Hosts = slices.Clone(v.Hosts)
		f.Variables[name] = variableForm(v)
	}
	return f
}

func newParamForms(params url.Values) map[string]paramForm {
	forms := map[string]paramForm{}
	for name, values := range params {
		forms[name] = values
	}
	return forms
}
