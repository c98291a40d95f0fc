package oauthflow

import (
	"errors"
	"fmt"
	"strconv"
)

// FieldError says what is wrong with one field of a [Client], and what to do. It
// holds no secret.
type FieldError struct {
	// Field is the field's path in Go, without the embedded Provider: "TokenURL",
	// "Scopes[0]", "Response.Root", "Variables[shop].Hosts[1]", "TokenParams[code]".
	// A map's key that cannot be a variable's name, or begins with a digit, is quoted
	// as in Go: Variables["a-b"]. So bare digits in brackets are an index.
	Field string
	// Value is the refused value, where naming it helps; otherwise it is empty.
	Value string
	// Problem continues the field's name and does not repeat Value: "has spaces:
	// write one scope per element".
	Problem string
	// Err is a [*TemplateError] where the field is a URL that cannot be expanded,
	// otherwise nil.
	Err error
}

// Error implements error: `oauthflow: Scopes[0] "a b" has spaces: …`.
func (e *FieldError) Error() string {
	subject := "oauthflow: " + e.Field
	if e.Value != "" {
		subject += " " + strconv.Quote(e.Value)
	}
	return subject + " " + e.Problem
}

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

// elementOf is the path of the element i of a list.
func elementOf(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// memberOf is the path of a map's value.
func memberOf(field, key string) string {
	if !validName(key) || key[0] <= '9' {
		key = strconv.Quote(key)
	}
	return field + "[" + key + "]"
}

// problems collects what is wrong with a client.
type problems []error

func (v *problems) add(ok bool, field, format string, args ...any) {
	if !ok {
		*v = append(*v, &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
}

// value is add for a fault of a value that is named.
func (v *problems) value(ok bool, field, value, problem string) {
	if !ok {
		*v = append(*v, &FieldError{Field: field, Value: value, Problem: problem})
	}
}

// url records why a URL cannot be expanded.
func (v *problems) url(field string, err error) {
	fault := &FieldError{Field: field, Problem: "is not a URL template", Err: err}
	var t *TemplateError
	if errors.As(err, &t) {
		fault.Problem = t.Problem
	}
	*v = append(*v, fault)
}
