package oauthflow_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// kinds declares variables: name, kind, name, kind …
func kinds(pairs ...any) map[string]oauthflow.Variable {
	declared := map[string]oauthflow.Variable{}
	for i := 0; i < len(pairs); i += 2 {
		kind, ok := pairs[i+1].(oauthflow.VariableKind)
		if !ok {
			kind = oauthflow.VariableKind(pairs[i+1].(string))
		}
		declared[pairs[i].(string)] = oauthflow.Variable{Kind: kind}
	}
	return declared
}

func TestExpand(t *testing.T) {
	kinds := kinds("shop", oauthflow.Label, "region", oauthflow.Segment, "q", oauthflow.Value)
	values := map[string]string{"entity_id": "Contoso-1", "shop": "my-shop", "region": "eu~1", "q": "a b&c=d#e/?é"}
	for template, want := range map[string]string{
		"https://login.example.com/token":                           "https://login.example.com/token",
		"https://login.example.com":                                 "https://login.example.com",
		"https://login.example.com/{entity_id}/oauth2/v2.0/token":   "https://login.example.com/Contoso-1/oauth2/v2.0/token",
		"https://{entity_id}.example.com/token":                     "https://contoso-1.example.com/token",
		"https://{shop}.example.com:8443/admin/{shop}?x={q}&y=1":    "https://my-shop.example.com:8443/admin/my-shop?x=a+b%26c%3Dd%23e%2F%3F%C3%A9&y=1",
		"https://api-{shop}.{entity_id}.example.com/v{region}/x":    "https://api-my-shop.contoso-1.example.com/veu~1/x",
		"https://example.com/a%20b/{region}{region}?p=a:{region}/x": "https://example.com/a%20b/eu~1eu~1?p=a:eu~1/x",
		"https://example.com?tenant={entity_id}":                    "https://example.com?tenant=Contoso-1",
		"https://{shop}.test/":                                      "https://my-shop.test/",
		"http://localhost:8080/{entity_id}":                         "http://localhost:8080/Contoso-1",
		"http://127.0.0.1:1/":                                       "http://127.0.0.1:1/",
		"http://[::1]:1/{entity_id}":                                "http://[::1]:1/Contoso-1",
	} {
		t.Run(template, func(t *testing.T) {
			got, err := oauthflow.Expand(template, kinds, values)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// hostile are values that would lead somewhere else, were they pasted in.
var hostile = []string{
	"evil.com/", "evil.com#", "evil.com?", "x@evil.com/", "x:y@evil.com", "169.254.169.254/", "[::1]/", "127.0.0.1:80#",
	"%2e%2e", "%2e", "%2f", "..", ".", "../", "a/../../b", "a/b", "/", "//evil.com", "?", "a?b", "#", ";", "a;b", "&", "a&b", "=", "\\", "a\\b", "\\\\evil.com",
	"\r\n", "a\r\nHost: evil.com", "a\nb", "\x00", "a\x00", "\t", " ", "a b", " a", "соntoso", "а", "ｅvil", "a\u3002b", "a。b", "∕", "a\u202eb", "a\u00adb", "\xff", "é",
	"{entity_id}", "{", "}", "{{", "%", "%00", "%zz", "+", "*", "'", "\"", "<b>", "`", "|", "^", "$", "!", ",", "(", ":", "a:80", "@",
	strings.Repeat("a", 256),
}

func TestHostileValuesAreRefused(t *testing.T) {
	// Dots are good in a path (contoso.onmicrosoft.com) and a way out in a host.
	label := append([]string{"evil.com", "169.254.169.254", "-a", "a-", "-", "a_b", "a~b", "a.b", strings.Repeat("a", 64)}, hostile...)
	for name, tt := range map[string]struct {
		template string
		kind     oauthflow.VariableKind // empty: entity_id as it is
		values   []string
	}{
		"entity id in the host":  {"https://{entity_id}.example.com/", "", label},
		"entity id in the path":  {"https://example.com/a/{entity_id}/b", "", hostile},
		"label in the host":      {"https://x-{v}.example.com/", oauthflow.Label, label},
		"label in the path":      {"https://example.com/{v}", oauthflow.Label, label},
		"label in the query":     {"https://example.com/?a={v}", oauthflow.Label, label},
		"segment in the path":    {"https://example.com/{v}/x", oauthflow.Segment, hostile},
		"segment in the query":   {"https://example.com/?x={v}", oauthflow.Segment, hostile},
		"dots beside dots":       {"https://example.com/.{v}/x", oauthflow.Segment, []string{"."}},
		"value with line breaks": {"https://example.com/?x={v}", oauthflow.Value, []string{"a\r\nb", "\x00", "a\tb", "\u0085", "\xff", strings.Repeat("a", 3000)}},
	} {
		t.Run(name, func(t *testing.T) {
			variable, declared := "entity_id", kinds()
			if tt.kind != "" {
				variable, declared = "v", kinds("v", tt.kind)
			}
			for _, value := range tt.values {
				got, err := oauthflow.Expand(tt.template, declared, map[string]string{variable: value})
				if !assert.Error(t, err, "%q became %q", value, got) {
					continue
				}
				assert.Empty(t, got)
				if len(value) > 3 && value != "{entity_id}" {
					assert.NotContains(t, err.Error(), value, "the value is a stranger's text")
				}
				if name != "dots beside dots" {
					var e *oauthflow.TemplateError
					require.ErrorAs(t, err, &e)
					assert.Equal(t, variable, e.Variable)
					assert.False(t, e.Missing)
				}
			}
		})
	}
}

// In a query value everything printable is data.
func TestValuesAreEncoded(t *testing.T) {
	for _, value := range hostile {
		got, err := oauthflow.Expand("https://example.com/a?x=1&y={entity_id}&z=2", nil, map[string]string{"entity_id": value})
		if err != nil {
			continue // control characters, not UTF-8: covered above
		}
		u, err := url.Parse(got)
		require.NoError(t, err)
		assert.Equal(t, "example.com", u.Host)
		assert.Equal(t, "/a", u.Path)
		assert.Empty(t, u.Fragment)
		assert.Equal(t, url.Values{"x": {"1"}, "y": {value}, "z": {"2"}}, u.Query())
	}
}

func TestTemplateFaults(t *testing.T) {
	kinds := kinds("seg", oauthflow.Segment, "val", oauthflow.Value, "odd", "odd")
	values := map[string]string{"entity_id": "x", "seg": "x", "val": "x", "odd": "x"}
	for template, want := range map[string]string{
		"":                                    "must begin with https://",
		"example.com/token":                   "must begin with https://",
		"/token":                              "must begin with https://",
		"//example.com/":                      "must begin with https://",
		"ftp://example.com/":                  "must begin with https://",
		"HTTPS://example.com/":                "must begin with https://",
		"javascript://example.com/":           "must begin with https://",
		"{entity_id}://example.com/":          "must begin with https://",
		"https://":                            "has no host",
		"https:///token":                      "has no host",
		"http://example.com/token":            "use https://",
		"http://10.0.0.1/":                    "use https://",
		"http://127.1/":                       "use https://",
		"http://localhost.example.com/":       "use https://",
		"http://x.localhost/":                 "use https://",
		"https://u:p@example.com/":            "has user information",
		"https://example.com/#x":              "has a fragment",
		"https://example.com/a b":             `contains " "`,
		"https://example.com\\@evil.com/":     `contains "\\"`,
		"https://example.com/\n":              `contains "\n"`,
		"https://exämple.com/":                "percent-encode",
		"https://example.com/%zz":             "is not a URL",
		"https://example.com/../token":        "has a . or ..",
		"https://example.com/%2e%2e/token":    "has a . or ..",
		"https://example.com:0/":              "bad port",
		"https://example.com:/":               "bad port",
		"https://example.com:99999/":          "bad port",
		"https://-example.com/":               "neither a name nor an address",
		"https://exa$mple.com/":               "neither a name nor an address",
		"https://a..b.com/":                   "neither a name nor an address",
		"https://[fe80::1%25en0]/":            "not the same URL",
		"https://[fe80::1::2]/":               "is not a URL",
		"https://example.com/{":               "has a {",
		"https://example.com/{}":              "has a {",
		"https://example.com/{a b}":           `contains " "`,
		"https://example.com/{a-b}":           "has a {",
		"https://example.com/}":               "has a }",
		"https://example.com/{tenant}":        "contains {tenant}, which is not declared: the variables are entity_id, odd, seg, val",
		"https://{seg}.example.com/":          "has {seg} in its host",
		"https://{val}.example.com/":          "has {val} in its host",
		"https://example.com/{val}":           "has {val} in its path",
		"https://example.com/{odd}":           "has {odd} in its path",
		"https://example.com/?{val}=1":        "parameter's name",
		"https://example.com/?a=1&{val}":      "parameter's name",
		"https://{entity_id}/":                "without a fixed domain",
		"https://{entity_id}:443/":            "without a fixed domain",
		"https://{entity_id}.com/":            "without a fixed domain",
		"https://x.{entity_id}/":              "without a fixed domain",
		"https://login{entity_id}x/":          "without a fixed domain",
		"https://{entity_id}{entity_id}.a.b/": "side by side",
		"https://example.com:{entity_id}/":    "in a port",
		"https://[::{entity_id}]/":            "in a port or an address",
	} {
		t.Run(template, func(t *testing.T) {
			got, err := oauthflow.Expand(template, kinds, values)
			require.ErrorContains(t, err, want)
			assert.Empty(t, got)
		})
	}
}

func TestMissingValues(t *testing.T) {
	_, err := oauthflow.Expand("https://example.com/{entity_id}/token", nil, nil)
	assert.EqualError(t, err, "oauthflow: the URL template contains {entity_id}, but there is no entity id: set Definition.DefaultEntityID")

	_, err = oauthflow.Expand("https://example.com/{region}", kinds("region", oauthflow.Segment), nil)
	var e *oauthflow.TemplateError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "region", e.Variable)
	assert.True(t, e.Missing)
	assert.ErrorContains(t, err, "{region}, but it has no value: set the config value region")
}

func FuzzExpand(f *testing.F) {
	templates := []string{
		"https://{entity_id}.example.com/a/{entity_id}/b?c={entity_id}&d=1",
		"https://login.example.com/{v}/token",
		"https://x-{v}.example.com:8443/",
		"https://example.com/?x={v}",
	}
	for _, value := range append(hostile, "common", "contoso.onmicrosoft.com") {
		for _, template := range templates {
			f.Add(template, value, "segment")
			f.Add(template, value, "label")
		}
	}
	f.Fuzz(func(t *testing.T, template, value, kind string) {
		got, err := oauthflow.Expand(template, kinds("v", oauthflow.VariableKind(kind)),
			map[string]string{"entity_id": value, "v": value})
		if err != nil {
			require.Empty(t, got)
			return
		}
		u, err := url.Parse(got)
		require.NoError(t, err)
		require.Nil(t, u.User)
		require.Empty(t, u.Opaque)
		require.NotContains(t, got, "#")
		require.NotContains(t, got, "{")
		require.Equal(t, got, u.String())
		for _, segment := range strings.Split(u.Path, "/") {
			require.NotContains(t, []string{".", ".."}, segment)
		}

		// What the template fixes stays fixed.
		scheme, rest, _ := strings.Cut(template, "://")
		require.Equal(t, scheme, u.Scheme)
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		host, path := rest[:end], rest[end:]
		suffix := host[strings.LastIndex(host, "}")+1:]
		require.True(t, strings.HasSuffix(u.Host, suffix), "%s lost %s", got, suffix)
		require.Equal(t, strings.Count(host, "."), strings.Count(u.Host, "."), "a label is one label")
		path, _, _ = strings.Cut(path, "?")
		require.Equal(t, strings.Count(path, "/"), strings.Count(u.EscapedPath(), "/"), "a segment is one segment")
		prefix, _, _ := strings.Cut(path, "{")
		require.True(t, strings.HasPrefix(u.EscapedPath(), prefix), "%s lost %s", got, prefix)
	})
}
