package oauthflow_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

var (
	chaosSeed = flag.Uint64("chaos.seed", 0, "play this one story only, and tell it")
	chaosRuns = flag.Int("chaos.runs", 0, "how many stories are played; 0: some seconds' worth")
	chaosFrom = flag.Uint64("chaos.from", 1, "the first story's seed")
)

// TestChaos lets whole managers live through stories of random troubles: failing and
// slow stores, lost and odd replies, crashes, restarts under other keys, people who
// connect and disconnect. What the provider knows decides what was right.
//
//	go test -race ./oauthflow -run Chaos -chaos.runs 5000
//	go test ./oauthflow -run Chaos -chaos.seed 4711
//
// A seed fixes the world, its steps and the kinds of its troubles. The pauses that
// managers draw by lot differ, so a seed that fails seldom has to be played a few
// times (-count).
func TestChaos(t *testing.T) {
	if *chaosSeed != 0 {
		chaos(t, *chaosSeed)
		return
	}
	runs := *chaosRuns
	if runs == 0 {
		runs = 60
		if testing.Short() {
			runs = 20
		}
	}
	for seed := range uint64(runs) {
		chaos(t, *chaosFrom+seed)
	}
}

// chaosWorld is one story.
type chaosWorld struct {
	*truth
	t        *testing.T
	policy   oauthflow.RefreshPolicy
	rotation oauthtest.Rotation
	calm     bool // without troubles, to see that those are what breaks things
	targets  []oauthflow.Target
	rings    rings
	procs    []*chaosProcess
	buried   []*chaosProcess
	born     int
	seed     uint64
	lot      *lot
	work     sync.WaitGroup
	person   map[tokenstore.Key]turn // people change one connection one after the other
}

const (
	chaosLife  = 5 * time.Minute // an access token's
	chaosStale = 3 * time.Second // how far behind who follows the changes may be
)

// turn is a mutex that lets a bubble's time pass while somebody waits for it.
type turn chan struct{}

func (c turn) take() (giveBack func()) {
	c <- struct{}{}
	return func() { <-c }
}

func chaos(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newChaos(t, seed)
		defer func() {
			if w.bad() || t.Failed() || *chaosSeed != 0 {
				t.Logf("seed %d: %s provider, policy %q, calm %t\n%s", seed, w.rotation, w.policy, w.calm, w.trace.String())
			}
			if w.bad() {
				t.Fatalf("seed %d (see -chaos.seed): %d promises broken, the first: %s", seed, len(w.wrong), w.wrong[0])
			}
		}()
		for range 60 {
			w.step()
			if w.bad() {
				break
			}
		}
		w.settle()
		for _, p := range append(w.procs, w.buried...) {
			w.end(p)
		}
	})
}

func newChaos(t *testing.T, seed uint64) *chaosWorld {
	kinds := []struct {
		rotation oauthtest.Rotation
		policy   oauthflow.RefreshPolicy
		grace    time.Duration
	}{
		{oauthtest.Strict, "", 0}, {oauthtest.Grace, "", time.Minute}, {oauthtest.Strict, oauthflow.Ask, 0}, {oauthtest.Replace, "", time.Minute},
		{oauthtest.Strict, oauthflow.Never, 0}, {oauthtest.Reusable, oauthflow.Reusable, 0}, {oauthtest.Static, "", 0},
	}
	kind := kinds[seed%7]
	const redirect = "https://app.example.com/oauth/callback/Graph"
	client := oauthtest.DefaultClient()
	client.RedirectURIs = []string{redirect}
	p, err := oauthtest.New(oauthtest.Config{
		Rotation: kind.rotation, Grace: time.Minute, AccessLifetime: chaosLife, Clients: []oauthtest.Client{client},
	})
	require.NoError(t, err)
	w := &chaosWorld{
		t: t, seed: seed, lot: newLot(seed, 0), rotation: kind.rotation, policy: kind.policy, calm: seed%10 == 0, person: map[tokenstore.Key]turn{},
		truth: &truth{
			provider: p, memory: tokenstore.NewMemory(), began: time.Now(),
			access: map[string]issued{}, grants: map[string]*given{}, keys: map[tokenstore.Key]*acked{}, family: map[string]*lineage{},
		},
	}
	w.rings.next(w.truth)
	p.Always(oauthtest.Token, oauthtest.Do(w.happening))
	p.Always(oauthtest.Revocation, oauthtest.Do(w.revoking))
	for _, org := range []string{"acme", "globex"} {
		target := oauthflow.Target{
			Key: tokenstore.Key{Definition: "def", Org: org}, Name: "Graph", EntityID: "common", RedirectURI: redirect,
			Client: &oauthflow.Client{
				Provider: oauthflow.Provider{
					AuthorizationURL: p.Endpoints().AuthorizationURL, TokenURL: p.Endpoints().TokenURL,
					RevocationURL: p.Endpoints().RevocationURL, RefreshPolicy: kind.policy, ReuseGrace: kind.grace,
				},
				ClientID: client.ID, ClientSecret: tokenstore.NewSecret(client.Secret), Scopes: []string{"offline_access", "Directory.Read.All"},
			},
		}
		w.targets = append(w.targets, target)
		w.keys[target.Key] = &acked{}
		w.person[target.Key] = make(turn, 1)
	}
	for range 2 + seed%2 {
		w.procs = append(w.procs, w.spawn(0))
	}
	for _, target := range w.targets {
		w.connect(w.procs[0], target)
	}
	w.faults.Store(!w.calm)
	return w
}

// spawn starts a process under a keyring. Some follow the store's changes, and some
// refresh in the background.
func (w *chaosWorld) spawn(ring int) *chaosProcess {
	w.born++
	ctx, stop := context.WithCancel(context.Background())
	p := &chaosProcess{
		Store: w.memory, w: w.truth, name: fmt.Sprintf("P%d", w.born), stop: stop, ring: ring, flows: make(turn, 1), lot: newLot(w.seed, uint64(w.born)), looked: map[tokenstore.Key]look{},
	}
	var err error
	p.m, err = oauthflow.New(oauthflow.Config{
		Store: p, Sealer: w.rings.sealer(ring), Targets: w, Transport: network{p, w.provider.RoundTripper()}, Secure: true,
		Staleness: chaosStale,
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	if w.born%2 == 0 {
		p.background.Go(func() { _ = p.m.Run(ctx) })
	}
	if p.walks = w.born%3 != 0; p.walks {
		p.background.Go(func() { _ = p.m.KeepFresh(ctx) })
	}
	w.say("%s starts with keys %s", p.name, w.rings.at(ring))
	return p
}

// Target implements oauthflow.Targets.
func (w *chaosWorld) Target(_ context.Context, key tokenstore.Key) (oauthflow.Target, error) {
	for _, t := range w.targets {
		if t.Key == key {
			return t, nil
		}
	}
	return oauthflow.Target{}, oauthflow.ErrGone
}

// step lets something happen, and some time pass.
func (w *chaosWorld) step() {
	i := w.lot.pick(len(w.procs))
	p, target := w.procs[i], w.targets[w.lot.pick(len(w.targets))]
	switch n := w.lot.pick(100); {
	case n < 50:
		for range 1 + w.lot.pick(3) {
			patience := 20*time.Second + w.lot.within(40*time.Second)
			w.work.Go(func() { w.get(p, target, false, patience) })
		}
	case n < 62:
		w.work.Go(func() { w.get(p, target, true, time.Minute) })
	case n < 67:
		w.work.Go(func() { w.connect(p, target) })
	case n < 71:
		w.work.Go(func() { w.disconnect(p, target) })
	case n < 77:
		if !w.calm {
			w.crash(i)
		}
	case n < 80:
		w.restart(i, p.ring)
	case n < 90:
		w.rotate()
	case n < 95:
		if !w.calm {
			until := time.Now().Add([]time.Duration{2 * time.Second, 12 * time.Second, 50 * time.Second}[w.lot.pick(3)])
			w.say("%s loses the store until %v", p.name, until.Sub(w.began))
			p.outage.Store(&until)
		}
	case n < 96:
		w.changePassword(target)
	}
	pass(w.lot.within([]time.Duration{0, 100 * time.Millisecond, 3 * time.Second, 20 * time.Second, 2 * time.Minute, 6 * time.Minute}[w.lot.pick(6)]))
}

// crash ends a process between two instructions, and starts another.
func (w *chaosWorld) crash(i int) {
	p := w.procs[i]
	w.say("%s dies", p.name)
	p.gone.Store(true)
	p.stop()
	w.died(p)
	w.buried = append(w.buried, p)
	w.procs[i] = w.spawn(p.ring)
}

// restart ends a process as a deploy does, and starts another.
func (w *chaosWorld) restart(i, ring int) {
	p := w.procs[i]
	w.say("%s is restarted", p.name)
	w.end(p)
	p.gone.Store(true)
	w.died(p)
	w.procs[i] = w.spawn(ring)
}

func (w *chaosWorld) end(p *chaosProcess) {
	p.stop()
	if err := p.m.Close(); err != nil {
		w.say("%s: %v", p.name, err)
	}
	p.background.Wait()
}

// changePassword ends everything the person has granted.
func (w *chaosWorld) changePassword(t oauthflow.Target) {
	_, err := w.provider.Revoke(person(t))
	require.NoError(w.t, err)
	w.say("%s changes the password", person(t))
}

func person(t oauthflow.Target) string {
	if t.Key.Org == "acme" {
		return "alice"
	}
	return "bruno"
}

// connect walks a whole flow.
func (w *chaosWorld) connect(p *chaosProcess, t oauthflow.Target) {
	defer w.person[t.Key].take()()
	defer p.flows.take()() // so that it is known what a code is for
	p.mu.Lock()
	p.connects = t.Key
	p.mu.Unlock()
	w.change(t.Key, func(k *acked) { k.changing++ })
	w.say("%s connects %s", p.name, t.Key.Org)
	err := w.flow(p, t)
	w.say("%s has connected %s: %v", p.name, t.Key.Org, err)
	w.change(t.Key, func(k *acked) {
		k.changing--
		if p.dead() || err != nil {
			k.family, k.removed = "", false // who knows
		} else {
			k.removed, k.family = false, w.newest(t.Key)
		}
	})
}

func (w *chaosWorld) flow(p *chaosProcess, t oauthflow.Target) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	started, err := p.m.Start(ctx, t, oauthflow.StartOptions{Principal: "admin", ReturnTo: "/"})
	if err != nil {
		return err
	}
	back, err := w.provider.Authorize(ctx, started.AuthorizationURL, person(t))
	if err != nil {
		return err
	}
	u, err := url.Parse(back)
	if err != nil {
		return err
	}
	_, err = p.m.Callback(ctx, oauthflow.CallbackRequest{
		RawQuery: u.RawQuery, Definition: t.Key.Definition, Principal: "admin", HasPrincipal: true,
		Cookie:  func(string) string { return started.Cookie.Value },
		Allowed: func(tokenstore.Key) bool { return true },
	})
	return err
}

func (w *chaosWorld) disconnect(p *chaosProcess, t oauthflow.Target) {
	defer w.person[t.Key].take()()
	w.change(t.Key, func(k *acked) { k.changing++ })
	_, err := p.m.Disconnect(context.Background(), t, "admin")
	w.say("%s has disconnected %s: %v", p.name, t.Key.Org, err)
	w.change(t.Key, func(k *acked) {
		k.changing--
		k.family, k.removed = "", !p.dead() && (err == nil || errors.Is(err, oauthflow.ErrNotConnected))
	})
}

func (w *truth) change(key tokenstore.Key, do func(*acked)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do(w.keys[key])
	w.keys[key].at = time.Now()
}
