package integrations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Origin says where a configuration value comes from; empty: there is none.
type Origin string

// The origins of configuration values.
const (
	// OriginDefault: the definition's default, or the integration's own value.
	OriginDefault Origin = "default"
	// OriginOverride: set for the organization.
	OriginOverride Origin = "override"
)

// Values is the configuration of an integration in one scope: defaults with the
// organization's overrides laid over them. It never changes and is safe for
// concurrent use. No formatter, marshaller or logger prints its secrets.
//
// A key that is not declared, has another type than asked for or has no value
// gives the zero value; the declaration guards against misspelling where it says
// Required, and [Values.Has] tells the rest.
type Values struct {
	set *valueSet // nil: nothing is declared
}

type valueSet struct {
	entries []valueEntry
	index   map[string]int
}

type valueEntry struct {
	field  ConfigField
	datum  configDatum
	origin Origin
	unfit  bool // what is set does not fit the field (any more)
}

// configLayer is values from one place, as a store keeps them.
type configLayer struct {
	origin  Origin
	plain   map[string]json.RawMessage
	secrets map[string]tokenstore.Secret
}

// newValues lays the layers over the defaults of fields; later ones win. Empty
// values fall back, and so do those that do not fit their field (any more): after a
// change of type a secret must not become text.
func newValues(fields []ConfigField, layers ...configLayer) Values {
	fields = normalConfig(fields)
	if fields == nil {
		return Values{}
	}
	set := &valueSet{index: make(map[string]int, len(fields))}
	for i, field := range fields {
		e := valueEntry{field: field}
		e.lay(OriginDefault, configDatum{plain: field.Default})
		for _, layer := range layers {
			if field.Type == ConfigSecret {
				e.lay(layer.origin, configDatum{secret: layer.secrets[field.Key]})
			} else if raw, ok := layer.plain[field.Key]; ok {
				datum, message := field.decode(raw)
				e.unfit = message != ""
				e.lay(layer.origin, datum)
			}
		}
		set.entries = append(set.entries, e)
		set.index[field.Key] = i
	}
	return Values{set}
}

func (e *valueEntry) lay(origin Origin, datum configDatum) {
	if !datum.isZero() {
		e.datum, e.origin = datum, origin
	}
}

func (v Values) entries() []valueEntry {
	if v.set == nil {
		return nil
	}
	return v.set.entries
}

func (v Values) entry(key string) *valueEntry {
	if v.set != nil {
		if i, ok := v.set.index[key]; ok {
			return &v.set.entries[i]
		}
	}
	return &valueEntry{}
}

// String returns a value of type string.
func (v Values) String(key string) string {
	s, _ := v.entry(key).datum.plain.(string)
	return s
}

// Int returns a value of type int.
func (v Values) Int(key string) int64 {
	i, _ := v.entry(key).datum.plain.(int64)
	return i
}

// Bool returns a value of type bool.
func (v Values) Bool(key string) bool {
	b, _ := v.entry(key).datum.plain.(bool)
	return b
}

// JSON decodes a value of type json into the variable that out points to, as
// json.Unmarshal does. Without a value the variable stays as it is.
func (v Values) JSON(key string, out any) error {
	raw, ok := v.entry(key).datum.plain.(json.RawMessage)
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("integrations: config value %q does not fit into %T: %w", key, out, err)
	}
	return nil
}

// Secret returns a value of type secret.
func (v Values) Secret(key string) tokenstore.Secret { return v.entry(key).datum.secret }

// Has reports whether the key has a value.
func (v Values) Has(key string) bool { return !v.entry(key).datum.isZero() }

// Origin returns where the key's value comes from.
func (v Values) Origin(key string) Origin { return v.entry(key).origin }

// Keys returns the declared keys, those without a value included, in the order of
// their declaration.
func (v Values) Keys() []string {
	var keys []string
	for _, e := range v.entries() {
		keys = append(keys, e.field.Key)
	}
	return keys
}

// missing returns the keys that lack a value: required ones without any, and those
// of needed whose value does not fit. What falls back there would not be a setting,
// but another tenant.
func (v Values) missing(needed []string) []string {
	var keys []string
	for _, e := range v.entries() {
		if e.field.Required && e.datum.isZero() || e.unfit && slices.Contains(needed, e.field.Key) {
			keys = append(keys, e.field.Key)
		}
	}
	return keys
}

// ConfigValue is one configuration value as its administrator sees it.
type ConfigValue struct {
	Key         string
	Type        ConfigType
	Description string
	Required    bool
	Options     []any // string or int64; nil: any
	// Value is a string, int64, bool or json.RawMessage; nil for secrets, and where
	// nothing is set.
	Value   any
	Set     bool   // there is a value, a default included
	Origin  Origin // of the value
	Default any    // as Value; nil: none
}

// list returns all values, in the order of their declaration.
func (v Values) list() []ConfigValue {
	var list []ConfigValue
	for _, e := range v.entries() {
		list = append(list, ConfigValue{
			Key: e.field.Key, Type: e.field.Type, Description: e.field.Description, Required: e.field.Required,
			Options: slices.Clone(e.field.Options), Default: cloneRaw(e.field.Default),
			Value: cloneRaw(e.datum.plain), Set: !e.datum.isZero(), Origin: e.origin,
		})
	}
	return list
}

// cloneRaw copies v if the caller could change it.
func cloneRaw(v any) any {
	if raw, ok := v.(json.RawMessage); ok {
		return json.RawMessage(bytes.Clone(raw))
	}
	return v
}

// MarshalJSON writes an object of the values that are set, with secrets redacted.
func (v Values) MarshalJSON() ([]byte, error) {
	values := map[string]any{}
	for _, e := range v.entries() {
		switch {
		case !e.datum.secret.IsZero():
			values[e.field.Key] = e.datum.secret // redacts itself
		case e.datum.plain != nil:
			values[e.field.Key] = e.datum.plain
		}
	}
	return json.Marshal(values)
}

// Format implements fmt.Formatter: the values as JSON, for every verb.
func (v Values) Format(f fmt.State, _ rune) {
	text, err := v.MarshalJSON()
	if err != nil { // values were JSON before
		text = []byte("{}")
	}
	_, _ = f.Write(text)
}

// LogValue implements slog.LogValuer.
func (v Values) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(v)) }
