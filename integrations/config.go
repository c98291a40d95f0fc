package integrations

// ConfigType is the type of a configuration value.
type ConfigType string

// The types of configuration values.
const (
	// ConfigString is text of at most 8 KiB.
	ConfigString ConfigType = "string"
	// ConfigInt is a whole number within int64.
	ConfigInt ConfigType = "int"
	// ConfigBool is true or false.
	ConfigBool ConfigType = "bool"
	// ConfigJSON is any JSON value of at most 64 KiB.
	ConfigJSON ConfigType = "json"
	// ConfigSecret is text of at most 64 KiB that is sealed at rest and never shown.
	ConfigSecret ConfigType = "secret"
)

// ConfigField declares one configuration value of an integration.
type ConfigField struct {
	// Key names the value: [A-Za-z][A-Za-z0-9_.-]{0,63}.
	Key  string
	Type ConfigType
	// Description is for the person who fills the value in.
	Description string
	// Required: the integration cannot be used while there is no value.
	Required bool
	// Options are the values allowed; none means any. For string and int only.
	Options []any
	// Default holds where nothing is set; nil: no value. Not for secrets.
	Default any
}
