//go:build unix

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// killClient is what a case's provider knows.
var killClient = oauthtest.Client{ID: "kill", Secret: "kill-secret", PKCEOptional: true}

// killSlack is what a machine may add to a time that is measured here, beside what
// the case's preparation took: that shows how busy the machine is.
const killSlack = 2 * time.Second

// preparing bounds how many cases make databases and start processes at a time, so
// that those who look at the clock have something of the machine, too.
var preparing = make(chan struct{}, 4)

// cell is a case while it runs. This process is the survivor.
type cell struct {
	killCase
	provider *oauthtest.Provider
	urls     oauthtest.Endpoints
	arrived  chan struct{} // closed when the request is at the provider that keeps it
	proxy    *pgProxy      // nil for SQLite
	victim   *child
	store    database
	m        *oauthflow.Manager
	target   oauthflow.Target

	old     string    // the first access token
	oldEnds time.Time // by the database's clock, which is this machine's
	asked   time.Time // when the victim was told to renew
	slack   time.Duration
}

// run is one case.
func (c killCase) run(t *testing.T) {
	x := c.begin(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	x.stand(t)
	if c.how == frozen {
		x.victim.freeze(t)
	} else {
		x.victim.kill()
	}
	gone := time.Now()
	if x.proxy != nil && (c.how == killed || c.place == cutBefore || c.place == cutAfter) {
		x.proxy.goOn(false)
	}
	s := x.survive(ctx)
	if c.how == frozen {
		x.awaken(t, s, gone)
	}
	x.settle(t)
	select {
	case <-s.decided:
	case <-time.After(patience):
		require.FailNow(t, "the survivor gets nothing but the old token")
	}
	stop()
	s.wait()
	x.requireAnswers(t, s.answers)
	x.requirePresentations(t)
	x.requireEnd(t)
}

// begin starts the provider and the victim, and connects an account.
func (c killCase) begin(t *testing.T) *cell {
	t.Helper()
	preparing <- struct{}{}
	defer func() { <-preparing }()
	start := time.Now()
	x := &cell{killCase: c, arrived: make(chan struct{})}
	x.provider, x.urls = newOAuthTest(t, oauthtest.Config{
		Clients: []oauthtest.Client{killClient}, Rotation: c.kind.rotation, Grace: killWindow,
	})
	switch c.place {
	case unspent, spent:
		x.provider.Script(oauthtest.Refresh, oauthtest.Do(func(e *oauthtest.Exchange) {
			if c.place == spent {
				e.Process()
			}
			close(x.arrived)
			e.Hang()
		}))
	}
	where := databases[c.store](t)
	setup := killSetup{Keys: tokenstore.GenerateKey(), TokenURL: x.urls.TokenURL, Policy: c.kind.policy, Grace: c.kind.window}
	var err error
	x.store, err = openDatabase(t.Context(), where)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.store.Close()) })
	x.target = setup.target()
	x.m, err = setup.manager(x.store.Tokens(), nil, t.Output())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.m.Close()) })
	if c.store == "postgres" {
		x.proxy, where = newPGProxy(t, where)
	}
	x.victim = startChild(t, "victim", victimConfig{Database: where, Place: c.place, Setup: setup})
	require.Equal(t, "ready", x.victim.hear(t))
	x.connect(t)
	x.slack = killSlack + time.Since(start)
	return x
}

// connect imports tokens that the provider has just issued, as if the access token
// lived as long as the case needs.
func (x *cell) connect(t *testing.T) {
	t.Helper()
	const callback = "http://127.0.0.1/callback"
	ctx := t.Context()
	location, err := x.provider.Authorize(ctx, x.urls.For("acme").AuthorizationURL+"?"+url.Values{
		"response_type": {"code"}, "client_id": {killClient.ID}, "redirect_uri": {callback}, "state": {"state"},
		"scope": {"offline_access Directory.Read.All"},
	}.Encode(), "alice")
	require.NoError(t, err)
	u, err := url.Parse(location)
	require.NoError(t, err)
	reply, err := new(oauthflow.Requester).Do(ctx, oauthflow.TokenRequest{Client: x.target.Client, EntityID: "acme", Params: url.Values{
		"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {callback},
	}})
	require.NoError(t, err)
	c, err := x.m.Import(ctx, x.target, oauthflow.Imported{Tokens: oauthflow.Tokens{
		AccessToken: reply.AccessToken, RefreshToken: reply.RefreshToken, ExpiresAt: time.Now().Add(x.life()),
	}})
	require.NoError(t, err)
	// A little earlier, by what the way to the database took.
	x.old, x.oldEnds = reply.AccessToken.Reveal(), c.ExpiresAt
}

// stand lets the victim renew, and returns when it stands at its place.
func (x *cell) stand(t *testing.T) {
	t.Helper()
	x.asked = time.Now()
	x.victim.ask(t, "renew")
	caught := x.arrived
	if x.place != unspent && x.place != spent {
		require.Equal(t, "at "+string(x.place), x.victim.hear(t))
		switch x.place {
		case withheld, cutBefore, cutAfter:
			x.proxy.stop(x.place == cutAfter)
			x.victim.ask(t, "go on")
			caught = x.proxy.caught
		default:
			return
		}
	}
	select {
	case <-caught:
	case <-time.After(patience):
		require.FailNow(t, "the request, or the COMMIT, does not come")
	}
}

// awaken lets the victim go on when its time is over and the survivor has done what
// he could.
func (x *cell) awaken(t *testing.T, s *survivor, gone time.Time) {
	t.Helper()
	select {
	case <-s.decided:
	case <-x.over(gone):
		require.True(t, x.blocked(), "the survivor has not got an answer in time")
	}
	<-time.After(time.Until(gone.Add(killTiming.Attempt + 300*time.Millisecond)))
	if x.proxy != nil {
		x.proxy.goOn(true)
	}
	x.victim.ask(t, "go on")
	x.victim.thaw(t)
	var got renewed
	require.NoError(t, json.Unmarshal([]byte(x.victim.hear(t)), &got))
	require.NotEqual(t, x.old, got.Token)
}

// over is when an attempt that stood still at an instant must have been given up.
func (x *cell) over(gone time.Time) <-chan time.Time {
	if x.blocked() {
		return time.After(time.Until(gone.Add(killTiming.Attempt)))
	}
	return time.After(time.Until(gone.Add(killTiming.Attempt + patience)))
}

// settle returns when the record says what its fate is.
func (x *cell) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var c *tokenstore.Connection
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		var err error
		c, err = x.m.Load(ctx, killKey)
		if err != nil {
			return false, err
		}
		if x.fate().end == endLost {
			return c.Status == tokenstore.ReauthRequired, nil
		}
		return c.Status == tokenstore.Active && c.Generation > 1 && c.Attempt == nil, nil
	})
	require.NoError(t, err, "%+v\n%s", c, x.journal())
}

// requirePresentations compares what the provider saw with what it should have seen.
func (x *cell) requirePresentations(t *testing.T) {
	t.Helper()
	want := x.fate()
	counts := x.provider.Counts()
	require.Equal(t, want.presented, counts.Requests["refresh_token"], x.journal())
	require.Equal(t, max(0, want.presented-1), counts.Repeated, x.journal())
	require.Equal(t, want.after, counts.AfterSuccessor, x.journal())
	for _, r := range x.refreshes() {
		if r.Presentation == x.victims() && want.presented == 2 || r.Status == 0 || r.At.Before(x.asked.Add(killTiming.Attempt)) && x.sends() {
			continue // the victim's
		}
		require.False(t, r.At.Before(x.asked.Add(killTiming.Attempt)), "before the attempt's deadline:\n%s", x.journal())
		if x.kind.asks() {
			require.False(t, r.At.Before(x.oldEnds), "while the old access token works:\n%s", x.journal())
		}
	}
}

// sends reports whether the victim has sent its request before it stood still.
func (x *cell) sends() bool { return x.place != opened && x.place != looked }

// refreshes are the requests that the provider has seen.
func (x *cell) refreshes() (all []oauthtest.Request) {
	for _, r := range x.provider.Journal() {
		if r.Grant == "refresh_token" {
			all = append(all, r)
		}
	}
	return all
}

func (x *cell) journal() string {
	var b strings.Builder
	for _, r := range x.refreshes() {
		text, _ := json.Marshal(r)
		b.Write(append(text, '\n'))
	}
	return b.String()
}

// requireEnd uses the connection once more, and sees that it ends as it should, and
// that a dead one is left alone.
func (x *cell) requireEnd(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	want := x.fate()
	requests, generation := want.presented, oauthflow.AnyGeneration
	if want.end != endLost {
		requests++
		s, err := x.m.Renew(ctx, x.target, generation)
		for te := new(oauthflow.TokenError); errors.As(err, &te) && !te.Sent; { // the machine was too slow
			s, err = x.m.Renew(ctx, x.target, generation)
		}
		if want.end == endWorks {
			require.NoError(t, err, x.journal())
			x.requireUsable(t, s.AccessToken().Reveal())
		} else {
			require.ErrorIs(t, err, oauthflow.ErrReauthRequired, x.journal())
		}
	}
	c, err := x.m.Load(ctx, killKey)
	require.NoError(t, err)
	if want.end == endBroken {
		generation = c.Generation // what the API says of the access token, which looks good
	}
	for range 5 {
		if want.end == endWorks {
			_, err = x.m.Token(ctx, x.target)
			require.NoError(t, err)
		} else {
			_, err = x.m.Renew(ctx, x.target, generation)
			require.ErrorIs(t, err, oauthflow.ErrReauthRequired)
		}
	}
	require.Equal(t, requests, x.provider.Counts().Requests["refresh_token"], "asked again without end:\n%s", x.journal())
	reason := map[end]string{endWorks: "", endLost: oauthflow.ReasonLostRotation, endBroken: oauthflow.ReasonInvalidGrant}
	require.Equal(t, reason[want.end], c.Reason)
	events, err := x.store.Tokens().Events(ctx, tokenstore.Match{}, 0, 100)
	require.NoError(t, err)
	said := slices.ContainsFunc(events, func(e tokenstore.Event) bool { return e.Kind == "reauth_required" && e.Reason == c.Reason })
	require.Equal(t, want.end != endWorks, said && c.Reason != "", "silently")
}

// requireUsable calls the provider's API.
func (x *cell) requireUsable(t *testing.T, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.urls.UsersURL, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	x.provider.ServeHTTP(w, req)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
}

// answer is what the survivor got when he asked for a token.
type answer struct {
	from, to time.Time
	token    string
	err      error
}

// survivor asks all the time.
type survivor struct {
	answers []answer
	decided chan struct{} // closed at the first answer that is not the old token
	done    sync.WaitGroup
}

func (s *survivor) wait() { s.done.Wait() }

// survive asks for the token until ctx ends.
func (x *cell) survive(ctx context.Context) *survivor {
	s := &survivor{decided: make(chan struct{})}
	s.done.Go(func() {
		var once sync.Once
		for ctx.Err() == nil {
			a := answer{from: time.Now()}
			token, err := x.m.Token(ctx, x.target)
			if a.to, a.err = time.Now(), err; err == nil {
				a.token = token.AccessToken().Reveal()
			}
			if ctx.Err() != nil {
				return
			}
			s.answers = append(s.answers, a)
			if err == nil && a.token != x.old || errors.Is(err, oauthflow.ErrReauthRequired) {
				once.Do(func() { close(s.decided) })
			}
			pause(ctx, 25*time.Millisecond)
		}
	})
	return s
}

// requireAnswers: the old token while it is usable, and at once; then, within the
// attempt's deadline, a new one, or the verdict.
func (x *cell) requireAnswers(t *testing.T, all []answer) {
	t.Helper()
	late := x.asked.Add(killTiming.Attempt)
	if late.Before(x.oldEnds) {
		late = x.oldEnds
	}
	decided := false
	for _, a := range all {
		var ce *oauthflow.ConnectionError
		var te *oauthflow.TokenError
		switch {
		case a.err == nil && a.token == x.old:
			require.False(t, a.to.After(x.oldEnds.Add(x.slack)), "an access token that has ended")
			require.Less(t, a.to.Sub(a.from), x.slack, "nobody waits while the old access token is usable")
			continue
		case a.from.Before(x.oldEnds.Add(-x.slack / 2)):
			require.NoError(t, a.err, "while the old access token is usable")
		case a.err == nil:
		case errors.As(a.err, &ce) && errors.Is(ce.Kind, oauthflow.ErrReauthRequired):
			require.Equal(t, oauthflow.ReasonLostRotation, ce.Reason)
			require.True(t, x.fate().end != endWorks || x.kind.policy == oauthflow.Never, "a verdict: %v", a.err)
		default:
			require.ErrorIs(t, a.err, oauthflow.ErrUnavailable)
			// Too slow to send in time: nothing was sent, and it says so.
			unsent := errors.As(a.err, &te) && !te.Sent
			require.True(t, x.blocked() || unsent || x.kind.policy == oauthflow.Never, "%v", a.err)
		}
		if x.blocked() { // nobody hangs, and nobody is told anything wrong
			require.Less(t, a.to.Sub(a.from), killTiming.Attempt+x.slack)
			continue
		}
		if !decided {
			require.False(t, a.to.After(late.Add(x.slack)), "nothing but waiting until %v", a.to.Sub(x.asked))
		}
		decided = true
	}
	require.True(t, decided || x.blocked())
}
