package integrations

import (
	"regexp"
	"strconv"
	"strings"
)

// FieldError says what is wrong with one field, and what to do.
type FieldError struct {
	// Field is the field's path in the JSON form: "oauth.scopes[0]". A configuration
	// value's is its key. Empty: the whole document.
	Field string `json:"field"`
	// Message continues the field's name: "is empty: set it to …". It never repeats
	// a value.
	Message string `json:"message"`
}

// InvalidError lists everything that is wrong with a definition or with
// configuration values. It holds no secret.
type InvalidError struct {
	Fields []FieldError // at least one
}

// Error implements error: one line for each field.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		subject := f.Field
		if subject == "" {
			subject = "the document"
		}
		lines[i] = "integrations: " + subject + " " + f.Message
	}
	return strings.Join(lines, "\n")
}

// within is the message of a fault inside one value.
func (e FieldError) within() string {
	if e.Field == "" {
		return e.Message
	}
	return "at " + e.Field + " " + e.Message
}

// maxFaults is how many a person may want to read.
const maxFaults = 100

// faults collects field errors.
type faults struct {
	list []FieldError
}

// add records a fault, unless one is known of the field, of what it is part of or
// of one of its parts: the first one found is the cause of the others.
func (f *faults) add(field, message string) {
	if len(f.list) < maxFaults && !f.has(field) {
		f.list = append(f.list, FieldError{field, message})
	}
}

func (f *faults) has(field string) bool {
	for _, known := range f.list {
		if within(known.Field, field) || within(field, known.Field) {
			return true
		}
	}
	return false
}

// within reports whether path is root or a part of it.
func within(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || root == "" || rest[0] == '.' || rest[0] == '[')
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.list}
}

var plainMember = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// memberPath is the path of a member of the object at path.
func memberPath(path, name string) string {
	switch {
	case !plainMember.MatchString(name):
		const enough = 64
		if len(name) > enough {
			name = strings.ToValidUTF8(name[:enough], "") + "…"
		}
		return path + "[" + strconv.QuoteToASCII(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// elementPath is the path of an element of the list at path.
func elementPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
