package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// forOrg returns the target of an organization.
func (w *world) forOrg(org string) oauthflow.Target {
	t := w.target
	t.Key.Org = org
	return t
}

// connectOrgs connects n organizations and returns their targets.
func (w *world) connectOrgs(n int) []oauthflow.Target {
	before := w.target
	defer func() { w.target = before }()
	var list []oauthflow.Target
	for i := range n {
		w.target = w.forOrg(fmt.Sprintf("org-%d", i))
		w.connect(fmt.Sprintf("g%d", i))
		list = append(list, w.target)
	}
	return list
}

func TestOneRefusedClientIsAskedForOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.connectOrgs(100)
		w.target = w.forOrg("fresh")
		pass(2 * time.Hour)
		w.connect("g") // its token is good
		pass(10 * time.Minute)
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client","error_description":"about org-0"}`) })
		_, err := w.m.Token(t.Context(), all[0])
		problem(t, err, oauthflow.ErrUnavailable)
		for _, target := range all[1:] {
			_, err := w.m.Token(t.Context(), target)
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Equal(t, []string{"operator", "invalid_client"}, []string{e.Reason, e.Code})
			require.Equal(t, target.Key, e.Key)
			require.Contains(t, e.Message, "check client id, client secret")
			require.NotContains(t, e.Message, "org-0", "what was said about one is not shown to others")
			require.GreaterOrEqual(t, e.RetryAfter, 30*time.Second)
			require.LessOrEqual(t, e.RetryAfter, time.Minute)
		}
		require.Len(t, w.idp.refreshes(), 1)
		w.requireToken(w.m, "AT101")

		pass(50*time.Minute - 30*time.Second)   // about to end, and served
		_, err = w.m.Token(t.Context(), all[0]) // the probe
		problem(t, err, oauthflow.ErrUnavailable)
		for range 10 {
			w.requireToken(w.m, "AT101")
		}
		require.Len(t, w.idp.refreshes(), 2)

		// A person finds out sooner, and with him everybody.
		w.idp.set(func(p *idp) { p.answer = nil })
		_, err = w.m.Token(t.Context(), all[5])
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.m.Renew(t.Context(), all[7], oauthflow.AnyGeneration)
		require.NoError(t, err)
		_, err = w.m.Token(t.Context(), all[5])
		require.NoError(t, err)
	})
}

// That others got through a moment ago does not mean that they would again: the
// client is the same.
func TestARefusedClientIsAskedForOnceAlthoughOthersJustGotThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.lifetime = "60"
		all := w.connectOrgs(2)
		pass(2 * time.Minute)
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) })
		for _, target := range all {
			_, err := w.m.Token(t.Context(), target)
			require.Equal(t, "invalid_client", problem(t, err, oauthflow.ErrUnavailable).Code)
		}
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestAnEndpointThatIsAwayIsProbedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.connectOrgs(50)
		pass(2 * time.Hour)
		dials := 0
		down := func(context.Context) error {
			dials++
			return errStore
		}
		w.idp.set(func(p *idp) { p.dial = down })
		for _, target := range all {
			_, err := w.m.Token(t.Context(), target)
			problem(t, err, oauthflow.ErrUnavailable)
		}
		require.Equal(t, 3, dials, "several in a row, of different connections")
		for range 30 {
			pass(10 * time.Second)
			var wg sync.WaitGroup
			for _, target := range all[3:] {
				wg.Go(func() { _, _ = w.m.Token(t.Context(), target) })
			}
			wg.Wait()
		}
		require.Less(t, dials, 20)
		w.idp.set(func(p *idp) { p.dial = nil })
		pass(5 * time.Minute)
		for _, target := range all {
			_, err := w.m.Token(t.Context(), target)
			require.NoError(t, err)
		}
	})
}

func TestRetryAfterIsObeyedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.connectOrgs(10)
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { p.answer = always(429, "retry-after 120") })
		for _, target := range all {
			_, err := w.m.Token(t.Context(), target)
			require.InDelta(t, 120, problem(t, err, oauthflow.ErrUnavailable).RetryAfter.Seconds(), 1)
		}
		require.Len(t, w.idp.refreshes(), 3)
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(119 * time.Second)
		_, err := w.m.Token(t.Context(), all[9])
		problem(t, err, oauthflow.ErrUnavailable)
		pass(2 * time.Second)
		_, err = w.m.Token(t.Context(), all[9])
		require.NoError(t, err)
	})
}

func TestOneCustomersDeadTenantDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		gone, other, moved := w.target, w.forOrg("other"), w.forOrg("moved")
		other.EntityID = "alive"
		w.target = other
		w.connect("g2")
		w.target = moved
		w.connect("g3")
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) {
			p.answer = func(form url.Values) (int, string, error) {
				if form.Get("refresh_token") != "g2/RT2" {
					return 401, `{"error":"invalid_client"}`, nil
				}
				return 0, "", nil
			}
		})
		_, err := w.m.Token(t.Context(), gone)
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.m.Token(t.Context(), other)
		require.NoError(t, err, "another token URL")
		sent := len(w.idp.refreshes())

		// The same URL and client, under another definition; or with a mended secret.
		elsewhere := gone
		elsewhere.Key.Definition = "another"
		w.target = elsewhere
		w.idp.set(func(p *idp) { p.answer = nil })
		w.connect("g4")
		_, err = w.m.Token(t.Context(), moved)
		problem(t, err, oauthflow.ErrUnavailable)
		require.Len(t, w.idp.refreshes(), sent)
		mended := *moved.Client
		mended.ClientSecret = tokenstore.NewSecret("another")
		moved.Client = &mended
		_, err = w.m.Token(t.Context(), moved)
		require.NoError(t, err, "what was mended is tried at once")
	})
}

func TestMintingKeepsToTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMinter(t)
		requests := 0
		refuse := func(url.Values) (int, string, error) {
			requests++
			return 401, `{"error":"invalid_client"}`, nil
		}
		w.idp.set(func(p *idp) { p.answer = refuse })
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		for i := range 10 {
			other := w.forOrg(fmt.Sprint(i))
			_, err = w.m.Token(t.Context(), other)
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Equal(t, "invalid_client", e.Code)
			require.Equal(t, other.Key, e.Key)
		}
		require.Equal(t, 1, requests)
		w.idp.set(func(p *idp) { p.answer = nil })
		_, err = w.m.Renew(t.Context(), w.forOrg("3"), oauthflow.AnyGeneration)
		require.NoError(t, err, "a person's request is the probe")
		_, err = w.m.Token(t.Context(), w.forOrg("4"))
		require.NoError(t, err)
	})
}

// A connection that is made shows that the client is known.
func TestConnectingClosesTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.connectOrgs(2)
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) })
		_, err := w.m.Token(t.Context(), all[0])
		problem(t, err, oauthflow.ErrUnavailable)
		w.idp.set(func(p *idp) { p.answer = nil })
		w.target = w.forOrg("new")
		w.connect("g")
		_, err = w.m.Token(t.Context(), all[1])
		require.NoError(t, err)
	})
}

// refuse answers the grants so, and the others as usual.
func (w *world) refuse(status int, answer string, grants ...string) {
	w.idp.set(func(p *idp) {
		p.answer = func(form url.Values) (int, string, error) {
			grant, _, _ := strings.Cut(form.Get("refresh_token"), "/")
			if slices.Contains(grants, grant) {
				return status, answer, nil
			}
			return 0, "", nil
		}
	})
}

// Customers share a token URL (…/common/…). Whoever has removed the client there, or
// is throttled, is refused alone, however often they ask.
func TestAtASharedURLTheRefusedStopNobodyElse(t *testing.T) {
	tests := map[string]struct {
		bad     int
		press   bool // their members ask for a refresh, again and again
		status  int
		answer  string
		blocked int // at most, of 180 calls
	}{
		"removed, somebody presses Refresh": {1, true, 400, `{"error":"unauthorized_client"}`, 0},
		"throttled, and presses":            {1, true, 429, "retry-after 36000", 0},
		"five are removed":                  {5, false, 400, `{"error":"unauthorized_client"}`, 5},
		"five are removed and press":        {5, true, 400, `{"error":"unauthorized_client"}`, 5},
		"two are throttled":                 {2, false, 429, "retry-after 36000", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				all := w.connectOrgs(40)
				pass(2 * time.Hour)
				var grants []string
				for i := range tt.bad {
					grants = append(grants, fmt.Sprintf("g%d", i))
				}
				w.refuse(tt.status, tt.answer, grants...)
				blocked := 0
				for i := range 180 {
					for _, bad := range all[:tt.bad] {
						var err error
						if tt.press {
							_, err = w.m.Renew(t.Context(), bad, oauthflow.AnyGeneration)
						} else {
							_, err = w.m.Token(t.Context(), bad)
						}
						require.Error(t, err)
					}
					pass(10 * time.Second)
					if _, err := w.m.Token(t.Context(), all[tt.bad+i%(40-tt.bad)]); err != nil {
						blocked++
					}
					pass(10 * time.Second)
				}
				require.LessOrEqual(t, blocked, tt.blocked)
			})
		})
	}
}

// Several connections of an organization are one voice, and its pause is its own.
func TestThreeAccountsOfOneOrganizationStopNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		good := w.forOrg("good")
		w.target = good
		w.connect("good")
		var accounts []oauthflow.Target
		for _, account := range []string{"a", "b", "c"} {
			w.target = w.forOrg("bad")
			w.target.Key.Account = account
			w.connect("bad-" + account)
			accounts = append(accounts, w.target)
		}
		pass(2 * time.Hour)
		w.refuse(429, "retry-after 36000", "bad-a", "bad-b", "bad-c")
		for range 6 {
			for _, bad := range accounts {
				_, err := w.m.Token(t.Context(), bad)
				require.GreaterOrEqual(t, problem(t, err, oauthflow.ErrUnavailable).RetryAfter, 10*time.Minute)
			}
			_, err := w.m.Token(t.Context(), good)
			require.NoError(t, err)
			pass(590 * time.Second)
		}
		bad := 0
		for _, token := range w.idp.refreshes() {
			if strings.HasPrefix(token, "bad") {
				bad++
			}
		}
		require.Equal(t, len(accounts), bad, "each was told to wait, and waits")
		for range 9 {
			pass(time.Hour)
			for _, bad := range accounts {
				_, _ = w.m.Token(t.Context(), bad)
			}
			_, err := w.m.Token(t.Context(), good)
			require.NoError(t, err)
		}
	})
}
