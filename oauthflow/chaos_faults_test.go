package oauthflow_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// chaosProcess is one process: a manager with a store and a network of its own,
// which fail at random and for good when it dies.
type chaosProcess struct {
	tokenstore.Store // the shared one; what is not below works always, as long as it lives
	w                *truth
	name             string
	m                *oauthflow.Manager
	stop             context.CancelFunc // of what runs in its background
	background       sync.WaitGroup

	gone   atomic.Bool
	outage atomic.Pointer[time.Time] // until when its store is away
	failed atomic.Int64              // how often the store has failed it

	lot      *lot
	ring     int
	walks    bool // refreshes in the background, and revokes what is left to be revoked
	flows    turn // one flow at a time
	mu       sync.Mutex
	connects tokenstore.Key          // the key it is connecting
	looked   map[tokenstore.Key]look // its last good reading
}

type look struct{ began, ended time.Time }

var errChaos = errors.New("the store is away")

func (p *chaosProcess) dead() bool { return p.gone.Load() }

// connecting is what a code that p exchanges is for.
func (p *chaosProcess) connecting() tokenstore.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connects
}

// trouble is what happens to one call of the store.
type trouble struct {
	before, after error
	late          time.Duration // between the doing and the answer
	twice         bool          // change is run on a copy first, as after a conflict
}

// meet waits, and says what else is to happen. The error is the context's.
func (p *chaosProcess) meet(ctx context.Context) (t trouble, err error) {
	if until := p.outage.Load(); p.dead() || until != nil && time.Now().Before(*until) {
		t.before = errChaos
	} else if p.chance(15) {
		switch p.lot.pick(7) {
		case 0:
			t.before = errChaos
		case 1:
			t.after = errChaos
		case 2: // no answer at all
			t.before = context.DeadlineExceeded
			err = rest(ctx, 5*time.Second)
		case 3:
			t.twice = true
		case 4:
			t.late = p.lot.within(3 * time.Second)
		default:
			err = rest(ctx, p.lot.within(2*time.Second))
		}
	}
	if t.before == nil && p.dead() {
		t.before = errChaos
	}
	return t, err
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// fault is what a call that failed returns.
func (p *chaosProcess) fault(err error) error {
	p.failed.Add(1)
	return err
}

// Load implements tokenstore.Store. What it returns may be old when it comes, as
// from any store.
func (p *chaosProcess) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	began := time.Now()
	t, err := p.meet(ctx)
	if err = errors.Join(err, t.before, t.after); err != nil {
		return nil, p.fault(err)
	}
	c, err := p.Store.Load(ctx, key)
	if late := rest(ctx, t.late); t.late > 0 && late != nil {
		return nil, p.fault(late)
	}
	if err != nil || p.dead() {
		return nil, p.fault(errors.Join(err, errChaos))
	}
	p.mu.Lock()
	p.looked[key] = look{began, time.Now()}
	p.mu.Unlock()
	return c, nil
}

// Update implements tokenstore.Store.
func (p *chaosProcess) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	t, err := p.meet(ctx)
	if err = errors.Join(err, t.before); err != nil {
		return nil, p.fault(err)
	}
	c, err := p.Store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		was := c.Clone()
		if t.twice {
			_ = change(c.Clone(), now)
		}
		if err := change(c, now); err != nil {
			return err
		}
		p.w.writing(p, was, c)
		return nil
	})
	if t.after != nil {
		p.w.say("%s is not told of its write", p.name)
		return nil, p.fault(t.after)
	}
	if t.late > 0 {
		if late := rest(ctx, t.late); late != nil {
			return nil, p.fault(late)
		}
	}
	if p.dead() {
		return nil, errChaos
	}
	return c, err
}

// Due implements tokenstore.Store.
func (p *chaosProcess) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	t, err := p.meet(ctx)
	if err = errors.Join(err, t.before, t.after); err != nil {
		return nil, err
	}
	return p.Store.Due(ctx, limit)
}

// Changes implements tokenstore.Store.
func (p *chaosProcess) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	t, err := p.meet(ctx)
	if err = errors.Join(err, t.before, t.after); err != nil {
		return nil, 0, err
	}
	return p.Store.Changes(ctx, after, limit)
}

// sender is the context's key of the process that sends.
type sender struct{}

// network is p's way to the provider.
type network struct {
	p  *chaosProcess
	to http.RoundTripper
}

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.p.dead() {
		return nil, errors.New("the process has died")
	}
	if n.p.chance(5) {
		return nil, errors.New("nobody listens") // not a byte was read
	}
	return n.to.RoundTrip(r.WithContext(context.WithValue(r.Context(), sender{}, n.p)))
}

// happening is what becomes of a request at the provider.
func (w *truth) happening(x *oauthtest.Exchange) {
	p, _ := x.Request().Context().Value(sender{}).(*chaosProcess)
	refresh := x.Form().Get("refresh_token")
	w.asked.Add(1)
	if refresh != "" {
		w.presenting(p, refresh)
	}
	process := func(came bool) *oauthtest.Reply {
		if refresh != "" {
			w.presenting(p, refresh) // it may have been long under way
		}
		r, family := w.process(x)
		w.answered(p, refresh, family, r, came && !p.dead())
		return r
	}
	lose := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if g := w.grants[refresh]; g != nil {
			w.family[g.family].unknown = true
		}
	}
	// What was given up is on its way for less than Transit still.
	stray := func() {
		lose()
		if p.lot.pick(2) == 0 {
			pass(p.lot.within(4 * time.Second))
			w.say("and now it arrives")
			process(false)
		}
	}
	fault := -1
	if p.chance(35) {
		fault = p.lot.pick(10)
		w.say("a request of %s meets fault %d", p.name, fault)
	}
	switch fault {
	case 0: // reset before it was processed, or while it is
		x.Reset()
		stray()
	case 1: // the reply is lost
		lose()
		process(false)
		x.Reset()
	case 2: // silence
		x.Hang()
		stray()
	case 3: // the reply breaks off
		lose()
		r := process(false)
		x.Send(&oauthtest.Reply{Status: r.Status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"access_token":"at_`)})
	case 4:
		x.Send((&oauthtest.Reply{Status: http.StatusTooManyRequests}).SetHeader("Retry-After", "7"))
	case 5:
		x.Send(&oauthtest.Reply{Status: http.StatusServiceUnavailable})
	case 6: // 500, and nobody knows
		lose()
		if p.lot.pick(2) == 0 {
			process(false)
		}
		x.Send(&oauthtest.Reply{Status: http.StatusInternalServerError, Body: []byte("oops")})
	case 7: // garbage with 200
		lose()
		if p.lot.pick(2) == 0 {
			process(false)
		}
		x.Send(&oauthtest.Reply{Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<h1>Welcome</h1>")})
	case 8, 9: // slow on the way there
		if !x.Wait(p.lot.within(12 * time.Second)) {
			x.Reset()
			stray()
			return
		}
		fallthrough
	default:
		w.deliver(x, p, refresh, process)
	}
}

// process lets the provider process a request, and returns the newest grant.
func (w *truth) process(x *oauthtest.Exchange) (*oauthtest.Reply, string) {
	w.processing.Lock()
	defer w.processing.Unlock()
	r := x.Process()
	families := w.provider.Families()
	if len(families) == 0 {
		return r, ""
	}
	return r, families[len(families)-1].ID
}

// deliver answers as usual, at once or slowly.
func (w *truth) deliver(x *oauthtest.Exchange, p *chaosProcess, refresh string, process func(bool) *oauthtest.Reply) {
	if !p.chance(20) {
		x.Send(process(true))
		return
	}
	r, family := w.process(x)
	came := x.Wait(p.lot.within(8*time.Second)) && !p.dead()
	w.answered(p, refresh, family, r, came)
	x.Send(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.grants[refresh]; !came && g != nil {
		w.family[g.family].unknown = true
	}
}

// revoking is the same for the revocation endpoint.
func (w *truth) revoking(x *oauthtest.Exchange) {
	p, _ := x.Request().Context().Value(sender{}).(*chaosProcess)
	if !p.chance(40) {
		return // as usual
	}
	switch p.lot.pick(4) {
	case 0:
		x.Reset()
	case 1:
		x.Process()
		x.Reset()
	case 2:
		x.Send(&oauthtest.Reply{Status: http.StatusServiceUnavailable})
	default:
		x.Hang()
	}
}
