package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
)

func init() { children["hammer"] = hammerInChild }

// hammering is what a child is to do that calls all connections all the time.
type hammering struct {
	deployment
	Orgs []string // whose connections
	// Life is how long access tokens live.
	Life    time.Duration
	Callers int
	Pause   time.Duration // of each caller, between two calls
}

// together returns the organization that all processes call at this moment: each
// has its turn again when its token has ended.
func (h hammering) together() string {
	turn := h.Life * 6 / 5 / time.Duration(h.calledTogether())
	return h.Orgs[int(time.Duration(time.Now().UnixNano())/turn)%h.calledTogether()]
}

// alone returns one of those that are called at any time.
func (h hammering) alone() string {
	first := h.calledTogether()
	return h.Orgs[first+rand.IntN(len(h.Orgs)-first)]
}

func (h hammering) calledTogether() int { return len(h.Orgs) * 3 / 4 }

// tally is what a hammering child tells: an empty one when it begins, and at its end
// what has happened.
type tally struct {
	Calls     int // answered, of all kinds
	Late      int // of them, with a token that had ended before the call began
	Cancelled int // whose callers did not wait
	API       int // calls of the API
	Refused   int // of them, answered 401 in the end
	Managed   int // calls of the management side

	Refreshes  int // requests that brought tokens
	Background int // of them, those that nobody waited for
	Failed     int // those that did not, although they were sent

	// Unavailable are the calls whose error says that trying later may help, Excuses
	// the first few texts of these, and Errors those of others.
	Unavailable int
	Excuses     []string
	Errors      []string
}

func (t *tally) add(u tally) {
	t.Calls, t.Late, t.Cancelled, t.API, t.Managed = t.Calls+u.Calls, t.Late+u.Late, t.Cancelled+u.Cancelled, t.API+u.API, t.Managed+u.Managed
	t.Refused, t.Refreshes, t.Background, t.Failed = t.Refused+u.Refused, t.Refreshes+u.Refreshes, t.Background+u.Background, t.Failed+u.Failed
	t.Unavailable, t.Excuses, t.Errors = t.Unavailable+u.Unavailable, append(t.Excuses, u.Excuses...), append(t.Errors, u.Errors...)
}

// hammer is the child.
type hammer struct {
	hammering
	bf *bifrost.Bifrost

	mu sync.Mutex
	tally
}

// hammerInChild runs until SIGTERM, or the parent's end.
func hammerInChild(ctx context.Context, config []byte) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	go func() {
		_ = readLines(func(string) error { return nil })
		stop()
	}()
	h := &hammer{}
	if err := json.Unmarshal(config, &h.hammering); err != nil {
		return err
	}
	closing, err := h.begin(ctx)
	if err != nil {
		return err
	}
	if err := h.bf.Start(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, closing())
	}
	h.tell()
	var calling sync.WaitGroup
	for range h.Callers {
		calling.Go(func() { every(ctx, h.Pause, func() { h.call(ctx) }) })
	}
	calling.Go(func() { every(ctx, 20*h.Pause, func() { h.manage(ctx) }) })
	<-ctx.Done()
	// Without waiting for callers: they are gone, but what they have begun is not.
	err = closing()
	calling.Wait()
	h.tell()
	return err
}

// begin opens Bifrost, if need be after some failures, as whoever starts processes
// again does: a pooler may refuse sessions while many come and go.
func (h *hammer) begin(ctx context.Context) (closing func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience*2/3)
	defer cancel()
	var failed error
	err = poll(ctx, 500*time.Millisecond, func() (bool, error) {
		h.bf, _, closing, failed = h.open(ctx, h)
		return failed == nil, nil
	})
	if err != nil {
		return nil, errors.Join(err, failed)
	}
	return closing, nil
}

func (h *hammer) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	line, _ := json.Marshal(h.tally) // numbers and texts always encode
	tell("%s", line)
}

// every calls f again and again, that long after it began the last time, until ctx
// ends.
func every(ctx context.Context, pause time.Duration, f func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// call makes one call of a random kind.
func (h *hammer) call(ctx context.Context) {
	together, alone := integrations.Org(h.together()), integrations.Org(h.alone())
	switch n := rand.IntN(1000); {
	case n < 450:
		h.get(ctx, together)
	case n < 750:
		h.hurry(ctx, together)
	case n < 800:
		h.ask(ctx, together)
	case n < 850:
		h.ask(ctx, alone)
	case n < 998:
		h.get(ctx, alone)
	default: // a person at the button
		_, err := h.bf.Integrations.Refresh(ctx, theIntegration, together)
		h.note(ctx, err)
	}
}

// get gets the integration. Its token has ended already only where storing it took
// as long as it lives, which a crowded machine can do to a database.
func (h *hammer) get(ctx context.Context, org integrations.Option) {
	began := time.Now()
	in, err := h.bf.Integrations.Get(ctx, theIntegration, org)
	if err == nil && in.OAuth().ExpiresAt().Before(began) {
		h.count(func(t *tally) { t.Late++ })
	}
	h.note(ctx, err)
}

// hurry gets the integration, and does not wait long.
func (h *hammer) hurry(ctx context.Context, org integrations.Option) {
	short, cancel := context.WithTimeout(ctx, rand.N(30*time.Millisecond))
	defer cancel()
	_, err := h.bf.Integrations.Get(short, theIntegration, org)
	if errors.Is(err, context.DeadlineExceeded) && short.Err() != nil {
		h.count(func(t *tally) { t.Cancelled++ })
		return
	}
	h.note(ctx, err)
}

// ask asks the API, whose 401 makes the client renew the token.
func (h *hammer) ask(ctx context.Context, org integrations.Option) {
	in, err := h.bf.Integrations.Get(ctx, theIntegration, org)
	if err != nil {
		h.note(ctx, err)
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, oauthtest.At(h.Provider).UsersURL, nil)
	if err != nil {
		h.note(ctx, err)
		return
	}
	res, err := in.Client().Do(req)
	if err != nil {
		h.note(ctx, err)
		return
	}
	_, err = io.Copy(io.Discard, res.Body)
	err = errors.Join(err, res.Body.Close())
	switch {
	case err == nil && res.StatusCode == http.StatusUnauthorized:
		h.count(func(t *tally) { t.Refused++ })
	case err == nil && res.StatusCode != http.StatusOK:
		err = errors.New("the API answered " + res.Status)
	}
	h.count(func(t *tally) { t.API++ })
	h.note(ctx, err)
}

// manage does what the management pages do.
func (h *hammer) manage(ctx context.Context) {
	reg, org := h.bf.Integrations, integrations.Org(h.Orgs[rand.IntN(len(h.Orgs))])
	_, err := reg.List(ctx, org)
	h.note(ctx, err)
	_, err = reg.Status(ctx, theIntegration, org)
	h.note(ctx, err)
	_, err = reg.Events(ctx, theIntegration, 0, 10, org)
	h.note(ctx, err)
	n := 0
	for _, err = range reg.Connections(ctx, theIntegration, nil, integrations.Global()) {
		if err != nil {
			break
		}
		n++
	}
	if err == nil && n != len(h.Orgs) {
		err = fmt.Errorf("%d connections are listed, of %d", n, len(h.Orgs))
	}
	h.note(ctx, err)
	h.count(func(t *tally) { t.Managed += 4 })
}

// note counts an answer. A caller that is gone when he gets it hears no error.
func (h *hammer) note(ctx context.Context, err error) {
	h.count(func(t *tally) {
		few := func(texts []string) []string {
			if len(texts) < 3 {
				texts = append(texts, err.Error())
			}
			return texts
		}
		switch {
		case err == nil:
			t.Calls++
		case ctx.Err() != nil:
		case errors.Is(err, integrations.ErrUnavailable):
			t.Unavailable++
			t.Excuses = few(t.Excuses)
		default:
			t.Errors = few(t.Errors)
		}
	})
}

func (h *hammer) count(f func(*tally)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.tally)
}

type backgroundKey struct{}

// TraceRequestStart implements oauthflow.Tracer.
func (h *hammer) TraceRequestStart(ctx context.Context, data oauthflow.RequestStart) context.Context {
	return context.WithValue(ctx, backgroundKey{}, data.Background)
}

// TraceRequestEnd implements oauthflow.Tracer.
func (h *hammer) TraceRequestEnd(ctx context.Context, data oauthflow.RequestEnd) {
	h.count(func(t *tally) {
		switch background, _ := ctx.Value(backgroundKey{}).(bool); {
		case data.Err != nil && data.Sent:
			t.Failed++
		case data.Err != nil: // given up in time
		case background:
			t.Background++
			t.Refreshes++
		default:
			t.Refreshes++
		}
	})
}
