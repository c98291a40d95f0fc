package egress_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/egress"
)

func parse(t testing.TB, entries ...string) *egress.Policy {
	t.Helper()
	p, err := egress.Parse(entries, false)
	require.NoError(t, err)
	return p
}

func parseURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

func TestEntriesThatAreWrong(t *testing.T) {
	for entry, says := range map[string]string{
		"":                    "no host",
		":443":                "no host",
		"https://example.com": "not a URL",
		"example.com:":        "port",
		"example.com:0":       "port",
		"example.com:65536":   "port",
		"example.com:https":   "port",
		"example.com:+1":      "port",
		"*":                   "whole labels",
		"*:443":               "whole labels",
		"a.*.example.com":     "whole labels",
		"*example.com":        "whole labels",
		"*.*.example.com":     "whole labels",
		"*.":                  "empty label",
		".example.com":        "empty label",
		"example.com.":        "empty label",
		"exa mple.com":        "characters",
		"example.com/path":    "prefix",
		"bücher.example":      "punycode",
		"10.0.0.1/8":          "10.0.0.0/8, or 10.0.0.1/32",
		"10.0.0.0/33":         "prefix",
		"::ffff:10.0.0.0/104": "IPv4 prefix",
		"fe80::1%eth0":        "fe80::1",
		"10.1":                "number",
		"010.0.0.1":           "number",
		"2130706433":          "number",
		"0x7f000001":          "number",
		"[127.0.0.1]:80":      "IPv6",
		"[::1":                "IPv6",
		"[::1]443":            "port",
		"[::1]:":              "port",
		"[fd00::/8]x":         "port",
		"-a.example":          "hyphen",
	} {
		_, err := egress.Parse([]string{"10.0.0.0/8", entry}, false)
		require.ErrorContains(t, err, says, entry)
		if strings.Trim(entry, "abcdefghijklmnopqrstuvwxyz.:") == "" {
			require.ErrorContains(t, err, `"`+entry+`"`)
		}
	}
}

func TestEntriesOpen(t *testing.T) {
	for _, c := range []struct {
		entry string
		url   string
		open  bool
	}{
		{"10.0.0.0/8", "https://10.1.2.3/", true},
		{"10.0.0.0/8", "https://10.1.2.3:8443/", true},
		{"10.0.0.0/8", "https://[::ffff:10.1.2.3]/", true},
		{"10.0.0.0/8", "https://11.1.2.3:8443/", false},
		{"10.0.0.0/8", "https://127.0.0.1/", false},
		{"10.0.0.0/8", "http://10.1.2.3/", false},
		{"10.0.0.0/8:8443", "https://10.1.2.3:8443/", true},
		{"10.0.0.0/8:8443", "https://10.1.2.3/", false},
		{"::ffff:10.0.0.1", "https://10.0.0.1/", true},
		{"127.0.0.1", "http://127.0.0.1:9000/", true},
		{"127.0.0.1", "http://127.0.0.1/", true},
		{"127.0.0.1", "https://127.0.0.1:9000/", true},
		{"127.0.0.1", "http://127.0.0.2:9000/", false},
		{"127.0.0.1:9000", "http://127.0.0.1:9000/", true},
		{"127.0.0.1:9000", "http://127.0.0.1:9001/", false},
		{"127.0.0.1:9000", "http://0x7f.1:9000/", false},
		{"127.0.0.1:9000", "http://2130706433:9000/", false},
		{"::1", "http://[::1]:9000/", true},
		{"[::1]", "http://[::1]:9000/", true},
		{"[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000/", true},
		{"[::1]:9000", "http://[::1]:9001/", false},
		{"fd00::/8", "https://[fd00::1]/", true},
		{"[fd00::/8]:8443", "https://[fd00::1]:8443/", true},
		{"[fd00::/8]:8443", "https://[fd00::1]/", false},
		{"93.184.215.14:8443", "https://93.184.215.14:8443/", true},
		{"0.0.0.0/0", "https://169.254.169.254/", true},
		{"localhost", "http://localhost:9000/", true},
		{"localhost:9000", "http://LOCALHOST:9000/", true},
		{"localhost:9000", "http://localhost:9001/", false},
		{"localhost", "http://a.localhost/", false},
		{"idp.corp.internal", "https://idp.corp.internal/", true},
		{"idp.corp.internal", "https://IDP.corp.internal:8443/", true},
		{"idp.corp.internal", "http://idp.corp.internal/", false},
		{"idp.corp.internal", "https://x.idp.corp.internal/", false},
		{"IDP.Corp.Internal:8443", "https://idp.corp.internal:8443/", true},
		{"idp.corp.internal:8443", "https://idp.corp.internal/", false},
		{"*.corp.internal", "https://a.b.corp.internal:1/", true},
		{"*.corp.internal", "https://corp.internal/", false},
		{"*.corp.internal", "https://acorp.internal/", false},
		{"*.corp.internal:8443", "https://a.corp.internal:8443/", true},
		{"*.corp.internal:8443", "https://a.corp.internal/", false},
		{"idp", "https://idp/", true},
		{"xn--bcher-kva.lan", "https://xn--bcher-kva.lan/", true},
		// Whether these names have the open addresses shows when they are dialled.
		{"10.0.0.0/8", "https://idp.corp.internal:8443/", true},
		{"10.0.0.0/8:8443", "https://idp.corp.internal:8443/", true},
		{"10.0.0.0/8:8443", "https://idp.corp.internal/", false},
		{"127.0.0.1:9000", "http://localhost:9000/", true},
		{"127.0.0.1:9000", "http://example.com:9000/", false},
		{"127.0.0.1:9000", "https://example.com:9000/", true},
	} {
		err := parse(t, c.entry).CheckURL(parseURL(t, c.url))
		require.Equal(t, c.open, err == nil, "%s with %s: %v", c.url, c.entry, err)
		require.Error(t, parse(t).CheckURL(parseURL(t, c.url)), "%s without an entry", c.url)
	}
}

func TestErrorSaysHowToOpen(t *testing.T) {
	for raw, entry := range map[string]string{
		"https://10.0.0.1/p":                         "10.0.0.1",
		"https://10.0.0.1:8443/p":                    "10.0.0.1:8443",
		"https://[::1]/p":                            "::1",
		"https://[fd00::1]:8443/p":                   "[fd00::1]:8443",
		"http://127.0.0.1/p":                         "127.0.0.1:80",
		"http://localhost:9000/p":                    "localhost:9000",
		"https://Idp.corp.internal/p":                "idp.corp.internal",
		"https://example.com:8443/p":                 "example.com:8443",
		"http://example.com/p":                       "",
		"https://u:swordfish@10.0.0.1/p":             "",
		"https://2130706433/p":                       "",
		"https://[fe80::1%25eth0]/p":                 "",
		"https://example.com./p":                     "",
		"https://10.0.0.1/p?token=swordfish":         "10.0.0.1",
		"https://10.0.0.1/swordfish#swordfish":       "10.0.0.1",
		"https://" + strings.Repeat("a.", 300) + "b": "",
	} {
		u := parseURL(t, raw)
		err := parse(t).CheckURL(u)
		var refused *egress.Error
		require.ErrorAs(t, err, &refused, raw)
		require.Equal(t, entry, refused.Entry, raw)
		require.NotContains(t, err.Error(), "swordfish")
		require.NotContains(t, err.Error(), "/p")
		require.LessOrEqual(t, len(err.Error()), 600)
		if entry != "" {
			require.ErrorContains(t, err, "Config.Egress")
			require.NoError(t, parse(t, entry).CheckURL(u), "what the error advises must help")
		}
	}
}
