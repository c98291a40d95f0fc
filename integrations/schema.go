package integrations

import (
	"bytes"
	_ "embed" // for the schema
	"encoding/json"
)

//go:embed definition.schema.json
var definitionSchema []byte

// DefinitionSchema returns the JSON Schema (draft 2020-12) of a definition's JSON
// form: what [ParseDefinition] reads and MarshalJSON writes.
//
// A document that fits can still be refused. What a schema cannot say is checked by
// ParseDefinition alone: that URL templates are well-formed and their variables
// declared as configuration, that test_url is on one of api_hosts, that defaults
// have their field's type, that keys are unique.
func DefinitionSchema() json.RawMessage { return bytes.Clone(definitionSchema) }
