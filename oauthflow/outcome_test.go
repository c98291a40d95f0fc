package oauthflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func kinds(c *tokenstore.Connection) []string {
	var list []string
	for _, e := range c.Pending {
		list = append(list, e.Kind+" "+e.Reason)
	}
	return list
}

func TestCommitStoresWhatCame(t *testing.T) {
	// The request took three seconds: lifetimes count from before it.
	const took = 3 * time.Second
	tests := map[string]struct {
		got     received
		expires time.Time
		status  tokenstore.Status
		reason  string
		retry   time.Time
		due     bool
	}{
		"one hour": {
			received{generation: 8, access: true, refresh: true, lifetime: time.Hour},
			at(time.Hour - took), tokenstore.Active, "", time.Time{}, true,
		},
		"unknown lifetime": {
			received{generation: 8, access: true, refresh: true},
			time.Time{}, tokenstore.Active, "", time.Time{}, true,
		},
		"absolute expiry": {
			received{generation: 8, access: true, refresh: true, expiresAt: at(2 * time.Hour)},
			at(2 * time.Hour), tokenstore.Active, "", time.Time{}, true,
		},
		"negative lifetime": {
			received{generation: 8, access: true, refresh: true, lifetime: -time.Second},
			at(-took - time.Second), tokenstore.Degraded, ReasonExpiredOnArrival, at(time.Minute), true,
		},
		"absolute expiry in the past": {
			received{generation: 8, access: true, refresh: true, expiresAt: at(-time.Hour)},
			at(-time.Hour), tokenstore.Degraded, ReasonExpiredOnArrival, at(time.Minute), true,
		},
		"shorter than the request took": {
			received{generation: 8, access: true, refresh: true, lifetime: 2 * time.Second},
			at(-time.Second), tokenstore.Active, "", time.Time{}, true,
		},
		"no refresh token": {
			received{generation: 8, access: true, lifetime: time.Hour},
			at(time.Hour - took), tokenstore.Active, "", time.Time{}, false,
		},
		"no usable access token": {
			received{generation: 8, refresh: true, problem: &failure{class: ClassUnknown, code: "http_200"}},
			time.Time{}, tokenstore.Degraded, string(ClassUnknown), at(5 * time.Second), true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := ended()
			c.LastError, c.Failures, c.RetryAt = &tokenstore.Failure{Code: "old"}, 3, at(-time.Hour)
			c.Status, c.Reason = tokenstore.Degraded, string(ClassTransient)
			ps, _ := opened(t, askRules, c, "a")
			require.NoError(t, commit(c, at(0), ps[0], tt.got, took))
			require.Equal(t, int64(8), c.Generation)
			require.Equal(t, tt.expires, c.ExpiresAt)
			require.Equal(t, tt.status, c.Status)
			require.Equal(t, tt.reason, c.Reason)
			require.Equal(t, tt.retry, c.RetryAt)
			require.Equal(t, tt.due, !c.DueAt.IsZero())
			require.Equal(t, tt.got.access, c.HasAccessToken)
			require.Equal(t, tt.got.refresh, c.HasRefreshToken)
			require.Equal(t, tt.status == tokenstore.Active, c.LastError == nil)
			require.Equal(t, eventRefreshed, c.Pending[0].Kind)
		})
	}
}

func TestCommitKeepsScopesTheReplyDoesNotName(t *testing.T) {
	c := ended()
	c.ScopesGranted = []string{"read"}
	ps, _ := opened(t, askRules, c, "a")
	require.NoError(t, commit(c, at(0), ps[0], successor(8), 0))
	require.Equal(t, []string{"read"}, c.ScopesGranted)
}

func TestCommitCountsRefreshesThatKeepTheToken(t *testing.T) {
	c := ended()
	commits := func(kept bool) int {
		p := presentation{id: "a", grant: "g", generation: c.Generation, number: 1}
		got := successor(c.Generation + 1)
		got.kept = kept
		require.NoError(t, commit(c, at(0), p, got, 0))
		return c.Kept
	}
	require.Equal(t, []int{1, 2, 3, 0, 1}, []int{commits(true), commits(true), commits(true), commits(false), commits(true)})
	require.NoError(t, connect(c, at(0), grant{id: "h", received: successor(c.Generation + 1)}, 0))
	require.Zero(t, c.Kept, "it is another grant's token")
}

func TestFailuresAreCountedByClass(t *testing.T) {
	c := ended()
	for i := range 3 {
		fail(c, at(time.Duration(i)*time.Minute), failure{class: ClassTransient, code: "http_503", message: "m"}, false)
	}
	require.Equal(t, 3, c.Failures)
	require.Equal(t, at(0), c.FirstFailureAt)
	require.Equal(t, &tokenstore.Failure{Code: "http_503", Message: "m", At: at(2 * time.Minute)}, c.LastError)
	fail(c, at(time.Hour), failure{class: ClassOperator, code: "invalid_client"}, false)
	require.Equal(t, 1, c.Failures)
	require.Equal(t, at(time.Hour), c.FirstFailureAt)
	require.Equal(t, tokenstore.Degraded, c.Status)
	require.Equal(t, string(ClassOperator), c.Reason)
	require.Equal(t, c.RetryAt, c.DueAt)
}

func TestUnclassifiedBecomesAVerdictSlowly(t *testing.T) {
	refuse := func(c *tokenstore.Connection, times []time.Duration, class Class) {
		for _, d := range times {
			fail(c, at(d), failure{class: class, code: "invalid_request"}, false)
		}
	}
	hour := []time.Duration{0, 15 * time.Minute, 30 * time.Minute, 45 * time.Minute, time.Hour}
	tests := map[string]struct {
		conn  *tokenstore.Connection
		times []time.Duration
		class Class
		want  tokenstore.Status
	}{
		"five times over an hour":            {ended(), hour, ClassUnclassified, tokenstore.ReauthRequired},
		"four times":                         {ended(), append([]time.Duration{}, hour[1:]...), ClassUnclassified, tokenstore.Degraded},
		"five times in less":                 {ended(), []time.Duration{0, 1, 2, 3, time.Hour - 1}, ClassUnclassified, tokenstore.Degraded},
		"with a good access token":           {func() *tokenstore.Connection { c := good(); c.ExpiresAt = at(2 * time.Hour); return c }(), hour, ClassUnclassified, tokenstore.Degraded},
		"invalid_client, however often":      {ended(), append(hour, 24*time.Hour), ClassOperator, tokenstore.Degraded},
		"an outage, however long":            {ended(), append(hour, 24*time.Hour), ClassTransient, tokenstore.Degraded},
		"unknown outcomes, however often":    {ended(), append(hour, 24*time.Hour), ClassUnknown, tokenstore.Degraded},
		"invalid_scope is no verdict at all": {ended(), append(hour, 24*time.Hour), ClassConfiguration, tokenstore.Degraded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			refuse(tt.conn, tt.times, tt.class)
			require.Equal(t, tt.want, tt.conn.Status)
			require.Equal(t, string(tt.class), tt.conn.Reason)
		})
	}
	t.Run("an outage in between does not count", func(t *testing.T) {
		c := ended()
		refuse(c, hour, ClassTransient)
		refuse(c, []time.Duration{2 * time.Hour}, ClassUnclassified)
		require.Equal(t, tokenstore.Degraded, c.Status)
	})
}

func TestCoolDown(t *testing.T) {
	tests := map[string]struct {
		f    failure
		n    int
		want time.Duration
	}{
		"least":                    {failure{class: ClassTransient}, 1, time.Second},
		"full jitter":              {failure{class: ClassTransient, jitter: 0.5}, 1, 1500 * time.Millisecond},
		"doubles":                  {failure{class: ClassTransient, jitter: 0.5}, 4, 8500 * time.Millisecond},
		"ends at five minutes":     {failure{class: ClassTransient, jitter: 1}, 1000, 5 * time.Minute},
		"longer for an operator":   {failure{class: ClassOperator}, 1, 30 * time.Second},
		"longer when unclassified": {failure{class: ClassUnclassified, jitter: 1}, 2, 2 * time.Minute},
		"ends at a quarter hour":   {failure{class: ClassConfiguration, jitter: 1}, 9, 15 * time.Minute},
		"Retry-After obeyed":       {failure{class: ClassTransient, retryAfter: 10 * time.Minute, jitter: 1}, 1, 10 * time.Minute},
		"Retry-After is the least": {failure{class: ClassTransient, retryAfter: time.Millisecond, jitter: 0.5}, 1, 1500 * time.Millisecond},
		"Retry-After of a century": {failure{class: ClassTransient, retryAfter: 876000 * time.Hour}, 1, 24 * time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, coolDown(tt.f, tt.n)) })
	}
}

func TestTransientFailureStrikesTheAttempt(t *testing.T) {
	c := ended()
	ps, _ := opened(t, askRules, c, "a")
	require.NoError(t, refused(c, at(time.Second), ps[0], failure{class: ClassTransient, code: "http_429", retryAfter: time.Minute}))
	require.Nil(t, c.Attempt)
	require.Equal(t, tokenstore.Degraded, c.Status)
	require.Equal(t, at(61*time.Second), c.RetryAt)
	require.Equal(t, []string{"refresh_failed http_429"}, kinds(c))
	require.Equal(t, cool, askRules.decide(c, at(time.Minute), want{}).step)
	require.Equal(t, begin, askRules.decide(c, at(61*time.Second), want{}).step)
}

func TestDeadAfterARejectedTokenEndsItForEverybody(t *testing.T) {
	c := good()
	p := pres("a")
	p.rejected = true
	w := want{generation: 7, rejected: true}
	require.NoError(t, askRules.present(c, at(0), w, p))
	require.NoError(t, dead(c, at(time.Second), p, failure{code: "invalid_grant"}))
	require.Equal(t, reauth, askRules.decide(c, at(2*time.Second), want{}).step)
	require.Equal(t, []string{"reauth_required invalid_grant"}, kinds(c))
}

func TestMarginIsAQuarterOfTheLifetimeAndAMinuteAtMost(t *testing.T) {
	for _, lifetime := range []time.Duration{2 * time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		seen := map[time.Duration]bool{}
		for generation := range int64(50) {
			c := good()
			c.Generation, c.ExpiresAt = generation, at(lifetime)
			margin := c.ExpiresAt.Sub(renewAt(c))
			longest := min(lifetime/4, time.Minute)
			require.LessOrEqual(t, margin, longest)
			require.GreaterOrEqual(t, margin, longest*3/4)
			require.Equal(t, renewAt(c), renewAt(c))
			seen[margin] = true
		}
		require.Greater(t, len(seen), 20, "jittered per generation")
	}
	c := good()
	c.ExpiresAt, c.ObtainedAt = at(-time.Minute), at(0)
	require.Equal(t, c.ExpiresAt, renewAt(c), "a negative lifetime has no margin")
}

func TestConnectLeavesNothingOfTheOldGrant(t *testing.T) {
	c := ended()
	opened(t, askRules, c, "a")
	c.Failures, c.LastError, c.RetryAt, c.AccountName = 4, &tokenstore.Failure{}, at(time.Hour), "old"
	c.ParentGeneration, c.ParentPresentation, c.LastRefreshAt = 6, 1, at(-time.Hour)
	g := grant{
		id: "g2", received: successor(8), entityID: "e", clientID: "c", tokenHost: "h", accountID: "1",
		accountName: "new", by: "bob", requested: []string{"read"},
	}
	require.NoError(t, connect(c, at(0), g, time.Second))
	c.DueAt = time.Time{}
	require.Equal(t, []string{"connected reconnected"}, kinds(c))
	require.Equal(t, "bob", c.Pending[0].Actor)
	c.Pending = nil
	require.Equal(t, &tokenstore.Connection{
		Key: c.Key, Version: 9, Generation: 8, GrantID: "g2", Status: tokenstore.Active,
		Sealed: []byte("successor"), HasAccessToken: true, HasRefreshToken: true,
		ObtainedAt: at(-time.Second), ExpiresAt: at(time.Hour - time.Second),
		EntityID: "e", ClientID: "c", TokenHost: "h", AccountID: "1", AccountName: "new",
		ConnectedBy: "bob", ConnectedAt: at(0), ScopesRequested: []string{"read"},
	}, c)

	require.ErrorIs(t, connect(c, at(0), grant{id: "g3", received: successor(8)}, 0), errMoved,
		"sealed for a generation that is taken")
}

func TestChangedIsSoft(t *testing.T) {
	c := good()
	require.NoError(t, markChanged(c, at(0), ReasonEntityChanged))
	require.Equal(t, tokenstore.ReauthRequired, c.Status)
	require.ErrorIs(t, markChanged(c, at(0), ReasonEntityChanged), errMoved, "once")
	require.NoError(t, markChanged(c, at(0), ReasonClientChanged))
	require.Equal(t, ReasonClientChanged, c.Reason)

	c.UpdatedAt = at(0)
	require.ErrorIs(t, unmarkChanged(c, at(59*time.Second), defaultKeepAlive), errMoved, "two processes must not write against each other")
	require.NoError(t, unmarkChanged(c, at(time.Minute), defaultKeepAlive))
	require.Equal(t, tokenstore.Active, c.Status)
	require.Nil(t, c.LastError)

	c.Status, c.Reason = tokenstore.ReauthRequired, ReasonInvalidGrant
	require.ErrorIs(t, markChanged(c, at(0), ReasonEntityChanged), errMoved, "the provider's verdict stands")
	require.ErrorIs(t, unmarkChanged(c, at(time.Hour), defaultKeepAlive), errMoved)
}

// What went wrong before is not what people are told about a verdict.
func TestAVerdictsFailureIsItsOwn(t *testing.T) {
	old := &tokenstore.Failure{Code: "http_503", Message: "away", At: at(-time.Hour)}
	tests := map[string]func(*tokenstore.Connection) error{
		ReasonNoRefreshToken: func(c *tokenstore.Connection) error {
			c.HasRefreshToken = false
			return askRules.tidy(c, at(0), want{})
		},
		ReasonEntityChanged:     func(c *tokenstore.Connection) error { return markChanged(c, at(0), ReasonEntityChanged) },
		ReasonClientChanged:     func(c *tokenstore.Connection) error { return markChanged(c, at(0), ReasonClientChanged) },
		ReasonDefinitionChanged: func(c *tokenstore.Connection) error { return markChanged(c, at(0), ReasonDefinitionChanged) },
	}
	for reason, verdict := range tests {
		t.Run(reason, func(t *testing.T) {
			c := ended()
			c.LastError = old
			require.NoError(t, verdict(c))
			require.Equal(t, reason, c.Reason)
			require.Equal(t, reason, c.LastError.Code)
			require.Equal(t, at(0), c.LastError.At)
			require.NotEmpty(t, c.LastError.Message)
		})
	}
}
