package oauthflow

import (
	"cmp"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Validate reports everything that is wrong with the client: nil, or [errors.Join]
// of [*FieldError]s, in the same order each time. It is one line each, which begins
// with "oauthflow: " and the field's path, and says what to do. [errors.As] finds the
// first one; all of them are behind Unwrap() []error. Validate knows no values of
// variables: see [Client.Check].
func (c *Client) Validate() error {
	var v problems
	v.value(slices.Contains([]Flow{"", AuthorizationCode, ClientCredentials}, c.Flow),
		"Flow", string(c.Flow), "is not valid: leave it empty or set AuthorizationCode or ClientCredentials")
	v.urls(c)
	v.credentials(c)
	v.scopes(c)
	v.params("AuthorizationParams", c.AuthorizationParams, c.reservedAuthorization())
	v.params("TokenParams", c.TokenParams, c.reservedToken())
	v.params("RefreshParams", c.RefreshParams, reservedToken)
	v.response(c.Response)

	v.add(c.DefaultLifetime >= 0, "DefaultLifetime", "is negative: leave it 0 if the lifetime is unknown")
	v.add(c.ReuseGrace >= 0, "ReuseGrace", "is negative: leave it 0 if the provider has no grace period")
	v.value(slices.Contains([]RefreshPolicy{"", Ask, Grace, Reusable, Never}, c.RefreshPolicy),
		"RefreshPolicy", string(c.RefreshPolicy), "is not valid: use Ask, Grace, Reusable or Never, or leave it empty")
	v.add(c.RefreshPolicy != Grace || c.ReuseGrace != 0,
		"ReuseGrace", "is 0, but RefreshPolicy is Grace: set how long the provider accepts a rotated refresh token")
	for i, code := range c.DeadGrantErrors {
		v.value(code != "" && rfcText(code) == code, elementOf("DeadGrantErrors", i), code, "cannot be an error code: take it out")
	}
	return errors.Join(v...)
}

// Check reports whether all of the client's URLs can be built with this entity id
// and these values of other variables; what no URL needs may be empty. The error is
// a [*TemplateError].
func (c *Client) Check(entityID string, values map[string]string) error {
	all := withEntity(entityID, values)
	for _, field := range endpointFields {
		if c.template(field) == "" && c.optional(field) {
			continue
		}
		if _, err := c.endpoint(field, all); err != nil {
			return err
		}
	}
	_, err := c.IssuerFor(entityID, values)
	return err
}

// urls expands every URL with values that fit everywhere, so that only faults of
// the template itself are left.
func (v *problems) urls(c *Client) {
	samples := map[string]string{entityVariable: "x"}
	for _, name := range slices.Sorted(maps.Keys(c.Variables)) {
		v.variable(name, c.Variables[name])
		samples[name] = c.Variables[name].sample()
	}
	for _, field := range endpointFields {
		template := c.template(field)
		if template == "" && c.optional(field) {
			continue
		}
		expanded, err := c.endpoint(field, samples)
		if err != nil {
			v.url(field, err)
			continue
		}
		reserved := reservedToken
		switch field {
		case "AuthorizationURL":
			reserved = c.reservedAuthorization()
		case "TokenURL":
			reserved = c.reservedToken()
		}
		_, query, _ := strings.Cut(expanded, "?")
		params, err := url.ParseQuery(query)
		v.add(err == nil, field, "has a query that is not well-formed: percent-encode its values")
		for _, name := range reserved {
			v.add(!params.Has(name), field, "has the parameter %s in its query, which is set for you: take it out", name)
		}
	}
	if c.Issuer != "" {
		issuer, err := c.expand("Issuer", c.Issuer, samples)
		if err != nil {
			v.url("Issuer", err)
		}
		v.add(!strings.Contains(issuer, "?"), "Issuer", "has a query: an issuer is a URL without one")
	}
	v.add(c.Issuer != "" || !c.RequireIss, "Issuer", "is empty, but RequireIss is set: set the issuer that iss must be equal to")
}

func (v *problems) variable(name string, d Variable) {
	field := memberOf("Variables", name)
	v.add(validName(name), field, "has a name that cannot stand in a URL: names are letters, digits and _")
	v.value(slices.Contains([]VariableKind{Label, Segment, Value, Host}, d.Kind),
		field+".Kind", string(d.Kind), "is not valid: use Label, Segment, Value or Host")
	if d.Kind != Host {
		v.add(len(d.Hosts) == 0 && !d.AnyHost, field, "has an allow-list, which only kind Host has: take it out")
		return
	}
	v.add(len(d.Hosts) != 0 || d.AnyHost, field, "is a host without an allow-list: set Hosts, or AnyHost for every public host name")
	v.add(len(d.Hosts) == 0 || !d.AnyHost, field, "has Hosts and AnyHost, which allows more: take one of them out")
	for i, entry := range d.Hosts {
		text := allowListProblem(strings.ToLower(entry))
		v.value(text == "", elementOf(field+".Hosts", i), entry, text)
	}
}

func (v *problems) credentials(c *Client) {
	secret := c.ClientSecret.Reveal()
	v.add(c.ClientID != "", "ClientID", "is empty: set the id that the provider gave to your app")
	v.copied("ClientID", c.ClientID)
	v.copied("Audience", c.Audience)
	v.copied("ClientSecret", secret)
	switch c.ClientAuth {
	case "", AuthPost, AuthBasic:
		v.add(secret != "", "ClientSecret", "is empty: set the secret that the provider gave to your app, or ClientAuth to AuthNone for a public client")
	case AuthNone:
		v.add(c.Flow != ClientCredentials, "ClientAuth", "is AuthNone, but Flow is ClientCredentials: a client without a secret cannot prove that it is the client (RFC 6749 §4.4)")
		v.add(secret == "", "ClientSecret", "is set, but ClientAuth is AuthNone, which sends none: take one of them out")
		v.add(!c.DisablePKCE, "DisablePKCE", "is set for a public client: without a secret and without PKCE, whoever sees a code can use it (RFC 9700 §2.1.1)")
	default:
		v.value(false, "ClientAuth", string(c.ClientAuth), "is not valid: use AuthPost, AuthBasic or AuthNone")
	}
}

// copied finds what goes wrong when a credential is copied by hand; the provider
// would only say invalid_client.
func (v *problems) copied(field, text string) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		v.add(false, field, "has control characters: was a line break copied with it?")
		return
	}
	v.add(text == strings.TrimSpace(text), field, "has spaces around it: take them out")
}

func (v *problems) scopes(c *Client) {
	separator := c.ScopeSeparator
	v.value(strings.Trim(separator, " ,+;|") == "" && len(separator) <= 2,
		"ScopeSeparator", separator, "is not valid: leave it empty for a space, or set \",\" or another single sign")
	for i, s := range c.Scopes {
		field := elementOf("Scopes", i)
		switch {
		case s == "":
			v.add(false, field, "is empty: take it out")
		case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
			v.value(false, field, s, "has spaces: write one scope per element")
		case separator != "" && strings.Contains(s, separator):
			v.value(false, field, s, "has the ScopeSeparator in it: write one scope per element")
		}
	}
}

func (v *problems) params(field string, params url.Values, reserved []string) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		v.add(name != "", field, "has a parameter without a name: take it out")
		if slices.Contains(reserved, name) {
			advice := "take it out"
			switch name {
			case "scope":
				advice = "use Scopes"
			case "audience":
				advice = "use Audience alone"
			case "client_id", "client_secret":
				advice = "use ClientID and ClientSecret"
			}
			v.add(false, memberOf(field, name), "is set for you: %s", advice)
		}
	}
}

func (v *problems) response(r ResponseMapping) {
	for _, p := range []struct{ name, path string }{
		{"Root", r.Root},
		{"AccessToken", r.AccessToken},
		{"RefreshToken", r.RefreshToken},
		{"Scope", r.Scope},
		{"ExpiresIn", r.ExpiresIn},
		{"ExpiresAt", r.ExpiresAt},
	} {
		v.value(p.path == "" || !slices.Contains(strings.Split(p.path, "."), ""),
			"Response."+p.name, p.path, "is not valid: write member names with single dots between them")
	}
	v.add(cmp.Or(r.AccessToken, "access_token") != cmp.Or(r.RefreshToken, "refresh_token"),
		"Response.AccessToken", "is the path of the refresh token, which would be handed out: name the access token's")
}
