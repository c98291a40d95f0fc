package oauthflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
)

// members are the named values of a JSON object, or of a form turned into one.
// Names are exact: decoding into a struct would fold their case, and take
// Access_Token for access_token. The last duplicate wins.
type members map[string]json.RawMessage

var errNotObject = errors.New("neither a JSON object nor a form")

// decodeMembers understands a JSON object or a form, whatever the media type said
// it was. With broken input it returns the members that came whole, and why there
// are no more; nil if there is nothing to understand. cut says that body itself is
// only the beginning.
func decodeMembers(body []byte, cut bool) (members, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if len(body) > 0 && body[0] == '{' {
		return decodeObject(body)
	}
	if m := decodeForm(string(body), cut); m != nil {
		return m, nil
	}
	return nil, errNotObject
}

// decodeObject reads member by member, so that a reply that breaks off still
// yields the refresh token that was in its first half.
func decodeObject(body []byte) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, errNotObject
	}
	m := make(members)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return m, brokenJSON(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return m, brokenJSON(err)
		}
		if text, ok := name.(string); ok {
			m[text] = value
		}
	}
	_, err := dec.Token() // the closing brace; what follows it does not matter
	return m, brokenJSON(err)
}

// brokenJSON hides the decoder's text, which quotes the reply.
func brokenJSON(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	default:
		return errors.New("broken JSON")
	}
}

// decodeForm returns nil if s does not look like a form: markup, a JSON value, or
// nothing that has a plain name. Pairs with other names, or wrongly escaped, are left
// out: what stands beside a refresh token must not lose it. So is the last pair of a
// cut form, because its value may be half a token.
func decodeForm(s string, cut bool) members {
	if strings.HasPrefix(s, "<") || json.Valid([]byte(s)) {
		return nil
	}
	pairs := strings.Split(s, "&")
	if cut {
		pairs = pairs[:len(pairs)-1]
	}
	var m members
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		name, badName := url.QueryUnescape(name)
		value, badValue := url.QueryUnescape(value)
		if !ok || badName != nil || badValue != nil || name == "" || !only(name, "_-.[]") {
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			continue
		}
		if m == nil {
			m = make(members)
		}
		m[name] = raw
	}
	return m
}

// object returns the members of a value, if it is an object.
func object(raw json.RawMessage) (members, bool) {
	var m members
	if !isObject(raw) || json.Unmarshal(raw, &m) != nil {
		return nil, false
	}
	return m, true
}

// at returns the value at a dotted path; nil if it is not there.
func (m members) at(path string) json.RawMessage {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		return m[name]
	}
	inner, _ := object(m[name])
	return inner.at(rest)
}

// without removes the value at a dotted path. Inner objects are written anew,
// m's own raw values are not touched.
func (m members) without(path string) {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		delete(m, name)
		return
	}
	inner, ok := object(m[name])
	if !ok || inner.at(rest) == nil {
		return
	}
	inner.without(rest)
	if raw, err := json.Marshal(inner); err == nil {
		m[name] = raw
	} else {
		delete(m, name)
	}
}

// text returns a JSON string's text; ok is false for everything else.
func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// isNothing reports whether a member is absent, null or "".
func isNothing(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`:
		return true
	}
	return false
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
