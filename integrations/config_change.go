package integrations

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// configChange is a checked change of configuration, as a store keeps values.
type configChange struct {
	plain   map[string]json.RawMessage
	secrets map[string]tokenstore.Secret
	removed []string // keys whose value is taken away
}

// newConfigChange checks values, by key, against the declaration; nil, null and ""
// take a value away. Values may be Go's or json.RawMessage. The error is an
// [*InvalidError] with keys as fields.
func newConfigChange(fields []ConfigField, values map[string]any) (configChange, error) {
	change := configChange{plain: map[string]json.RawMessage{}, secrets: map[string]tokenstore.Secret{}}
	f := &faults{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(fields, func(c ConfigField) bool { return c.Key == key })
		if i < 0 {
			f.addKey(key, "is not a configuration key of this integration")
			continue
		}
		datum, message := fields[i].value(values[key])
		switch {
		case message != "":
			f.addKey(key, message)
		case datum.isZero():
			change.removed = append(change.removed, key)
		case datum.plain == nil:
			change.secrets[key] = datum.secret
		default:
			raw, err := json.Marshal(datum.plain)
			if err != nil { // a decoded value is JSON
				f.addKey(key, "cannot be written as JSON")
				continue
			}
			change.plain[key] = raw
		}
	}
	return change, f.err()
}

// addKey records a fault of a configuration value. Keys may have dots in them, so
// one is never a part of another.
func (f *faults) addKey(key, message string) {
	if len(f.list) < maxFaults {
		if !namePattern.MatchString(key) {
			key = memberPath("", key)
		}
		f.list = append(f.list, FieldError{key, message})
	}
}
