package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/redact"
)

// Secrets with everything that some encoding changes.
var secrets = []string{
	"eyJhbGciOi.plain-token_~123",
	"a+b/c==?d&e f<g>\"h\\i'j(k)!*%~",
	"line one\nline two\ttab\u00e9\u2028\x7f",
	"sixsix",
	"\u6f22\u5b57\u6f22\u5b57",
}

func encodings(secret string) map[string]string {
	marshalled, _ := json.Marshal(secret)
	twice, _ := json.Marshal(string(marshalled))
	std := base64.StdEncoding.EncodeToString([]byte(secret))
	m := map[string]string{
		"raw":             secret,
		"JSON":            string(marshalled),
		"JSON in JSON":    string(twice),
		"JSON, \\/":       strings.ReplaceAll(string(marshalled), "/", `\/`),
		"ASCII JSON":      strings.ReplaceAll(strings.Trim(fmt.Sprintf("%+q", secret), `"`), `\x7f`, `\u007f`),
		"Go %q":           fmt.Sprintf("%q", secret),
		"query":           url.QueryEscape(secret),
		"query, lower":    "x=" + lower(url.QueryEscape(secret)),
		"path":            url.PathEscape(secret),
		"path, lower":     lower(url.PathEscape(secret)),
		"query, %20":      strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"),
		"base64":          std,
		"base64 raw":      base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 url":      base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 url raw":  base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"base64 in query": url.QueryEscape(std),
		"hex":             hex.EncodeToString([]byte(secret)),
		"HEX":             fmt.Sprintf("%X", secret),
	}
	return m
}

func lower(escaped string) string {
	for i := range 256 {
		upper := fmt.Sprintf("%%%02X", i)
		escaped = strings.ReplaceAll(escaped, upper, strings.ToLower(upper))
	}
	return escaped
}

func TestStringFindsEveryEncoding(t *testing.T) {
	for _, secret := range secrets {
		var set redact.Set
		set.Add(secret)
		for name, encoded := range encodings(secret) {
			t.Run(name, func(t *testing.T) {
				got := set.String("before " + encoded + " after")
				assert.NotContains(t, got, strings.Trim(encoded, `"`))
				assert.Contains(t, got, redact.Mark)
				assert.True(t, strings.HasPrefix(got, "before ") && strings.HasSuffix(got, " after"), got)
			})
		}
	}
}

func TestStringFindsBase64InsideLongerTexts(t *testing.T) {
	for _, secret := range secrets {
		var set redact.Set
		set.Add(secret)
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			for before := range 7 {
				for after := range 4 {
					whole := strings.Repeat("u", before) + secret + strings.Repeat("v", after)
					got := set.String("Basic " + enc.EncodeToString([]byte(whole)))
					require.Contains(t, got, redact.Mark, "before %d, after %d", before, after)
					// What stays are the neighbours and six bits at either end.
					rest := strings.TrimPrefix(strings.Replace(got, redact.Mark, "", 1), "Basic ")
					require.LessOrEqual(t, len(rest), (before*4+2)/3+(after*4+2)/3+5, got)
				}
			}
		}
	}
}

func TestString(t *testing.T) {
	tests := []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"nothing known", nil, "a text", "a text"},
		{"empty secret", []string{""}, "a text", "a text"},
		{"empty text", []string{"secret-1"}, "", ""},
		{"several times", []string{"secret-1"}, "secret-1,secret-1", "[REDACTED],[REDACTED]"},
		{"neighbours are one", []string{"secret-1"}, "secret-1secret-1", "[REDACTED]"},
		{"overlapping secrets leave no rest", []string{"secret-one", "one-more-secret"}, "x secret-one-more-secret y", "x [REDACTED] y"},
		{"overlapping itself", []string{"ababab"}, "xabababab", "x[REDACTED]"},
		{"one inside the other", []string{"secret", "my-secret-key"}, "my-secret-key secret", "[REDACTED] [REDACTED]"},
		{"trimmed", []string{" secret-1\n"}, "is secret-1.", "is [REDACTED]."},
		{"short: a word", []string{"12345"}, "pin 12345, id 9123456", "pin [REDACTED], id 9123456"},
		{"short: part of a word", []string{"key"}, "monkey keys key_1 (key) \u00e9key", "monkey keys key_1 ([REDACTED]) \u00e9key"},
		{"short: base64 of it", []string{"pass1"}, "b64:cGFzczE=", "b64:[REDACTED]"},
		{"too short", []string{"ab"}, "ab", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var set redact.Set
			for _, s := range tt.secrets {
				set.Add(s)
				set.Add(s)
			}
			assert.Equal(t, tt.want, set.String(tt.text))
			assert.Equal(t, tt.want != tt.text, set.Contains(tt.text))
		})
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		name, secret, doc, want string
	}{
		{"untouched byte for byte", "secret-1", `{ "b":1.50, "a":["\u0041"] }`, `{ "b":1.50, "a":["\u0041"] }`},
		{"value and name", "secret-1", `{"x secret-1":"y secret-1 <z>"}`, `{"x [REDACTED]":"y [REDACTED] <z>"}`},
		{"escaped in an unusual way", "secret/1", `["\u0073ecret\/1"]`, `["[REDACTED]"]`},
		{"quotes and backslashes around", "secret-1", `["\\\"secret-1\"\\"]`, `["\\\"[REDACTED]\"\\"]`},
		{"JSON in a string", `se"cret/1`, `{"body":"{\"t\":\"se\\\"cret\\/1\"}"}`, `{"body":"{\"t\":\"[REDACTED]\"}"}`},
		{"number", "1234567", `{"a":1234567,"b":-1234567.5e1,"c":123456}`, `{"a":"[REDACTED]","b":"[REDACTED]","c":123456}`},
		{"short number", "123", `{"a":123,"b":1234,"c":true}`, `{"a":"[REDACTED]","b":1234,"c":true}`},
		{"spans values", `{"type":"key","id":7}`, `{"file":{"type":"key","id":7}}`, `"[REDACTED]"`},
		{"scalar", "secret-1", `"secret-1"`, `"[REDACTED]"`},
		{"literals stay", "false", `[true,false,null]`, `[true,false,null]`},
		{"not JSON", "secret-1", `"secret-1`, `"[REDACTED]"`},
		{"nothing", "secret-1", ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var set redact.Set
			assert.Equal(t, tt.doc, string(set.JSON(json.RawMessage(tt.doc))), "an empty set changes nothing")
			set.Add(tt.secret)
			assert.Equal(t, tt.want, string(set.JSON(json.RawMessage(tt.doc))))
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	var set redact.Set
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				secret := fmt.Sprintf("secret-%d-%d", i, j)
				set.Add(secret)
				assert.Equal(t, redact.Mark, set.String(secret))
			}
		})
	}
	wg.Wait()
}

func FuzzJSON(f *testing.F) {
	f.Add("secret-1", `{"a":"secret-1","b":[1,2.5e3,"\u0073ecret-1"]}`)
	f.Add("1234567", `[1234567]`)
	f.Add("\",\"", `["a","b"]`)
	f.Fuzz(func(t *testing.T, secret, doc string) {
		if !json.Valid([]byte(doc)) || len(secret) < 6 || strings.Contains(redact.Mark, secret) {
			t.Skip()
		}
		var set redact.Set
		set.Add(secret)
		got := set.JSON(json.RawMessage(doc))
		if !json.Valid(got) {
			t.Fatalf("%q is not JSON", got)
		}
		if strings.Contains(string(got), secret) && !strings.Contains(`"`+redact.Mark+`"`, secret) {
			t.Fatalf("%q still holds %q", got, secret)
		}
	})
}
