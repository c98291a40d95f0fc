package oauthflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Each test is an ordering by which an obvious design loses a token. P1 is the
// first holder (presentation "a"), P2 the one who recovers ("b"), P3 comes last
// ("c"). A model checker found them.

// 1, 2: P1 reads, is suspended, and begins "because it held the lease".
func TestOrdering1AnAttemptIsBegunOnARecordThatStillAllowsIt(t *testing.T) {
	t.Run("P2's attempt is under way", func(t *testing.T) {
		c := ended()
		opened(t, askRules, c, "b")
		before := c.Clone()
		require.ErrorIs(t, askRules.present(c, at(time.Second), want{}, pres("a")), errMoved)
		require.Equal(t, before, c)
	})
	t.Run("P2 has committed", func(t *testing.T) {
		c := ended()
		ps, now := opened(t, askRules, c, "b")
		require.NoError(t, commit(c, now, ps[0], successor(8), 0))
		c.ExpiresAt = at(0) // and its token has ended again: there would be something to do
		require.ErrorIs(t, askRules.present(c, at(time.Minute), want{}, pres("a")), errMoved)
		require.Nil(t, c.Attempt)
	})
}

func TestOrdering2AnAttemptIsClosedByItsOwnIDOnly(t *testing.T) {
	c := ended()
	opened(t, askRules, c, "b")
	before := c.Clone()
	require.ErrorIs(t, notSent(c, at(time.Second), pres("a")), errMoved)
	require.ErrorIs(t, refused(c, at(time.Second), pres("a"), failure{class: ClassTransient}), errMoved)
	require.ErrorIs(t, askRules.unknown(c, at(time.Second), pres("a"), failure{class: ClassUnknown}), errMoved)
	require.ErrorIs(t, dead(c, at(time.Second), pres("a"), failure{class: ClassDead}), errMoved)
	require.Equal(t, before, c)
}

// 3: P2 presents RT1 when P1's deadline passes, while P1's request is on its way or
// its reply in hand.
func TestOrdering3NobodyPresentsBeforeTheFirstOneIsOver(t *testing.T) {
	r := askRules
	for _, ago := range []time.Duration{0, r.Request, r.reach(), r.Request + r.Record, r.Attempt} {
		c := ended()
		opened(t, r, c, "a")
		require.Equal(t, wait, r.decide(c, at(ago), want{}).step, "%v after the begin", ago)
		require.ErrorIs(t, r.present(c, at(ago), want{}, pres("b")), errMoved)
	}
	// A holder that lives says so, and shortens the wait to what bytes may need.
	c := ended()
	ps, _ := opened(t, r, c, "a")
	require.NoError(t, r.unknown(c, at(2*time.Second), ps[0], failure{class: ClassUnknown}))
	require.Equal(t, at(7*time.Second), c.Attempt.Deadline)
	require.Equal(t, wait, r.decide(c, at(7*time.Second), want{}).step)
	require.Equal(t, takeOver, r.decide(c, at(7*time.Second+1), want{}).step)
}

// 4: P2 gives P1's rotation up for lost; P1 wakes and knows better.
func TestOrdering4AVerdictIsSoft(t *testing.T) {
	lost := func(t *testing.T) (*tokenstore.Connection, presentation) {
		c := ended()
		ps, _ := opened(t, neverRules, c, "a")
		require.NoError(t, neverRules.tidy(c, at(31*time.Second), want{}))
		require.Equal(t, tokenstore.ReauthRequired, c.Status)
		require.Equal(t, ReasonLostRotation, c.Reason)
		require.Equal(t, ReasonLostRotation, c.LastError.Code)
		require.Equal(t, int64(7), c.Generation)
		require.NotNil(t, c.Attempt)
		require.True(t, c.HasRefreshToken)
		require.Equal(t, reauth, neverRules.decide(c, at(time.Hour), want{}).step)
		return c, ps[0]
	}
	t.Run("P1 never sent", func(t *testing.T) {
		c, p := lost(t)
		require.NoError(t, notSent(c, at(time.Minute), p))
		require.Equal(t, tokenstore.Active, c.Status)
		require.Empty(t, c.Reason)
		require.Equal(t, begin, neverRules.decide(c, at(time.Minute), want{}).step)
	})
	t.Run("P1 never sent, and an API has rejected the access token", func(t *testing.T) {
		c := ended()
		ps, _ := opened(t, neverRules, c, "a")
		c.ExpiresAt = time.Time{} // as far as anyone knew
		require.NoError(t, neverRules.tidy(c, at(31*time.Second), want{generation: 7, rejected: true}))
		require.Equal(t, reauth, neverRules.decide(c, at(time.Minute), want{}).step, "it is not served either")
		require.NoError(t, notSent(c, at(time.Minute), ps[0]))
		require.Equal(t, tokenstore.Active, c.Status)
		require.Equal(t, begin, neverRules.decide(c, at(time.Minute), want{}).step)
	})
	t.Run("P1 holds RT2", func(t *testing.T) {
		c, p := lost(t)
		require.NoError(t, commit(c, at(time.Minute), p, successor(8), 0))
		require.Equal(t, tokenstore.Active, c.Status)
		require.Equal(t, int64(8), c.Generation)
		require.Equal(t, eventHealed, c.Pending[len(c.Pending)-1].Kind)
	})
}

// 5, 6: tokens and attempt change in one step; an attempt on an older generation is
// no open question.
func TestOrdering5TheCommitClosesTheAttempt(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a")
	require.NoError(t, commit(c, now, ps[0], successor(8), 0))
	require.Nil(t, c.Attempt)
	require.Equal(t, int64(8), c.Generation)
	require.Equal(t, "successor", string(c.Sealed))
	require.Equal(t, int64(7), c.ParentGeneration)
	require.Equal(t, 1, c.ParentPresentation)
}

func TestOrdering6AnOlderGenerationsAttemptIsStale(t *testing.T) {
	// P1's commit leaves P2's attempt alone, P2 dies; later the new token ends.
	c := ended()
	ps, now := opened(t, askRules, c, "a", "b")
	require.NoError(t, commit(c, now, ps[0], successor(8), 0))
	require.Equal(t, "b", c.Attempt.ID)
	later := now.Add(2 * time.Hour)
	require.Equal(t, clearStale, neverRules.decide(c, later, want{}).step, "not lost, even under never")
	require.NoError(t, neverRules.tidy(c, later, want{}))
	require.Nil(t, c.Attempt)
	require.Equal(t, begin, neverRules.decide(c, later, want{}).step)
}

// 7: disconnect deletes the row, connect begins at generation 1 again, and P1's
// late commit fits.
func TestOrdering7TheGenerationNeverRestarts(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a")
	require.NoError(t, disconnect(c, now, removal{actor: "bob"}))
	require.Equal(t, int64(8), c.Generation)
	require.False(t, c.Connected())
	require.Nil(t, c.Attempt)
	require.Nil(t, c.Sealed)
	require.ErrorIs(t, commit(c, now, ps[0], successor(8), 0), errMoved)

	require.NoError(t, connect(c, now, grant{id: "g2", received: successor(9), by: "bob"}, 0))
	require.Equal(t, int64(9), c.Generation)
	for _, generation := range []int64{8, 9, 10} {
		require.ErrorIs(t, commit(c, now, ps[0], successor(generation), 0), errMoved)
	}
	require.ErrorIs(t, notSent(c, now, ps[0]), errMoved)
	require.ErrorIs(t, dead(c, now, ps[0], failure{}), errMoved)
	require.Equal(t, "g2", c.GrantID)
	require.Equal(t, tokenstore.Active, c.Status)

	t.Run("and if a restored backup makes it, the grant still tells", func(t *testing.T) {
		c := ended()
		ps, now := opened(t, askRules, c, "a")
		c.GrantID = "g2"
		require.ErrorIs(t, commit(c, now, ps[0], successor(8), 0), errMoved)
		require.ErrorIs(t, notSent(c, now, ps[0]), errMoved)
	})
}

// 8: P2 takes over and dies; P1's late reply is the only token there is.
func TestOrdering8ACommitNeedsNoAttempt(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a", "b")
	require.NoError(t, commit(c, now, ps[0], successor(8), 0))
	require.Equal(t, int64(8), c.Generation)
	require.Equal(t, "b", c.Attempt.ID, "P2's attempt is P2's to close")

	t.Run("not even after the provider's no to P2", func(t *testing.T) {
		c := ended()
		ps, now := opened(t, askRules, c, "a", "b")
		require.NoError(t, dead(c, now, ps[1], failure{code: "invalid_grant"}))
		require.NoError(t, commit(c, now, ps[0], successor(8), 0))
		require.Equal(t, tokenstore.Active, c.Status)
	})
}

// 9: the second arm of the commit, and its limit.
func TestOrdering9ALaterPresentationReplacesOnlyWhatNobodyHasBegunOn(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a", "b")
	require.NoError(t, commit(c, now, ps[0], successor(8), 0))

	t.Run("P2's reply comes after P1's", func(t *testing.T) {
		c := c.Clone()
		require.ErrorIs(t, commit(c, now, ps[1], successor(8), 0), errMoved, "sealed for the wrong generation")
		require.True(t, ps[1].replaces(c))
		require.NoError(t, commit(c, now, ps[1], successor(9), 0))
		require.Equal(t, int64(9), c.Generation)
		require.Nil(t, c.Attempt)
		require.ErrorIs(t, commit(c, now, ps[1], successor(9), 0), errMoved, "a repetition changes nothing")
	})
	t.Run("P3 has begun on P1's", func(t *testing.T) {
		c := c.Clone()
		later := now.Add(2 * time.Hour)
		require.NoError(t, askRules.tidy(c, later, want{})) // P2's is stale
		p3 := presentation{id: "c", grant: "g", generation: 8, number: 1}
		require.NoError(t, askRules.present(c, later, want{}, p3))
		require.False(t, ps[1].replaces(c))
		require.ErrorIs(t, commit(c, later, ps[1], successor(9), 0), errMoved)
		require.NoError(t, commit(c, later, p3, successor(9), 0))
	})
	t.Run("P1's reply comes after P2's", func(t *testing.T) {
		c := ended()
		ps, now := opened(t, askRules, c, "a", "b")
		require.NoError(t, commit(c, now, ps[1], successor(8), 0))
		require.ErrorIs(t, commit(c, now, ps[0], successor(8), 0), errMoved)
		require.ErrorIs(t, commit(c, now, ps[0], successor(9), 0), errMoved)
	})
}

// 10: P2's dial fails and clears everything, though P1's outcome is unknown.
func TestOrdering10NotSentSpeaksForItselfOnly(t *testing.T) {
	c := ended()
	ps, now := opened(t, graceRules, c, "a", "b")
	require.NoError(t, notSent(c, now, ps[1]))
	require.Equal(t, []string{"a"}, c.Attempt.Open)
	require.Equal(t, now, c.Attempt.Deadline, "the next may act at once")
	d := graceRules.decide(c, now.Add(time.Millisecond), want{})
	require.Equal(t, takeOver, d.step, "asking, not beginning: RT1 may be spent")
	require.ErrorIs(t, notSent(c, now, ps[1]), errMoved, "a repetition changes nothing")
}

// 11: neither P1 nor P2 has sent, and yet it is called lost.
func TestOrdering11NotSentCountsAfterATakeOver(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a", "b")
	require.NoError(t, notSent(c, now, ps[0]))
	require.Equal(t, []string{"b"}, c.Attempt.Open)
	require.Equal(t, "b", c.Attempt.ID)
	require.Equal(t, now.Add(30*time.Second), c.Attempt.Deadline, "P2 keeps its time")
	require.NoError(t, notSent(c, now, ps[1]))
	require.Nil(t, c.Attempt)
	require.Equal(t, begin, neverRules.decide(c, now, want{}).step)
}

// 12 is about the manager: TestDisconnectDuringARefreshRevokesWhatItBrings.

// 13: without the guard, P1's bytes arrive after P2's retry and after the grace.
// See TestGraceGuard and TestTimingInequalities.

// 14: P2 is told invalid_grant while P1 holds RT2.
func TestOrdering14ANoCountsForThePresentationThatHoldsTheAttempt(t *testing.T) {
	c := ended()
	ps, now := opened(t, askRules, c, "a", "b")
	before := c.Clone()
	require.ErrorIs(t, dead(c, now, ps[0], failure{code: "invalid_grant"}), errMoved, "P1 has been overtaken")
	require.Equal(t, before, c)

	require.NoError(t, dead(c, now, ps[1], failure{code: "invalid_grant"}))
	require.Equal(t, ReasonLostRotation, c.Reason, "P1's may have been the one that counted")
	require.Equal(t, int64(7), c.Generation)
	require.True(t, c.HasRefreshToken)
	require.NoError(t, commit(c, now, ps[0], successor(8), 0))
	require.Equal(t, tokenstore.Active, c.Status)

	t.Run("alone it is what the provider says", func(t *testing.T) {
		c := ended()
		ps, now := opened(t, askRules, c, "a")
		require.NoError(t, dead(c, now, ps[0], failure{code: "invalid_grant"}))
		require.Equal(t, ReasonInvalidGrant, c.Reason)
		require.Nil(t, c.Attempt)
		require.Zero(t, c.DueAt)
	})
}

// 15: each answer is overtaken by the next question.
func TestOrdering15AskingLeavesTimeForTheAnswer(t *testing.T) {
	r := askRules
	c := ended()
	opened(t, r, c, "a", "b")
	begun := at(30*time.Second + time.Millisecond)
	require.Equal(t, wait, r.decide(c, begun.Add(r.Request+r.Record+r.Stall), want{}).step,
		"the verdict can be written before anybody asks again")

	t.Run("and asks ever more seldom", func(t *testing.T) {
		c, now := ended(), at(0)
		var pauses []time.Duration
		for range 6 {
			p := pres(now.String())
			require.NoError(t, r.present(c, now, want{}, p))
			asked := now.Add(time.Second)
			require.NoError(t, r.unknown(c, asked, p, failure{class: ClassUnknown, jitter: 0.99}))
			for now = asked; r.decide(c, now, want{}).step != takeOver; {
				now = now.Add(time.Second)
			}
			pauses = append(pauses, now.Sub(asked).Round(time.Second))
		}
		require.IsIncreasing(t, pauses)
		require.Less(t, pauses[0], 10*time.Second)
	})
}

// 16: a crash after the begin.
func TestOrdering16AnAttemptHasADeadline(t *testing.T) {
	c := ended()
	opened(t, askRules, c, "a")
	require.Equal(t, at(30*time.Second), askRules.decide(c, at(time.Second), want{}).until)
	require.NoError(t, askRules.present(c, at(31*time.Second), want{}, pres("b")))
	require.Equal(t, []string{"a", "b"}, c.Attempt.Open)
	require.Equal(t, 2, c.Attempt.Presentations)
	require.Equal(t, at(0), c.Attempt.Started)

	t.Run("which a clock set back must not move away", func(t *testing.T) {
		c := ended()
		opened(t, graceRules, c, "a")
		back := at(-time.Hour)
		require.Equal(t, restamp, graceRules.decide(c, back, want{generation: 7, rejected: true}).step)
		w := want{generation: 7, rejected: true}
		require.NoError(t, graceRules.tidy(c, back, w))
		require.Equal(t, back.Add(15*time.Second), c.Attempt.Deadline)
		require.Equal(t, wait, graceRules.decide(c, back, w).step, "once is enough")
		// When it was begun nobody knows now, so grace does not hold: it asks.
		require.Equal(t, takeOver, graceRules.decide(c, back.Add(16*time.Second), w).step)
		c.ExpiresAt = back.Add(30 * time.Second)
		require.Equal(t, serve, graceRules.decide(c, back.Add(16*time.Second), want{}).step)
	})
}

// The same loss, a holder that is never heard of again, under each policy. RT1 goes
// out a second time when the policy says so, and under never not at all.
func TestOrderingsOfALostHolderUnderEachPolicy(t *testing.T) {
	tests := map[string]struct {
		rules rules
		good  step // once the deadline has passed, while the access token is good
		ended step // after its end
	}{
		"ask":      {askRules, serve, takeOver},
		"grace":    {graceRules, takeOver, takeOver},
		"reusable": {reusableRules, takeOver, takeOver},
		"never":    {neverRules, serve, lose},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := ended()
			c.ExpiresAt = at(40 * time.Second)
			ps, _ := opened(t, tt.rules, c, "a")
			over := c.Attempt.Deadline.Add(time.Millisecond)
			require.Equal(t, wait, tt.rules.decide(c, c.Attempt.Deadline, want{generation: 7, rejected: true}).step)
			require.Equal(t, tt.good, tt.rules.decide(c, over, want{}).step)
			later := at(41 * time.Second)
			require.Equal(t, tt.ended, tt.rules.decide(c, later, want{}).step)

			// Whatever was decided, the first holder's late evidence counts.
			second := pres("b")
			if tt.ended == lose {
				require.ErrorIs(t, tt.rules.present(c, later, want{}, second), errMoved)
				require.NoError(t, tt.rules.tidy(c, later, want{}))
				require.Equal(t, ReasonLostRotation, c.Reason)
			} else {
				require.NoError(t, tt.rules.present(c, later, want{}, second))
			}
			late := c.Clone()
			require.NoError(t, commit(late, later, ps[0], successor(8), 0))
			require.Equal(t, tokenstore.Active, late.Status)
			require.NoError(t, notSent(c, later, ps[0]))
			require.NotEqual(t, ReasonLostRotation, c.Reason)
		})
	}
}

// Reusable asks again and again, as the pauses allow, while the access token serves.
func TestReusableAsksWhileTheAccessTokenServes(t *testing.T) {
	c, now := ended(), at(0)
	c.ExpiresAt = at(time.Hour)
	c.ObtainedAt = at(-3 * time.Hour)
	w := want{generation: 7, force: true}
	for range 3 {
		p := pres(now.String())
		require.NoError(t, reusableRules.present(c, now, w, p))
		require.NoError(t, reusableRules.unknown(c, now.Add(time.Second), p, failure{class: ClassUnknown, jitter: 0.5}))
		require.True(t, usable(c, now))
		for now = now.Add(time.Second); reusableRules.decide(c, now, w).step != takeOver; now = now.Add(time.Second) {
			require.Less(t, now, at(time.Minute))
		}
	}
	require.Len(t, c.Attempt.Open, 3)
}
