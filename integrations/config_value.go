package integrations

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// How long configuration values may be, in bytes.
const (
	maxConfigText   = 8 << 10
	maxConfigJSON   = 64 << 10
	maxConfigSecret = 64 << 10
)

// configDatum is one decoded configuration value. The zero value is none.
type configDatum struct {
	plain  any // string, int64, bool or json.RawMessage
	secret tokenstore.Secret
}

func (v configDatum) isZero() bool { return v.plain == nil && v.secret.IsZero() }

// value decodes v, as JSON has it or as Go has it, by the field's type and checks
// it against the options; nil, null and "" are no value. An error is a message
// without the value, to be read behind the field's name.
func (c *ConfigField) value(v any) (configDatum, string) {
	if s, ok := v.(tokenstore.Secret); ok {
		if c.Type != ConfigSecret {
			return configDatum{}, "is not a secret: give its value as it is"
		}
		v = s.Reveal() // which JSON would redact
	}
	if s, ok := v.(string); ok && !utf8.ValidString(s) {
		return configDatum{}, "is not UTF-8"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return configDatum{}, "cannot be written as JSON"
	}
	return c.decode(raw)
}

// decode is value for JSON text.
func (c *ConfigField) decode(raw []byte) (configDatum, string) {
	limit := maxConfigJSON
	if c.Type == ConfigSecret || c.Type == ConfigString {
		limit = 6*maxConfigSecret + 2 // were every byte escaped; the text is measured below
	}
	var f faults
	n := parseJSON(&f, "", raw, limit)
	switch {
	case n == nil:
		return configDatum{}, f.list[0].within()
	case n.kind == jsonNull, n.kind == jsonText && n.text == "":
		return configDatum{}, ""
	}
	v, message := c.Type.decode(n)
	if message == "" && len(c.Options) > 0 && c.Type != ConfigSecret && !slices.Contains(c.options(), v.plain) {
		message = "must be one of the options"
	}
	if message != "" {
		return configDatum{}, message
	}
	return v, ""
}

func (t ConfigType) decode(n *jsonNode) (configDatum, string) {
	want := map[ConfigType]jsonKind{ConfigString: jsonText, ConfigSecret: jsonText, ConfigInt: jsonNumber, ConfigBool: jsonBool}[t]
	if want != "" && n.kind != want {
		if t == ConfigInt {
			want = "a whole number"
		}
		return configDatum{}, fmt.Sprintf("must be %s, not %s", want, n.kind)
	}
	switch t {
	case ConfigBool:
		return configDatum{plain: n.truth}, ""
	case ConfigInt:
		i, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil {
			return configDatum{}, "must be a whole number within 64 bits"
		}
		return configDatum{plain: i}, ""
	case ConfigString:
		if len(n.text) > maxConfigText {
			return configDatum{}, tooLong(maxConfigText)
		}
		return configDatum{plain: n.text}, ""
	case ConfigSecret:
		if len(n.text) > maxConfigSecret {
			return configDatum{}, tooLong(maxConfigSecret)
		}
		return configDatum{secret: tokenstore.NewSecret(n.text)}, ""
	case ConfigJSON:
		raw, err := json.Marshal(n)
		if err != nil || len(raw) > maxConfigJSON {
			return configDatum{}, tooLong(maxConfigJSON) // once its escapes are written out
		}
		return configDatum{plain: json.RawMessage(raw)}, ""
	}
	return configDatum{}, "has a type that does not exist"
}

// options returns the options that have the field's type, decoded.
func (c *ConfigField) options() []any {
	bare := ConfigField{Type: c.Type}
	var list []any
	for _, option := range c.Options {
		if v, message := bare.value(option); message == "" && v.plain != nil {
			list = append(list, v.plain)
		}
	}
	return list
}

// normalConfig returns a copy of the fields that shares nothing, with defaults and
// options as values are decoded: string, int64, bool and json.RawMessage.
func normalConfig(fields []ConfigField) []ConfigField {
	if len(fields) == 0 {
		return nil
	}
	list := slices.Clone(fields)
	for i := range list {
		c := &list[i]
		c.Options = c.options()
		v, _ := c.value(c.Default)
		c.Default = v.plain
	}
	return list
}

// checkConfigFields finds what is wrong with the declaration of configuration.
func checkConfigFields(f *faults, fields []ConfigField) {
	seen := map[string]bool{}
	for i := range fields {
		c := &fields[i]
		path := elementPath("config", i)
		switch key := path + ".key"; {
		case !namePattern.MatchString(c.Key):
			f.add(key, "must be a letter and then letters, digits, _ . or -, at most 64 in all")
		case seen[c.Key]:
			f.add(key, "stands there twice: keys are unique")
		}
		seen[c.Key] = true
		switch c.Type {
		case ConfigString, ConfigInt, ConfigBool, ConfigJSON, ConfigSecret:
			c.check(f, path)
		default:
			f.add(path+".type", "must be "+alternatives([]string{"string", "int", "bool", "json", "secret"}))
		}
	}
}

// check looks at options and default.
func (c *ConfigField) check(f *faults, path string) {
	options, value := path+".options", path+".default"
	switch {
	case c.Type == ConfigSecret && c.Default != nil:
		f.add(value, "cannot be given for a secret: set it as a value of the integration instead")
		return
	case c.Type != ConfigString && c.Type != ConfigInt && len(c.Options) > 0:
		f.add(options, "can be given for the types string and int only")
		return
	}
	bare := ConfigField{Type: c.Type}
	seen := map[any]bool{}
	for i, option := range c.Options {
		v, message := bare.value(option)
		switch {
		case message == "" && v.isZero():
			message = "is empty: take it out"
		case message == "" && seen[v.plain]:
			message = "stands there twice: take one out"
		}
		if message != "" {
			f.add(elementPath(options, i), message)
			continue
		}
		seen[v.plain] = true
	}
	if _, message := c.value(c.Default); message != "" && !f.has(options) {
		f.add(value, message)
	}
}
