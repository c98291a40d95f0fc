package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// refused is what err, a *CallbackError of a kind, says.
func refused(t testing.TB, err error, kind oauthflow.CallbackKind) oauthflow.CallbackError {
	t.Helper()
	var ce *oauthflow.CallbackError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, kind, ce.Kind, "%v", err)
	return *ce
}

// exchanges counts the codes the provider was sent.
func (p *idp) exchanges() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, form := range p.requests {
		if form.Get("grant_type") == "authorization_code" {
			n++
		}
	}
	return n
}

func TestCallbackConnects(t *testing.T) {
	w := newWorld(t)
	w.idp.extra = `,"scope":"read write","id_token":"` + idToken(map[string]any{
		"oid": "o-1", "sub": "s-1", "preferred_username": "alice@example.com", "name": "Alice",
	}) + `"`
	started, state := w.start()
	r := w.arriving(started, url.Values{"code": {"g"}, "state": {state}, "session_state": {"x", "y"}})
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", r, &r, r), state)
	done, err := w.m.Callback(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, "/back", done.ReturnTo)
	require.Equal(t, w.target.Key, done.Key)
	require.Equal(t, "Graph", done.Name)
	require.Equal(t, "o-1", done.AccountID)
	require.Equal(t, "alice@example.com", done.AccountName)
	require.Equal(t, started.Cookie.Name, done.ExpiredCookie.Name)
	require.Negative(t, done.ExpiredCookie.MaxAge)
	require.Empty(t, done.ExpiredCookie.Value)

	form := w.idp.requests[0]
	require.Equal(t, w.target.RedirectURI, form.Get("redirect_uri"))
	require.Len(t, form.Get("code_verifier"), 43)
	require.NotContains(t, started.AuthorizationURL, form.Get("code_verifier"))
	require.NotContains(t, w.logs.String(), form.Get("code_verifier"))
	require.NotContains(t, w.logs.String(), state)

	c := w.row()
	require.Equal(t, tokenstore.Active, c.Status)
	require.Equal(t, int64(1), c.Generation)
	require.NotEmpty(t, c.GrantID)
	require.Equal(t, "alice", c.ConnectedBy)
	require.Equal(t, []string{"read"}, c.ScopesRequested)
	require.Equal(t, []string{"read", "write"}, c.ScopesGranted)
	require.Equal(t, "common", c.EntityID)
	require.Equal(t, "client", c.ClientID)
	require.Equal(t, "https://login.example.com/common/token", c.TokenHost)
	require.Equal(t, "o-1", c.AccountID)
	require.NotContains(t, string(c.Sealed), "AT1")
	w.requireToken(w.m, "AT1")
	require.Equal(t, []string{"connected"}, w.events())
}

// TestWrongCallbacksChangeNothing: whoever sends them, however wrong. After each, the
// right one still succeeds.
func TestWrongCallbacksChangeNothing(t *testing.T) {
	set := func(name string, values ...string) func(*oauthflow.CallbackRequest) {
		return func(r *oauthflow.CallbackRequest) {
			q, _ := url.ParseQuery(r.RawQuery)
			q[name] = values
			r.RawQuery = q.Encode()
		}
	}
	flip := func(r *oauthflow.CallbackRequest) {
		q, _ := url.ParseQuery(r.RawQuery)
		state := []byte(q.Get("state"))
		state[7] ^= 1
		q.Set("state", string(state))
		r.RawQuery = q.Encode()
	}
	tests := map[string]struct {
		change func(*oauthflow.CallbackRequest)
		kind   oauthflow.CallbackKind
	}{
		"no query":                {func(r *oauthflow.CallbackRequest) { r.RawQuery = "" }, oauthflow.CallbackInvalid},
		"malformed query":         {func(r *oauthflow.CallbackRequest) { r.RawQuery += "&x=%zz" }, oauthflow.CallbackInvalid},
		"semicolons":              {func(r *oauthflow.CallbackRequest) { r.RawQuery += ";a=b" }, oauthflow.CallbackInvalid},
		"3 MB of query":           {func(r *oauthflow.CallbackRequest) { r.RawQuery += "&x=" + strings.Repeat("a", 3<<20) }, oauthflow.CallbackInvalid},
		"no state":                {set("state"), oauthflow.CallbackInvalid},
		"unknown state":           {set("state", strings.Repeat("A", 43)), oauthflow.CallbackInvalid},
		"one flipped bit":         {flip, oauthflow.CallbackInvalid},
		"10 kB of state":          {set("state", strings.Repeat("A", 10_000)), oauthflow.CallbackInvalid},
		"state twice":             {func(r *oauthflow.CallbackRequest) { r.RawQuery += "&state=x" }, oauthflow.CallbackInvalid},
		"code twice":              {set("code", "g", "g"), oauthflow.CallbackInvalid},
		"iss twice":               {set("iss", "https://login.example.com", "https://login.example.com"), oauthflow.CallbackInvalid},
		"error twice":             {set("error", "a", "b"), oauthflow.CallbackInvalid},
		"neither code nor error":  {set("code"), oauthflow.CallbackInvalid},
		"empty code":              {set("code", ""), oauthflow.CallbackInvalid},
		"code with line breaks":   {set("code", "g\r\nX: y"), oauthflow.CallbackInvalid},
		"9 kB of code":            {set("code", strings.Repeat("A", 9<<10)), oauthflow.CallbackInvalid},
		"error and unknown state": {func(r *oauthflow.CallbackRequest) { flip(r); set("error", "access_denied")(r) }, oauthflow.CallbackInvalid},
		"another path":            {func(r *oauthflow.CallbackRequest) { r.Definition = "other" }, oauthflow.CallbackInvalid},
		"another browser":         {func(r *oauthflow.CallbackRequest) { r.Cookie = func(string) string { return "" } }, oauthflow.CallbackInvalid},
		"another flow's cookie":   {func(r *oauthflow.CallbackRequest) { r.Cookie = func(string) string { return strings.Repeat("A", 43) } }, oauthflow.CallbackInvalid},
		"error, another browser": {func(r *oauthflow.CallbackRequest) {
			set("error", "access_denied")(r)
			r.Cookie = func(string) string { return "" }
		}, oauthflow.CallbackInvalid},
		"nobody signed in":        {func(r *oauthflow.CallbackRequest) { r.HasPrincipal = false }, oauthflow.CallbackNoPrincipal},
		"an empty principal":      {func(r *oauthflow.CallbackRequest) { r.Principal = "" }, oauthflow.CallbackNoPrincipal},
		"another user":            {func(r *oauthflow.CallbackRequest) { r.Principal = "bob" }, oauthflow.CallbackForbidden},
		"no longer allowed":       {func(r *oauthflow.CallbackRequest) { r.Allowed = func(tokenstore.Key) bool { return false } }, oauthflow.CallbackForbidden},
		"nothing says it may":     {func(r *oauthflow.CallbackRequest) { r.Allowed = nil }, oauthflow.CallbackForbidden},
		"another issuer":          {set("iss", "https://evil.example.com"), oauthflow.CallbackInvalid},
		"issuer almost the same":  {set("iss", "https://login.example.com/"), oauthflow.CallbackInvalid},
		"error of another issuer": {func(r *oauthflow.CallbackRequest) { set("iss", "https://evil")(r); set("error", "x")(r) }, oauthflow.CallbackInvalid},
		"no issuer":               {set("iss"), oauthflow.CallbackInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.target.Client.Issuer, w.target.Client.RequireIss = "https://login.example.com", true
			started, state := w.start()
			query := url.Values{"code": {"g"}, "state": {state}, "iss": {"https://login.example.com"}}
			bad := w.arriving(started, query)
			tt.change(&bad)
			_, err := w.m.Callback(context.Background(), bad)
			ce := refused(t, err, tt.kind)
			require.Nil(t, ce.ExpiredCookie, "the flow is still open")
			require.NotContains(t, err.Error(), state)
			require.Zero(t, w.idp.exchanges())
			require.Zero(t, w.row().Version)
			if tt.kind == oauthflow.CallbackNoPrincipal {
				require.Equal(t, "/back", ce.ReturnTo)
			}

			_, err = w.m.Callback(context.Background(), w.arriving(started, query))
			require.NoError(t, err)
			require.Equal(t, 1, w.idp.exchanges())
		})
	}
}

func TestIssuerIsNotNeededUnlessRequired(t *testing.T) {
	for name, iss := range map[string][]string{"absent": nil, "not configured": {"https://anything.example"}} {
		w := newWorld(t)
		if iss == nil {
			w.target.Client.Issuer = "https://login.example.com/{entity_id}/v2.0"
		}
		started, state := w.start()
		_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}, "iss": iss}))
		require.NoError(t, err, name)
	}
}

func TestTheStoredFlowDecidesNotTheRequest(t *testing.T) {
	w := newWorld(t)
	started, state := w.start()
	q := url.Values{"code": {"g"}, "state": {state}, "org": {"evil"}, "user": {"bob"}, "integration": {"X"}, "return_to": {"//evil"}, "redirect_uri": {"https://evil"}}
	done, err := w.m.Callback(context.Background(), w.arriving(started, q))
	require.NoError(t, err)
	require.Equal(t, "acme", done.Key.Org)
	require.Equal(t, "/back", done.ReturnTo)
	require.Equal(t, w.target.RedirectURI, w.idp.requests[0].Get("redirect_uri"))
}

func TestFlowsAreUsedOnce(t *testing.T) {
	codes := map[string]struct {
		query  url.Values
		answer func(url.Values) (int, string, error)
		kind   oauthflow.CallbackKind
	}{
		"after success":           {url.Values{"code": {"g"}}, nil, ""},
		"after the provider's no": {url.Values{"error": {"access_denied"}}, nil, oauthflow.CallbackDenied},
		"after a failed exchange": {url.Values{"code": {"g"}}, always(400, `{"error":"invalid_grant"}`), oauthflow.CallbackFailed},
		"after a lost answer":     {url.Values{"code": {"g"}}, lost, oauthflow.CallbackFailed},
	}
	for name, tt := range codes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.answer = tt.answer
			started, state := w.start()
			tt.query.Set("state", state)
			r := w.arriving(started, tt.query)
			_, err := w.m.Callback(context.Background(), r)
			if tt.kind == "" {
				require.NoError(t, err)
			} else {
				ce := refused(t, err, tt.kind)
				require.NotNil(t, ce.ExpiredCookie)
				require.Equal(t, "/back", ce.ReturnTo)
				require.Equal(t, w.target.Key, ce.Key)
				require.False(t, w.row().Connected())
			}
			n := w.idp.exchanges()
			require.LessOrEqual(t, n, 1, "a code is sent once")
			w.idp.answer = nil
			_, err = w.m.Callback(context.Background(), r)
			refused(t, err, oauthflow.CallbackInvalid)
			require.Equal(t, n, w.idp.exchanges())
		})
	}
}

func TestFlowsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		started, state := w.start()
		pass(10*time.Minute + time.Second)
		_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
		refused(t, err, oauthflow.CallbackInvalid)
		require.Zero(t, w.idp.exchanges())
	})
}

func TestParallelCallbacksMakeOneRequest(t *testing.T) {
	w := newWorld(t)
	other := w.process()
	started, state := w.start()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 50 {
		m := []*oauthflow.Manager{w.m, other}[i%2]
		wg.Go(func() {
			_, err := m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
				return
			}
			var ce *oauthflow.CallbackError
			assert.True(t, errors.As(err, &ce) && ce.Kind == oauthflow.CallbackInvalid, "%v", err)
		})
	}
	wg.Wait()
	require.Equal(t, 1, won)
	require.Equal(t, 1, w.idp.exchanges())
}

func TestTwoTabsBothFinish(t *testing.T) {
	w := newWorld(t)
	one, stateOne := w.start()
	two, stateTwo := w.start()
	_, err := w.m.Callback(context.Background(), w.arriving(two, url.Values{"code": {"g2"}, "state": {stateTwo}}))
	require.NoError(t, err)
	_, err = w.m.Callback(context.Background(), w.arriving(one, url.Values{"code": {"g1"}, "state": {stateOne}}))
	require.NoError(t, err)
	require.Equal(t, []string{"connected", "connected reconnected"}, w.events())
}

func TestTheOldestOfTooManyFlowsIsDropped(t *testing.T) {
	w := newWorld(t)
	first, state := w.start()
	for range 8 {
		w.start()
	}
	_, err := w.m.Callback(context.Background(), w.arriving(first, url.Values{"code": {"g"}, "state": {state}}))
	refused(t, err, oauthflow.CallbackInvalid)
}

func TestDeniedCarriesTheProvidersReasonCleaned(t *testing.T) {
	w := newWorld(t)
	started, state := w.start()
	r := w.arriving(started, url.Values{
		"state": {state}, "error": {"access_denied\r\n\"<b>"},
		"error_description": {"no \u202e<script>\r\n" + state + strings.Repeat("x", 1<<20)}, "error_uri": {"javascript:alert(1)"},
	})
	_, err := w.m.Callback(context.Background(), r)
	ce := refused(t, err, oauthflow.CallbackDenied)
	require.Equal(t, "access_denied<b>", ce.Code)
	require.LessOrEqual(t, len([]rune(ce.Description)), 400)
	require.True(t, strings.HasPrefix(ce.Description, "no <script> "), ce.Description)
	require.NotContains(t, ce.Description, state)
	require.NotContains(t, err.Error(), "javascript")
	require.Zero(t, w.row().Version)
}

func TestCallbackWhileTheStoreIsAway(t *testing.T) {
	t.Run("before: the flow stays", func(t *testing.T) {
		w := newWorld(t)
		started, state := w.start()
		gone := w.process(func(c *oauthflow.Config) { c.Store = noFlows{w.store} })
		r := w.arriving(started, url.Values{"code": {"g"}, "state": {state}})
		_, err := gone.Callback(context.Background(), r)
		ce := refused(t, err, oauthflow.CallbackFailed)
		require.Nil(t, ce.ExpiredCookie)
		_, err = w.m.Callback(context.Background(), r)
		require.NoError(t, err)
	})
	t.Run("after the exchange, for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			f.set(func(f *faulty) { f.after = errStore })
			w.connect("g2")
			require.Equal(t, int64(2), w.row().Generation, "not written twice")
			w.requireToken(w.m, "AT2")
		})
	})
	t.Run("after the exchange, for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			started, state := w.start()
			f.set(func(f *faulty) { f.update = errStore })
			_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g2"}, "state": {state}}))
			refused(t, err, oauthflow.CallbackFailed)
			require.ErrorIs(t, err, errStore)
			w.requireToken(w.m, "AT1")
		})
	})
}

// noFlows is a store that cannot read flows.
type noFlows struct{ tokenstore.Store }

func (noFlows) GetFlow(context.Context, string) (tokenstore.Flow, error) {
	return tokenstore.Flow{}, errStore
}

func TestCallbackIsFinishedThoughTheBrowserHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.delay = 5 * time.Second
		started, state := w.start()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := w.m.Callback(ctx, w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, w.m.Close())
		require.True(t, w.row().Connected())
	})
}

func TestAVerifierOpensForItsFlowOnly(t *testing.T) {
	w := newWorld(t)
	one, stateOne := w.start()
	_, stateTwo := w.start()
	swap := w.process(func(c *oauthflow.Config) { c.Store = swapped{w.store, stateTwo} })
	_, err := swap.Callback(context.Background(), w.arriving(one, url.Values{"code": {"g"}, "state": {stateOne}}))
	refused(t, err, oauthflow.CallbackFailed)
	require.ErrorIs(t, err, tokenstore.ErrSealBroken)
	require.Zero(t, w.idp.exchanges())
}

// swapped returns flows with another flow's verifier.
type swapped struct {
	tokenstore.Store
	other string
}

func (s swapped) GetFlow(ctx context.Context, hash string) (tokenstore.Flow, error) {
	other, err := s.Store.GetFlow(ctx, oauthflow.HashText(s.other))
	if err != nil {
		return other, err
	}
	f, err := s.Store.GetFlow(ctx, hash)
	f.Verifier = other.Verifier
	return f, err
}
