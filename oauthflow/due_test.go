package oauthflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestNextVisit(t *testing.T) {
	const week = defaultKeepAlive
	living := func(d time.Duration) *tokenstore.Connection {
		c := good()
		c.ObtainedAt, c.ExpiresAt = at(0), at(d)
		return c
	}
	with := func(c *tokenstore.Connection, change func(*tokenstore.Connection)) *tokenstore.Connection {
		change(c)
		return c
	}
	tests := map[string]struct {
		conn       *tokenstore.Connection
		used       bool
		from, upTo time.Duration // after t0; 0: never
	}{
		"an hour, used":                     {living(time.Hour), true, 55 * time.Minute, 56 * time.Minute},
		"an hour, unused":                   {living(time.Hour), false, week * 9 / 10, week},
		"ten minutes, used":                 {living(10 * time.Minute), true, 400 * time.Second, 440 * time.Second},
		"a minute, used":                    {living(time.Minute), true, 40 * time.Second, 44 * time.Second},
		"45 s: not sooner than after 30":    {living(45 * time.Second), true, 30 * time.Second, 33 * time.Second},
		"ten seconds: no use to be ahead":   {living(10 * time.Second), true, week * 9 / 10, week},
		"two months, used":                  {living(60 * 24 * time.Hour), true, week * 9 / 10, week},
		"nobody knows, used":                {with(living(1), func(c *tokenstore.Connection) { c.ExpiresAt = time.Time{} }), true, week * 9 / 10, week},
		"no refresh token":                  {with(living(time.Hour), func(c *tokenstore.Connection) { c.HasRefreshToken = false }), true, 0, 0},
		"disconnected":                      {&tokenstore.Connection{}, true, 0, 0},
		"had ended when it came":            {with(living(-time.Hour), func(c *tokenstore.Connection) { c.Reason = ReasonExpiredOnArrival }), true, week * 9 / 10, week},
		"not before a pause that was asked": {with(living(time.Hour), func(c *tokenstore.Connection) { c.RetryAt = at(2 * week) }), false, 2 * week, 2 * week},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seen := map[time.Time]bool{}
			for generation := range int64(50) {
				tt.conn.Generation = generation
				got := nextVisit(tt.conn, tt.used, week)
				if tt.upTo == 0 {
					require.Zero(t, got)
					return
				}
				require.False(t, got.Before(at(tt.from)), "%v", got.Sub(t0))
				require.False(t, got.After(at(tt.upTo)), "%v", got.Sub(t0))
				if tt.used && tt.upTo < week {
					require.True(t, got.Before(renewAt(tt.conn)), "ahead of callers")
				}
				seen[got] = true
			}
			require.True(t, len(seen) > 10 || tt.from == tt.upTo, "jittered")
		})
	}
}

func TestClaim(t *testing.T) {
	idle := func() *tokenstore.Connection {
		c := good()
		c.DueAt = nextVisit(c, false, defaultKeepAlive)
		return c
	}
	with := func(change func(*tokenstore.Connection)) *tokenstore.Connection {
		c := idle()
		change(c)
		return c
	}
	c := idle()
	require.NoError(t, claim(c, at(time.Minute), defaultKeepAlive))
	require.Equal(t, nextVisit(c, true, defaultKeepAlive), c.DueAt)
	require.ErrorIs(t, claim(c, at(time.Minute), defaultKeepAlive), errMoved, "once")
	for name, c := range map[string]*tokenstore.Connection{
		"a refresh is under way": with(func(c *tokenstore.Connection) { c.Attempt = &tokenstore.Attempt{} }),
		"put off by a failure":   with(func(c *tokenstore.Connection) { c.Status = tokenstore.Degraded }),
		"a person is wanted":     with(func(c *tokenstore.Connection) { c.Status = tokenstore.ReauthRequired; c.DueAt = time.Time{} }),
		"disconnected":           {},
		"lives for a month":      with(func(c *tokenstore.Connection) { c.ExpiresAt = at(30 * 24 * time.Hour) }),
	} {
		require.ErrorIs(t, claim(c, at(time.Minute), defaultKeepAlive), errMoved, name)
	}
	require.ErrorIs(t, claim(idle(), at(58*time.Minute), defaultKeepAlive), errMoved,
		"the next caller renews; and what was put off for a reason is not undone")
}

// Nothing that is due stays due after a look.
func TestPutOff(t *testing.T) {
	attempt := func(c *tokenstore.Connection) {
		c.Attempt = &tokenstore.Attempt{ID: "a", Open: []string{"a"}, Generation: 7, Started: at(-time.Minute), Deadline: at(-30 * time.Second), Presentations: 1}
	}
	tests := map[string]struct {
		rules  rules
		conn   *tokenstore.Connection
		change func(c *tokenstore.Connection)
		want   time.Duration // after t0; 0: never
	}{
		"nothing to see":              {askRules, good(), func(*tokenstore.Connection) {}, time.Minute},
		"cooling down":                {askRules, ended(), func(c *tokenstore.Connection) { c.RetryAt = at(time.Hour) }, time.Hour},
		"somebody's attempt":          {askRules, ended(), func(c *tokenstore.Connection) { attempt(c); c.Attempt.Deadline = at(25 * time.Second) }, time.Minute},
		"ask: not before the end":     {askRules, good(), attempt, time.Hour},
		"never: not before the end":   {neverRules, good(), attempt, time.Hour},
		"reusable: any time":          {reusableRules, good(), attempt, time.Minute},
		"ask: the access token ended": {askRules, ended(), attempt, time.Minute},
		"dead":                        {askRules, ended(), func(c *tokenstore.Connection) { c.Status, c.Reason = tokenstore.ReauthRequired, ReasonInvalidGrant }, 0},
		"the definition changed":      {askRules, good(), func(c *tokenstore.Connection) { c.Status, c.Reason = tokenstore.ReauthRequired, ReasonClientChanged }, changedPause},
		"no refresh token":            {askRules, good(), func(c *tokenstore.Connection) { c.HasRefreshToken = false }, 0},
		"disconnected":                {askRules, &tokenstore.Connection{}, func(*tokenstore.Connection) {}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.change(tt.conn)
			tt.conn.DueAt = at(-time.Second)
			require.NoError(t, tt.rules.putOff(tt.conn, at(0), time.Minute))
			if tt.want == 0 {
				require.Zero(t, tt.conn.DueAt)
			} else {
				require.Equal(t, at(tt.want), tt.conn.DueAt)
			}
			require.ErrorIs(t, tt.rules.putOff(tt.conn, at(0), time.Minute), errMoved)
		})
	}
}

// Every step that ends a refresh says when to look next.
func TestDueAtAfterEveryStep(t *testing.T) {
	begun := func(t *testing.T, r rules, ids ...string) (*tokenstore.Connection, []presentation, time.Time) {
		c := ended()
		c.DueAt = at(-time.Hour)
		ps, now := opened(t, r, c, ids...)
		return c, ps, now
	}
	t.Run("commit, used", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		require.NoError(t, commit(c, now, ps[0], successor(8), 0))
		require.Equal(t, nextVisit(c, true, defaultKeepAlive), c.DueAt)
	})
	t.Run("commit, unused", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		r := successor(8)
		r.idle, r.keepAlive = true, 30*24*time.Hour
		require.NoError(t, commit(c, now, ps[0], r, 0))
		require.Greater(t, c.DueAt.Sub(now), 26*24*time.Hour)
	})
	t.Run("commit without an access token", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		r := received{generation: 8, refresh: true, problem: &failure{class: ClassUnknown}}
		require.NoError(t, commit(c, now, ps[0], r, 0))
		require.Equal(t, now.Add(backgroundPause), c.DueAt)
	})
	t.Run("refused, ever more seldom", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		c.Failures, c.Reason = 9, string(ClassTransient)
		require.NoError(t, refused(c, now, ps[0], failure{class: ClassTransient}))
		require.Equal(t, now.Add(longestBackgroundPause), c.DueAt)
	})
	t.Run("unknown", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		require.NoError(t, askRules.unknown(c, now, ps[0], failure{class: ClassUnknown}))
		require.Equal(t, now.Add(backgroundPause), c.DueAt)
	})
	t.Run("dead, and overturned", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a", "b")
		require.NoError(t, dead(c, now, ps[1], failure{code: "invalid_grant"}))
		require.Zero(t, c.DueAt)
		require.NoError(t, commit(c, now, ps[0], successor(8), 0))
		require.False(t, c.DueAt.IsZero())
	})
	t.Run("lost, and never sent", func(t *testing.T) {
		c, ps, _ := begun(t, neverRules, "a")
		require.NoError(t, neverRules.tidy(c, at(31*time.Second), want{}))
		require.Zero(t, c.DueAt)
		require.NoError(t, notSent(c, at(time.Minute), ps[0]))
		require.Equal(t, at(time.Minute+backgroundPause), c.DueAt)
	})
	t.Run("given up by a caller: as it was", func(t *testing.T) {
		c, ps, now := begun(t, askRules, "a")
		require.NoError(t, notSent(c, now, ps[0]))
		require.Equal(t, at(-time.Hour), c.DueAt)
	})
	t.Run("connected and disconnected", func(t *testing.T) {
		c := ended()
		require.NoError(t, connect(c, at(0), grant{id: "g2", received: successor(8)}, 0))
		require.Equal(t, nextVisit(c, true, defaultKeepAlive), c.DueAt)
		require.NoError(t, disconnect(c, at(0), removal{actor: "bob"}))
		require.Zero(t, c.DueAt)
	})
	t.Run("the definition is another, and is changed back", func(t *testing.T) {
		c := good()
		require.NoError(t, markChanged(c, at(0), ReasonEntityChanged))
		require.Equal(t, at(changedPause), c.DueAt)
		require.NoError(t, unmarkChanged(c, at(time.Hour), defaultKeepAlive))
		require.Equal(t, nextVisit(c, true, defaultKeepAlive), c.DueAt)
	})
}

func TestDecideForTheBackground(t *testing.T) {
	w := want{walk: true}
	c := good()
	c.DueAt = at(0)
	require.Equal(t, begin, askRules.decide(c, at(0), w).step, "good, and due")
	require.Equal(t, serve, askRules.decide(c, at(0), want{}).step, "for callers it is not")
	require.Equal(t, serve, askRules.decide(c, at(-time.Second), w).step, "not due yet")
	c.RetryAt = at(time.Minute)
	require.Equal(t, serve, askRules.decide(c, at(0), w).step, "a pause is a pause")
	c.RetryAt = time.Time{}
	require.ErrorIs(t, askRules.present(c, at(0), want{}, pres("a")), errMoved)
	require.NoError(t, askRules.present(c, at(0), w, pres("a")))
	require.Equal(t, serve, askRules.decide(c, at(time.Second), w).step, "it skips what is under way")
	c.ExpiresAt = at(0)
	require.Equal(t, wait, askRules.decide(c, at(time.Second), w).step)
}
