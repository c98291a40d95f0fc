package integrations

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// scopesForm is a list of scopes, or one text with spaces between them.
type scopesForm []string

func (v *scopesForm) readForm(r *formReader, path string, n *jsonNode) {
	if n.kind != jsonText {
		if n.kind != jsonList {
			r.expect(path, n, "a list of texts, or one text with spaces between the scopes,")
			return
		}
		r.read(path, n, reflect.ValueOf((*[]string)(v)).Elem(), "")
		return
	}
	if text, ok := r.text(path, n); ok && strings.TrimSpace(text) != "" {
		*v = strings.Fields(text)
	}
}

// clientAuthForm is a way of client authentication; short names are accepted.
type clientAuthForm oauthflow.ClientAuth

func (v *clientAuthForm) readForm(r *formReader, path string, n *jsonNode) {
	text, ok := r.text(path, n)
	if !ok {
		return
	}
	switch text {
	case "post":
		text = string(oauthflow.AuthPost)
	case "basic":
		text = string(oauthflow.AuthBasic)
	}
	if r.oneOf(path, text, "client_secret_post client_secret_basic none") {
		*v = clientAuthForm(text)
	}
}

// paramForm is the values of a parameter: one text, or a list of them.
type paramForm []string //nolint:recvcheck // read through a pointer, written as a value

func (v *paramForm) readForm(r *formReader, path string, n *jsonNode) {
	switch n.kind {
	case jsonList:
		r.read(path, n, reflect.ValueOf((*[]string)(v)).Elem(), "")
	case jsonText:
		if text, ok := r.text(path, n); ok {
			*v = paramForm{text}
		}
	default:
		r.expect(path, n, "text or a list of texts")
	}
}

// MarshalJSON implements json.Marshaler.
func (v paramForm) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal(append([]string{}, v...))
}

func (v *variableForm) readForm(r *formReader, path string, n *jsonNode) {
	type object variableForm // without this method
	switch n.kind {
	case jsonObject:
		r.structure(path, n, reflect.ValueOf((*object)(v)).Elem())
		if n.member("kind") == nil {
			r.add(memberPath(path, "kind"), `is missing: set it to "label", "segment", "value" or "host"`)
		}
	case jsonText:
		if text, ok := r.text(path, n); ok && r.oneOf(path, text, "label segment value host") {
			v.Kind = oauthflow.VariableKind(text)
		}
	default:
		r.expect(path, n, "an object with kind and hosts, or a kind alone,")
	}
}

// millisForm is a time in whole milliseconds that fits into a time.Duration.
type millisForm int64

func (v *millisForm) readForm(r *formReader, path string, n *jsonNode) {
	const most = int64(math.MaxInt64 / time.Millisecond)
	if !r.expect(path, n, jsonNumber) {
		return
	}
	ms, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || ms > most || ms < -most {
		r.add(path, "must be a whole number of milliseconds, at most "+strconv.FormatInt(most, 10))
		return
	}
	*v = millisForm(ms)
}
