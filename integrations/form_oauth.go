package integrations

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// oauthFields are the form's names of what oauthflow names in its messages: fields
// of a client, below "oauth".
var oauthFields = map[string]string{
	"Flow":                  "flow",
	"ClientID":              "client_id",
	"ClientSecret":          "client_secret",
	"ClientAuth":            "client_auth",
	"AuthorizationURL":      "authorization_url",
	"TokenURL":              "token_url",
	"RefreshURL":            "refresh_url",
	"RevocationURL":         "revocation_url",
	"Issuer":                "issuer",
	"RequireIss":            "require_iss",
	"Scopes":                "scopes",
	"Audience":              "audience",
	"AuthorizationParams":   "authorization_params",
	"TokenParams":           "token_params",
	"RefreshParams":         "refresh_params",
	"Variables":             "variables",
	"DisablePKCE":           "disable_pkce",
	"ScopeSeparator":        "scope_separator",
	"Response":              "response",
	"Response.Root":         "response.root",
	"Response.AccessToken":  "response.access_token",
	"Response.RefreshToken": "response.refresh_token",
	"Response.Scope":        "response.scope",
	"Response.ExpiresIn":    "response.expires_in",
	"Response.ExpiresAt":    "response.expires_at",
	"DefaultLifetime":       "default_lifetime_ms",
	"RefreshPolicy":         "refresh_policy",
	"ReuseGrace":            "reuse_grace_ms",
	"DeadGrantErrors":       "dead_grant_errors",
}

// oauthWords are its other names in messages.
var oauthWords = map[string]string{
	"AuthorizationCode":          `"authorization_code"`,
	"ClientCredentials":          `"client_credentials"`,
	"AuthPost":                   `"client_secret_post"`,
	"AuthBasic":                  `"client_secret_basic"`,
	"AuthNone":                   `"none"`,
	"Ask":                        `"ask"`,
	"Grace":                      `"grace"`,
	"Label":                      `"label"`,
	"Segment":                    `"segment"`,
	"Value":                      `"value"`,
	"Host":                       `"host"`,
	"Hosts":                      "hosts",
	"AnyHost":                    "any_host",
	"Provider.Variables":         "oauth.variables",
	"Definition.DefaultEntityID": "default_entity_id",
}

// checkClient finds what is wrong with a client. The rules are oauthflow's; here
// its sentences are taken apart, so that each comes under its field, in the form's
// words and without the value that it names.
func checkClient(f *faults, c *oauthflow.Client) {
	for _, line := range inOrder(leaves(c.Validate())) {
		name, text, _ := strings.Cut(line, " ")
		path := "oauth"
		if field := oauthFields[name]; field != "" {
			path = "oauth." + field
		}
		path, text = part(f, c, name, path, text)
		f.add(path, formWords(text))
	}
}

// leaves takes errors.Join apart and returns the texts, each beginning with a field's
// name.
func leaves(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []string
		for _, e := range joined.Unwrap() {
			list = append(list, leaves(e)...)
		}
		return list
	}
	if err == nil {
		return nil
	}
	return []string{strings.TrimPrefix(err.Error(), "oauthflow: ")}
}

// inOrder puts lines about the same map into an order, which the map does not have:
// the same form must get the same answer twice.
func inOrder(lines []string) []string {
	first := map[string]int{} // of each field's lines
	for i, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		if _, known := first[name]; !known {
			first[name] = i
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		in, _, _ := strings.Cut(a, " ")
		other, _, _ := strings.Cut(b, " ")
		if in == other && (in == "Variables" || strings.HasSuffix(in, "Params")) {
			return strings.Compare(a, b)
		}
		return cmp.Compare(first[in], first[other])
	})
	return lines
}

// quotedText is what %q writes.
const quotedText = `"(?:[^"\\]|\\.)*"`

var (
	oauthIs       = regexp.MustCompile(`^is ` + quotedText + `: (.*)$`)
	oauthContains = regexp.MustCompile(`^contains (` + quotedText + `), which (.*)$`)
	oauthReserved = regexp.MustCompile(`^contains (\w+), which (is set for you.*)$`)
	oauthVariable = regexp.MustCompile(`^(?:declares|gives) (` + quotedText + `|\w+)[: ]+(.*)$`)
	oauthKind     = regexp.MustCompile(`^as ` + quotedText + `: (.*)$`)
	oauthHost     = regexp.MustCompile(`^with (` + quotedText + `) in Hosts, which (.*)$`)
)

// part finds the part of a field that text is about, and takes values out of text.
func part(f *faults, c *oauthflow.Client, name, path, text string) (string, string) {
	if m := oauthIs.FindStringSubmatch(text); m != nil {
		return path, "is not valid: " + m[1]
	}
	switch name {
	case "Scopes":
		if text == "contains an empty scope: take it out" {
			return element(f, path, c.Scopes, ""), "is empty: take it out"
		}
		if m := oauthContains.FindStringSubmatch(text); m != nil {
			return element(f, path, c.Scopes, m[1]), m[2]
		}
	case "DeadGrantErrors":
		if m := oauthContains.FindStringSubmatch(text); m != nil {
			return element(f, path, c.DeadGrantErrors, m[1]), m[2]
		}
	case "AuthorizationParams", "TokenParams", "RefreshParams":
		if m := oauthReserved.FindStringSubmatch(text); m != nil {
			return memberPath(path, m[1]), m[2]
		}
	case "Variables":
		if m := oauthVariable.FindStringSubmatch(text); m != nil {
			return variablePart(f, c, path, m[1], m[2])
		}
	}
	return path, text
}

func variablePart(f *faults, c *oauthflow.Client, path, name, text string) (string, string) {
	if unquoted, err := strconv.Unquote(name); err == nil {
		return memberPath(path, unquoted), "has a name that cannot stand in a URL: " + text
	}
	path = memberPath(path, name)
	if m := oauthKind.FindStringSubmatch(text); m != nil {
		return path + ".kind", "is not valid: " + m[1]
	}
	if m := oauthHost.FindStringSubmatch(text); m != nil {
		return element(f, path+".hosts", c.Variables[name].Hosts, m[1]), m[2]
	}
	if rest, ok := strings.CutPrefix(text, "as "); ok {
		return path, "is " + rest
	}
	return path, "has " + strings.TrimPrefix(text, "with ")
}

// element is the path of the first element with this value that has no fault yet.
func element(f *faults, path string, list []string, quoted string) string {
	for i, s := range list {
		if p := elementPath(path, i); (s == quoted || strconv.Quote(s) == quoted) && !f.has(p) {
			return p
		}
	}
	return path
}

var goName = regexp.MustCompile(`\b[A-Z][A-Za-z]*(\.[A-Z][A-Za-z]*)?\b`)

// formWords replaces names of Go by those of the form.
func formWords(text string) string {
	return goName.ReplaceAllStringFunc(text, func(word string) string {
		if w := oauthWords[word]; w != "" {
			return w
		}
		if w := oauthFields[word]; w != "" {
			return w
		}
		return word
	})
}
