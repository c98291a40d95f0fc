package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"
)

// Workflow is a registered function. Its methods are safe for concurrent use.
type Workflow[In, Out any] struct {
	registry *Registry
	def      *definition
}

// definition is a registered workflow without its types.
type definition struct {
	name         string
	description  string
	timeout      time.Duration
	retries      int
	allowMembers bool
	crossOrg     bool

	input *inputType
	// call decodes the input, calls the function and encodes its result.
	call func(ctx context.Context, input json.RawMessage) (json.RawMessage, error)
}

// Info describes a registered workflow.
type Info struct {
	Name         string
	Description  string
	AllowMembers bool
	CrossOrg     bool
	Timeout      time.Duration
	Retries      int
	InputSchema  json.RawMessage // JSON Schema, draft 2020-12
}

var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

// Register makes fn executable under name, which matches
// [A-Za-z][A-Za-z0-9_.-]{0,63} and is unique in r. In and Out are anything that
// encoding/json reads and writes; use struct{} for no input. Fields of In without
// omitempty or omitzero are required, and unknown fields are refused.
//
// A name stays the same when fn is renamed, or the history comes apart. A
// workflow may be registered before or after [Registry.Start].
func Register[In, Out any](
	r *Registry, name string, fn func(context.Context, In) (Out, error), opts ...Option,
) (*Workflow[In, Out], error) {
	if r == nil {
		return nil, errors.New("workflow: Register needs a registry: bf.Workflows")
	}
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("workflow: %q cannot be a name; names match [A-Za-z][A-Za-z0-9_.-]{0,63}", name)
	}
	if fn == nil {
		return nil, fmt.Errorf("workflow: %s has no function", name)
	}
	d := &definition{name: name, timeout: DefaultTimeout}
	for _, opt := range opts {
		opt(d)
	}
	if d.timeout <= 0 {
		return nil, fmt.Errorf("workflow: the timeout of %s must be more than 0, not %s", name, d.timeout)
	}
	if d.retries < 0 || d.retries > maxRetries {
		return nil, fmt.Errorf("workflow: the retries of %s must be 0 to %d, not %d", name, maxRetries, d.retries)
	}
	var err error
	if d.input, err = newInputType(reflect.TypeFor[In]()); err != nil {
		return nil, fmt.Errorf("workflow: the input of %s, %s, has no JSON Schema: %w", name, reflect.TypeFor[In](), err)
	}
	d.call = func(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := json.Unmarshal(input, &in); err != nil {
			return nil, &codedError{CodeInput, "the input no longer fits " + reflect.TypeFor[In]().String(), err}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		result, err := json.Marshal(out)
		if err != nil {
			return nil, &codedError{CodeResult, "the result is not JSON", err}
		}
		return result, nil
	}
	if err := r.add(d); err != nil {
		return nil, err
	}
	return &Workflow[In, Out]{registry: r, def: d}, nil
}

// MustRegister is Register for program starts: it panics instead of returning an
// error.
func MustRegister[In, Out any](
	r *Registry, name string, fn func(context.Context, In) (Out, error), opts ...Option,
) *Workflow[In, Out] {
	w, err := Register(r, name, fn, opts...)
	if err != nil {
		panic(err)
	}
	return w
}

// Name returns the name it is registered under.
func (w *Workflow[In, Out]) Name() string { return w.def.name }

func (d *definition) info() Info {
	return Info{
		Name: d.name, Description: d.description, AllowMembers: d.allowMembers, CrossOrg: d.crossOrg,
		Timeout: d.timeout, Retries: d.retries, InputSchema: d.input.document,
	}
}

// codedError is an error of Bifrost's own with a code.
type codedError struct {
	code, message string
	err           error
}

func (e *codedError) Error() string     { return e.message + ": " + e.err.Error() }
func (e *codedError) Unwrap() error     { return e.err }
func (e *codedError) ErrorCode() string { return e.code }
