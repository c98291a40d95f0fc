// Package texts says which texts every store can keep.
package texts

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrInvalid is the error for a text that a store refuses.
var ErrInvalid = errors.New("a key or text is not valid UTF-8, or has a NUL character in it; not every database can keep such, so none does")

// Valid reports whether every store can keep text: PostgreSQL takes neither NUL
// nor what is not UTF-8.
func Valid(text string) bool {
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

// Check returns ErrInvalid unless all texts in values are valid: strings, and JSON
// documents, wherever they stand in structs, pointers and lists.
func Check(values ...any) error {
	for _, v := range values {
		if !valid(reflect.ValueOf(v)) {
			return ErrInvalid
		}
	}
	return nil
}

var (
	document = reflect.TypeFor[json.RawMessage]()
	moment   = reflect.TypeFor[time.Time]()
)

func valid(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return Valid(v.String())
	case reflect.Pointer, reflect.Interface:
		return v.IsNil() || valid(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type() != moment && !valid(v.Field(i)) {
				return false
			}
		}
	case reflect.Slice:
		switch {
		case v.Type() == document:
			return Valid(string(v.Bytes()))
		case v.Type().Elem().Kind() == reflect.Uint8:
			return true // not a text
		}
		for i := range v.Len() {
			if !valid(v.Index(i)) {
				return false
			}
		}
	}
	return true
}
