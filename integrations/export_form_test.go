package integrations

import (
	"encoding/json"
	"reflect"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// ForgetSecret makes a definition forget that its client secret is kept elsewhere.
func ForgetSecret(d *Definition) { d.secretKept = false }

// What the registry uses.
var (
	ValidateDefinition = validateDefinition
	ValidateStored     = validateStored
	OAuthFields        = oauthFields
	NewValues          = newValues
	MissingValues      = Values.missing
	ListValues         = Values.list
)

// FormType is the type of the JSON form.
var FormType = reflect.TypeFor[definitionForm]()

// NewLayer returns values from one place.
func NewLayer(origin Origin, plain map[string]json.RawMessage, secrets map[string]tokenstore.Secret) configLayer {
	return configLayer{origin, plain, secrets}
}

// NewConfigChange checks values as SetConfig does.
func NewConfigChange(fields []ConfigField, values map[string]any) (map[string]json.RawMessage, map[string]tokenstore.Secret, []string, error) {
	c, err := newConfigChange(fields, values)
	return c.plain, c.secrets, c.removed, err
}
