package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

type Node struct {
	Name     string           `json:"name"`
	Next     *Node            `json:"next,omitempty"`
	Children []Node           `json:"children,omitempty"`
	ByName   map[string]*Node `json:"by_name,omitempty"`
}

type (
	Tree        map[string]Tree
	Nest        []Nest
	Left        struct{ Right *Right }
	Right       struct{ Left *Left }
	Matrix      [2]*Matrix
	Pair[T any] struct {
		Value T        `json:"value"`
		Next  *Pair[T] `json:"next,omitempty"`
	}
)

type Color int

func (c Color) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "color-%d", c), nil }
func (c *Color) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "color-%d", (*int)(c))
	return err
}

type Own struct{ n int }

func (o Own) MarshalJSON() ([]byte, error) { return json.Marshal(o.n) }
func (o *Own) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &o.n); err != nil {
		return errors.New("Own is a number")
	}
	return nil
}

type Everything struct {
	Raw      json.RawMessage   `json:"raw"`
	RawPtr   *json.RawMessage  `json:"raw_ptr"`
	Duration time.Duration     `json:"duration"`
	Time     time.Time         `json:"time"`
	TimePtr  *time.Time        `json:"time_ptr"`
	ID       uuid.UUID         `json:"id"`
	Bytes    []byte            `json:"bytes"`
	Map      map[string]int    `json:"map"`
	IntMap   map[int8][]string `json:"int_map"`
	ColorMap map[Color]bool    `json:"color_map"`
	Color    Color             `json:"color"`
	Own      *Own              `json:"own"`
	Big      *big.Int          `json:"big"`
	Number   json.Number       `json:"number"`
	Any      any               `json:"any"`
	Quoted   struct {
		N int `json:"n,string"`
	} `json:"quoted"`
	Small  uint8     `json:"small"`
	Float  float64   `json:"float"`
	Array  [2]bool   `json:"array"`
	Node   *Node     `json:"node"`
	Hidden chan bool `json:"-"`
	_      func()
	Base
}

type Base struct {
	FromBase string `json:"from_base"`
}

// accepts registers a workflow with input In and reports what Execute says to
// input; it is never run, because the registry is not started.
func accepts[In any](t *testing.T, input string) error {
	t.Helper()
	r := newRegistry(t, workflow.Config{})
	_, err := workflow.Register(r, "work", func(context.Context, In) (any, error) { return nil, nil })
	require.NoError(t, err)
	_, err = r.Execute(t.Context(), "work", request(input))
	if errors.Is(err, workflow.ErrNotStarted) {
		return nil
	}
	return err
}

// What Go marshals, the schema accepts: zero values too.
func TestSchemaAcceptsWhatGoWrites(t *testing.T) {
	roundTrip[struct{}](t)
	roundTrip[Everything](t, Everything{
		Raw: json.RawMessage(`[1,{"a":null}]`), RawPtr: new(json.RawMessage(`1`)), Duration: time.Second, Time: time.Now(), TimePtr: new(time.Now()),
		ID: uuid.New(), Bytes: []byte{0, 255}, Map: map[string]int{"a": 1}, IntMap: map[int8][]string{-3: {"x"}},
		ColorMap: map[Color]bool{3: true}, Color: 7, Own: &Own{3}, Big: big.NewInt(1 << 62), Number: "1.5e3", Any: []int{1},
		Small: 255, Float: 1.5, Node: &Node{Name: "a", Next: &Node{Children: []Node{{}}, ByName: map[string]*Node{"x": nil}}},
	})
	roundTrip[*Node](t, &Node{Name: "a"})
	roundTrip[Tree](t, Tree{"a": {"b": nil}})
	roundTrip[Nest](t, Nest{{}, nil, {{}}})
	roundTrip[Left](t, Left{&Right{&Left{}}})
	roundTrip[Matrix](t, Matrix{{}, nil})
	roundTrip[Pair[Pair[int]]](t, Pair[Pair[int]]{Value: Pair[int]{Value: 1}})
	roundTrip[map[string]string](t, map[string]string{"a": "b"})
	roundTrip[any](t, "x", 1.5, []any{nil})
	roundTrip[json.RawMessage](t, json.RawMessage(`"x"`))
	roundTrip[time.Duration](t, time.Hour)
	roundTrip[[]string](t, []string{"a"})
}

func roundTrip[In any](t *testing.T, values ...In) {
	t.Helper()
	var zero In
	for _, v := range append(values, zero) {
		input, err := json.Marshal(v)
		require.NoError(t, err)
		if string(input) == "null" {
			continue // means {}
		}
		assert.NoError(t, accepts[In](t, string(input)), "%T: %s", v, input)
	}
}

func TestInput(t *testing.T) {
	type filter struct {
		Names []string       `json:"names,omitempty"`
		Limit uint8          `json:"limit,omitempty"`
		By    map[string]int `json:"by,omitempty"`
		Two   [2]int         `json:"two,omitzero"`
		Since time.Time      `json:"since,omitzero"`
		Color Color          `json:"color,omitempty"`
		Any   *Own           `json:"any,omitempty"`
	}
	type in struct {
		Org    string  `json:"org"`
		Full   bool    `json:"full"`
		Filter *filter `json:"filter,omitempty"`
		Node   *Node   `json:"node,omitempty"`
	}
	const ok = `"org":"o","full":true`
	tests := []struct {
		name, input string
		want        []workflow.FieldError // nil: accepted
	}{
		{"whole", `{` + ok + `}`, nil},
		{"null where a pointer is", `{` + ok + `,"filter":null}`, nil},
		{"spaces", " \n{ " + ok + " }\t", nil},
		{"absent", ``, []workflow.FieldError{{"org", "is required"}, {"full", "is required"}}},
		{"null", `null`, []workflow.FieldError{{"org", "is required"}, {"full", "is required"}}},
		{"not JSON", `{"org":`, []workflow.FieldError{{"", "is not JSON"}}},
		{"two values", `{} {}`, []workflow.FieldError{{"", "is not JSON"}}},
		{"another type", `[1]`, []workflow.FieldError{{"", "must be an object, not array"}}},
		{"several at once", `{"org":7,"Full":true}`, []workflow.FieldError{
			{"full", "is required"}, {"Full", "is not a known field"}, {"org", "must be a string, not number"},
		}},
		{"deep", `{` + ok + `,"filter":{"names":["a",null,3],"by":{"k":"v"},"two":[1,2,3]}}`, []workflow.FieldError{
			{"filter.by.k", "must be a whole number, not string"},
			{"filter.names[1]", "must be a string, not null"},
			{"filter.names[2]", "must be a string, not number"},
			{"filter.two", "must have 2 items, not 3"},
		}},
		{"range", `{` + ok + `,"filter":{"limit":256}}`, []workflow.FieldError{{"filter.limit", "must be at most 255"}}},
		{"negative", `{` + ok + `,"filter":{"limit":-1}}`, []workflow.FieldError{{"filter.limit", "must be at least 0"}}},
		{"fraction", `{` + ok + `,"filter":{"limit":1.5}}`, []workflow.FieldError{{"filter.limit", "must be a whole number, not number"}}},
		{"recursive", `{` + ok + `,"node":{"name":"a","next":{"name":"b","by_name":{"x":{"nam":"c"}}}}}`, []workflow.FieldError{
			{"node.next.by_name.x.name", "is required"}, {"node.next.by_name.x.nam", "is not a known field"},
		}},
		{"long unknown name", `{` + ok + `,"` + strings.Repeat("x", 500) + `":1}`, []workflow.FieldError{
			{strings.Repeat("x", 61) + "…", "is not a known field"},
		}},
		{"decoder of its own", `{` + ok + `,"filter":{"any":"x"}}`, []workflow.FieldError{{"", "cannot be decoded: Own is a number"}}},
		{"text that does not parse", `{` + ok + `,"filter":{"color":"red"}}`, []workflow.FieldError{
			{"", "cannot be decoded: input does not match format"},
		}},
		{"too large", `{"org":"` + strings.Repeat("x", 5<<20) + `"}`, []workflow.FieldError{{"", "is larger than 4194304 bytes"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := accepts[in](t, tt.input)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			var invalid *workflow.InputError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, tt.want, invalid.Fields)
			assert.Equal(t, "work", invalid.Workflow)
			assert.Less(t, len(err.Error()), 1000)
			if tt.want[0].Field != "" {
				assert.Contains(t, err.Error(), tt.want[0].Field+" "+tt.want[0].Message)
			}
		})
	}
}

func TestAbsentInputIsAnEmptyObject(t *testing.T) {
	for _, input := range []string{"", "null", " null ", "{}"} {
		require.NoError(t, accepts[struct{}](t, input))
		require.NoError(t, accepts[map[string]int](t, input))
	}
	require.Error(t, accepts[string](t, ""))
}

func TestSchemaDocument(t *testing.T) {
	type in struct {
		Since time.Duration `json:"since,omitempty" jsonschema:"how far to look back, in nanoseconds"`
		Node  *Node         `json:"node"`
	}
	r := newRegistry(t, workflow.Config{})
	workflow.MustRegister(r, "work", func(context.Context, in) (any, error) { return nil, nil })
	info, ok := r.Get("work")
	require.True(t, ok)
	assert.JSONEq(t, `{
		"type": "object", "additionalProperties": false, "required": ["node"],
		"properties": {
			"since": {"type": "integer", "description": "how far to look back, in nanoseconds"},
			"node": {"$ref": "#/$defs/Node", "type": ["null", "object"]}
		},
		"$defs": {"Node": {
			"type": ["null", "object"], "additionalProperties": false, "required": ["name"],
			"properties": {
				"name": {"type": "string"},
				"next": {"$ref": "#/$defs/Node", "type": ["null", "object"]},
				"children": {"type": ["null", "array"], "items": {"$ref": "#/$defs/Node", "type": ["null", "object"]}},
				"by_name": {"type": ["null", "object"], "additionalProperties": {"$ref": "#/$defs/Node", "type": ["null", "object"]}}
			}
		}}
	}`, string(info.InputSchema))
}

func TestTypesWithoutSchemaAreRefused(t *testing.T) {
	r := newRegistry(t, workflow.Config{})
	_, err := workflow.Register(r, "a", func(context.Context, struct{ C chan int }) (any, error) { return nil, nil })
	require.ErrorContains(t, err, "has no JSON Schema")
	_, err = workflow.Register(r, "b", func(context.Context, map[float64]int) (any, error) { return nil, nil })
	require.ErrorContains(t, err, "unsupported map key type")
	_, err = workflow.Register(r, "c", func(context.Context, struct{ F func() }) (any, error) { return nil, nil })
	require.Error(t, err)
	assert.Empty(t, r.List())
}

// Whatever a stranger sends is refused with an InputError or can be decoded.
func FuzzInput(f *testing.F) {
	f.Add(`{"name":"a","next":{"name":"b"}}`)
	f.Add(`{"name":"a","by_name":{"x":null}} `)
	f.Add(`[{"name":1e400}]`)
	f.Add("{\"name\":\"\xff\"}")
	r, err := workflow.New(workflow.Config{Store: workflow.NewMemory()})
	require.NoError(f, err)
	workflow.MustRegister(r, "work", func(context.Context, Node) (any, error) { return nil, nil })
	f.Fuzz(func(t *testing.T, input string) {
		_, err := r.Execute(t.Context(), "work", request(input))
		var invalid *workflow.InputError
		switch {
		case errors.As(err, &invalid):
			if len(invalid.Fields) == 0 {
				t.Fatal("no field is named")
			}
		case errors.Is(err, workflow.ErrNotStarted):
			var n Node
			if in := strings.TrimSpace(input); in != "" && json.Unmarshal([]byte(in), &n) != nil {
				t.Fatalf("accepted %q", input)
			}
		default:
			t.Fatalf("unexpected: %v", err)
		}
	})
}
