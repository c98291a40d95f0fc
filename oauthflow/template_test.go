package oauthflow_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// kinds declares variables: name, kind, name, kind … (or a whole Variable)
func kinds(pairs ...any) map[string]oauthflow.Variable {
	declared := map[string]oauthflow.Variable{}
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case oauthflow.Variable:
			declared[name] = v
		case oauthflow.VariableKind:
			declared[name] = oauthflow.Variable{Kind: v}
		case string:
			declared[name] = oauthflow.Variable{Kind: oauthflow.VariableKind(v)}
		}
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
	strings.Repeat("a", 256), "169.254.169.254", "[::1]", "127.0.0.1:80", "evil.com:443", "evil.com\\", "evil.com%2f", "evil.com\x00.example.com",
}

// addresses are ways to say that no name is meant, and names that lead inside.
var addresses = []string{
	"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "017700000001", "0177.0.0.1", "127.0.0.0x1", "1.2.3.4.5", "a.1", "a.0x1", "a.1b",
	"::1", "[::1]", "::ffff:127.0.0.1", "fe80::1%25en0", "169.254.169.254", "10.0.0.1", "１２７.0.0.1",
	"localhost", "localhost.", "com", "evil.com.", ".evil.com", "evil..com", "-evil.com", "evil-.com", "e_vil.com", "evil.c", "evil.-com", "*.com", "*.example.com",
	"a.localhost", "db.internal", "printer.local", "router.home.arpa", "10.in-addr.arpa", "x.test", "x.invalid", "x.example", "x.onion", "nas.lan", "fritz.home", "x.corp", "host.localdomain",
	"x.LOCALHOST", "metadata.google.Internal", "\u212alm.example.com", "evil.ｃom", "evil。com", strings.Repeat("a.", 126) + "com", strings.Repeat("a", 64) + ".example.com",
}

// segmentsToo are of the hostile values those that are good in a path.
var segmentsToo = []string{"169.254.169.254"}

func without(list []string, others ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(others, s) })
}

func TestHostileValuesAreRefused(t *testing.T) {
	// Dots are good in a path (contoso.onmicrosoft.com) and a way out in a host.
	label := append([]string{"evil.com", "-a", "a-", "-", "a_b", "a~b", "a.b", strings.Repeat("a", 64)}, hostile...)
	hostile := without(hostile, segmentsToo...)
	host := slices.Concat(hostile, addresses)
	listed := oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"api.example.com", "*.shops.example.com"}}
	foreign := []string{
		"evil.com", "example.com", "shops.example.com", "xshops.example.com", "api.example.com.evil.com", "x.api.example.com", "api.example.comx", "xapi.example.com",
		"-.shops.example.com", ".shops.example.com", "a..shops.example.com", "api.example.com.", "api.example.com:443", "api.example.com/", "api.example.com@evil.com", "evil.com/.shops.example.com",
		"evil.com#.shops.example.com", "evil.com?.shops.example.com", "evil.com\\.shops.example.com", "*.shops.example.com",
	}
	for name, tt := range map[string]struct {
		template string
		kind     any // VariableKind or Variable; empty: entity_id as it is
		values   []string
	}{
		"a listed host":           {"https://{v}/token", listed, slices.Concat(host, foreign)},
		"a listed host with port": {"https://{v}:8443/a?b=c", listed, slices.Concat(host, foreign)},
		"any host":                {"https://{v}/token", oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}, host},
		"a host without a list":   {"https://{v}/token", oauthflow.Host, slices.Concat(host, foreign)},
		"a host with a bad list": {"https://{v}/token", oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"", "*", "*.", "*.com", "*com", "127.0.0.1", "localhost", "https://evil.com", "evil.com:443", "ev*l.com", "*.*.evil.com"}},
			slices.Concat(host, foreign, []string{"ev1l.com", "a.b.evil.com"})},
		"entity id in the host":  {"https://{entity_id}.example.com/", nil, label},
		"entity id in the path":  {"https://example.com/a/{entity_id}/b", nil, hostile},
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
			if tt.kind != nil {
				variable, declared = "v", kinds("v", tt.kind)
			}
			for _, value := range tt.values {
				got, err := oauthflow.Expand(tt.template, declared, map[string]string{variable: value})
				if !assert.Error(t, err, "%q became %q", value, got) {
					continue
				}
				assert.Empty(t, got)
				if len(value) > 3 && value != "{entity_id}" {
					text, _, _ := strings.Cut(err.Error(), ", and one of ") // the allow-list is the definition's
					assert.NotContains(t, text, value, "the value is a stranger's text")
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

func TestHosts(t *testing.T) {
	listed := oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"API.example.com", "*.shops.example.com", "*.internal", "db.corp", "*.co.uk"}}
	for _, tt := range []struct {
		v           oauthflow.Variable
		value, want string
	}{
		{listed, "api.example.com", "https://api.example.com/a/token"},
		{listed, "Api.Example.COM", "https://api.example.com/a/token"},
		{listed, "a.shops.example.com", "https://a.shops.example.com/a/token"},
		{listed, "a.b.SHOPS.example.com", "https://a.b.shops.example.com/a/token"},
		{listed, "db.internal", "https://db.internal/a/token"}, // whoever writes the list may mean his own network
		{listed, "db.corp", "https://db.corp/a/token"},
		{oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}, "My-Instance.salesforce.com", "https://my-instance.salesforce.com/a/token"},
		{oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}, "xn--bcher-kva.example.xn--p1ai", "https://xn--bcher-kva.example.xn--p1ai/a/token"},
	} {
		got, err := oauthflow.Expand("https://{v}/a/token", kinds("v", tt.v), map[string]string{"v": tt.value})
		require.NoError(t, err)
		assert.Equal(t, tt.want, got)
	}
	got, err := oauthflow.Expand("https://{v}:8443", kinds("v", listed), map[string]string{"v": "api.example.com"})
	require.NoError(t, err)
	assert.Equal(t, "https://api.example.com:8443", got)
	_, err = oauthflow.Expand("https://{v}/", kinds("v", listed), map[string]string{"v": "evil.com"})
	assert.EqualError(t, err, "oauthflow: the URL template cannot take this value of v: it must be a host name without a port, "+
		"and one of API.example.com, *.shops.example.com, *.internal, db.corp, *.co.uk")
}

func TestHostVariable(t *testing.T) {
	host := oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}
	for name, tt := range map[string]struct {
		change func(*oauthflow.Client)
		want   bool
	}{
		"none":       {func(*oauthflow.Client) {}, false},
		"label":      {func(c *oauthflow.Client) { c.TokenURL = "https://{entity_id}.example.com/" }, false},
		"declared":   {func(c *oauthflow.Client) { c.Variables = kinds("v", host) }, false},
		"in one URL": {func(c *oauthflow.Client) { c.Variables, c.RevocationURL = kinds("v", host), "https://{v}/r" }, true},
		"redeclared": {func(c *oauthflow.Client) {
			c.Variables, c.TokenURL = kinds("entity_id", host), "https://{entity_id}:1/r"
		}, true},
		"unreadable": {func(c *oauthflow.Client) { c.Variables, c.TokenURL = kinds("v", host), "https://x.{v}/r" }, true},
	} {
		c := wireClient("https://provider.example")
		tt.change(c)
		assert.Equal(t, tt.want, c.HostVariable(), name)
	}
}

func TestTemplateFaults(t *testing.T) {
	kinds := kinds("seg", oauthflow.Segment, "val", oauthflow.Value, "odd", "odd", "host", oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true})
	values := map[string]string{"entity_id": "x", "seg": "x", "val": "x", "odd": "x", "host": "www.example.com"}
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
		"https://example.com/{tenant}":        "contains {tenant}, which is not declared: the variables are entity_id, host, odd, seg, val",
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
		"https://x.{host}/":                   "beside other text in its host",
		"https://{host}.example.com/":         "beside other text in its host",
		"https://{host}{host}/":               "beside other text in its host",
		"https://{host}{entity_id}/":          "beside other text in its host",
		"https://{entity_id}.{host}/":         "beside other text in its host",
		"https://{host}:8443{entity_id}/":     "beside other text in its host",
		"https://{host}:x/":                   "is not a URL",
		"https://{host}:0/":                   "bad port",
		"https://{host}@evil.com/":            "has user information",
		"http://{host}/":                      "use https://",
		"https://example.com/{host}":          "has {host} in its path",
		"https://example.com/?a={host}":       "has {host} in its query",
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
		"https://{h}/a/token", "https://{h}:8443/a/{v}?b=c", "https://{l}/",
		"https://{entity_id}.example.com/a/{entity_id}/b?c={entity_id}&d=1",
		"https://login.example.com/{v}/token",
		"https://x-{v}.example.com:8443/",
		"https://example.com/?x={v}",
	}
	for _, value := range slices.Concat(hostile, addresses, []string{"common", "contoso.onmicrosoft.com", "api.example.com", "a.shops.example.com"}) {
		for _, template := range templates {
			f.Add(template, value, "segment")
			f.Add(template, value, "label")
		}
	}
	f.Fuzz(func(t *testing.T, template, value, kind string) {
		listed := oauthflow.Variable{Kind: oauthflow.Host, Hosts: []string{"api.example.com", "*.shops.example.com"}}
		declared := kinds("v", kind, "h", oauthflow.Variable{Kind: oauthflow.Host, AnyHost: true}, "l", listed)
		got, err := oauthflow.Expand(template, declared, map[string]string{"entity_id": value, "v": value, "h": value, "l": value})
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
		switch {
		case strings.HasPrefix(host, "{h}"):
			_, err := netip.ParseAddr(u.Hostname())
			require.Error(t, err, "%s is an address", got)
			require.Contains(t, strings.Trim(u.Hostname(), "."), ".")
			require.Equal(t, strings.ToLower(value)+suffix, u.Host)
		case strings.HasPrefix(host, "{l}"):
			require.True(t, u.Hostname() == "api.example.com" || strings.HasSuffix(u.Hostname(), ".shops.example.com"), "%s is not allowed", got)
		default:
			require.Equal(t, strings.Count(host, "."), strings.Count(u.Host, "."), "a label is one label")
		}
		path, _, _ = strings.Cut(path, "?")
		require.Equal(t, strings.Count(path, "/"), strings.Count(u.EscapedPath(), "/"), "a segment is one segment")
		prefix, _, _ := strings.Cut(path, "{")
		require.True(t, strings.HasPrefix(u.EscapedPath(), prefix), "%s lost %s", got, prefix)
	})
}
