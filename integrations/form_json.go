package integrations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxForm is how many bytes a definition's JSON form may have, maxDepth how many
// objects and lists in each other.
const (
	maxForm  = 64 << 10
	maxDepth = 32
)

func tooLong(limit int) string { return fmt.Sprintf("is longer than %d KiB", limit>>10) }

// jsonKind is the kind of a JSON value, in words for a message.
type jsonKind string

const (
	jsonNull   jsonKind = "null"
	jsonBool   jsonKind = "true or false"
	jsonNumber jsonKind = "a number"
	jsonText   jsonKind = "text"
	jsonList   jsonKind = "a list"
	jsonObject jsonKind = "an object"
)

// jsonNode is a JSON value with what encoding/json loses: which members there were,
// in which order, and how numbers were written.
type jsonNode struct {
	kind  jsonKind
	text  string // of text and numbers
	truth bool
	items []*jsonNode // elements, or values of members
	names []string    // of members
}

// parseJSON reads one JSON value of at most limit bytes; nil after a fault. Duplicate members are refused, because readers
// differ in which of them they believe.
func parseJSON(f *faults, path string, data []byte, limit int) *jsonNode {
	if len(data) > limit {
		f.add(path, tooLong(limit))
		return nil
	}
	var syntax *json.SyntaxError
	var whole json.RawMessage
	switch err := json.Unmarshal(data, &whole); {
	case errors.As(err, &syntax) && syntax.Offset < int64(len(data)):
		f.add(path, fmt.Sprintf("is not JSON: look at byte %d", syntax.Offset))
		return nil
	case err != nil:
		f.add(path, "is not JSON: it ends too early")
		return nil
	case !utf8.Valid(data):
		f.add(path, "is not JSON: it is not UTF-8")
		return nil
	}
	p := &jsonParser{faults: f, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	n := p.value(path, 1)
	if p.failed {
		return nil
	}
	return n
}

type jsonParser struct {
	faults *faults
	dec    *json.Decoder
	failed bool
}

func (p *jsonParser) fail(path, message string) {
	p.failed = true
	p.faults.add(path, message)
}

// value reads the next value. The document is known to be well-formed.
func (p *jsonParser) value(path string, depth int) *jsonNode {
	token, err := p.dec.Token()
	if err != nil {
		p.fail(path, "is not JSON")
		return &jsonNode{kind: jsonNull}
	}
	switch v := token.(type) {
	case bool:
		return &jsonNode{kind: jsonBool, truth: v}
	case json.Number:
		return &jsonNode{kind: jsonNumber, text: v.String()}
	case string:
		p.checkText(path, v)
		return &jsonNode{kind: jsonText, text: v}
	case json.Delim:
		if depth > maxDepth {
			p.fail(path, fmt.Sprintf("is nested deeper than %d levels", maxDepth))
		}
		if v == '[' {
			return p.list(path, depth)
		}
		return p.object(path, depth)
	}
	return &jsonNode{kind: jsonNull}
}

// checkText refuses what PostgreSQL cannot store.
func (p *jsonParser) checkText(path, text string) {
	if strings.ContainsRune(text, 0) {
		p.fail(path, "contains the character U+0000: take it out")
	}
}

func (p *jsonParser) list(path string, depth int) *jsonNode {
	n := &jsonNode{kind: jsonList}
	for !p.failed && p.dec.More() {
		n.items = append(n.items, p.value(elementPath(path, len(n.items)), depth+1))
	}
	p.end()
	return n
}

func (p *jsonParser) object(path string, depth int) *jsonNode {
	n := &jsonNode{kind: jsonObject}
	seen := map[string]bool{}
	for !p.failed && p.dec.More() {
		token, err := p.dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			p.fail(path, "is not JSON")
			break
		}
		member := memberPath(path, name)
		p.checkText(member, name)
		if seen[name] {
			p.fail(member, "stands there twice: take one out")
		}
		seen[name] = true
		n.names = append(n.names, name)
		n.items = append(n.items, p.value(member, depth+1))
	}
	p.end()
	return n
}

// end reads over a closing bracket.
func (p *jsonParser) end() {
	if !p.failed {
		_, _ = p.dec.Token() // the document is well-formed
	}
}

// member returns a member of an object; nil if there is none.
func (n *jsonNode) member(name string) *jsonNode {
	if i := slices.Index(n.names, name); i >= 0 {
		return n.items[i]
	}
	return nil
}

func (n *jsonNode) remove(name string) {
	if i := slices.Index(n.names, name); i >= 0 {
		n.names = slices.Delete(n.names, i, i+1)
		n.items = slices.Delete(n.items, i, i+1)
	}
}

// merge applies a merge patch (RFC 7396 §2) and returns the result; n may be nil.
func (n *jsonNode) merge(patch *jsonNode) *jsonNode {
	if patch.kind != jsonObject {
		return patch
	}
	if n == nil || n.kind != jsonObject {
		n = &jsonNode{kind: jsonObject}
	}
	for i, name := range patch.names {
		value := patch.items[i]
		at := slices.Index(n.names, name)
		switch {
		case value.kind == jsonNull:
			n.remove(name)
		case at < 0:
			n.names = append(n.names, name)
			n.items = append(n.items, (*jsonNode)(nil).merge(value))
		default:
			n.items[at] = n.items[at].merge(value)
		}
	}
	return n
}

// MarshalJSON writes the value as it was read, but for spaces.
func (n *jsonNode) MarshalJSON() ([]byte, error) {
	switch n.kind {
	case jsonBool:
		return json.Marshal(n.truth)
	case jsonNumber:
		return []byte(n.text), nil
	case jsonText:
		return json.Marshal(n.text)
	case jsonList:
		if n.items == nil {
			return []byte("[]"), nil
		}
		return json.Marshal(n.items)
	case jsonObject:
		var b strings.Builder
		b.WriteByte('{')
		for i, name := range n.names {
			if i > 0 {
				b.WriteByte(',')
			}
			key, err := json.Marshal(name)
			if err != nil {
				return nil, err
			}
			value, err := json.Marshal(n.items[i])
			if err != nil {
				return nil, err
			}
			b.Write(key)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return []byte(b.String()), nil
	}
	return []byte("null"), nil
}
