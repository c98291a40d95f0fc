package integrations

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/internal/loopback"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// Definition describes one integration: an external API and how to reach it.
type Definition struct { //nolint:recvcheck // MarshalJSON must see values too
	// Name is what code asks for: [A-Za-z][A-Za-z0-9_.-]{0,63}. It never changes.
	Name        string
	Description string

	// Org is the organization that owns the definition; empty for a global one.
	// An organization sees its own definition instead of a global one of the
	// same name, and nothing of the global one's tokens.
	Org string

	// DefaultEntityID is the value of {entity_id} in the provider's URLs: the
	// external side's tenant, "common" for Microsoft.
	DefaultEntityID string

	// EntityProvider names what lists the external side's tenants in the host's
	// application, so that a person can pick one for an organization. It is kept
	// and shown; Bifrost does not call it.
	EntityProvider string

	// APIHosts are the hosts Client sends the token to, as host or host:port, over
	// https. Loopback hosts may be reached over http.
	APIHosts []string

	// APIHeader carries the token to the API. Default "Authorization", with the
	// scheme "Bearer"; any other header carries the bare token.
	APIHeader string

	// TestURL is what a test of the connection reads with GET: absolute, on one of
	// APIHosts. Empty: the connection cannot be tested.
	TestURL string

	// NoFallback keeps organizations without a connection of their own from using
	// the integration-level one.
	NoFallback bool

	// AllowAccountChange accepts that another external account is connected where
	// one is connected already. Otherwise it must be disconnected first.
	AllowAccountChange bool

	// Config is the schema of the integration's configuration. Every template
	// variable of OAuth but entity_id takes its value from the key of the same name.
	Config []ConfigField

	// OAuth says how to get tokens; nil for an integration without OAuth.
	OAuth *oauthflow.Client

	// secretKept: OAuth's client secret exists, but is not in here. See MarshalJSON.
	secretKept bool
}

var (
	namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
	// headerPattern is RFC 9110's token, less what no vendor uses.
	headerPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

	// idSpace is the UUID namespace in which ids of definitions from code live.
	idSpace = uuid.MustParse("5d0b6c1e-6f4e-4f5a-9f0a-3c0de1b1f057")
)

// ValidOrg reports whether org can stand in Bifrost's URLs and APIs:
// [A-Za-z0-9._~-]{1,128}, and not "." or "..".
func ValidOrg(org string) bool { return scope.ValidOrg(org) }

// ID returns the immutable id of a definition from code, derived from Org and
// Name. Connections hang on it, never on the name.
func (d *Definition) ID() string {
	return uuid.NewSHA1(idSpace, []byte(d.Org+"\x00"+d.Name)).String()
}

// definition is a validated Definition with what is derived from it. It is never
// changed.
type definition struct {
	Definition
	id          string
	source      string
	record      DefinitionRecord // of a stored one
	fault       error            // why a stored one cannot be used; nil usually
	unreadable  bool             // nothing but its name is known
	opened      time.Time        // when that was found
	redirectURI string
	hosts       []apiHost
	variables   []string // of the URLs beside entity_id, sorted
	// restricted: requests go to public addresses only, because the hosts are not
	// the program's own choice.
	restricted bool
	authority  authority // of a stored one
}

// newDefinition prepares a definition from code.
func newDefinition(d Definition, baseURL *url.URL) (*definition, error) {
	def := &definition{Definition: d, id: d.ID(), source: SourceCode}
	if err := def.prepare(baseURL); err != nil {
		return nil, err
	}
	def.restricted = def.OAuth != nil && def.OAuth.HostVariable()
	return def, nil
}

// prepare validates d and fills in what follows from it.
func (d *definition) prepare(baseURL *url.URL) error {
	if d.OAuth != nil {
		d.OAuth = copyClient(d.OAuth)
	}
	if err := validateDefinition(d.Definition); err != nil {
		return err
	}
	d.APIHeader = cmp.Or(d.APIHeader, "Authorization")
	d.APIHosts = slices.Clone(d.APIHosts)
	d.Config = copyFields(d.Config)
	for _, host := range d.APIHosts {
		h, err := parseAPIHost(host)
		if err != nil {
			return err // validateDefinition has parsed it as well
		}
		d.hosts = append(d.hosts, h)
	}
	if d.OAuth == nil {
		return nil
	}
	d.OAuth.Flow = cmp.Or(d.OAuth.Flow, oauthflow.AuthorizationCode)
	for name := range d.OAuth.Variables {
		if name != entityVariable {
			d.variables = append(d.variables, name)
		}
	}
	slices.Sort(d.variables)
	if d.OAuth.Flow == oauthflow.AuthorizationCode {
		// Org-owned definitions have a path of their own, so that a code meant for
		// one organization's provider can never arrive at another's.
		last := d.Name
		if d.Org != "" {
			last = d.id
		}
		d.redirectURI = baseURL.JoinPath("oauth", "callback", last).String()
	}
	return nil
}

// copyClient returns a copy that shares nothing that can be changed: what was
// validated must stay, though the caller adapts a provider for the next one.
func copyClient(c *oauthflow.Client) *oauthflow.Client {
	d := *c
	d.Scopes = slices.Clone(c.Scopes)
	d.DeadGrantErrors = slices.Clone(c.DeadGrantErrors)
	d.Variables = maps.Clone(c.Variables)
	for name, v := range d.Variables {
		v.Hosts = slices.Clone(v.Hosts)
		d.Variables[name] = v
	}
	for _, params := range []*url.Values{&d.AuthorizationParams, &d.TokenParams, &d.RefreshParams} {
		*params = url.Values(http.Header(*params).Clone()) // of the same shape, and url.Values has no Clone
	}
	return &d
}

func copyFields(fields []ConfigField) []ConfigField {
	fields = slices.Clone(fields)
	for i := range fields {
		fields[i].Options = slices.Clone(fields[i].Options)
	}
	return fields
}

// interactive reports whether a person connects it in a browser.
func (d *definition) interactive() bool {
	return d.OAuth != nil && d.OAuth.Flow == oauthflow.AuthorizationCode
}

// fallsBack reports whether org may be served by the integration-level connection.
func (d *definition) fallsBack(org string) bool { return org != "" && d.Org == "" && !d.NoFallback }

// apiHost is one entry of APIHosts.
type apiHost struct {
	name string // lower case, without port
	port string // empty: the scheme's default
}

func parseAPIHost(s string) (apiHost, error) {
	u, err := url.Parse("https://" + s)
	if err != nil || u.Host != s || u.Hostname() == "" || strings.ContainsAny(s, "*{}") {
		return apiHost{}, fmt.Errorf("%q is not a host name or host:port (no scheme, no path, no wildcard)", s)
	}
	return apiHost{name: strings.ToLower(u.Hostname()), port: u.Port()}, nil
}

// allows reports whether the token may be sent to u: over https to a listed host
// and port, or over http where the host is this machine.
func (d *definition) allows(u *url.URL) bool {
	name := strings.ToLower(u.Hostname())
	usual := "443"
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback.Host(name):
		usual = "80"
	default:
		return false
	}
	port := cmp.Or(u.Port(), usual)
	return slices.ContainsFunc(d.hosts, func(h apiHost) bool {
		return h.name == name && cmp.Or(h.port, usual) == port
	})
}
