package oauthflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// The protocol's functions are not exported, so these tests stand inside the
// package. t0 is the store's clock when each story begins.
var t0 = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

var (
	askRules       = rules{Timing: Timing{}.withDefaults(), policy: Ask}
	neverRules     = rules{Timing: Timing{}.withDefaults(), policy: Never}
	observingRules = rules{Timing: Timing{}.withDefaults(), policy: Ask, observed: true}
	reusableRules  = rules{Timing: Timing{}.withDefaults(), policy: Reusable}
)

// graceRules are REFRESH's example of a provider that forgives for 30 s.
var graceRules = rules{
	Timing: Timing{
		Request: 8 * time.Second, SendWindow: 3 * time.Second, Transit: 3 * time.Second,
		Stall: 2 * time.Second, Record: 5 * time.Second, Attempt: 15 * time.Second,
	},
	policy: Grace, grace: 30 * time.Second,
}

// ended is a connection whose access token ended a minute before t0.
func ended() *tokenstore.Connection {
	return &tokenstore.Connection{
		Key: tokenstore.Key{Definition: "d"}, Version: 9, Generation: 7, GrantID: "g", Status: tokenstore.Active,
		Sealed: []byte("gen 7"), HasAccessToken: true, HasRefreshToken: true,
		ExpiresAt: at(-time.Minute), ObtainedAt: at(-time.Hour),
	}
}

// good is a connection whose access token lives until an hour after t0.
func good() *tokenstore.Connection {
	c := ended()
	c.ExpiresAt, c.ObtainedAt = at(time.Hour), at(0)
	return c
}

// closing is a connection whose access token ends ten seconds after t0.
func closing() *tokenstore.Connection {
	c := ended()
	c.ExpiresAt = at(10 * time.Second)
	return c
}

func pres(id string) presentation {
	return presentation{id: id, grant: "g", generation: 7, tokenHash: []byte("hash of RT1"), number: 1}
}

// opened begins an attempt at t0, and takes it over for each further id as soon
// as that is allowed. It returns the presentations and when the last one began.
func opened(t *testing.T, r rules, c *tokenstore.Connection, ids ...string) ([]presentation, time.Time) {
	t.Helper()
	now := at(0)
	var ps []presentation
	for _, id := range ids {
		p := pres(id)
		if c.Attempt != nil {
			now = c.Attempt.Deadline.Add(time.Millisecond)
		}
		require.NoError(t, r.present(c, now, want{}, p))
		p.number = c.Attempt.Presentations
		ps = append(ps, p)
	}
	return ps, now
}

func successor(generation int64) received {
	return received{generation: generation, sealed: []byte("successor"), access: true, refresh: true, lifetime: time.Hour}
}

func TestDecide(t *testing.T) {
	attempt := func(c *tokenstore.Connection, change func(*tokenstore.Attempt)) *tokenstore.Connection {
		c.Attempt = &tokenstore.Attempt{
			ID: "a", Open: []string{"a"}, Generation: 7, Started: at(-time.Minute), Deadline: at(-30 * time.Second), Presentations: 1,
		}
		change(c.Attempt)
		return c
	}
	with := func(c *tokenstore.Connection, change func(*tokenstore.Connection)) *tokenstore.Connection {
		change(c)
		return c
	}
	past := func(*tokenstore.Attempt) {}
	ahead := func(a *tokenstore.Attempt) { a.Deadline = at(20 * time.Second) }
	dead := func(c *tokenstore.Connection) { c.Status, c.Reason = tokenstore.ReauthRequired, ReasonInvalidGrant }
	kept := func(c *tokenstore.Connection) { c.Kept = 2 }
	keptOnce := func(c *tokenstore.Connection) { c.Kept = 1 }
	cooling := func(c *tokenstore.Connection) { c.RetryAt = at(time.Minute) }
	rejected, forced := want{generation: 7, rejected: true}, want{generation: 7, force: true}

	tests := map[string]struct {
		rules rules
		conn  *tokenstore.Connection
		want  want
		step  step
		until time.Duration // after t0; 0: none
	}{
		"nothing stored":                       {askRules, &tokenstore.Connection{Status: tokenstore.NotConnected}, want{}, disconnected, 0},
		"fresh":                                {askRules, good(), want{}, serve, 0},
		"lifetime unknown":                     {askRules, with(good(), func(c *tokenstore.Connection) { c.ExpiresAt = time.Time{} }), want{}, serve, 0},
		"lifetime unknown, rejected by an API": {askRules, with(good(), func(c *tokenstore.Connection) { c.ExpiresAt = time.Time{} }), rejected, begin, 0},
		"about to end":                         {askRules, closing(), want{}, begin, 0},
		"ended":                                {askRules, ended(), want{}, begin, 0},
		"no access token":                      {askRules, with(good(), func(c *tokenstore.Connection) { c.HasAccessToken = false }), want{}, begin, 0},
		"rejected by an API":                   {askRules, good(), rejected, begin, 0},
		"a later one was rejected":             {askRules, good(), want{generation: 6, rejected: true}, serve, 0},
		"a person wants it renewed":            {askRules, good(), forced, begin, 0},
		"degraded, ended":                      {askRules, with(ended(), func(c *tokenstore.Connection) { c.Status = tokenstore.Degraded }), want{}, begin, 0},

		"no refresh token, ended":    {askRules, with(ended(), func(c *tokenstore.Connection) { c.HasRefreshToken = false }), want{}, expire, 0},
		"no refresh token, ending":   {askRules, with(closing(), func(c *tokenstore.Connection) { c.HasRefreshToken = false }), want{}, serve, 0},
		"dead, ended":                {askRules, with(ended(), dead), want{}, reauth, 0},
		"dead, token still good":     {askRules, with(closing(), dead), want{}, serve, 0},
		"dead, good token rejected":  {askRules, with(good(), dead), rejected, reauth, 0},
		"dead, a person presses":     {askRules, with(good(), dead), forced, reauth, 0},
		"fits its definition again":  {askRules, with(ended(), func(c *tokenstore.Connection) { c.Status, c.Reason = tokenstore.ReauthRequired, ReasonEntityChanged }), want{}, begin, 0},
		"cooling down, ended":        {askRules, with(ended(), cooling), want{}, cool, time.Minute},
		"cooling down, still good":   {askRules, with(closing(), cooling), want{}, serve, 0},
		"cooling down, rejected":     {askRules, with(good(), cooling), rejected, cool, time.Minute},
		"cooling down, a person":     {askRules, with(ended(), cooling), forced, begin, 0},
		"cooling down, attempt open": {askRules, with(attempt(ended(), past), cooling), want{}, cool, time.Minute},

		"attempt under way, ended":             {askRules, attempt(ended(), ahead), want{}, wait, 20 * time.Second},
		"attempt under way, still good":        {askRules, attempt(closing(), ahead), want{}, serve, 0},
		"attempt under way, rejected":          {askRules, attempt(good(), ahead), rejected, wait, 20 * time.Second},
		"attempt under way, a person":          {askRules, attempt(good(), ahead), forced, wait, 20 * time.Second},
		"deadline reached, not passed":         {askRules, attempt(ended(), func(a *tokenstore.Attempt) { a.Deadline = at(0) }), want{}, wait, 0},
		"attempt over, longer pause asked for": {askRules, with(attempt(ended(), ahead), cooling), want{}, cool, time.Minute},

		"ask: given up, ended":                  {askRules, attempt(ended(), past), want{}, takeOver, 0},
		"ask: given up, still good":             {askRules, attempt(closing(), past), want{}, serve, 0},
		"ask: given up, a person, still good":   {askRules, attempt(good(), past), forced, cool, time.Hour},
		"ask: given up, rejected":               {askRules, attempt(good(), past), rejected, takeOver, 0},
		"never: given up, ended":                {neverRules, attempt(ended(), past), want{}, lose, 0},
		"never: given up, still good":           {neverRules, attempt(closing(), past), want{}, serve, 0},
		"never: given up, a person":             {neverRules, attempt(ended(), past), forced, lose, 0},
		"never: given up, cooling down":         {neverRules, with(attempt(ended(), past), cooling), want{}, cool, time.Minute},
		"reusable: under way, ended":            {reusableRules, attempt(ended(), ahead), want{}, wait, 20 * time.Second},
		"reusable: given up, ended":             {reusableRules, attempt(ended(), past), want{}, takeOver, 0},
		"reusable: given up, still good":        {reusableRules, attempt(closing(), past), want{}, takeOver, 0},
		"reusable: given up, fresh":             {reusableRules, attempt(good(), past), want{}, serve, 0},
		"observed: given up, ended":             {askRules, with(attempt(ended(), past), kept), want{}, takeOver, 0},
		"observed: given up, still good":        {observingRules, with(attempt(closing(), past), kept), want{}, takeOver, 0},
		"observed: kept once, still good":       {observingRules, with(attempt(closing(), past), keptOnce), want{}, serve, 0},
		"observed: ask is declared":             {askRules, with(attempt(closing(), past), kept), want{}, serve, 0},
		"observed: never is declared":           {neverRules, with(attempt(ended(), past), kept), want{}, lose, 0},
		"reusable: given up, cooling down":      {reusableRules, with(attempt(ended(), past), cooling), want{}, cool, time.Minute},
		"older generation's attempt, over":      {neverRules, attempt(ended(), func(a *tokenstore.Attempt) { a.Generation = 6 }), want{}, clearStale, 0},
		"older generation's attempt, under way": {askRules, attempt(ended(), func(a *tokenstore.Attempt) { a.Generation = 6; ahead(a) }), want{}, wait, 20 * time.Second},

		"clock set back: begun in the future":   {askRules, attempt(ended(), func(a *tokenstore.Attempt) { a.Started = at(time.Second) }), want{}, restamp, 0},
		"clock set back: deadline out of reach": {askRules, attempt(ended(), func(a *tokenstore.Attempt) { a.Deadline = at(31 * time.Second) }), want{}, restamp, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := tt.rules.decide(tt.conn, at(0), tt.want)
			require.Equal(t, tt.step, d.step)
			if tt.until != 0 {
				require.Equal(t, at(tt.until), d.until)
			}
		})
	}
}

func TestGraceGuard(t *testing.T) {
	// One retry while NOW + S + E + N <= begun + grace, whether or not the access
	// token is good; afterwards as under ask.
	tests := map[string]struct {
		good  bool          // the access token is
		now   time.Duration // after the attempt's begin; its deadline is 15 s
		after int           // presentations so far
		step  step
	}{
		"deadline not passed":          {false, 15 * time.Second, 1, wait},
		"inside":                       {false, 16 * time.Second, 1, takeOver},
		"inside, token still good":     {true, 16 * time.Second, 1, takeOver},
		"last moment":                  {true, 22 * time.Second, 1, takeOver},
		"past it, token still good":    {true, 22*time.Second + 1, 1, serve},
		"past it, ended":               {false, 22*time.Second + 1, 1, takeOver}, // asks
		"used already, still good":     {true, 16 * time.Second, 2, serve},
		"used already, token has gone": {false, 16 * time.Second, 2, takeOver},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := ended()
			if tt.good {
				c.ExpiresAt = at(40 * time.Second)
			}
			c.Attempt = &tokenstore.Attempt{
				ID: "a", Open: []string{"a"}, Generation: 7, Started: at(0), Deadline: at(15 * time.Second), Presentations: tt.after,
			}
			require.Equal(t, tt.step, graceRules.decide(c, at(tt.now), want{}).step)
		})
	}
}

func TestRulesOf(t *testing.T) {
	kept := &tokenstore.Connection{Kept: 5}
	require.Equal(t, Ask, rulesOf(Timing{}, &Provider{}).policy)
	require.Equal(t, Reusable, rulesOf(Timing{}, &Provider{}).policyFor(kept))
	require.Equal(t, Grace, rulesOf(Timing{}, &Provider{ReuseGrace: time.Minute}).policy)
	require.Equal(t, Grace, rulesOf(Timing{}, &Provider{ReuseGrace: time.Minute}).policyFor(kept))
	for _, policy := range []RefreshPolicy{Ask, Reusable, Never} {
		require.Equal(t, policy, rulesOf(Timing{}, &Provider{ReuseGrace: time.Minute, RefreshPolicy: policy}).policy)
		require.Equal(t, policy, rulesOf(Timing{}, &Provider{RefreshPolicy: policy}).policyFor(kept))
	}
}

func TestTimingInequalities(t *testing.T) {
	s := time.Second
	tests := map[string]struct {
		timing Timing
		good   bool
	}{
		"defaults":                     {Timing{}, true},
		"example with 30 s of grace":   {graceRules.Timing, true},
		"A1: D = S+E+N + C+E":          {Timing{SendWindow: 3 * s, Stall: 2 * s, Transit: 2 * s, Request: s, Record: s, Attempt: 10 * s}, true},
		"A1: one less":                 {Timing{SendWindow: 3 * s, Stall: 2 * s, Transit: 2 * s, Request: s, Record: s, Attempt: 9 * s}, false},
		"A2: D = T+C+E":                {Timing{SendWindow: s, Stall: s, Transit: s, Request: 8 * s, Record: 5 * s, Attempt: 14 * s}, true},
		"A2: verdict would come late":  {Timing{SendWindow: s, Stall: s, Transit: s, Request: 8 * s, Record: 5 * s, Attempt: 13 * s}, false},
		"longer request, same attempt": {Timing{Request: 16 * s}, false},
		"negative":                     {Timing{Stall: -s}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := tt.timing.Validate(); tt.good {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
}

func TestPresentBegins(t *testing.T) {
	c := ended()
	require.NoError(t, askRules.present(c, at(0), want{}, pres("a")))
	require.Equal(t, &tokenstore.Attempt{
		ID: "a", Open: []string{"a"}, Generation: 7, TokenHash: []byte("hash of RT1"),
		Started: at(0), Deadline: at(30 * time.Second), Presentations: 1,
	}, c.Attempt)
	require.Equal(t, int64(7), c.Generation, "beginning must not change what is sealed for")
}

func TestCheckGrace(t *testing.T) {
	half := 30 * time.Second
	tests := map[string]struct {
		timing   Timing
		provider Provider
		good     bool
	}{
		"no grace":                       {Timing{}, Provider{}, true},
		"half a minute, defaults":        {Timing{}, Provider{ReuseGrace: half}, false},
		"half a minute, tighter":         {graceRules.Timing, Provider{ReuseGrace: half}, true},
		"45 seconds, defaults":           {Timing{}, Provider{ReuseGrace: 45 * time.Second}, true},
		"a moment less":                  {Timing{}, Provider{ReuseGrace: 45*time.Second - 1}, false},
		"declared, and the grace is not": {Timing{}, Provider{RefreshPolicy: Grace}, false},
		"another policy is declared":     {Timing{}, Provider{ReuseGrace: half, RefreshPolicy: Ask}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := tt.timing.CheckGrace(&tt.provider); tt.good {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "Timing.Attempt 30s, which needs 45s; see docs/refresh.md#timing")
			}
		})
	}
}
