package workflow

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// inferrer finds the JSON Schema of a Go type as encoding/json reads it. The
// library does most of it; it is given schemas of its own for the types that it
// refuses (recursive ones) or describes as something else than what encoding/json
// reads: a []byte as an array of numbers, a nil map as impossible.
type inferrer struct {
	known map[reflect.Type]*jsonschema.Schema // overrides
	defs  map[string]*jsonschema.Schema       // recursive types, by name in $defs
	refs  map[reflect.Type]string             // name in $defs
	path  []reflect.Type                      // named types being visited
	seen  map[reflect.Type]bool
}

// inferSchema returns the schema of t.
func inferSchema(t reflect.Type) (*jsonschema.Schema, error) {
	in := &inferrer{
		known: overrides(), defs: map[string]*jsonschema.Schema{},
		refs: map[reflect.Type]string{}, seen: map[reflect.Type]bool{},
	}
	if err := in.visit(t); err != nil {
		return nil, err
	}
	for rec, name := range in.refs {
		def, err := in.expand(rec)
		if err != nil {
			return nil, err
		}
		in.defs[name] = def
	}
	s, err := in.schema(t)
	if err != nil {
		return nil, err
	}
	if len(in.defs) > 0 {
		s.Defs = in.defs
	}
	return s, nil
}

func (in *inferrer) schema(t reflect.Type) (*jsonschema.Schema, error) {
	return jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: in.known})
}

// overrides returns the overrides that hold for every type.
func overrides() map[reflect.Type]*jsonschema.Schema {
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): anything(),
		reflect.TypeFor[time.Duration]():   {Type: "integer", Description: "a duration in nanoseconds"},
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		reflect.TypeFor[json.Number]():     {Type: "number"},
		reflect.TypeFor[big.Int]():         {Type: "integer"},
	}
}

// anything allows every value. It lists the types because the library narrows a
// schema without any to null where the type is behind a pointer.
func anything() *jsonschema.Schema {
	return &jsonschema.Schema{Types: []string{"null", "boolean", "number", "string", "array", "object"}}
}

func nullOr(kind string) []string { return []string{"null", kind} }

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// visit walks everything t is made of and records overrides, parts before wholes.
func (in *inferrer) visit(t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if slices.Contains(in.path, t) {
		in.recursive(t)
		return nil
	}
	if in.seen[t] || in.known[t] != nil {
		return nil
	}
	in.seen[t] = true
	if s := ownEncoding(t); s != nil {
		in.known[t] = s
		return nil
	}
	if t.Name() != "" {
		in.path = append(in.path, t)
		defer func() { in.path = in.path[:len(in.path)-1] }()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return in.visit(t.Elem())
	case reflect.Map:
		if err := in.visit(t.Elem()); err != nil || in.known[t] != nil {
			return err
		}
		return in.mapping(t)
	case reflect.Struct:
		return in.structure(t)
	default:
		return nil
	}
}

// ownEncoding returns the schema of types that do not read JSON by their kind,
// or nil.
func ownEncoding(t reflect.Type) *jsonschema.Schema {
	switch p := reflect.PointerTo(t); {
	case t.Kind() == reflect.Interface:
		return nil
	case p.Implements(jsonUnmarshaler):
		return anything() // only its code knows
	case p.Implements(textUnmarshaler):
		return &jsonschema.Schema{Type: "string"}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && ownEncoding(t.Elem()) == nil:
		return &jsonschema.Schema{Types: nullOr("string"), ContentEncoding: "base64"}
	}
	return nil
}

// mapping allows null, which encoding/json writes for a nil map, and the keys
// other than strings that it supports.
func (in *inferrer) mapping(t reflect.Type) error {
	values, err := in.schema(t.Elem())
	if err != nil {
		return err
	}
	switch key := t.Key(); {
	case key.Kind() == reflect.String, reflect.PointerTo(key).Implements(textUnmarshaler):
	case reflect.Int <= key.Kind() && key.Kind() <= reflect.Uintptr:
	default:
		return fmt.Errorf("unsupported map key type %s", key)
	}
	in.known[t] = &jsonschema.Schema{Types: nullOr("object"), AdditionalProperties: values}
	return nil
}

// structure visits fields. Structs that use options of encoding/json which the
// library does not know become objects of any shape; decoding checks them.
func (in *inferrer) structure(t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" && options == "" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if slices.Contains(strings.Split(options, ","), "string") || f.Anonymous && name != "" {
			in.known[t] = &jsonschema.Schema{Types: nullOr("object")}
			return nil
		}
		if err := in.visit(f.Type); err != nil {
			return err
		}
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// recursive makes t, which contains itself, a reference to $defs.
func (in *inferrer) recursive(t reflect.Type) {
	if in.refs[t] != "" {
		return
	}
	name := strings.Trim(notInNames.ReplaceAllString(t.Name(), "_"), "_")
	for taken := true; taken; {
		taken = false
		for _, other := range in.refs {
			if other == name {
				name, taken = name+"_", true
			}
		}
	}
	in.refs[t] = name
	kind := "object"
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		kind = "array"
	}
	// With null among the types, because the library would allow only null behind
	// a pointer otherwise.
	in.known[t] = &jsonschema.Schema{Ref: "#/$defs/" + name, Types: nullOr(kind)}
}

// expand returns the schema of a recursive type itself. The library answers with
// the reference when asked for t, so it is asked for an unnamed type of the same
// shape.
func (in *inferrer) expand(t reflect.Type) (*jsonschema.Schema, error) {
	var twin reflect.Type
	switch t.Kind() {
	case reflect.Slice:
		twin = reflect.SliceOf(t.Elem())
	case reflect.Array:
		twin = reflect.ArrayOf(t.Len(), t.Elem())
	case reflect.Map:
		twin = reflect.MapOf(t.Key(), t.Elem())
		if err := in.mapping(twin); err != nil {
			return nil, err
		}
	default:
		var fields []reflect.StructField
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() && !f.Anonymous {
				fields = append(fields, reflect.StructField{Name: f.Name, Type: f.Type, Tag: f.Tag})
			}
		}
		twin = reflect.StructOf(fields)
	}
	s, err := in.schema(twin)
	if err != nil {
		return nil, err
	}
	if s.Type != "" {
		s.Types, s.Type = nullOr(s.Type), ""
	}
	return s, nil
}
