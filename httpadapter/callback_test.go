package httpadapter_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Wrong callbacks: refused with a page, without a token request, and the flow they
// were aimed at can still be finished by its owner.
func TestCallbackAttacks(t *testing.T) {
	type attack struct {
		name   string
		status int
		// send delivers the attack; callback is what the owner would open.
		send func(b *browser, callback string) *httptest.ResponseRecorder
	}
	change := func(callback, name string, values ...string) string {
		path, query, _ := strings.Cut(callback, "?")
		q, _ := url.ParseQuery(query)
		q[name] = values
		return path + "?" + q.Encode()
	}
	flip := func(callback string) string {
		_, query, _ := strings.Cut(callback, "?")
		q, _ := url.ParseQuery(query)
		state := []byte(q.Get("state"))
		state[7] ^= 1
		return change(callback, "state", string(state))
	}
	get := func(path string) func(*browser, string) *httptest.ResponseRecorder {
		return func(b *browser, _ string) *httptest.ResponseRecorder { return b.get(path) }
	}
	edited := func(name string, values ...string) func(*browser, string) *httptest.ResponseRecorder {
		return func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(change(callback, name, values...))
		}
	}
	attacks := []attack{
		{"no state", 400, edited("state")},
		{"empty state", 400, edited("state", "")},
		{"unknown state", 400, edited("state", strings.Repeat("A", 43))},
		{"one bit flipped", 400, func(b *browser, callback string) *httptest.ResponseRecorder { return b.get(flip(callback)) }},
		{"10 kB of state", 400, edited("state", strings.Repeat("A", 10<<10))},
		{"state and a NUL", 400, edited("state", "\x00")},
		{"nothing at all", 400, get("/oauth/callback/Graph")},
		{"malformed query", 400, get("/oauth/callback/Graph?%zz;")},
		{"no code", 400, edited("code")},
		{"code twice", 400, func(b *browser, callback string) *httptest.ResponseRecorder { return b.get(callback + "&code=x") }},
		{"state twice", 400, func(b *browser, callback string) *httptest.ResponseRecorder { return b.get(callback + "&state=x") }},
		{"iss twice", 400, edited("iss", "a", "b")},
		{"error beside the code, state wrong", 400, get("/oauth/callback/Graph?state=wrong&error=access_denied")},
		{"another browser", 400, func(b *browser, callback string) *httptest.ResponseRecorder { return b.as(alice).get(callback) }},
		{"another browser with a cookie of its own", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			other := b.as(alice)
			for name := range b.cookies {
				other.cookies[name] = strings.Repeat("A", 43)
			}
			return other.get(callback)
		}},
		{"a planted second cookie", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, func(r *http.Request) {
				for name := range b.cookies {
					r.AddCookie(&http.Cookie{Name: name, Value: "planted"})
				}
			})
		}},
		{"another user, same browser", 403, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, header("X-Who", bob))
		}},
		{"the same user, moved to another org", 403, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, header("X-Who", "alice globex member"))
		}},
		{"the same user, without a role", 403, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, header("X-Who", "alice acme none"))
		}},
		{"nobody signed in", 401, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, func(r *http.Request) { r.Header.Del("X-Who") })
		}},
		{"hook fails", 503, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, header("X-Who", "fault"))
		}},
		{"another integration's path", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(strings.Replace(callback, "Graph", "Drive", 1))
		}},
		{"an org-owned integration's path", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(strings.Replace(callback, "Graph", warehouse().ID(), 1))
		}},
		{"no integration's path", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(strings.Replace(callback, "Graph", "Nope", 1))
		}},
		{"an org-owned integration's name", 400, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(strings.Replace(callback, "Graph", "Warehouse", 1))
		}},
		{"HEAD", 405, func(b *browser, callback string) *httptest.ResponseRecorder { return b.send("HEAD", callback, "") }},
		{"POST", 405, func(b *browser, callback string) *httptest.ResponseRecorder { return b.post(callback, "") }},
		{"prefetch", 503, func(b *browser, callback string) *httptest.ResponseRecorder {
			return b.get(callback, header("Sec-Purpose", "prefetch;prerender"))
		}},
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			s := newSite(t)
			b := s.as(alice)
			callback := b.consent(b.start("/oauth/connect/Graph", `{"return_to":"/done"}`))
			code := queryOf(t, callback).Get("code")

			w := a.send(b, callback)
			require.Equal(t, a.status, w.Code, w.Body)
			require.Zero(t, s.tokenRequests(), "not one byte to the provider")
			require.NotContains(t, w.Body.String(), code)
			require.NotContains(t, w.Body.String(), queryOf(t, callback).Get("state"))
			require.Empty(t, w.Header().Get("Location"))
			if a.status != http.StatusMethodNotAllowed {
				checkAnswer(t, w, "/oauth/")
			}

			w = b.get(callback)
			require.Equal(t, http.StatusSeeOther, w.Code, "the flow is alive: %s", w.Body)
			require.Equal(t, base+"/done", w.Header().Get("Location"))
			require.Equal(t, 1, s.tokenRequests())
			require.Equal(t, "own", object(t, s.as(alice).get("/api/integrations/Graph"))["connection"])
			require.Equal(t, "none", object(t, s.as(gina).get("/api/integrations/Graph"))["connection"])
		})
	}
}

// What ends a flow ends it for good.
func TestCallbackOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  int
		finish func(s *site, b *browser, authorizationURL string) string // the callback
	}{
		{"after success", 303, func(_ *site, b *browser, u string) string { return b.consent(u) }},
		{"after a denial", 400, func(_ *site, b *browser, u string) string { return b.deny(u) }},
		{"after a failed exchange", 400, func(s *site, b *browser, u string) string {
			s.provider.Script(oauthtest.Token, oauthtest.Fail(http.StatusBadRequest, "invalid_grant", "the code is canary"))
			return b.consent(u)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			b := s.as(alice)
			callback := test.finish(s, b, b.start("/oauth/connect/Graph", "{}"))
			cookies := len(b.cookies)
			require.Equal(t, 1, cookies)
			again := s.as(alice)
			for name, value := range b.cookies {
				again.cookies[name] = value
			}
			require.Equal(t, test.first, b.get(callback).Code)
			requests := s.tokenRequests()
			for name := range b.cookies {
				require.NotContains(t, name, "flow", "the cookie is deleted either way")
			}
			w := again.get(callback)
			require.Equal(t, http.StatusBadRequest, w.Code)
			require.Contains(t, w.Body.String(), "was used already")
			require.Equal(t, requests, s.tokenRequests())
		})
	}
}

func TestFiftyParallelCallbacks(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	callback := b.consent(b.start("/oauth/connect/Graph", "{}"))
	var wg sync.WaitGroup
	codes := make(chan int, 50)
	for range 50 {
		one := s.as(alice)
		for name, value := range b.cookies {
			one.cookies[name] = value
		}
		wg.Go(func() { codes <- one.get(callback).Code })
	}
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	require.Equal(t, map[int]int{http.StatusSeeOther: 1, http.StatusBadRequest: 49}, count)
	require.Equal(t, 1, s.tokenRequests())
}

// Whatever a callback claims beside code and state is ignored.
func TestOnlyTheStoredFlowDecides(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	callback := b.consent(b.start("/oauth/connect/Graph", "{}"))
	w := b.get(callback+"&org=globex&user=bob&integration=Drive&return_to=/evil&redirect_uri=https://evil.example",
		header("X-Org", "globex"), header("X-Forwarded-Host", "evil.example"), header("X-Forwarded-Proto", "http"), host("evil.example"))
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Equal(t, base+"/", w.Header().Get("Location"))
	require.Equal(t, "own", object(t, s.as(alice).get("/api/integrations/Graph"))["connection"])
	for _, name := range []string{"Graph", "Drive"} {
		require.Equal(t, "none", object(t, s.as(gina).get("/api/integrations/"+name))["connection"], name)
	}
}

func TestTwoTabs(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	graph, drive := b.start("/oauth/connect/Graph", "{}"), b.start("/oauth/connect/Drive", "{}")
	require.Len(t, b.cookies, 2)
	require.Equal(t, http.StatusSeeOther, b.get(b.consent(graph)).Code)
	require.Equal(t, http.StatusSeeOther, b.get(b.consent(drive)).Code)

	var urls []string
	for range 9 {
		urls = append(urls, b.start("/oauth/connect/Graph", "{}"))
	}
	require.Equal(t, http.StatusBadRequest, b.get(b.consent(urls[0])).Code, "of nine open flows the oldest is dropped")
	require.Equal(t, http.StatusSeeOther, b.get(b.consent(urls[1])).Code)
}

// The provider's words are shown as text, cut, and never as a link.
func TestDeniedConsent(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	state := queryOf(t, b.start("/oauth/connect/Graph", `{"return_to":"/settings?tab=2"}`)).Get("state")
	hostile := `<script>alert(1)</script>"'><a href="//evil.example">` + "\u202edlrow\r\nSet-Cookie: a=b " + strings.Repeat("long ", 1<<18)
	callback := "/oauth/callback/Graph?" + url.Values{
		"state": {state}, "error": {"access_denied<b>"}, "error_description": {hostile}, "error_uri": {"https://evil.example/help"},
	}.Encode()
	w := b.get(callback, asPage)
	require.Equal(t, http.StatusBadRequest, w.Code)
	page := w.Body.String()
	require.Contains(t, page, "access_denied")
	require.Contains(t, page, "&lt;script&gt;")
	for _, bad := range []string{"<script", "<b>", "\u202e", `href="//evil`, "evil.example/help", state} {
		require.NotContains(t, page, bad)
	}
	require.Less(t, len(page), 10<<10)

	// A way to try again: a POST of the same, and the policy lets it through.
	require.Contains(t, page, `<form method="post" action="/oauth/connect/Graph">`)
	require.Contains(t, page, `<input type="hidden" name="return_to" value="/settings?tab=2">`)
	require.Contains(t, page, "Try again")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "form-action 'self' "+provider)
	// And a way back.
	require.Contains(t, page, fmt.Sprintf(`href="%s/settings?tab=2">Back</a>`, base))

	again := b.post("/oauth/connect/Graph", "return_to=%2Fsettings%3Ftab%3D2", asPage)
	require.Equal(t, http.StatusSeeOther, again.Code)
	require.Equal(t, base+"/settings?tab=2", b.get(b.consent(again.Header().Get("Location"))).Header().Get("Location"))
}

func TestNoSessionPageCanBeReloaded(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	callback := b.consent(b.start("/oauth/connect/Graph", "{}"))
	w := b.get(callback, asPage, func(r *http.Request) { r.Header.Del("X-Who") })
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Contains(t, w.Body.String(), `href="">Reload</a>`, "the same address, without writing it down")
	require.Equal(t, http.StatusSeeOther, b.get(callback).Code)
}

func TestFailedCallbackAsJSON(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	w := b.get(b.deny(b.start("/oauth/connect/Graph", "{}")), header("Accept", "application/json"))
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "denied", object(t, w)["type"])
	require.Contains(t, object(t, w)["detail"], "access_denied")
}
