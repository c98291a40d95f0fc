package oauthflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// slowBegin is a store whose answer to the begin of an attempt takes its time.
type slowBegin struct {
	tokenstore.Store
	delay time.Duration
}

func (s *slowBegin) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	c, err := s.Store.Update(ctx, key, change)
	if s.delay > 0 && c != nil && c.Attempt != nil {
		<-time.After(s.delay)
		s.delay = 0
	}
	return c, err
}

// 3: the look before the first byte counts from before the begin.
func TestNothingIsSentWhenTheSendWindowHasPassed(t *testing.T) {
	for name, slow := range map[string]func(w *world, s *slowBegin){
		"the store answers late": func(_ *world, s *slowBegin) { s.delay = 6 * time.Second },
		"dialling takes long": func(w *world, _ *slowBegin) {
			w.idp.dial = func(context.Context) error {
				pass(6 * time.Second)
				w.idp.set(func(p *idp) { p.dial = nil })
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &slowBegin{Store: w.store}
				w.store = s
				w.m = w.process()
				w.connect("g")
				pass(2 * time.Hour)
				slow(w, s)
				_, err := w.token(w.m)
				require.Error(t, err)
				require.Empty(t, w.idp.refreshes(), "nothing was sent")
				require.Nil(t, w.row().Attempt, "and the attempt says so")
				pass(time.Minute)
				w.requireToken(w.m, "AT2")
			})
		})
	}
}

// A store that takes the time there is for the begin is no fault of the provider's.
func TestAStoreThatIsSlowSpeaksAgainstNoProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &slowBegin{Store: w.store}
		w.store = s
		w.m = w.process()
		all := w.connectOrgs(3)
		pass(2 * time.Hour)
		w.idp.dial = func(context.Context) error {
			pass(200 * time.Millisecond)
			return nil
		}
		for _, target := range all {
			s.delay = 4900 * time.Millisecond
			_, err := w.m.Token(t.Context(), target)
			e := problem(t, err, oauthflow.ErrUnavailable)
			require.Equal(t, "store_unavailable", e.Reason)
			require.Contains(t, e.Message, "takes too long")
			c, err := w.store.Load(t.Context(), target.Key)
			require.NoError(t, err)
			require.Equal(t, tokenstore.Active, c.Status)
			require.Nil(t, c.Attempt)
			require.Nil(t, c.LastError)
		}
		require.Empty(t, w.idp.refreshes())
		require.Equal(t, []string{"connected", "connected", "connected"}, w.events())
		require.Zero(t, w.m.Stats().OpenBreakers)
		_, err := w.m.Token(t.Context(), all[0])
		require.NoError(t, err, "at once")

		s.delay = 0
		w.idp.dial = func(context.Context) error {
			pass(6 * time.Second)
			return nil
		}
		_, err = w.m.Token(t.Context(), all[1])
		require.Equal(t, "unreachable", problem(t, err, oauthflow.ErrUnavailable).Code, "that is the provider's")
	})
}
