package oauthflow

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestSlotsOfDifferentAccessDiffer(t *testing.T) {
	list := []Access{{}, {Scope: "a"}, {Audience: "a"}, {Scope: "a b"}, {Scope: "b a"}, {Scope: "a", Audience: "b"}, {Scope: "a b", Audience: "b"}}
	seen := map[string]Access{}
	for _, a := range list {
		require.NotContains(t, seen, a.slot(), "%v and %v", a, seen[a.slot()])
		seen[a.slot()] = a
		require.NotEmpty(t, a.String())
	}
	require.Empty(t, Access{}.slot())
}

func TestDecideForASlot(t *testing.T) {
	has := func(obtained, expires time.Duration) accessTimes { return accessTimes{true, at(obtained), at(expires)} }
	fresh, none := has(0, time.Hour), accessTimes{}
	lost := func(c *tokenstore.Connection) *tokenstore.Connection {
		c.Attempt = &tokenstore.Attempt{
			ID: "a", Open: []string{"a"}, Generation: 7, Started: at(-time.Minute), Deadline: at(-30 * time.Second), Presentations: 1,
		}
		return c
	}
	with := func(c *tokenstore.Connection, change func(*tokenstore.Connection)) *tokenstore.Connection {
		change(c)
		return c
	}
	dead := func(c *tokenstore.Connection) { c.Status, c.Reason = tokenstore.ReauthRequired, ReasonInvalidGrant }
	bare := func(c *tokenstore.Connection) { c.HasRefreshToken = false }
	tests := map[string]struct {
		rules  rules
		conn   *tokenstore.Connection
		stored accessTimes
		flags  want
		step   step
		until  time.Duration // after t0; 0: none
	}{
		"never asked for":                        {askRules, good(), none, want{}, begin, 0},
		"fresh, though the own has ended":        {askRules, ended(), fresh, want{}, serve, 0},
		"ended, though the own is fresh":         {askRules, good(), has(-time.Hour, -1), want{}, begin, 0},
		"in its margin":                          {askRules, good(), has(-time.Hour, 10*time.Second), want{}, begin, 0},
		"lifetime unknown":                       {askRules, good(), accessTimes{true, at(-time.Hour), time.Time{}}, want{}, serve, 0},
		"rejected":                               {askRules, good(), fresh, want{rejected: true}, begin, 0},
		"a person presses":                       {askRules, good(), fresh, want{force: true}, begin, 0},
		"ended on arrival":                       {askRules, good(), has(-20*time.Second, -20*time.Second), want{}, cool, 40 * time.Second},
		"ended on arrival, a minute ago":         {askRules, good(), has(-time.Minute, -2*time.Minute), want{}, begin, 0},
		"ended on arrival, a person":             {askRules, good(), has(-20*time.Second, -20*time.Second), want{force: true}, begin, 0},
		"ended on arrival, clock set back":       {askRules, good(), has(time.Hour, -time.Second), want{}, begin, 0},
		"no refresh token":                       {askRules, with(good(), bare), none, want{}, expire, 0},
		"no refresh token, fresh":                {askRules, with(good(), bare), fresh, want{}, serve, 0},
		"dead":                                   {askRules, with(ended(), dead), none, want{}, reauth, 0},
		"dead, fresh":                            {askRules, with(ended(), dead), fresh, want{}, serve, 0},
		"outcome unknown, the own is good":       {askRules, lost(good()), none, want{}, cool, time.Hour},
		"outcome unknown, nothing is good":       {askRules, lost(ended()), none, want{}, takeOver, 0},
		"outcome unknown, fresh":                 {askRules, lost(good()), fresh, want{}, serve, 0},
		"outcome unknown, rejected, own is good": {askRules, lost(good()), fresh, want{rejected: true}, cool, time.Hour},
		"never again, the own is good":           {neverRules, lost(good()), none, want{}, cool, time.Hour},
		"never again, nothing is good":           {neverRules, lost(ended()), none, want{}, lose, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := tt.flags
			w.slot, w.generation, w.stored = "s\n", 7, tt.stored
			before := *tt.conn
			d := tt.rules.decide(tt.conn, at(0), w)
			require.Equal(t, tt.step, d.step)
			if tt.until != 0 {
				require.Equal(t, at(tt.until), d.until)
			}
			require.Equal(t, before, *tt.conn, "decide changes nothing")
			if tt.step == expire {
				require.ErrorIs(t, tt.rules.tidy(tt.conn, at(0), w), errMoved)
			}
		})
	}
}

// A slot's reply is evidence about the refresh token, and about nothing else.
func TestCommitOfASlot(t *testing.T) {
	tests := map[string]struct {
		status tokenstore.Status
		reason string
		healed bool
		event  string
	}{
		"active":                 {tokenstore.Active, "", false, "refreshed "},
		"an outage before":       {tokenstore.Degraded, string(ClassTransient), true, "refreshed "},
		"unknown before":         {tokenstore.Degraded, string(ClassUnknown), true, "refreshed "},
		"the own scopes refused": {tokenstore.Degraded, string(ClassConfiguration), false, "refreshed "},
		"the own ended at once":  {tokenstore.Degraded, ReasonExpiredOnArrival, false, "refreshed "},
		"given up for lost":      {tokenstore.ReauthRequired, ReasonLostRotation, true, "healed "},
		"called dead":            {tokenstore.ReauthRequired, ReasonInvalidGrant, true, "healed "},
		"of another entity":      {tokenstore.ReauthRequired, ReasonEntityChanged, false, "refreshed "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good()
			c.ScopesGranted, c.DueAt = []string{"read"}, at(time.Hour)
			p := pres("a")
			require.NoError(t, askRules.present(c, at(0), want{slot: "s\n"}, p))
			c.Status, c.Reason, c.RetryAt = tt.status, tt.reason, at(time.Minute)
			got := received{
				generation: 8, sealed: []byte("successor"), slot: true, access: true, refresh: true,
				lifetime: time.Minute, scopes: []string{"mail"},
			}
			require.NoError(t, commit(c, at(time.Second), p, got, time.Second))
			require.Equal(t, int64(8), c.Generation)
			require.Equal(t, []string{tt.event}, kinds(c))
			require.Nil(t, c.Attempt)
			require.Equal(t, good().ExpiresAt, c.ExpiresAt)
			require.Equal(t, good().ObtainedAt, c.ObtainedAt)
			require.Equal(t, []string{"read"}, c.ScopesGranted)
			require.True(t, c.HasAccessToken)
			if tt.healed {
				require.Equal(t, tokenstore.Active, c.Status)
				require.Equal(t, nextVisit(c, true, defaultKeepAlive), c.DueAt)
				require.True(t, c.RetryAt.IsZero())
			} else {
				require.Equal(t, tt.status, c.Status)
				require.Equal(t, tt.reason, c.Reason)
				require.Equal(t, at(time.Hour), c.DueAt)
			}
		})
	}
}

func TestTokensSealedBeforeThereWereSlotsOpen(t *testing.T) {
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	s, ctx := tokenstore.NewSealer(ring), context.Background()
	c := good()
	old := []byte(`{"refresh_token":"UlQx","access":{"":{"token":"QVQx","type":"Bearer"}},"extra":{"id_token":"x"}}`)
	require.True(t, json.Valid(old))
	c.Sealed, err = s.Seal(ctx, old, tokenstore.Binding{Key: c.Key, Field: tokensField, Generation: c.Generation})
	require.NoError(t, err)
	tok, err := openTokens(ctx, s, c)
	require.NoError(t, err)
	require.Equal(t, "RT1", tok.refresh.Reveal())
	require.Equal(t, c.Generation, tok.born(c, ""))
	snap := newSnapshot(c, tok, "", at(0))
	require.Equal(t, "AT1", snap.AccessToken().Reveal())
	require.Nil(t, newSnapshot(c, tok, "s\n", at(0)))

	// And once another slot has come, it still says with which generation it came.
	next := tok.merge(&Reply{AccessToken: tokenstore.NewSecret("AT2"), Lifetime: time.Hour}, "s\n", at(0))
	c.Generation++
	c.Sealed, err = next.seal(ctx, s, c.Key, c.Generation)
	require.NoError(t, err)
	tok, err = openTokens(ctx, s, c)
	require.NoError(t, err)
	require.Equal(t, "RT1", tok.refresh.Reveal())
	require.Equal(t, int64(7), newSnapshot(c, tok, "", at(0)).Generation())
	snap = newSnapshot(c, tok, "s\n", at(0))
	require.Equal(t, int64(8), snap.Generation())
	require.Equal(t, "AT2", snap.AccessToken().Reveal())
	require.Nil(t, snap.Scopes())
}

func TestSlotsThatHaveEndedAreDropped(t *testing.T) {
	tok := &tokens{access: map[string]*accessToken{
		"":             {},
		"live\n":       {obtained: at(-time.Hour), expires: at(time.Hour)},
		"unknown\n":    {obtained: at(-time.Hour)},
		"just ended\n": {obtained: at(-time.Hour), expires: at(-time.Second)},
		"arrived so\n": {obtained: at(-time.Second), expires: at(-time.Hour)},
		"ended\n":      {obtained: at(-time.Hour), expires: at(-2 * time.Minute)},
	}}
	next := tok.merge(&Reply{AccessToken: tokenstore.NewSecret("AT")}, "new\n", at(0))
	require.NotContains(t, next.access, "ended\n")
	require.Len(t, next.access, 6)
	require.Len(t, tok.access, 6, "tokens are never changed once made")
}
