package httpadapter_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rule of return_to, case by case, through the front door.
func TestReturnTo(t *testing.T) {
	s := newSite(t, func(c *siteConfig) {
		c.adapter.ReturnOrigins = []string{"https://front.example.com", "http://localhost:3000"}
	})
	good := map[string]string{ // return_to → Location
		"/":                             base + "/",
		"/settings":                     base + "/settings",
		"/settings?tab=2":               base + "/settings?tab=2",
		"/a/b/c#top":                    base + "/a/b/c#top",
		"/~user/.well-known/_x":         base + "/~user/.well-known/_x",
		"/.":                            base + "/.",
		"/-":                            base + "/-",
		`/a?next=//x\y`:                 base + `/a?next=//x\y`,
		"/a?u=https://evil.com":         base + "/a?u=https://evil.com",
		"/a:80@evil.com":                base + "/a:80@evil.com",
		"/x/../evil.com":                base + "/x/../evil.com", // the same origin, whatever it is resolved to
		"/a%2f%2fevil.com":              base + "/a%2f%2fevil.com",
		"/" + strings.Repeat("a", 2047): base + "/" + strings.Repeat("a", 2047),
		"https://front.example.com":     "https://front.example.com",
		"https://front.example.com/":    "https://front.example.com/",
		"https://front.example.com/a?b": "https://front.example.com/a?b",
		"http://localhost:3000/done":    "http://localhost:3000/done",
	}
	for returnTo, location := range good {
		b := s.as(alice)
		w := b.get(b.consent(b.start("/oauth/connect/Graph", bodyWith(t, returnTo))))
		require.Equal(t, http.StatusSeeOther, w.Code, "%q: %s", returnTo, w.Body)
		require.Equal(t, location, w.Header().Get("Location"), "%q", returnTo)
	}
	for _, returnTo := range badReturnTos {
		b := s.as(alice)
		for _, send := range []func() (int, string){
			func() (int, string) {
				w := b.post("/oauth/connect/Graph", bodyWith(t, returnTo))
				return w.Code, w.Body.String()
			},
			func() (int, string) {
				w := b.post("/oauth/connect/Graph?return_to="+url.QueryEscape(returnTo), "", header("Accept", "application/json"))
				return w.Code, w.Body.String()
			},
			func() (int, string) {
				w := b.post("/oauth/connect/Graph", url.Values{"return_to": {returnTo}}.Encode(), asPage)
				return w.Code, w.Body.String()
			},
			func() (int, string) {
				w := b.get("/oauth/connect/Graph?return_to=" + url.QueryEscape(returnTo))
				return w.Code, w.Body.String()
			},
		} {
			status, body := send()
			require.Equal(t, http.StatusUnprocessableEntity, status, "%q: %s", returnTo, body)
			require.Contains(t, body, "return_to", "%q", returnTo)
			if len(returnTo) > 3 {
				require.NotContains(t, body, returnTo, "a refused address is not repeated")
			}
		}
		require.Empty(t, b.cookies)
	}
	w := s.as(alice).post("/oauth/connect/Graph?return_to=/a", bodyWith(t, "/b"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code, "said twice, differently")
}

var badReturnTos = []string{
	"//evil", "//evil.com/x", `/\evil.com`, `/\/evil.com`, `/./\evil.com`, `/x/../\evil.com`, `\\evil.com`, `\evil.com`, `/x\y`,
	"///evil.com", "/a//b", "/.//evil.com", "/..//evil.com", "/a#//b", "/?x", "/#x", "/%09/evil.com", "/%2fevil.com", "/@evil.com", "/:80",
	"/\tevil.com", "/\t/evil.com", "\t//evil.com", "/a\tb", "/a\nb", "/a\r\nSet-Cookie: x=y", "/a b", "/ /evil.com", " /a", "/a\x00", "/\x00/evil.com",
	"/a?x=1\n2", "/a? b", "/a\x7f", "/\u2215evil.com", "/a\u2044\u2044evil.com", "/\uff0fevil.com", "/é", "/a?é",
	"https://evil.com", "https:evil.com", "https:/evil.com", "HTTPS://APP.EXAMPLE.COM/", base, base + "/", base + "@evil.com/",
	"http://app.example.com/", "javascript:alert(1)", "data:text/html,x", "mailto:a@b", "ftp://x", "evil.com", "evil.com/x", "a", "?x", "#x", ".", "..", "./a",
	"https://front.example.com.evil.com/", "https://front.example.com@evil.com/", "https://front.example.com:444/", "https://front.example.com//x",
	`https://front.example.com\x`, "https://front.example.com?x", "http://front.example.com/", "https://FRONT.example.com/", "https://front.example.comevil/",
	"/" + strings.Repeat("a", 2048), "https://front.example.com/" + strings.Repeat("a", 2048),
}

func bodyWith(t *testing.T, returnTo string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"return_to": returnTo})
	require.NoError(t, err)
	return string(body)
}
