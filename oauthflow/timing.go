package oauthflow

import (
	"fmt"
	"time"
)

// Timing are the spans the refresh protocol is built on. Two processes never
// hold the same refresh token at once as long as the assumptions behind them hold;
// [Timing.Validate] checks what follows from one for the other. The zero value
// means the defaults.
type Timing struct {
	// SendWindow (S) is how long after an attempt was begun its request may
	// start. Default 5 s.
	SendWindow time.Duration
	// Request (T) is the total deadline of a token request, counted from before
	// the attempt was begun. Default 15 s.
	Request time.Duration
	// Transit (N) is the longest time a request's bytes may still be under way to
	// the provider after they were written. Default 5 s.
	Transit time.Duration
	// Stall (E) is the longest time a process may stand still between its last
	// look at the clock and the write. Default 5 s.
	Stall time.Duration
	// Record (C) is how long the outcome may take to be recorded. Default 10 s.
	Record time.Duration
	// Attempt (D) is after how long an attempt nobody closed is given up, and
	// another process may act. Default 30 s.
	Attempt time.Duration
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&t.SendWindow, 5*time.Second)
	set(&t.Request, 15*time.Second)
	set(&t.Transit, 5*time.Second)
	set(&t.Stall, 5*time.Second)
	set(&t.Record, 10*time.Second)
	set(&t.Attempt, 30*time.Second)
	return t
}

// reach is how long after the begin of an attempt its bytes may still arrive.
func (t Timing) reach() time.Duration { return t.SendWindow + t.Stall + t.Transit }

// Validate reports whether an attempt that is given up is truly over:
// D ≥ max(T, S+E+N) + C + E. Otherwise a second process could present the
// refresh token while the first one's request is on its way, or its answer in
// hand and not yet stored; a provider that detects reuse answers either by
// revoking everything.
func (t Timing) Validate() error {
	t = t.withDefaults()
	if min(t.SendWindow, t.Request, t.Transit, t.Stall, t.Record, t.Attempt) < 0 {
		return fmt.Errorf("oauthflow: Timing has a negative span: %+v", t)
	}
	if least := max(t.Request, t.reach()) + t.Record + t.Stall; t.Attempt < least {
		return fmt.Errorf("oauthflow: Timing.Attempt is %v and must be at least %v, which is "+
			"max(Request, SendWindow+Stall+Transit) + Record + Stall", t.Attempt, least)
	}
	return nil
}

// CheckGrace reports whether what p forgives ([Provider].ReuseGrace, under [Grace]) is
// of use after a crash: G ≥ D + S + E + N. Otherwise nobody can be certain that a
// repetition would arrive in time, and what remains is as under [Ask]. An error is
// advice: either span can be changed.
func (t Timing) CheckGrace(p *Provider) error {
	t = t.withDefaults()
	if least := t.Attempt + t.reach(); rulesOf(t, p).policy == Grace && p.ReuseGrace < least {
		return fmt.Errorf("ReuseGrace %v cannot be used after a crash with Timing.Attempt %v, which needs %v; see docs/refresh.md#timing",
			p.ReuseGrace, t.Attempt, least)
	}
	return nil
}

// A stopwatch measures local time. Go's monotonic clock stands still while a
// virtual machine is suspended, and the wall clock can be set back, so the larger
// of the two readings counts.
type stopwatch struct{ start time.Time }

func startStopwatch() stopwatch { return stopwatch{time.Now()} }

func (s stopwatch) elapsed() time.Duration { return since(s.start, time.Now()) }

// since is the time from start to now, by whichever clock says more.
func since(start, now time.Time) time.Duration {
	return max(now.Sub(start), time.Duration(now.UnixNano()-start.UnixNano()))
}
