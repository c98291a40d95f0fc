package oauthflow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// rings are the keyrings of one story, each the next step of a rotation: the new key
// is known everywhere before anybody seals with it, and the old one goes when nothing
// is sealed with it any more.
type rings struct {
	all   []string // keyrings' texts, oldest first
	keys  []string // every key that ever was, newest first
	clean bool     // nothing is under an older key than the newest
}

func (r *rings) at(i int) string { return strings.Join(ids(r.all[i]), ",") }

// ids names the keys of a keyring's text without showing them.
func ids(text string) []string {
	ring, err := tokenstore.ParseKeyring(text)
	if err != nil {
		return []string{err.Error()}
	}
	return ring.KeyIDs()
}

func (r *rings) sealer(i int) *tokenstore.Sealer { return sealerOf(r.all[i]) }

func sealerOf(text string) *tokenstore.Sealer {
	ring, err := tokenstore.ParseKeyring(text)
	if err != nil {
		panic(err)
	}
	return tokenstore.NewSealer(ring)
}

// next adds the next keyring: with a new key behind, the new key in front, or the new
// key alone.
func (r *rings) next(w *truth) {
	switch n := len(r.all); {
	case n == 0:
		r.keys = []string{tokenstore.GenerateKey()}
		r.all = []string{r.keys[0]}
	case n%3 == 1:
		r.keys = append([]string{tokenstore.GenerateKey()}, r.keys...)
		r.all = append(r.all, r.keys[1]+","+r.keys[0])
	case n%3 == 2:
		r.all, r.clean = append(r.all, r.keys[0]+","+r.keys[1]), false
	default:
		r.all = append(r.all, r.keys[0])
	}
	w.sealer = sealerOf(strings.Join(r.keys, ","))
}

// rotate takes a rotation one step further: one process gets the newest keyring; when
// all have it the next one begins, after what is sealed was sealed again if the old
// key is to go.
func (w *chaosWorld) rotate() {
	newest := len(w.rings.all) - 1
	for i, p := range w.procs {
		if p.ring < newest {
			w.restart(i, newest)
			return
		}
	}
	if len(w.rings.all)%3 == 0 && !w.rings.clean {
		n, _, err := w.procs[0].m.Reseal(context.Background(), -1)
		w.say("sealed again: %+v %v", n, err)
		w.rings.clean = err == nil && n.Resealed == 0 && n.Failed == 0
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rings.next(w.truth)
}

// passwordChanged is how the provider names it.
const passwordChanged = "password_changed"

// dead reports whether a grant has ended at the provider, or nobody knows it. mu is held.
func (w *truth) dead(family string) bool {
	for _, f := range w.provider.Families() {
		if f.ID == family {
			return f.Revoked != ""
		}
	}
	return true
}

// newest is the last grant that a key got. mu is held.
func (w *truth) newest(key tokenstore.Key) string {
	families := w.provider.Families()
	for i := len(families) - 1; i >= 0; i-- {
		if l := w.family[families[i].ID]; l != nil && l.key == key && l.seen {
			return families[i].ID
		}
	}
	return ""
}

// get asks a process for a token, forced if an API has rejected the last one, and
// checks what comes.
func (w *chaosWorld) get(p *chaosProcess, t oauthflow.Target, rejected bool, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.mu.Lock()
	told := *w.keys[t.Key]
	w.mu.Unlock()
	p.mu.Lock()
	looked := p.looked[t.Key]
	p.mu.Unlock()
	began, failed, before := time.Now(), p.failed.Load(), w.stored(t.Key)
	var s *oauthflow.Snapshot
	var err error
	if rejected {
		generation := before.Generation
		if last, ok := p.m.Handle(t.Key).Current(); ok && last != nil {
			generation = last.Generation()
		}
		s, err = p.m.Renew(ctx, t, generation)
	} else {
		s, err = p.m.Token(ctx, t)
	}
	if p.dead() {
		return
	}
	after := w.stored(t.Key)
	w.mu.Lock()
	defer w.mu.Unlock()
	still := *w.keys[t.Key] == told && told.changing == 0
	w.sayLocked("%s asked for %s at %.3f (rejected: %t): %.100v", p.name, t.Key.Org, began.Sub(w.began).Seconds(), rejected, err)
	if err == nil {
		a, known := w.access[s.AccessToken().Reveal()]
		fresh := still && looked.began.After(told.at) && looked.ended.Before(began)
		switch {
		case !known || w.family[a.family].key != t.Key:
			w.broken("%s hands out a token that is not %s's", p.name, t.Key.Org)
		case !time.Now().Before(a.expires):
			w.broken("%s hands out a token that ended at %v", p.name, a.expires.Sub(w.began))
		case fresh && told.removed:
			w.broken("%s hands out a token of a connection that it knows to be removed", p.name)
		case fresh && told.family != "" && a.family != told.family:
			w.broken("%s hands out a token of grant %s, and knows of %s", p.name, a.family, told.family)
		}
		return
	}
	// Who follows the changes may be a little behind, and who waits for the store
	// counts that time off the token's life.
	usable := before.Connected() && before.HasAccessToken && time.Until(before.ExpiresAt) > 10*time.Second && began.Sub(before.UpdatedAt) > 2*chaosStale
	switch {
	case usable && !rejected && still && after.Generation == before.Generation && after.ExpiresAt.Equal(before.ExpiresAt) && p.failed.Load() == failed:
		w.broken("%s has a usable token in the store and says: %v", p.name, err)
	case w.calm && still && began.Sub(told.at) > 2*chaosStale && after.Connected() && !w.dead(told.family) && !errors.Is(err, oauthflow.ErrClosed):
		w.broken("%s has no trouble and says: %v", p.name, err)
	}
}

func (w *truth) stored(key tokenstore.Key) *tokenstore.Connection {
	c, _ := w.memory.Load(context.Background(), key) // a Memory does not fail
	return c
}

// settle ends the troubles, waits, and checks that the story ends well: with a token
// or a reason, and in peace.
func (w *chaosWorld) settle() {
	w.mu.Lock()
	w.faults.Store(false)
	w.sayLocked("the troubles are over")
	w.mu.Unlock()
	for _, p := range w.procs {
		p.outage.Store(nil)
	}
	w.work.Wait()
	w.live(45 * time.Minute)
	asked := w.asked.Load()
	w.live(20 * time.Minute)
	w.mu.Lock()
	if n := w.asked.Load() - asked; n > 8*int64(len(w.targets)) { // an access token lives for five minutes
		w.broken("%d token requests in quiet twenty minutes", n)
	}
	w.mu.Unlock()
	for _, t := range w.targets {
		w.judge(t)
	}
}

// live lets every process ask for everything, now and then.
func (w *chaosWorld) live(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); pass(45 * time.Second) {
		for _, p := range w.procs {
			for _, t := range w.targets {
				w.get(p, t, false, time.Minute)
			}
		}
	}
}

// judge checks how it ended for one connection.
func (w *chaosWorld) judge(t oauthflow.Target) {
	c := w.stored(t.Key)
	refresh, _, err := w.open(c)
	families := map[string]oauthtest.Family{}
	for _, f := range w.provider.Families() {
		families[f.ID] = f
	}
	var served []error
	for _, p := range w.procs {
		_, err := p.m.Token(context.Background(), t)
		served = append(served, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sayLocked("in the end %s is %s %s, holds %s, and callers get %v", t.Key.Org, c.Status, c.Reason, w.short(refresh), served)
	if err != nil {
		w.broken("what is stored does not open: %v", err)
	}
	later := c.Revoking != nil && c.DueAt.After(c.ReadAt) // after many failures the pauses are of hours
	if walks := slices.ContainsFunc(w.procs, func(p *chaosProcess) bool { return p.walks }); walks && !c.Connected() && !later {
		for id, l := range w.family {
			if l.key == t.Key && l.removed && families[id].Revoked == "" {
				w.broken("grant %s of %s was removed and never revoked", id, t.Key.Org)
			}
		}
		if c.Revoking != nil {
			w.broken("%s is still being revoked", t.Key.Org)
		}
	}
	k, g := w.keys[t.Key], w.grants[refresh]
	switch {
	case !c.Connected():
		if k.family != "" {
			w.broken("%s was connected, and is not", t.Key.Org)
		}
		for _, err := range served {
			if !errors.Is(err, oauthflow.ErrNotConnected) {
				w.broken("%s is not connected, and callers get %v", t.Key.Org, err)
			}
		}
		return
	case k.removed:
		w.broken("%s was removed, and is connected", t.Key.Org)
	case g == nil:
		w.broken("%s holds no refresh token", t.Key.Org)
		return
	}
	l, f := w.family[g.family], families[g.family]
	live := f.Revoked == "" && (g.number == f.Current || w.rotation == oauthtest.Reusable || w.rotation == oauthtest.Static)
	given := w.policy == oauthflow.Never && l.unknown && c.Reason == oauthflow.ReasonLostRotation
	switch {
	case !live && l.lost == "" && f.Revoked != passwordChanged:
		w.broken("grant %s of %s was lost, and nothing explains it", g.family, t.Key.Org)
	case !live && c.Status != tokenstore.ReauthRequired:
		w.broken("grant %s of %s is dead, and nobody is told", g.family, t.Key.Org)
	case live && c.Status != tokenstore.Active && !given:
		w.broken("grant %s of %s lives, and the record says %s %s", g.family, t.Key.Org, c.Status, c.Reason)
	case live && c.Attempt != nil && c.Status == tokenstore.Active && time.Since(c.Attempt.Deadline) > time.Minute:
		w.broken("an attempt of %s is left open", t.Key.Org)
	}
	for _, err := range served {
		if (err == nil) != (live && !given) {
			w.broken("grant %s of %s lives: %t, and a caller gets %v", g.family, t.Key.Org, live, err)
		}
	}
}
