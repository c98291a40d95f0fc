package integrations

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// validateDefinition reports everything that is wrong with a definition, from code
// or stored, as an [*InvalidError] with paths of the JSON form.
func validateDefinition(d Definition) error {
	f := &faults{}
	checkDefinition(f, d, false)
	return f.err()
}

// validateStored is validateDefinition for a definition that is to be stored, with
// its client secret: nothing in it may be lost in the JSON form.
func validateStored(d Definition) error {
	f := &faults{}
	checkStored(f, d, false)
	return f.err()
}

// checkStored finds what is wrong with a definition that is stored as JSON. If the
// secret is kept elsewhere, it may be missing.
func checkStored(f *faults, d Definition, secretKept bool) {
	checkStoredHosts(f, d.OAuth)
	checkDefinition(f, d, secretKept)
	if d.OAuth != nil {
		if d.OAuth.DefaultLifetime%time.Millisecond != 0 {
			f.add("oauth.default_lifetime_ms", "must be whole milliseconds")
		}
		if d.OAuth.ReuseGrace%time.Millisecond != 0 {
			f.add("oauth.reuse_grace_ms", "must be whole milliseconds")
		}
	}
	if len(f.list) > 0 {
		return
	}
	d.Config = normalConfig(d.Config)
	// What was short enough with short forms and unescaped signs can be too long as
	// it is written, and could not be read back.
	if written, err := json.Marshal(d); err != nil || len(written) > maxForm {
		f.add("", tooLong(maxForm))
	}
}

// checkStoredHosts makes sure that variables for hosts have a list of them. It goes
// before oauthflow's rules, which know of another way and would advise it.
func checkStoredHosts(f *faults, c *oauthflow.Client) {
	if c == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Variables)) {
		v, path := c.Variables[name], memberPath("oauth.variables", name)
		switch {
		case v.Kind != oauthflow.Host:
		case v.AnyHost:
			f.add(path+".any_host", "is for definitions in code only: list the hosts instead")
		case len(v.Hosts) == 0:
			f.add(path, "is a host without an allow-list: set hosts to the names that it may be")
		}
	}
}

func checkDefinition(f *faults, d Definition, secretKept bool) {
	if !namePattern.MatchString(d.Name) {
		f.add("name", "must be a letter and then letters, digits, _ . or -, at most 64 in all")
	}
	if d.Org != "" && !ValidOrg(d.Org) {
		f.add("org", `must be letters, digits, . _ ~ or -, at most 128 and not "." or ".."; leave it empty for a global integration`)
	}
	if !printable(strings.NewReplacer("\r", "", "\n", "", "\t", "").Replace(d.Description)) {
		f.add("description", "has control characters: take them out")
	}
	const copied = "has control characters: was a line break copied with it?"
	if !printable(d.DefaultEntityID) {
		f.add("default_entity_id", copied)
	}
	if !printable(d.EntityProvider) {
		f.add("entity_provider", copied)
	}
	checkAPI(f, d)
	checkConfigFields(f, d.Config)
	if d.OAuth == nil {
		return
	}
	client := keepSecret(d.OAuth, secretKept)
	checkClient(f, client)
	checkVariables(f, client, d)
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// maxAPIHosts bounds how many names are looked up when a definition is saved.
const maxAPIHosts = 32

// checkAPI looks at what requests to the API are made of.
func checkAPI(f *faults, d Definition) {
	reach := &definition{}
	if len(d.APIHosts) > maxAPIHosts {
		f.add("api_hosts", "has more than "+strconv.Itoa(maxAPIHosts)+" hosts: leave out those that are not called")
		return
	}
	for i, host := range d.APIHosts {
		h, err := parseAPIHost(host)
		if err != nil {
			f.add(elementPath("api_hosts", i), "must be a host name or host:port (no scheme, no path, no wildcard)")
			continue
		}
		reach.hosts = append(reach.hosts, h)
	}
	if d.APIHeader != "" && !headerPattern.MatchString(d.APIHeader) {
		f.add("api_header", "must be the name of a header, such as X-Api-Key")
	}
	if d.TestURL == "" {
		return
	}
	u, err := url.Parse(d.TestURL)
	switch {
	case err != nil || u.Host == "" || strings.ContainsFunc(d.TestURL, unicode.IsSpace):
		f.add("test_url", "must be an absolute URL: https://, a host and a path")
	case u.User != nil || strings.Contains(d.TestURL, "#"):
		f.add("test_url", "must not have user information (…@) or a fragment (#…): take it out")
	case strings.ContainsAny(d.TestURL, "{}"):
		f.add("test_url", "is fixed: it cannot have {variables}")
	case !reach.allows(u):
		f.add("test_url", "must begin with https:// and one of api_hosts: the token is sent there only")
	}
}

// checkVariables makes sure that every template variable has a place where its
// value comes from, and that the values known now fit into the URLs.
func checkVariables(f *faults, c *oauthflow.Client, d Definition) {
	values := map[string]string{entityVariable: d.DefaultEntityID}
	sources := map[string]string{entityVariable: "default_entity_id"}
	for i, field := range d.Config {
		if v, _ := field.value(field.Default); field.Type == ConfigString {
			values[field.Key], _ = v.plain.(string)
			sources[field.Key] = elementPath("config", i) + ".default"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Variables)) {
		if sources[name] == "" {
			f.add(memberPath("oauth.variables", name), "has no value: declare a config key of this name, of type string")
		}
	}
	if f.has("oauth") {
		return
	}
	for _, template := range []string{c.AuthorizationURL, c.TokenURL, c.RefreshURL, c.RevocationURL, c.Issuer} {
		if template == "" {
			continue
		}
		_, err := oauthflow.Expand(template, c.Variables, values)
		var e *oauthflow.TemplateError
		if errors.As(err, &e) && !e.Missing && sources[e.Variable] != "" {
			f.add(sources[e.Variable], "does not fit into the URLs: the provider's URL "+e.Problem)
		}
	}
}

// entityVariable is the template variable whose value is not configuration.
const entityVariable = "entity_id"
