package oauthflow

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// TestInterleavings lets three processes run the protocol against a provider that
// rotates strictly and revokes everything on reuse, in random orders, with crashes,
// lost replies, disconnects, reconnects, and processes that freeze. Some want the
// grant's own access token, some another one. A tick is a second; a process that does not freeze keeps the assumptions of [Timing], and no
// others.
func TestInterleavings(t *testing.T) {
	runs := 1400
	if testing.Short() {
		runs = 300
	}
	for seed := range runs {
		faults := []string{"none", "crash", "loss", "crash+loss", "people", "freeze", "everything"}[seed%7]
		w := newSim(uint64(seed), faults)
		for range 400 {
			w.tick()
			if w.broken != "" {
				t.Fatalf("seed %d, faults %s: %s\n%s", seed, faults, w.broken, w.log)
			}
		}
		w.settle()
		if w.broken != "" {
			t.Fatalf("seed %d, faults %s: %s\n%s", seed, faults, w.broken, w.log)
		}
		if faults == "none" {
			require.Zero(t, w.repeats, "seed %d: without faults every refresh token is presented once", seed)
		}
	}
}

// strict is the provider: per grant the one refresh token that works, or a grave.
type strict struct {
	current map[string]int
	dead    map[string]bool
	shown   map[string]int // presentations per refresh token
}

// simProcess is one process; what it holds is lost when it crashes.
type simProcess struct {
	name    string
	state   string // "", "begun", "sent", "answered"
	slot    string // which access token it wants
	p       presentation
	token   int
	began   time.Time
	arrives time.Time // at the provider
	back    time.Time // the reply
	reply   int       // the new token; 0: invalid_grant
	act     time.Time // when it records what it knows
	frozen  time.Time // until when it stands still
}

type sim struct {
	r       *rand.Rand
	rules   rules
	faults  string
	now     time.Time
	row     *tokenstore.Connection
	as      strict
	slots   map[int64]accessTimes // by generation: what is sealed for slot "s"
	procs   []*simProcess
	born    int
	lost    map[string]bool // grants of which a reply or its holder was lost
	repeats int
	broken  string
	log     string
}

func newSim(seed uint64, faults string) *sim {
	w := &sim{
		r: rand.New(rand.NewPCG(seed, 1)), rules: askRules, faults: faults, now: t0, lost: map[string]bool{},
		row: &tokenstore.Connection{Status: tokenstore.NotConnected}, slots: map[int64]accessTimes{},
		as: strict{map[string]int{}, map[string]bool{}, map[string]int{}},
	}
	for range 3 {
		w.procs = append(w.procs, w.spawn())
	}
	w.connect()
	return w
}

func (w *sim) spawn() *simProcess {
	w.born++
	return &simProcess{name: "P" + strconv.Itoa(w.born)}
}

func (w *sim) note(format string, args ...any) {
	w.log += fmt.Sprintf("%4d ", int(w.now.Sub(t0).Seconds())) + fmt.Sprintf(format, args...) + "\n"
}

func (w *sim) chance(percent int) bool { return w.r.IntN(100) < percent }

func (w *sim) faulty(what string) bool { return w.faults == what || w.faults == "everything" }

func (w *sim) within(d time.Duration) time.Duration { return time.Duration(w.r.Int64N(int64(d) + 1)) }

func (w *sim) connect() {
	id := "g" + strconv.Itoa(len(w.as.current)+1)
	w.as.current[id] = 1
	g := grant{id: id, received: w.tokens(1, w.row.Generation+1)}
	if connect(w.row, w.now, g, 0) != nil {
		w.broken = "connect was refused"
	}
	w.note("connect %s", id)
}

func (w *sim) tokens(token int, generation int64) received {
	lifetime := time.Duration(20+w.r.IntN(40)) * time.Second
	return received{generation: generation, sealed: []byte(strconv.Itoa(token)), access: true, refresh: true, lifetime: lifetime}
}

// another is what a reply for slot "s" leaves to the record.
func (w *sim) another(token int, generation int64) received {
	r := w.tokens(token, generation)
	r.slot, r.lifetime = true, 0
	return r
}

// commit stores what p received, as of generation; the other slot stays as it was
// in the generation before.
func (w *sim) commit(p *simProcess, generation int64) error {
	got, slot := w.tokens(p.reply, generation), w.slots[generation-1]
	if p.slot != "" {
		got = w.another(p.reply, generation)
		slot = accessTimes{true, w.now, w.now.Add(time.Duration(10+w.r.IntN(60)) * time.Second)}
	}
	expires := w.row.ExpiresAt
	if err := commit(w.row, w.now, p.p, got, 0); err != nil {
		return err
	}
	w.slots[generation] = slot
	if p.slot != "" && w.row.ExpiresAt != expires {
		w.broken = "another slot's reply changed the grant's own token"
	}
	return nil
}

func (w *sim) stored() int {
	n, _ := strconv.Atoi(string(w.row.Sealed))
	return n
}

func (w *sim) tick() {
	w.now = w.now.Add(time.Second)
	before := w.row.Generation
	for _, i := range w.r.Perm(len(w.procs)) {
		p := w.procs[i]
		if p.state != "" && w.chance(2) && (w.faulty("crash") || w.faulty("crash+loss")) {
			w.crash(i)
			continue
		}
		w.step(p)
	}
	if w.faulty("people") {
		if w.chance(1) && w.row.Connected() && disconnect(w.row, w.now, removal{}) == nil {
			w.note("disconnect")
		} else if w.chance(1) {
			w.connect()
		}
	}
	if w.row.Generation < before {
		w.broken = "the generation went back"
	}
	w.row.Pending = nil
}

func (w *sim) crash(i int) {
	p := w.procs[i]
	w.note("%s crashes while %s", p.name, p.state)
	w.lost[p.p.grant] = true
	if p.state == "sent" && !p.arrives.IsZero() {
		w.deliver(p) // what is on the wire arrives
	}
	w.procs[i] = w.spawn()
}

func (w *sim) step(p *simProcess) {
	if w.now.Before(p.frozen) {
		if p.state == "sent" && !p.arrives.IsZero() && !w.now.Before(p.arrives) {
			w.deliver(p) // the kernel and the network go on
		}
		return
	}
	if p.state != "" && w.chance(3) && w.faulty("freeze") {
		p.frozen = w.now.Add(w.within(2 * w.rules.Attempt))
		w.lost[p.p.grant] = true
		w.note("%s freezes while %s", p.name, p.state)
		return
	}
	switch p.state {
	case "":
		if w.chance(50) {
			w.begin(p)
		}
	case "begun":
		elapsed := w.now.Sub(p.began)
		switch {
		case elapsed >= w.rules.SendWindow || w.chance(10):
			w.note("%s has not sent", p.name)
			_ = notSent(w.row, w.now, p.p)
			p.state = ""
		case w.chance(50):
			// The look at the stopwatch was now; the bytes stall and travel.
			p.arrives = w.now.Add(w.within(w.rules.Stall) + w.within(w.rules.Transit))
			p.back = p.arrives.Add(w.within(w.rules.Request - p.arrives.Sub(p.began)))
			if w.chance(10) && (w.faulty("loss") || w.faulty("crash+loss")) {
				p.back = p.began.Add(time.Hour)
			}
			p.act, p.state = time.Time{}, "sent"
			w.note("%s sends RT%d of %s", p.name, p.token, p.p.grant)
		}
	case "sent":
		if !p.arrives.IsZero() && !w.now.Before(p.arrives) {
			w.deliver(p)
		}
		if p.arrives.IsZero() && !w.now.Before(p.back) && p.back.Sub(p.began) <= w.rules.Request {
			p.state, p.act = "answered", w.now.Add(w.within(w.rules.Record))
			return
		}
		if w.now.Sub(p.began) >= w.rules.Request {
			w.note("%s has heard nothing", p.name)
			w.lost[p.p.grant] = true
			_ = w.rules.unknown(w.row, w.now, p.p, failure{class: ClassUnknown})
			if !p.arrives.IsZero() {
				w.deliver(p)
			}
			p.state = ""
		}
	case "answered":
		if !w.now.Before(p.act) {
			w.record(p)
			p.state = ""
		}
	}
}

func (w *sim) begin(p *simProcess) {
	ask := want{generation: w.row.Generation}
	if w.chance(40) {
		ask.slot, ask.stored = "s", w.slots[w.row.Generation]
	}
	for range 2 {
		if w.rules.tidy(w.row, w.now, ask) != nil {
			break
		}
	}
	pr := presentation{id: p.name + w.now.String(), grant: w.row.GrantID, generation: w.row.Generation}
	if w.rules.present(w.row, w.now, ask, pr) != nil {
		return
	}
	pr.number = w.row.Attempt.Presentations
	*p = simProcess{name: p.name, state: "begun", slot: ask.slot, p: pr, token: w.stored(), began: w.now}
	w.note("%s begins on generation %d, presentation %d, slot %q", p.name, pr.generation, pr.number, p.slot)
	for _, other := range w.procs {
		if other != p && other.state != "" && other.p.on(w.row) && !w.lost[pr.grant] {
			w.broken = fmt.Sprintf("%s and %s hold RT%d at once", other.name, p.name, p.token)
		}
	}
}

// deliver is the provider's side.
func (w *sim) deliver(p *simProcess) {
	p.arrives = time.Time{}
	g := p.p.grant
	key := fmt.Sprintf("%s RT%d", g, p.token)
	if w.as.shown[key]++; w.as.shown[key] > 1 {
		w.repeats++
		if !w.lost[g] {
			w.broken = key + " was presented twice, though nothing was lost"
		}
	}
	switch {
	case w.as.dead[g]:
		p.reply = 0
	case w.as.current[g] == p.token:
		w.as.current[g]++
		p.reply = w.as.current[g]
	default:
		w.note("the provider sees %s again and revokes the grant", key)
		w.as.dead[g], p.reply = true, 0
		if !w.lost[g] {
			w.broken = "a grant was killed, though nothing was lost"
		}
	}
}

func (w *sim) record(p *simProcess) {
	if p.reply == 0 {
		w.note("%s is told invalid_grant", p.name)
		_ = dead(w.row, w.now, p.p, failure{class: ClassDead})
		return
	}
	err := w.commit(p, p.p.generation+1)
	if err != nil && p.p.replaces(w.row) {
		err = w.commit(p, p.p.generation+2)
	}
	w.note("%s commits RT%d: %v", p.name, p.reply, err)
	if err == nil && w.row.GrantID != p.p.grant {
		w.broken = "a late commit touched another grant"
	}
	if err != nil && w.row.GrantID == p.p.grant && w.row.Generation == p.p.generation {
		w.broken = "the only token that works was thrown away"
	}
}

// settle ends the faults, and checks that the story ends well.
func (w *sim) settle() {
	w.faults = "none"
	for range 1200 {
		w.tick()
	}
	g := w.row.GrantID
	switch {
	case w.broken != "" || g == "":
	case w.as.dead[g] && w.row.Status != tokenstore.ReauthRequired:
		w.broken = "the grant is dead and the row does not say so"
	case !w.as.dead[g] && w.row.Status != tokenstore.Active && w.row.Status != tokenstore.Degraded:
		w.broken = "the grant lives and the row says " + string(w.row.Status)
	case !w.as.dead[g] && w.now.Sub(w.row.ObtainedAt) > 5*time.Minute:
		w.broken = "the grant lives and is not renewed any more"
	}
}
