package oauthflow_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// What is really so, as nobody in the story can know it: the provider's side, what
// is stored, and who received what. Everything is checked against it as it happens.
type truth struct {
	provider *oauthtest.Provider
	memory   *tokenstore.Memory
	sealer   *tokenstore.Sealer // opens everything
	began    time.Time

	processing sync.Mutex // one request at a time
	mu         sync.Mutex
	wrong      []string
	trace      strings.Builder
	access     map[string]issued // by access token
	grants     map[string]*given // by refresh token
	keys       map[tokenstore.Key]*acked
	family     map[string]*lineage // by the provider's id
	faults     atomic.Bool
	asked      atomic.Int64 // token requests that arrived
}

// issued is an access token.
type issued struct {
	family  string
	expires time.Time
}

// given is a refresh token.
type given struct {
	family string
	number int // the provider's
	// The successors that arrived somewhere.
	arrived []*arrived
}

// arrived is a reply that a process has got.
type arrived struct {
	by      *chaosProcess
	at      time.Time
	refresh string
	stored  time.Time // zero: not yet
}

// lineage is a grant at the provider.
type lineage struct {
	key tokenstore.Key
	// lost: a reply was processed and did not arrive, or its holder died with it, or
	// was cut off from the store for too long. Who asks again may be taken for a thief.
	lost    string
	unknown bool // some outcome was not known
	seen    bool // stored once
	removed bool // by the last person, so it is to be revoked
}

// acked is what the last person was told about a key.
type acked struct {
	changing int       // connects and disconnects under way
	family   string    // connected; empty: nobody was told so
	at       time.Time // of the last answer
	removed  bool      // disconnected, and the answer came
}

// cutOff is how long a process may hold what it got without storing it: Attempt -
// Request, as docs/refresh.md promises.
const cutOff = 15 * time.Second

func (w *truth) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sayLocked(format, args...)
}

func (w *truth) sayLocked(format string, args ...any) {
	_, _ = fmt.Fprintf(&w.trace, "%9.3f ", time.Since(w.began).Seconds())
	_, _ = fmt.Fprintf(&w.trace, format+"\n", args...)
}

// broken notes that a promise was not kept. mu is held.
func (w *truth) broken(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.wrong = append(w.wrong, text)
	w.sayLocked("WRONG: %s", text)
}

// bad reports whether a promise was not kept.
func (w *truth) bad() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrong) > 0
}

// lot draws what happens. There is one for the story's steps and one for each
// process, so that those who are at work at the same moment do not change each
// other's luck.
type lot struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newLot(seed, of uint64) *lot { return &lot{r: rand.New(rand.NewPCG(seed, of))} }

func (l *lot) pick(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.IntN(n)
}

func (l *lot) within(d time.Duration) time.Duration { return time.Duration(l.pick(int(d) + 1)) }

// chance reports whether p meets a trouble of that many in a hundred.
func (p *chaosProcess) chance(percent int) bool {
	return p.w.faults.Load() && p.lot.pick(100) < percent
}

// short names a token for the trace.
func (w *truth) short(refresh string) string {
	if g := w.grants[refresh]; g != nil {
		return fmt.Sprintf("RT%d of grant %s", g.number, g.family)
	}
	return "no refresh token of this story"
}

// presenting checks a refresh token that arrives at the provider.
func (w *truth) presenting(p *chaosProcess, refresh string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sayLocked("%s presents %s", p.name, w.short(refresh))
	g := w.grants[refresh]
	if g == nil {
		w.broken("%s presents what was never issued", p.name)
		return
	}
	l := w.family[g.family]
	for _, a := range g.arrived {
		switch {
		case a.by.dead() && a.stored.IsZero():
		case a.by == p && a.stored.IsZero():
			w.broken("%s presents %s, and has its successor in memory", p.name, w.short(refresh))
		case a.stored.IsZero() && time.Since(a.at) > cutOff, !a.stored.IsZero() && a.stored.Sub(a.at) > cutOff:
			l.lost = a.by.name + " was cut off from the store with the successor in hand"
		default:
			w.broken("%s presents %s, whose successor %s got %v ago", p.name, w.short(refresh), a.by.name, time.Since(a.at))
		}
	}
}

// answered books what the provider gave to p for refresh, or for a code, which made
// the grant id. came says that the reply arrived.
func (w *truth) answered(p *chaosProcess, refresh, id string, r *oauthtest.Reply, came bool) {
	token, _ := r.Members["access_token"].(string)
	next, _ := r.Members["refresh_token"].(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	if token == "" {
		code, _ := r.Members["error"].(string)
		w.sayLocked("the provider answers %d %s (arrives: %t)", r.Status, code, came)
		return
	}
	if g := w.grants[refresh]; g != nil {
		id = g.family
	}
	number := 0
	for _, f := range w.provider.Families() {
		if f.ID == id {
			number = f.Current
		}
	}
	l := w.family[id]
	if l == nil {
		l = &lineage{key: p.connecting()}
		w.family[id] = l
	}
	w.access[token] = issued{id, time.Now().Add(chaosLife)}
	if next != "" && w.grants[next] == nil {
		w.grants[next] = &given{family: id, number: number}
	}
	w.sayLocked("the provider gives %s of grant %s (arrives: %t)", w.short(next), id, came)
	switch {
	case next == "" || refresh == "":
	case came:
		g := w.grants[refresh]
		g.arrived = append(g.arrived, &arrived{by: p, at: time.Now(), refresh: next})
	default:
		l.lost = "a reply with " + w.short(next) + " did not arrive"
	}
}

// died ends p: what it holds and nobody has stored is lost.
func (w *truth) died(p *chaosProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.grants {
		for _, a := range g.arrived {
			if a.by == p && a.stored.IsZero() {
				w.family[g.family].lost = p.name + " died with " + w.short(a.refresh)
			}
		}
	}
}

// open returns the tokens in a record, whatever key they are under.
func (w *truth) open(c *tokenstore.Connection) (refresh, access string, err error) {
	w.mu.Lock()
	sealer := w.sealer
	w.mu.Unlock()
	return oauthflow.StoredTokens(context.Background(), sealer, c)
}

// writing checks a write as the store is about to do it.
func (w *truth) writing(p *chaosProcess, was, c *tokenstore.Connection) {
	refresh, access, err := w.open(c)
	old, _, _ := w.open(was)
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keys[c.Key]
	w.sayLocked("%s writes %s: generation %d → %d, %s → %s %s, holds %s, attempt %s → %s", p.name, c.Org, was.Generation, c.Generation,
		was.Status, c.Status, c.Reason, w.short(refresh), attemptOf(was), attemptOf(c))
	switch {
	case err != nil:
		w.broken("%s writes what does not open: %v", p.name, err)
	case c.Generation < was.Generation:
		w.broken("the generation goes back from %d to %d", was.Generation, c.Generation)
	case c.Generation > was.Generation+1:
		w.broken("the generation jumps from %d to %d", was.Generation, c.Generation)
	case c.Generation == was.Generation && c.GrantID != was.GrantID:
		w.broken("another grant under the same generation")
	case !was.Connected() && c.Connected() && k.changing == 0:
		w.broken("%s brings a removed connection back", p.name)
	}
	if !c.Connected() {
		if g := w.grants[old]; g != nil {
			w.family[g.family].removed = true
		}
		return
	}
	for _, l := range w.family {
		l.removed = l.removed && l.key != c.Key // to revoke it now could end the new one
	}
	g := w.grants[refresh]
	if g == nil {
		w.broken("%s stores no refresh token", p.name)
		return
	}
	l := w.family[g.family]
	if l.seen = true; l.key != c.Key {
		w.broken("%s stores another connection's grant", p.name)
	}
	if access != "" && w.access[access].family != g.family {
		w.broken("%s stores an access token of another grant", p.name)
	}
	if k.changing == 0 && k.family != "" && g.family != k.family {
		w.broken("%s stores grant %s, and %s was connected since", p.name, g.family, k.family)
	}
	for _, other := range w.grants {
		for _, a := range other.arrived {
			if a.refresh == refresh && a.stored.IsZero() {
				a.stored = time.Now()
			}
		}
	}
}

func attemptOf(c *tokenstore.Connection) string {
	if c.Attempt == nil {
		return "–"
	}
	return fmt.Sprintf("%d/%d", len(c.Attempt.Open), c.Attempt.Presentations)
}
