//go:build unix

package e2e_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
)

// how a process goes away.
type how string

const (
	killed how = "killed" // SIGKILL
	frozen how = "frozen" // SIGSTOP for longer than the attempt's deadline, then SIGCONT
)

// end is what becomes of a connection.
type end string

const (
	// endWorks: nothing was lost.
	endWorks end = "works"
	// endLost: reauth_required (lost_rotation), because nobody could know.
	endLost end = "lost"
	// endBroken: a process stood still just there where nobody can help it, and a live
	// successor was destroyed by it. The next refresh says so: reauth_required.
	endBroken end = "broken"
)

// fate is how one case has to end, by what the provider sees.
type fate struct {
	presented int // how often the first refresh token came
	after     int // of these, how often after its successor had been delivered
	end       end
}

// killKind is a policy here and what the provider does with a token that comes again.
type killKind struct {
	policy   oauthflow.RefreshPolicy
	rotation oauthtest.Rotation
	window   time.Duration // the policy's, for Grace
}

// asks reports whether nobody may ask again before the old access token has ended.
func (k killKind) asks() bool { return k.policy == oauthflow.Ask || k.window == tightWindow }

// A repetition is certain to arrive within killWindow. Within tightWindow it is not,
// once the attempt's deadline has passed.
const (
	killWindow  = 30 * time.Second
	tightWindow = 4 * time.Second
)

var killKinds = []killKind{
	{oauthflow.Ask, oauthtest.Strict, 0},
	{oauthflow.Ask, oauthtest.Grace, 0}, // of which it does not know
	{oauthflow.Grace, oauthtest.Grace, killWindow},
	{oauthflow.Grace, oauthtest.Replace, killWindow},
	{oauthflow.Grace, oauthtest.Strict, tightWindow},
	{oauthflow.Never, oauthtest.Strict, 0},
	{oauthflow.Reusable, oauthtest.Reusable, 0},
	{oauthflow.Reusable, oauthtest.Static, 0},
}

// fates says how a case ends: where asking again costs the grant (strict), where it
// costs nothing within the window (kind), where it withdraws the successor that was
// issued first (replace), and where nobody asks again (never).
type fates struct{ strict, kind, replace, never fate }

func alike(f fate) fates { return fates{f, f, f, f} }

// unsent: only the survivor has presented the token. Under never he must not, as he
// cannot know that nobody has.
var (
	once     = fate{1, 0, endWorks}
	resent   = fate{2, 0, endWorks}
	unsent   = fates{once, once, once, fate{0, 0, endLost}}
	unkept   = fates{fate{2, 1, endLost}, fate{2, 1, endWorks}, fate{2, 1, endWorks}, fate{1, 0, endLost}}
	survived = alike(once)
	// noReply: the provider had spent the token, and no reply came.
	noReply = fates{fate{2, 0, endLost}, resent, resent, fate{1, 0, endLost}}
	// noWord: it had not, and no reply came.
	noWord = fates{resent, resent, resent, fate{1, 0, endLost}}
	// held: tokens in the hands of a process that stands still. Where asking costs the
	// grant, they are dead when it stores them; where nobody asks, they overturn the
	// verdict.
	held = fates{fate{2, 1, endBroken}, fate{2, 1, endWorks}, fate{2, 1, endWorks}, once}
)

var killFates = map[how]map[place]fates{
	killed: {
		opened: unsent, looked: unsent,
		unspent: noWord, spent: noReply,
		replied: unkept, writing: unkept, atCommit: unkept, withheld: unkept, cutBefore: unkept,
		cutAfter: survived, stored: survived,
	},
	frozen: {
		// The stopwatch keeps it from sending, and a verdict falls when it says so.
		opened: survived,
		// Its bytes arrive after the survivor's.
		looked:  {fate{2, 1, endBroken}, fate{2, 1, endWorks}, fate{2, 1, endBroken}, fate{1, 0, endLost}},
		unspent: noWord, spent: noReply,
		replied: held, cutBefore: held,
		// It holds the lock on what the survivor needs to begin.
		writing: survived, atCommit: survived, withheld: survived,
		cutAfter: survived, stored: survived,
	},
}

// killPlaces are the places that each store has.
var killPlaces = map[string][]place{
	"sqlite":   {opened, looked, unspent, spent, replied, writing, atCommit, stored},
	"postgres": {opened, looked, unspent, spent, replied, withheld, cutBefore, cutAfter, stored},
}

// killCase is one case of the matrix.
type killCase struct {
	store string
	how   how
	place place
	kind  killKind
}

func (c killCase) String() string {
	return string(c.how) + " " + string(c.place) + "/" + string(c.kind.policy) + ", " + string(c.kind.rotation)
}

// fate is what has to come of c.
func (c killCase) fate() fate {
	all := killFates[c.how][c.place]
	var f fate
	switch {
	case c.kind.policy == oauthflow.Never:
		f = all.never
	case c.kind.rotation == oauthtest.Strict:
		f = all.strict
	case c.kind.rotation == oauthtest.Replace:
		f = all.replace
	default:
		f = all.kind
	}
	if c.kind.rotation == oauthtest.Static {
		f.after = 0 // there are no successors
	}
	return f
}

// blocked reports whether the survivor can write while the process stands still.
func (c killCase) blocked() bool {
	return c.how == frozen && slices.Contains([]place{writing, atCommit, withheld}, c.place)
}

// victims says which of two presentations is the process's that goes away.
func (c killCase) victims() int {
	if c.how == frozen && c.place == looked {
		return 2 // its bytes come late
	}
	return 1
}

// killAtOnce is how many cases of one store run at a time. They wait for deadlines
// nearly all the time, so it may be many more than there are processors.
const killAtOnce = 24

// A process is killed, or frozen for longer than its attempt may last, at each place
// of a refresh where it matters, under each policy, with each way providers treat a
// refresh token that comes again, and on both databases; another process asks for
// the token all the while.
func TestKillMatrix(t *testing.T) {
	t.Parallel()
	for store := range killPlaces {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			databases[store](t) // skips everything where there is none
			var all sync.WaitGroup
			room := make(chan struct{}, killAtOnce)
			for _, c := range killCases(store) {
				room <- struct{}{}
				all.Go(func() {
					defer func() { <-room }()
					t.Run(c.String(), c.run)
				})
			}
			all.Wait()
		})
	}
}

func killCases(store string) (all []killCase) {
	for _, how := range []how{killed, frozen} {
		for _, place := range killPlaces[store] {
			for _, kind := range killKinds {
				all = append(all, killCase{store, how, place, kind})
			}
		}
	}
	return all
}

// life is how long the first access token lives. If the process is killed, beyond
// the attempt's deadline, so that it shows who asks before there is nothing to lose;
// otherwise it has ended by then, so that it shows who waits for how long, but not
// at once where it shows that those who only read are not held up.
func (c killCase) life() time.Duration {
	switch {
	case c.how == killed:
		return killTiming.Attempt + time.Second
	case c.blocked():
		return 2 * time.Second
	}
	return time.Second / 2
}
