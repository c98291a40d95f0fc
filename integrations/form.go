package integrations

import (
	"encoding/json"
	"reflect"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// definitionForm is the JSON form of a [Definition]. The order of the fields is
// the order in which they are written and faults are listed.
type definitionForm struct {
	Name               string            `json:"name"`
	Description        string            `json:"description,omitempty"`
	Org                string            `json:"org,omitempty"`
	DefaultEntityID    string            `json:"default_entity_id,omitempty"`
	EntityProvider     string            `json:"entity_provider,omitempty"`
	APIHosts           []string          `json:"api_hosts,omitempty"`
	APIHeader          string            `json:"api_header,omitempty"`
	TestURL            string            `json:"test_url,omitempty"`
	NoFallback         bool              `json:"no_fallback,omitempty"`
	AllowAccountChange bool              `json:"allow_account_change,omitempty"`
	Config             []configFieldForm `json:"config,omitempty"`
	OAuth              *oauthForm        `json:"oauth"`
}

type configFieldForm struct {
	Key         string            `json:"key"`
	Type        ConfigType        `json:"type" enum:"string int bool json secret"`
	Description string            `json:"description,omitempty"`
	Required    bool              `json:"required,omitempty"`
	Options     []json.RawMessage `json:"options,omitempty"`
	Default     json.RawMessage   `json:"default,omitempty"`
}

type oauthForm struct {
	Flow                oauthflow.Flow          `json:"flow,omitempty" enum:"authorization_code client_credentials"`
	ClientID            string                  `json:"client_id"`
	ClientSecret        string                  `json:"client_secret,omitempty"` // read, never written
	ClientSecretSet     bool                    `json:"client_secret_set,omitempty"`
	ClientAuth          clientAuthForm          `json:"client_auth,omitempty"`
	AuthorizationURL    string                  `json:"authorization_url,omitempty"`
	TokenURL            string                  `json:"token_url"`
	RefreshURL          string                  `json:"refresh_url,omitempty"`
	RevocationURL       string                  `json:"revocation_url,omitempty"`
	Issuer              string                  `json:"issuer,omitempty"`
	RequireIss          bool                    `json:"require_iss,omitempty"`
	Scopes              scopesForm              `json:"scopes,omitempty"`
	Audience            string                  `json:"audience,omitempty"`
	AuthorizationParams map[string]paramForm    `json:"authorization_params,omitempty"`
	TokenParams         map[string]paramForm    `json:"token_params,omitempty"`
	RefreshParams       map[string]paramForm    `json:"refresh_params,omitempty"`
	Variables           map[string]variableForm `json:"variables,omitempty"`
	DisablePKCE         bool                    `json:"disable_pkce,omitempty"`
	ScopeSeparator      string                  `json:"scope_separator,omitempty"`
	Response            responseForm            `json:"response,omitzero"`
	DefaultLifetime     millisForm              `json:"default_lifetime_ms,omitempty"`
	RefreshPolicy       oauthflow.RefreshPolicy `json:"refresh_policy,omitempty" enum:"ask grace reusable never"`
	ReuseGrace          millisForm              `json:"reuse_grace_ms,omitempty"`
	DeadGrantErrors     []string                `json:"dead_grant_errors,omitempty"`
}

type responseForm struct {
	Root         string `json:"root,omitempty"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	ExpiresIn    string `json:"expires_in,omitempty"`
	ExpiresAt    string `json:"expires_at,omitempty"`
}

type variableForm struct {
	Kind    oauthflow.VariableKind `json:"kind" enum:"label segment value host"`
	Hosts   []string               `json:"hosts,omitempty"`
	AnyHost bool                   `json:"any_host,omitempty"` // written only: it is for definitions in code
}

// ParseDefinition reads the JSON form of a definition, as [DefinitionSchema]
// describes it, and checks it. Members it does not know and members that stand
// twice are refused, so that a misspelt one is not a setting silently lost; the form
// has at most 64 KiB.
//
// The error is an [*InvalidError] with everything that is wrong.
//
// "client_secret_set" is read over, so that what MarshalJSON wrote can be read
// back. The client secret may be missing then; the result does not have it.
func ParseDefinition(data []byte) (Definition, error) {
	f := &faults{}
	d := parseDefinition(f, parseJSON(f, "", data, maxForm))
	if err := f.err(); err != nil {
		return Definition{}, err
	}
	return d, nil
}

// parseDefinition reads and checks; n is nil if it could not be parsed.
func parseDefinition(f *faults, n *jsonNode) Definition {
	if n == nil {
		return Definition{}
	}
	var form definitionForm
	r := &formReader{f}
	r.read("", n, reflect.ValueOf(&form).Elem(), "")
	if n.kind != jsonObject {
		return Definition{}
	}
	d := form.definition()
	checkStored(f, d, d.secretKept)
	d.Config = normalConfig(d.Config)
	return d
}

// UnmarshalJSON implements json.Unmarshaler; it is [ParseDefinition]. On an error d
// is unchanged.
func (d *Definition) UnmarshalJSON(data []byte) error {
	parsed, err := ParseDefinition(data)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// MarshalJSON writes the JSON form, without the client secret: "client_secret_set"
// says whether there is one.
func (d Definition) MarshalJSON() ([]byte, error) {
	form, err := newDefinitionForm(d)
	if err != nil {
		return nil, err
	}
	return json.Marshal(form)
}

// Merge applies a merge patch (RFC 7396) to the JSON form: members it names are
// set, null takes one out, lists are replaced whole. Name and Org cannot change.
//
// Afterwards OAuth.ClientSecret is what the patch says, and empty if it says
// nothing: the form does not have it. On an error, an [*InvalidError] if the patch
// is at fault, d is unchanged.
func (d *Definition) Merge(patch []byte) error {
	f := &faults{}
	change := parseJSON(f, "", patch, maxForm)
	if change != nil {
		(&formReader{f}).expect("", change, jsonObject)
	}
	if err := f.err(); err != nil {
		return err
	}
	now, err := json.Marshal(*d)
	if err != nil {
		return err
	}
	base := parseJSON(f, "", now, maxForm)
	if err := f.err(); err != nil {
		return err
	}
	mergeSecret(f, base, change)
	merged := parseDefinition(f, base.merge(change))
	const fixed = "cannot change: create another integration instead"
	if merged.Name != d.Name {
		f.add("name", fixed)
	}
	if merged.Org != d.Org {
		f.add("org", fixed)
	}
	if err := f.err(); err != nil {
		return err
	}
	*d = merged
	return nil
}

// mergeSecret makes client_secret_set in base say whether there is a secret after
// the patch; what the patch says of it does not count.
func mergeSecret(f *faults, base, patch *jsonNode) {
	const set, secret = "client_secret_set", "client_secret"
	oauth := patch.member("oauth")
	if oauth == nil || oauth.kind != jsonObject {
		return
	}
	if said := oauth.member(set); said != nil {
		(&formReader{f}).expect("oauth."+set, said, jsonBool)
		oauth.remove(set)
	}
	if said, old := oauth.member(secret), base.member("oauth"); said != nil && old != nil {
		old.remove(set)
	}
}

// keepSecret returns what stands for the client secret in checks.
func keepSecret(c *oauthflow.Client, kept bool) *oauthflow.Client {
	if !kept || c.ClientAuth == oauthflow.AuthNone || !c.ClientSecret.IsZero() {
		return c
	}
	d := *c
	d.ClientSecret = tokenstore.NewSecret("kept elsewhere")
	return &d
}
