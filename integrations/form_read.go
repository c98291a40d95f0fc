package integrations

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// formReader puts JSON into the form's types, field by field, and collects what
// does not fit. It stands in for encoding/json, which stops at the first fault,
// ignores the case of names, and repeats values in its errors.
//
// Struct tags: json names the member, enum lists the texts it may have.
type formReader struct {
	*faults
}

// formValue is a type with a JSON form that its Go type does not show.
type formValue interface {
	readForm(r *formReader, path string, n *jsonNode)
}

func (r *formReader) read(path string, n *jsonNode, v reflect.Value, tag reflect.StructTag) {
	if own, ok := v.Addr().Interface().(formValue); ok {
		own.readForm(r, path, n)
		return
	}
	if raw, ok := v.Addr().Interface().(*json.RawMessage); ok {
		r.raw(path, n, raw)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.kind != jsonNull {
			v.Set(reflect.New(v.Type().Elem()))
			r.read(path, n, v.Elem(), tag)
		}
	case reflect.Struct:
		r.structure(path, n, v)
	case reflect.Map:
		r.mapping(path, n, v)
	case reflect.Slice:
		if r.expect(path, n, jsonList) && len(n.items) > 0 {
			v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
			for i, item := range n.items {
				r.read(elementPath(path, i), item, v.Index(i), tag)
			}
		}
	case reflect.Bool:
		if r.expect(path, n, jsonBool) {
			v.SetBool(n.truth)
		}
	default:
		if text, ok := r.text(path, n); ok && r.oneOf(path, text, tag.Get("enum")) {
			v.SetString(text)
		}
	}
}

// structure reads the members of an object into a struct's fields.
func (r *formReader) structure(path string, n *jsonNode, v reflect.Value) {
	if !r.expect(path, n, jsonObject) {
		return
	}
	var known []string
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := memberName(field)
		known = append(known, name)
		if m := n.member(name); m != nil {
			r.read(memberPath(path, name), m, v.Field(i), field.Tag)
		}
	}
	for _, name := range n.names {
		if !slices.Contains(known, name) {
			r.add(memberPath(path, name), "is not known"+suggestion(name, known)+": take it out or correct its name")
		}
	}
}

// mapping reads an object with members of any name.
func (r *formReader) mapping(path string, n *jsonNode, v reflect.Value) {
	if !r.expect(path, n, jsonObject) || len(n.names) == 0 {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.names)))
	for i, name := range n.names {
		value := reflect.New(v.Type().Elem()).Elem()
		r.read(memberPath(path, name), n.items[i], value, "")
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

// memberName is the JSON name of a struct field.
func memberName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// suggestion names the known member that was probably meant: tokenUrl for
// token_url.
func suggestion(name string, known []string) string {
	bare := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	for _, k := range known {
		if bare(k) == bare(name) {
			return ", but " + k + " is"
		}
	}
	return ""
}

// expect reports whether n is of a kind, and records it if it is not.
func (r *formReader) expect(path string, n *jsonNode, want jsonKind) bool {
	switch n.kind {
	case want:
		return true
	case jsonNull:
		r.add(path, fmt.Sprintf("must be %s, not null: leave it out if there is none", want))
	default:
		r.add(path, fmt.Sprintf("must be %s, not %s", want, n.kind))
	}
	return false
}

// text returns n's text.
func (r *formReader) text(path string, n *jsonNode) (string, bool) {
	return n.text, r.expect(path, n, jsonText)
}

// raw reads any value; null is none.
func (r *formReader) raw(path string, n *jsonNode, v *json.RawMessage) {
	if n.kind == jsonNull {
		return
	}
	text, err := json.Marshal(n)
	if err != nil { // what was read can be written
		r.add(path, "is not JSON")
		return
	}
	*v = text
}

// oneOf reports whether text is one of the words in enum, which allows everything
// if it is empty.
func (r *formReader) oneOf(path, text, enum string) bool {
	words := strings.Fields(enum)
	if enum == "" || slices.Contains(words, text) {
		return true
	}
	r.add(path, "must be "+alternatives(words))
	return false
}

// alternatives lists words for a message: "a", "b" or "c".
func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
