package oauthflow

// TemplateError says why a URL template could not be filled in. It never holds
// the refused value: that may be a stranger's text.
type TemplateError struct {
	Field    string // the URL's field, "TokenURL"; empty from Expand itself
	Variable string // the variable's name; empty if the template itself is wrong
	Missing  bool   // the variable has no value
	Problem  string // what is wrong, and what to do
}

// Error implements error.
func (e *TemplateError) Error() string { return "oauthflow: " + e.Problem }

// Expand puts values into the {variables} of a URL template.
func Expand(template string, kinds map[string]VariableKind, values map[string]string) (string, error) {
	return "", &TemplateError{Problem: "template"}
}
