package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// ears hear events.
type ears struct {
	mu     sync.Mutex
	events []oauthflow.Event
	hold   chan struct{} // the listener waits for it
}

func (e *ears) hear(event oauthflow.Event) {
	if e.hold != nil {
		<-e.hold
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, event)
}

// heard returns kinds and reasons, as world.events does for the history.
func (e *ears) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for _, event := range e.events {
		text := string(event.Kind)
		if event.Reason != "" {
			text += " " + event.Reason
		}
		list = append(list, text)
	}
	return list
}

func TestEventsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ears{}
		w := newWorld(t, func(c *oauthflow.Config) { c.Events = e.hear })
		w.connect("g")
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { p.answer = always(503, "") })
		_, err := w.token(w.m)
		require.Error(t, err)
		pass(time.Minute)
		w.idp.set(func(p *idp) { p.answer = nil })
		w.requireToken(w.m, "AT3")
		pass(2 * time.Hour)
		w.idp.set(func(p *idp) { p.answer = always(400, `{"error":"invalid_grant"}`) })
		_, err = w.token(w.m)
		require.Error(t, err)
		w.idp.set(func(p *idp) { p.answer = nil })
		w.connect("g2")
		_, err = w.m.Disconnect(t.Context(), w.target, "bob")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, w.events(), e.heard(), "what the history says, in its order")
		first, last := e.events[0], e.events[len(e.events)-2]
		require.Equal(t, oauthflow.Event{
			Kind: oauthflow.EventConnected, Key: w.target.Key, At: first.At, Status: tokenstore.Active, Actor: "alice", Generation: 1,
		}, first)
		require.Equal(t, oauthflow.EventDisconnected, last.Kind)
		require.Equal(t, tokenstore.NotConnected, last.Status)
		require.Equal(t, "bob", last.Actor)
		require.Equal(t, oauthflow.EventRevoked, e.events[len(e.events)-1].Kind)
		require.NotContains(t, every(e.events), "canary")
	})
}

func TestASlowListenerHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ears{hold: make(chan struct{})}
		w := newWorld(t, func(c *oauthflow.Config) { c.Events = e.hear })
		w.connect("g")
		for range 1200 {
			asked := time.Now()
			_, err := w.m.Renew(t.Context(), w.target, oauthflow.AnyGeneration)
			require.NoError(t, err)
			require.Zero(t, time.Since(asked))
		}
		require.Equal(t, int64(1201-1024-1), w.m.Stats().DroppedEvents, "one is with the listener")
		close(e.hold)
		synctest.Wait()
		require.Len(t, e.heard(), 1025)
		for i, event := range e.events {
			require.Equal(t, int64(i+1), event.Generation)
		}
	})
}

func TestAListenerThatPanicsEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		w := newWorld(t, func(c *oauthflow.Config) {
			c.Events = func(oauthflow.Event) { told++; panic("oh") }
			c.Tracer = panicking{}
		})
		w.connect("g")
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		synctest.Wait()
		require.Equal(t, 2, told)
		require.Contains(t, w.logs.String(), "panicked\" where=Config.Events")
		require.Contains(t, w.logs.String(), "panicked\" where=Config.Tracer")
	})
}

type panicking struct{}

func (panicking) TraceRequestStart(context.Context, oauthflow.RequestStart) context.Context {
	panic("oh")
}
func (panicking) TraceRequestEnd(context.Context, oauthflow.RequestEnd) { panic("oh") }

// P2 is told no while P1 holds the new token and cannot store it yet: nobody is to
// be asked to connect again.
func TestALostRotationThatHealsIsNotTold(t *testing.T) {
	story := func(t *testing.T, heals bool) []string {
		e := &ears{}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c *oauthflow.Config) { c.Events = e.hear })
			w.connect("g")
			pass(2 * time.Hour)
			gone := &faulty{Store: w.store}
			p1 := w.process(func(c *oauthflow.Config) { c.Store, c.Events = gone, e.hear })
			w.idp.answer = func(form url.Values) (int, string, error) {
				gone.set(func(f *faulty) { f.update = errStore })
				w.idp.answer = nil
				return 0, "", nil
			}
			w.requireToken(p1, "AT2") // from memory
			pass(31 * time.Second)
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrReauthRequired)
			require.Equal(t, oauthflow.ReasonLostRotation, w.row().Reason)
			synctest.Wait()
			require.Equal(t, []string{"connected", "unsaved"}, e.heard())
			if heals {
				gone.set(func(f *faulty) { f.update = nil })
			}
			pass(31 * time.Second)
			gone.set(func(f *faulty) { f.update = nil })
			pass(time.Minute)
		})
		return e.heard()
	}
	t.Run("healed in time", func(t *testing.T) {
		list := story(t, true)
		require.Equal(t, "connected", list[0])
		require.Equal(t, "healed", list[len(list)-1])
	})
	t.Run("it stands", func(t *testing.T) {
		require.Equal(t, []string{"connected", "unsaved", "reauth_required lost_rotation", "healed"}, story(t, false))
	})
}

// spans record what a tracer is told.
type spans struct {
	mu     sync.Mutex
	starts []oauthflow.RequestStart
	ends   []oauthflow.RequestEnd
	passes []oauthflow.PassEnd
	lost   bool // an end without its start's context
}

type spanKey struct{}

func (s *spans) TraceRequestStart(ctx context.Context, data oauthflow.RequestStart) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = append(s.starts, data)
	return context.WithValue(ctx, spanKey{}, true)
}

func (s *spans) TraceRequestEnd(ctx context.Context, data oauthflow.RequestEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, data)
	s.lost = s.lost || ctx.Value(spanKey{}) == nil
}

func (s *spans) TracePassStart(ctx context.Context, _ oauthflow.PassStart) context.Context {
	return context.WithValue(ctx, spanKey{}, true)
}

func (s *spans) TracePassEnd(ctx context.Context, data oauthflow.PassEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes = append(s.passes, data)
	s.lost = s.lost || ctx.Value(spanKey{}) == nil
}

func TestTracer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spans{}
		w := newWorld(t)
		w.m = w.background(&targets{world: w}, func(c *oauthflow.Config) { c.Tracer = s })
		w.connect("g")
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		stop := keepFresh(w.m)
		pass(time.Hour)
		stop()
		w.idp.set(func(p *idp) { p.answer = always(400, `{"error":"invalid_grant","error_description":"canary"}`) })
		_, err := w.m.Renew(t.Context(), w.target, oauthflow.AnyGeneration)
		require.Error(t, err)
		_, err = w.m.Disconnect(t.Context(), w.target, "bob")
		require.NoError(t, err)
		synctest.Wait()

		var kinds []string
		for _, start := range s.starts {
			require.Equal(t, w.target.Key, start.Key)
			require.Equal(t, "Graph", start.Integration)
			require.Equal(t, "login.example.com", start.Host)
			kinds = append(kinds, fmt.Sprintf("%s %t", start.Kind, start.Background))
		}
		require.Equal(t, []string{
			"authorization_code false", "refresh_token false", "refresh_token true", "refresh_token false", "revocation true", "revocation true",
		}, kinds)
		for i, end := range s.ends {
			if i == 3 {
				require.Equal(t, []any{oauthflow.ClassDead, "invalid_grant", 400, true}, []any{end.Class, end.Code, end.Status, end.Sent})
				var te *oauthflow.TokenError
				require.True(t, errors.As(end.Err, &te))
			} else {
				require.NoError(t, end.Err)
			}
		}
		require.Len(t, s.ends, 6)
		require.False(t, s.lost)
		taken := 0
		for _, p := range s.passes {
			require.NoError(t, p.Err)
			taken += p.Taken
		}
		require.Equal(t, 1, taken)
		stats := w.m.Stats()
		require.Equal(t, []int64{6, 1, 1}, []int64{stats.Requests, stats.Failed, stats.Visits})
		require.Len(t, s.passes, int(stats.Passes))
	})
}
