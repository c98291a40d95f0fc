package oauthflow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

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
