package workflow

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// locate finds what is wrong with value, every field of it, for the keywords that
// inferSchema produces. The library has found that something is; it says so for
// the first fault only, and repeats the value, which may be a secret.
func (in *inputType) locate(found []FieldError, path string, s *jsonschema.Schema, value any) []FieldError {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		s = in.schema.Defs[name]
	}
	if s == nil {
		return found
	}
	types := s.Types
	if s.Type != "" {
		types = []string{s.Type}
	}
	if kind := jsonKind(value); len(types) > 0 && !allows(types, kind, value) {
		return append(found, FieldError{path, fmt.Sprintf("must be %s, not %s", describeTypes(types), kind)})
	}
	switch v := value.(type) {
	case map[string]any:
		return in.locateInObject(found, path, s, v)
	case []any:
		return in.locateInArray(found, path, s, v)
	case float64:
		switch {
		case s.Minimum != nil && v < *s.Minimum:
			found = append(found, FieldError{path, fmt.Sprintf("must be at least %v", *s.Minimum)})
		case s.Maximum != nil && v > *s.Maximum:
			found = append(found, FieldError{path, fmt.Sprintf("must be at most %v", *s.Maximum)})
		}
	}
	return found
}

func (in *inputType) locateInObject(found []FieldError, path string, s *jsonschema.Schema, value map[string]any) []FieldError {
	for _, name := range s.Required {
		if _, ok := value[name]; !ok {
			found = append(found, FieldError{join(path, name), "is required"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		switch property, ok := s.Properties[name]; {
		case ok:
			found = in.locate(found, join(path, name), property, value[name])
		case s.AdditionalProperties == nil:
		case s.AdditionalProperties.Not != nil:
			found = append(found, FieldError{join(path, name), "is not a known field"})
		default:
			found = in.locate(found, join(path, name), s.AdditionalProperties, value[name])
		}
	}
	return found
}

func (in *inputType) locateInArray(found []FieldError, path string, s *jsonschema.Schema, value []any) []FieldError {
	if s.MinItems != nil && s.MaxItems != nil && (len(value) < *s.MinItems || len(value) > *s.MaxItems) {
		found = append(found, FieldError{path, fmt.Sprintf("must have %d items, not %d", *s.MaxItems, len(value))})
	}
	if s.Items != nil {
		for i, item := range value {
			found = in.locate(found, fmt.Sprintf("%s[%d]", path, i), s.Items, item)
		}
	}
	return found
}

// maxName bounds what is repeated of a field name that a stranger made up, bytes.
const maxName = 64

func join(path, name string) string {
	name = cut(name, maxName)
	if path == "" {
		return name
	}
	return path + "." + name
}

// jsonKind returns the JSON type of a decoded value.
func jsonKind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

func allows(types []string, kind string, value any) bool {
	if slices.Contains(types, kind) {
		return true
	}
	number, ok := value.(float64)
	return ok && slices.Contains(types, "integer") && number == math.Trunc(number)
}

// describeTypes writes types for people.
func describeTypes(types []string) string {
	var words []string
	for _, t := range types {
		switch t {
		case "null":
			continue // allowed as well, but nobody's first choice
		case "integer":
			t = "a whole number"
		case "array", "object":
			t = "an " + t
		default:
			t = "a " + t
		}
		words = append(words, t)
	}
	return strings.Join(words, " or ")
}
