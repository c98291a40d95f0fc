package httpadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
)

const (
	// maxBody is how large a request's body may be where it holds an input or
	// configuration, maxDefinition where it holds a definition (of 64 KiB, as package
	// integrations counts), and maxSmallBody elsewhere.
	maxBody       = 1 << 20
	maxDefinition = 80 << 10
	maxSmallBody  = 64 << 10
)

// fields are the members of a request's JSON object, or the fields of its form,
// as JSON values.
type fields map[string]json.RawMessage

// readFields reads the body: a JSON object, a form, or nothing. known names the
// fields that are understood; any other is refused by name, because an option that
// is ignored in silence looks as if it had worked.
func readFields(r *http.Request, known ...string) (fields, error) {
	var (
		f   fields
		err error
	)
	switch sentMedia(r) {
	case mediaJSON, "":
		f, err = readObject(r.Body)
	case mediaForm:
		f, err = readForm(r)
	default:
		err = errNotJSON
	}
	if err != nil {
		return nil, err
	}
	var unknown []fieldError
	for name := range f {
		if !slices.Contains(known, name) {
			if len(name) > 64 {
				name = name[:64] + "…"
			}
			unknown = append(unknown, fieldError{name, "is not supported here"})
		}
	}
	if len(unknown) > 0 {
		slices.SortFunc(unknown, func(a, b fieldError) int { return bytes.Compare([]byte(a.Field), []byte(b.Field)) })
		return nil, invalidFields(unknown[:min(len(unknown), 10)]...)
	}
	return f, nil
}

var (
	errNotJSON   = malformed("The body must be JSON: send the header Content-Type: application/json.")
	errNotObject = malformed(`The body must be one JSON object, such as {"input": {}}.`)
)

func readObject(body io.Reader) (fields, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, bodyError(err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	return objectOf(text)
}

// objectOf decodes into a map, not a struct: encoding/json folds the case of
// struct fields.
func objectOf(text []byte) (fields, error) {
	var f fields
	if json.Unmarshal(text, &f) != nil || f == nil {
		return nil, errNotObject
	}
	return f, nil
}

// readDocument reads a body that must be a JSON object, and returns it as it was
// sent, too: package integrations has a reader of its own for definitions.
func readDocument(r *http.Request) ([]byte, fields, error) {
	if media := sentMedia(r); media != mediaJSON && media != "" {
		return nil, nil, errNotJSON
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, bodyError(err)
	}
	f, err := objectOf(text)
	return text, f, err
}

func readForm(r *http.Request) (fields, error) {
	if err := r.ParseForm(); err != nil {
		return nil, bodyError(err)
	}
	f := fields{}
	for name, values := range r.PostForm {
		if len(values) != 1 {
			return nil, malformed("A form field is given twice.")
		}
		// curl -d sends JSON under a form's media type unless it is told otherwise.
		if len(name) > 0 && (name[0] == '{' || name[0] == '[') {
			return nil, malformed("The body looks like JSON and was sent as a form: add the header Content-Type: application/json.")
		}
		f[name], _ = json.Marshal(values[0])
	}
	return f, nil
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return malformed("The body could not be read.")
}

// text returns a field that must be a string; empty if it is absent or null.
func (f fields) text(name string) (string, error) {
	var s *string
	if raw, ok := f[name]; ok && json.Unmarshal(raw, &s) != nil {
		return "", invalidField(name, "must be a string")
	}
	if s == nil {
		return "", nil
	}
	return *s, nil
}

// flag returns a field that must be true or false; false if it is absent or null.
func (f fields) flag(name string) (bool, error) {
	var b bool
	if raw, ok := f[name]; ok && json.Unmarshal(raw, &b) != nil {
		return false, invalidField(name, "must be true or false")
	}
	return b, nil
}
