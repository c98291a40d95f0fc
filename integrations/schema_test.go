package integrations_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

func definitionSchema(t testing.TB) (*jsonschema.Schema, *jsonschema.Resolved) {
	t.Helper()
	var schema jsonschema.Schema
	require.NoError(t, json.Unmarshal(integrations.DefinitionSchema(), &schema))
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	require.NoError(t, err)
	return &schema, resolved
}

func fits(t testing.TB, schema *jsonschema.Resolved, text string) error {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return schema.Validate(v)
}

func TestSchemaAcceptsWhatIsAccepted(t *testing.T) {
	_, schema := definitionSchema(t)
	for name, text := range accepted(t) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, fits(t, schema, text))
			d, err := integrations.ParseDefinition([]byte(text))
			require.NoError(t, err)
			written, err := json.Marshal(d)
			require.NoError(t, err)
			require.NoError(t, fits(t, schema, string(written)), "%s", written)
		})
	}
}

func TestSchemaRefusesFaultsOfShape(t *testing.T) {
	_, schema := definitionSchema(t)
	for name, test := range refused(t) {
		t.Run(name, func(t *testing.T) {
			if test.semantic {
				assert.NoError(t, fits(t, schema, test.text), "the schema says it too: it is a fault of the shape")
			} else {
				assert.Error(t, fits(t, schema, test.text))
			}
		})
	}
}

func TestSchemaExamplesAreAccepted(t *testing.T) {
	schema, _ := definitionSchema(t)
	require.NotEmpty(t, schema.Examples)
	for _, example := range schema.Examples {
		text, err := json.Marshal(example)
		require.NoError(t, err)
		_, err = integrations.ParseDefinition(text)
		require.NoError(t, err)
	}
}

// The schema and the form have the same members, everywhere, and every member has
// a description or a title.
func TestSchemaHasEveryMember(t *testing.T) {
	schema, _ := definitionSchema(t)
	var visit func(path string, s *jsonschema.Schema, form reflect.Type)
	visit = func(path string, s *jsonschema.Schema, form reflect.Type) {
		var members []string
		for i := range form.NumField() {
			field := form.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			members = append(members, name)
			property := s.Properties[name]
			if !assert.NotNil(t, property, "%s.%s is not in the schema", path, name) {
				continue
			}
			assert.NotEmpty(t, property.Title+property.Description+property.Ref, "%s.%s says nothing", path, name)
			inner := field.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
				inner = inner.Elem()
			}
			def := map[string]string{"config": "config_field", "oauth": "oauth", "variables": "variable"}[name]
			switch {
			case inner.Kind() != reflect.Struct:
			case def != "":
				require.NotNil(t, schema.Defs[def])
				visit(path+"."+name, schema.Defs[def], inner)
			default:
				visit(path+"."+name, property, inner)
			}
		}
		assert.ElementsMatch(t, members, slices.Collect(maps.Keys(s.Properties)), "members of %s", path)
		require.NotNil(t, s.AdditionalProperties, path)
		assert.Equal(t, &jsonschema.Schema{Not: &jsonschema.Schema{}}, s.AdditionalProperties, "%s must not have other members", path)
	}
	visit("definition", schema, integrations.FormType)
}

func TestDefinitionSchemaIsACopy(t *testing.T) {
	first := integrations.DefinitionSchema()
	clear(first)
	assert.True(t, json.Valid(integrations.DefinitionSchema()))
}
