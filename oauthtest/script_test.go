package oauthtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Every reply that real providers were seen to send can be scripted, and arrives
// as it was written.
func TestReplyShapes(t *testing.T) {
	long := strings.Repeat("r", 16<<10)
	for _, test := range []struct {
		name string
		step oauthtest.Step
		want string // in the body
	}{
		{"lifetime as a string", oauthtest.Set("expires_in", "3600"), `"expires_in":"3600"`},
		{"lifetime as a fraction", oauthtest.Set("expires_in", "3600.5"), `"expires_in":"3600.5"`},
		{"lifetime with a point", oauthtest.Set("expires_in", json.RawMessage("3600.0")), `"expires_in":3600.0`},
		{"lifetime with an exponent", oauthtest.Set("expires_in", json.RawMessage("3.6e3")), `"expires_in":3.6e3`},
		{"lifetime not a number", oauthtest.Set("expires_in", "NaN"), `"expires_in":"NaN"`},
		{"lifetime null", oauthtest.Set("expires_in", nil), `"expires_in":null`},
		{"lifetime true", oauthtest.Set("expires_in", true), `"expires_in":true`},
		{"lifetime negative", oauthtest.Set("expires_in", -1), `"expires_in":-1`},
		{"lifetime beyond reason", oauthtest.Set("expires_in", 1e40), `"expires_in":1e+40`},
		{"absolute expiry", oauthtest.Set("expires_at", "2030-01-02T03:04:05Z"), `"expires_at":"2030-01-02T03:04:05Z"`},
		{"refresh token empty", oauthtest.Set("refresh_token", ""), `"refresh_token":""`},
		{"refresh token null", oauthtest.Set("refresh_token", nil), `"refresh_token":null`},
		{"refresh token long", oauthtest.Set("refresh_token", long), long},
		{"scopes as a list", oauthtest.Set("scope", []string{"a", "b"}), `"scope":["a","b"]`},
		{"odd token_type", oauthtest.Set("token_type", "BEARER"), `"token_type":"BEARER"`},
		{"access token a number", oauthtest.Set("access_token", 7), `"access_token":7`},
		{"control characters", oauthtest.Set("access_token", "a\nb"), `"access_token":"a\nb"`},
		{"extra members", oauthtest.Set("team", map[string]any{"id": "T1"}), `"team":{"id":"T1"}`},
		{"nested", oauthtest.Edit(func(r *oauthtest.Reply) {
			r.Members = map[string]any{"data": map[string]any{"token": r.Members}}
		}), `{"data":{"token":{"access_token":"at_`},
		{"nested beside others", oauthtest.Under("authed_user", map[string]any{"ok": true}), `"ok":true}`},
		{"nested deeper", oauthtest.Under("data.token", nil), `{"data":{"token":{"access_token":"at_`},
		{"form-encoded, with real tokens", oauthtest.Form("text/plain"), "&expires_in=3600&ext_expires_in=3600&refresh_token=rt_"},
		{"doubled members, with real tokens", oauthtest.Rewrite("application/json", func(body []byte) []byte {
			return append([]byte(`{"access_token":"first",`), body[1:]...)
		}), `{"access_token":"first","access_token":"at_`},
		{"doubled and folded members", oauthtest.Raw(200, "application/json", `{"Access_Token":"x","a":1,"a":2}`), `{"Access_Token":"x","a":1,"a":2}`},
		{"error in a 200", oauthtest.Raw(200, "application/json", `{"ok":false,"error":"token_expired"}`), `"ok":false`},
		{"form-encoded", oauthtest.Raw(200, "text/html", "access_token=x&expires_in=5"), "access_token=x&expires_in=5"},
		{"JSON as plain text", oauthtest.Raw(200, "text/plain", `{"access_token":"x"}`), `"access_token":"x"`},
		{"HTML", oauthtest.Raw(200, "text/html", "<h1>Welcome</h1>"), "<h1>Welcome</h1>"},
		{"an error", oauthtest.Fail(400, "invalid_grant", "gone"), `"error":"invalid_grant"`},
		{"empty 400", oauthtest.Answer(oauthtest.Reply{Status: 400}), ""},
		{"later", oauthtest.Answer(oauthtest.Reply{Status: 429, Header: http.Header{"Retry-After": {"7"}}}), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothWays(t, oauthtest.Config{}, func(t *testing.T, p *oauthtest.Provider, a *app) {
				t.Helper()
				token := a.connect("alice").str("refresh_token")
				p.Script(oauthtest.Refresh, test.step)
				r := a.refresh(token)
				require.Contains(t, r.Body, test.want)
				if test.want == "" {
					require.Empty(t, r.Body)
				}
				require.Zero(t, p.Pending())
				journal := p.Journal()
				require.True(t, journal[len(journal)-1].Scripted)
			})
		})
	}
}

// A successor that a step took out of the reply did not reach the client: to
// present its predecessor again is no fault of his.
func TestOnlyWhatIsSentIsDelivered(t *testing.T) {
	for name, test := range map[string]struct {
		step      oauthtest.Step
		delivered bool
	}{
		"as it is":      {oauthtest.Serve(), true},
		"form":          {oauthtest.Form("text/html"), true},
		"nested":        {oauthtest.Under("a.b", nil), true},
		"another":       {oauthtest.Set("refresh_token", 7), false},
		"none":          {oauthtest.Unset("refresh_token"), false},
		"cut":           {oauthtest.Rewrite("application/json", func(body []byte) []byte { return body[:20] }), false},
		"garbage":       {oauthtest.Rewrite("text/html", func([]byte) []byte { return []byte("<h1>") }), false},
		"no access one": {oauthtest.Unset("access_token"), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, oauthtest.Config{})
			a := inProcess(t, p)
			token := a.connect("alice").str("refresh_token")
			p.Script(oauthtest.Refresh, test.step)
			a.refresh(token)
			a.refresh(token)
			require.Equal(t, 1, p.Counts().Reuse)
			require.Equal(t, test.delivered, p.Counts().AfterSuccessor == 1)
		})
	}
}

func TestUnset(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	p.Script(oauthtest.Code, oauthtest.Unset("expires_in", "token_type"))
	r := a.connect("alice")
	require.NotContains(t, r.Members, "expires_in")
	require.NotContains(t, r.Members, "token_type")
	require.Contains(t, r.Members, "access_token")
}

func TestRedirectAndHeaders(t *testing.T) {
	bothWays(t, oauthtest.Config{}, func(t *testing.T, p *oauthtest.Provider, a *app) {
		t.Helper()
		for _, status := range []int{301, 302, 303, 307, 308} {
			p.Script(oauthtest.Token, oauthtest.Redirect(status, "https://elsewhere.example/token"))
			r := a.refresh("x")
			require.Equal(t, status, r.Status)
			require.Equal(t, "https://elsewhere.example/token", r.Header.Get("Location"))
		}
	})
}

// What is queued for a grant comes before what is queued for the endpoint;
// Always speaks when nothing is queued.
func TestQueues(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	token := a.connect("alice").str("refresh_token")
	code := func(r reply) string { return r.str("error") }

	p.Always(oauthtest.Refresh, oauthtest.Fail(503, "always", ""))
	p.Script(oauthtest.Token, oauthtest.Fail(400, "token", ""))
	p.Script(oauthtest.Refresh, oauthtest.Fail(400, "refresh", ""))
	p.Script(oauthtest.Code, oauthtest.Fail(400, "code", ""))
	require.Equal(t, 3, p.Pending())
	require.Equal(t, "refresh", code(a.refresh(token)))
	require.Equal(t, "token", code(a.refresh(token)))
	require.Equal(t, "always", code(a.refresh(token)))
	require.Equal(t, "always", code(a.refresh(token)))
	require.Equal(t, "code", code(a.redeem("x")))
	require.Equal(t, "invalid_grant", code(a.redeem("x")), "Always was for refreshes")
	p.Always(oauthtest.Refresh, oauthtest.Serve())
	require.Empty(t, code(a.refresh(token)), "nothing of this was processed")

	p.Script(oauthtest.API, oauthtest.Fail(500, "api", ""))
	p.Script(oauthtest.Revocation, oauthtest.Fail(503, "revocation", ""))
	require.Equal(t, "api", code(a.get(a.urls.UsersURL, "")))
	r, err := a.post(t.Context(), a.urls.RevocationURL, "token", "x")
	require.NoError(t, err)
	require.Equal(t, "revocation", code(r))
}

// A step of one's own sees the request and may process it first.
func TestDo(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	var saw string
	p.Script(oauthtest.Code, oauthtest.Do(func(x *oauthtest.Exchange) {
		saw = x.Form().Get("grant_type") + " " + x.Request().PathValue("tenant")
		require.Same(t, x.Process(), x.Process(), "processed once")
	}))
	a.connect("alice")
	require.Equal(t, "authorization_code common", saw)
}

// faults are the ways in which no (whole) reply comes.
var faults = []struct {
	name      string
	step      oauthtest.Step
	processed bool
	waits     bool // until the client gives up; otherwise the connection breaks
}{
	{"reset", oauthtest.Reset(), false, false},
	{"drop", oauthtest.Drop(), false, false},
	{"lose", oauthtest.Lose(), true, false},
	{"cut", oauthtest.Cut(20), true, false},
	{"cut before the body", oauthtest.Cut(0), true, false},
	{"hang", oauthtest.Hang(), false, true},
	{"swallow", oauthtest.Swallow(), true, true},
	{"stall", oauthtest.Stall(20), true, true},
	{"stall before the body", oauthtest.Stall(0), true, true},
	{"drip", oauthtest.Drip(time.Second), true, true},
	{"delay", oauthtest.Delay(time.Hour, oauthtest.Serve()), false, true},
	{"delayed reset", oauthtest.Delay(time.Millisecond, oauthtest.Reset()), false, false},
	{"delayed drop", oauthtest.Delay(time.Millisecond, oauthtest.Drop()), false, false},
}

func TestFaultsInProcess(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, oauthtest.Config{})
				testFault(t, p, inProcess(t, p), fault.step, fault.processed, fault.waits, 15*time.Second)
			})
		})
	}
}

func TestFaultsOverSockets(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, oauthtest.Config{})
			testFault(t, p, overSockets(t, p), fault.step, fault.processed, fault.waits, 300*time.Millisecond)
		})
	}
}

func testFault(t *testing.T, p *oauthtest.Provider, a *app, step oauthtest.Step, processed, waits bool, patience time.Duration) {
	t.Helper()
	token := a.connect("alice").str("refresh_token")
	p.Script(oauthtest.Refresh, step)
	if !waits {
		patience = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	started := time.Now()
	_, err := a.post(ctx, a.urls.TokenURL, "grant_type", "refresh_token", "refresh_token", token)
	require.Error(t, err)
	if waits {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(started), patience)
	} else {
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	}
	want := 1
	if processed {
		want = 2
	}
	require.Equal(t, want, p.Families()[0].Current)

	// The client tries again, as a client that knows no better does.
	r := a.refresh(token)
	require.Zero(t, p.Counts().AfterSuccessor, "no successor arrived")
	require.Equal(t, 1, p.Counts().Repeated)
	if processed {
		a.requireError(r, http.StatusBadRequest, "invalid_grant")
		return
	}
	require.Equal(t, http.StatusOK, r.Status)
}

func TestResetLooksLikeOne(t *testing.T) {
	bothWays(t, oauthtest.Config{}, func(t *testing.T, p *oauthtest.Provider, a *app) {
		t.Helper()
		p.Script(oauthtest.Refresh, oauthtest.Reset())
		_, err := a.tryRefresh("x")
		require.ErrorIs(t, err, syscall.ECONNRESET)
		var operation *net.OpError
		require.ErrorAs(t, err, &operation)
		require.Equal(t, "read", operation.Op)
	})
}

// Slow, but whole.
func TestSlowReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, oauthtest.Config{})
		a := inProcess(t, p)
		token := a.connect("alice").str("refresh_token")
		p.Script(oauthtest.Refresh, oauthtest.Delay(3*time.Second, oauthtest.Serve()), oauthtest.Drip(time.Second))
		started := time.Now()
		r := a.refresh(token)
		require.Equal(t, http.StatusOK, r.Status)
		require.Equal(t, 3*time.Second, time.Since(started))
		started = time.Now()
		r = a.refresh(r.str("refresh_token"))
		require.Equal(t, http.StatusOK, r.Status)
		require.Equal(t, time.Duration(len(r.Body))*time.Second, time.Since(started))
		journal := p.Journal()
		require.True(t, journal[len(journal)-1].Delivered)
	})
}

func TestBodiesWithoutMeasure(t *testing.T) {
	bothWays(t, oauthtest.Config{}, func(t *testing.T, p *oauthtest.Provider, a *app) {
		t.Helper()
		p.Script(oauthtest.Token, oauthtest.Endless(), oauthtest.Bomb(200<<20))
		require.Len(t, a.refresh("x").Body, 2<<20, "the test's own limit")
		r := a.refresh("x")
		require.Len(t, r.Body, 2<<20)
		require.Empty(t, r.Header.Get("Content-Encoding"), "undone by the transport")
		require.True(t, strings.HasPrefix(r.Body, `{"access_token":"aaa`))
	})
}

// Down means: certainly not sent. Not even the first read of the body happens.
func TestUnreachable(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	token := a.connect("alice").str("refresh_token")
	refused := func() {
		body := &countingReader{}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, body)
		require.NoError(t, err)
		_, err = a.send(req)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Zero(t, body.reads)
		require.True(t, body.closed)
	}
	p.SetDown(true)
	refused()
	p.SetDown(false)
	p.Script(oauthtest.Token, oauthtest.Drop())
	refused()
	require.Equal(t, http.StatusOK, a.refresh(token).Status)
	require.Equal(t, 1, p.Counts().Requests["refresh_token"])

	b := overSockets(t, p)
	p.SetDown(true)
	_, err := b.tryRefresh(token)
	require.Error(t, err)
	p.SetDown(false)
	b.requireError(b.refresh(token), http.StatusBadRequest, "invalid_grant")
}

type countingReader struct {
	reads  int
	closed bool
}

func (r *countingReader) Read([]byte) (int, error) {
	r.reads++
	return 0, errors.New("the first read")
}

func (r *countingReader) Close() error {
	r.closed = true
	return nil
}
