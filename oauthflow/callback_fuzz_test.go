package oauthflow

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// shown fails unless text may stand on a page: printable and capped.
func shown(t *testing.T, text string, limit int) {
	t.Helper()
	if utf8.RuneCountInString(text) > limit || !utf8.ValidString(text) {
		t.Errorf("%q is longer than %d or no text", text, limit)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q has characters that must not be shown", text)
	}
}

func FuzzParseCallback(f *testing.F) {
	state := strings.Repeat("s", stateSize)
	f.Add("code=abc&state=" + state)
	f.Add("error=access_denied&error_description=no%0d%0a%e2%80%ae&state=" + state)
	f.Add("code=a&code=b&state=" + state)
	f.Add("state=" + state + "&iss=https%3A%2F%2Fas&code=%00")
	f.Add(";&=%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseCallback(raw)
		if err != nil {
			shown(t, err.Error(), 200)
			return
		}
		if len(q.state) != stateSize || q.code == "" && q.errorCode == "" {
			t.Errorf("%q was accepted as %+v", raw, q)
		}
		values, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("%q was accepted and is no query", raw)
		}
		for _, name := range []string{"state", "code", "iss", "error"} {
			if len(values[name]) > 1 {
				t.Errorf("%q has %s twice", raw, name)
			}
		}
		shown(t, q.errorCode, maxCode)
		shown(t, q.errorText, maxDescription)
		if strings.Contains(q.errorText, q.state) {
			t.Errorf("%q shows the state", raw)
		}
	})
}

func FuzzAccount(f *testing.F) {
	f.Add([]byte(`{"sub":"1","name":"Alice"}`))
	f.Add([]byte(`{"oid":7,"sub":"\u202e","email":["a"]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, token := range []string{
			"h." + base64.RawURLEncoding.EncodeToString(payload) + ".s", string(payload),
		} {
			raw, err := json.Marshal(token)
			if err != nil {
				t.Skip()
			}
			id, name := account(map[string]json.RawMessage{"id_token": raw})
			shown(t, id, maxAccount)
			shown(t, name, maxAccount)
		}
	})
}
