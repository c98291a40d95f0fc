package integrations

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// oauthFields are the form's names of a client's fields, and of the fields of its
// parts. No two parts have fields of one name.
var oauthFields = map[string]string{
	"Flow":                "flow",
	"ClientID":            "client_id",
	"ClientSecret":        "client_secret",
	"ClientAuth":          "client_auth",
	"AuthorizationURL":    "authorization_url",
	"TokenURL":            "token_url",
	"RefreshURL":          "refresh_url",
	"RevocationURL":       "revocation_url",
	"Issuer":              "issuer",
	"RequireIss":          "require_iss",
	"Scopes":              "scopes",
	"Audience":            "audience",
	"AuthorizationParams": "authorization_params",
	"TokenParams":         "token_params",
	"RefreshParams":       "refresh_params",
	"Variables":           "variables",
	"Kind":                "kind",
	"Hosts":               "hosts",
	"AnyHost":             "any_host",
	"DisablePKCE":         "disable_pkce",
	"ScopeSeparator":      "scope_separator",
	"Response":            "response",
	"Root":                "root",
	"AccessToken":         "access_token",
	"RefreshToken":        "refresh_token",
	"Scope":               "scope",
	"ExpiresIn":           "expires_in",
	"ExpiresAt":           "expires_at",
	"DefaultLifetime":     "default_lifetime_ms",
	"RefreshPolicy":       "refresh_policy",
	"ReuseGrace":          "reuse_grace_ms",
	"DeadGrantErrors":     "dead_grant_errors",
}

// oauthWords are the form's words for what else oauthflow names in its messages.
var oauthWords = map[string]string{
	"AuthorizationCode":          `"authorization_code"`,
	"ClientCredentials":          `"client_credentials"`,
	"AuthPost":                   `"client_secret_post"`,
	"AuthBasic":                  `"client_secret_basic"`,
	"AuthNone":                   `"none"`,
	"Ask":                        `"ask"`,
	"Grace":                      `"grace"`,
	"Reusable":                   `"reusable"`,
	"Never":                      `"never"`,
	"Label":                      `"label"`,
	"Segment":                    `"segment"`,
	"Value":                      `"value"`,
	"Host":                       `"host"`,
	"Provider.Variables":         "oauth.variables",
	"Definition.DefaultEntityID": "default_entity_id",
}

// checkClient finds what is wrong with a client. The rules are oauthflow's; here
// each fault comes under its field in the form, in the form's words and without the
// refused value.
func checkClient(f *faults, c *oauthflow.Client) {
	for _, err := range taken(c.Validate()) {
		path, message := "oauth", "is not valid"
		var fault *oauthflow.FieldError
		if errors.As(err, &fault) {
			path, message = formPath(fault.Field), formWords(fault.Problem)
		}
		f.add(path, message)
	}
}

// taken takes errors.Join apart.
func taken(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// formPath is the form's path of a client's field:
// oauth.variables.shop.hosts[1] for Variables[shop].Hosts[1]. See
// [oauthflow.FieldError] for how the latter is written.
func formPath(field string) string {
	path := "oauth"
	for field != "" {
		switch {
		case strings.HasPrefix(field, `["`):
			quoted, _ := strconv.QuotedPrefix(field[1:])
			key, _ := strconv.Unquote(quoted)
			path, field = memberPath(path, key), field[len("[")+len(quoted)+len("]"):]
		case field[0] == '[':
			key, rest, _ := strings.Cut(field[1:], "]")
			if i, err := strconv.Atoi(key); err == nil {
				path = elementPath(path, i)
			} else {
				path = memberPath(path, key)
			}
			field = rest
		default:
			field = strings.TrimPrefix(field, ".")
			end := strings.IndexAny(field, ".[")
			if end < 0 {
				end = len(field)
			}
			name := oauthFields[field[:end]]
			if name == "" { // the form has it not; what it is part of, it has
				return path
			}
			path, field = path+"."+name, field[end:]
		}
	}
	return path
}

// formWords replaces names of Go, standing alone, by those of the form. What is in
// braces or quotes is the form's already.
func formWords(text string) string {
	words := strings.Split(text, " ")
	for i, word := range words {
		name := strings.TrimRight(word, ".,:;")
		if known := cmp.Or(oauthWords[name], oauthFields[name]); known != "" {
			words[i] = known + word[len(name):]
		}
	}
	return strings.Join(words, " ")
}
