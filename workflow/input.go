package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// inputType checks inputs before they are queued.
type inputType struct {
	goType   reflect.Type
	schema   *jsonschema.Schema
	resolved *jsonschema.Resolved
	document json.RawMessage // schema as JSON
}

func newInputType(t reflect.Type) (*inputType, error) {
	s, err := inferSchema(t)
	if err != nil {
		return nil, err
	}
	in := &inputType{goType: t, schema: s}
	if in.document, err = json.Marshal(s); err != nil {
		return nil, err
	}
	in.resolved, err = s.Resolve(nil)
	return in, err
}

var emptyInput = json.RawMessage(`{}`)

// check returns the input as it is to be stored: compact, {} if it is absent or
// null. Errors are *InputError.
func (in *inputType) check(workflow string, input json.RawMessage) (json.RawMessage, error) {
	input = bytes.TrimSpace(bytes.ToValidUTF8(input, []byte("\uFFFD")))
	if len(input) == 0 || string(input) == "null" {
		input = emptyInput
	}
	fail := func(fields ...FieldError) (json.RawMessage, error) {
		return nil, &InputError{Workflow: workflow, Fields: fields}
	}
	if len(input) > maxPayload {
		return fail(FieldError{Message: fmt.Sprintf("is larger than %d bytes", maxPayload)})
	}
	var value any
	if err := decodeStrictly(input, &value); err != nil {
		return fail(FieldError{Message: "is not JSON"})
	}
	if err := in.resolved.Validate(value); err != nil {
		fields := in.locate(nil, "", in.schema, value)
		if len(fields) == 0 {
			fields = []FieldError{{Message: "does not fit the schema"}}
		}
		return fail(fields...)
	}
	// The schema is an approximation where types decode themselves.
	if err := decodeStrictly(input, reflect.New(in.goType).Interface()); err != nil {
		return fail(decodingError(err))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, input); err != nil {
		return fail(FieldError{Message: "is not JSON"})
	}
	return compact.Bytes(), nil
}

// decodeStrictly refuses unknown fields, and anything after the value.
func decodeStrictly(input []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// maxDecodingError bounds what a decoder may say about a stranger's input, bytes.
const maxDecodingError = 256

func decodingError(err error) FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return FieldError{kind.Field, fmt.Sprintf("must fit Go's %s", kind.Type)}
	}
	return FieldError{Message: "cannot be decoded: " + cut(err.Error(), maxDecodingError)}
}
