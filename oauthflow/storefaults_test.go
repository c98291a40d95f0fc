package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// flaky is a world whose store fails on demand.
func flaky(t *testing.T) (*world, *faulty) {
	return connectedOn(t, func(s tokenstore.Store) *faulty { return &faulty{Store: s} })
}

// connectedOn is a world with a connection, whose store is as it is wrapped.
func connectedOn[S tokenstore.Store](t *testing.T, wrap func(tokenstore.Store) S) (*world, S) {
	w := newWorld(t)
	s := wrap(w.store)
	w.store = s
	w.m = w.process()
	w.connect("g")
	return w, s
}

func TestStoreFailsAfterTheReply(t *testing.T) {
	breaks := func(w *world, f *faulty, change func(*faulty)) {
		w.idp.answer = func(url.Values) (int, string, error) {
			f.set(change)
			w.idp.answer = nil
			return 0, "", nil
		}
	}
	t.Run("for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			breaks(w, f, func(f *faulty) { f.update = errStore })
			go func() {
				pass(3 * time.Second)
				f.set(func(f *faulty) { f.update = nil })
			}()
			asked := time.Now()
			w.requireToken(w.m, "AT2")
			require.Less(t, time.Since(asked), 5*time.Second)
			require.Equal(t, int64(2), w.row().Generation)
			require.Len(t, w.idp.refreshes(), 1)
		})
	})
	t.Run("its answer is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			breaks(w, f, func(f *faulty) { f.after = errStore })
			w.requireToken(w.m, "AT2")
			require.Equal(t, int64(2), w.row().Generation)
			require.Len(t, w.idp.refreshes(), 1)
			require.Equal(t, []string{"connected", "refreshed"}, w.events())
		})
	})
	t.Run("for long: served from memory, the spent token never sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			var heard []string
			w.m = w.process(func(c *oauthflow.Config) {
				c.Events = func(e oauthflow.Event) { heard = append(heard, fmt.Sprint(e.Kind, " ", e.Generation)) }
			})
			pass(2 * time.Hour)
			breaks(w, f, func(f *faulty) { f.update = errStore })
			asked := time.Now()
			w.requireToken(w.m, "AT2")
			require.InDelta(t, 10, time.Since(asked).Seconds(), 1)
			synctest.Wait()
			require.Contains(t, w.logs.String(), "could not be stored")
			require.Equal(t, []string{"unsaved 1"}, heard)
			for range 50 {
				w.requireToken(w.m, "AT2")
				pass(time.Minute)
			}
			f.set(func(f *faulty) { f.load = errStore })
			w.requireToken(w.m, "AT2")
			_, err := w.m.Renew(context.Background(), w.target, 2)
			problem(t, err, oauthflow.ErrUnavailable)
			pass(time.Hour) // it has ended, and RT2 is all there is
			_, err = w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			f.set(func(f *faulty) { f.load = nil })
			_, err = w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())

			f.set(func(f *faulty) { f.update = nil })
			pass(time.Minute)
			require.Equal(t, int64(2), w.row().Generation)
			w.requireToken(w.m, "AT3")
			require.Equal(t, []string{"g/RT1", "g/RT2"}, w.idp.refreshes())
			synctest.Wait()
			require.Equal(t, []string{"unsaved 1", "refreshed 2", "refreshed 3"}, heard)
		})
	})
	t.Run("until the process ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			breaks(w, f, func(f *faulty) { f.update = errStore })
			w.requireToken(w.m, "AT2")
			go func() {
				pass(4 * time.Second)
				f.set(func(f *faulty) { f.update = nil })
			}()
			require.NoError(t, w.m.Close())
			require.Equal(t, int64(2), w.row().Generation, "Close gives it a last chance")
		})
	})
	t.Run("and somebody disconnects", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			breaks(w, f, func(f *faulty) { f.update = errStore })
			w.requireToken(w.m, "AT2")
			f.set(func(f *faulty) { f.update = nil })
			_, err := w.m.Disconnect(context.Background(), w.target, "bob")
			require.NoError(t, err)
			pass(time.Minute)
			require.False(t, w.row().Connected())
			require.Contains(t, w.idp.revocations(), "g/RT2")
		})
	})
}

func TestStoreFailsOnRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		w.requireToken(w.m, "AT1")
		f.set(func(f *faulty) { f.load = errStore })
		pass(59*time.Minute + 50*time.Second)
		w.requireToken(w.m, "AT1")
		pass(10 * time.Second)
		_, err := w.token(w.m)
		e := problem(t, err, oauthflow.ErrUnavailable)
		require.Equal(t, "store_unavailable", e.Reason)
		require.ErrorIs(t, err, errStore)
		_, err = w.m.Renew(context.Background(), w.target, 1)
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
		problem(t, err, oauthflow.ErrUnavailable)
		_, err = w.token(w.process())
		problem(t, err, oauthflow.ErrUnavailable)
		require.Empty(t, w.idp.refreshes())
		f.set(func(f *faulty) { f.load = nil })
		w.requireToken(w.m, "AT2")
	})
}

func TestARejectedTokenIsNotServedFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		w.requireToken(w.m, "AT1")
		f.set(func(f *faulty) { f.load = errStore })
		_, err := w.m.Renew(context.Background(), w.target, 1)
		problem(t, err, oauthflow.ErrUnavailable)
	})
}

func TestStoreFailsAtTheBegin(t *testing.T) {
	t.Run("nothing was written: nothing is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			f.set(func(f *faulty) { f.update = errStore })
			_, err := w.token(w.m)
			problem(t, err, oauthflow.ErrUnavailable)
			require.Empty(t, w.idp.refreshes())
			f.set(func(f *faulty) { f.update = nil })
			pass(time.Minute)
			w.requireToken(w.m, "AT2")
		})
	})
	t.Run("the answer was lost, and the attempt is there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			f.set(func(f *faulty) { f.after = errStore })
			w.requireToken(w.m, "AT2")
			require.Len(t, w.idp.refreshes(), 1)
		})
	})
	t.Run("the answer was lost, and nobody can look", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, f := flaky(t)
			pass(2 * time.Hour)
			w.requireToken(w.m, "AT2")
			pass(2 * time.Hour)
			away := &unreadable{faulty: f}
			w.store = away
			m := w.process()
			away.then = func() { f.set(func(f *faulty) { f.load, f.update = errStore, errStore }) }
			_, err := w.token(m)
			problem(t, err, oauthflow.ErrUnavailable)
			require.Len(t, w.idp.refreshes(), 1, "not sent")
			synctest.Wait() // the first try to close it has failed
			f.set(func(f *faulty) { f.load, f.update = nil, nil })
			require.NotNil(t, w.row().Attempt)
			pass(5 * time.Second)
			require.Nil(t, w.row().Attempt, "closed as not sent as soon as the store is back")
		})
	})
}

// An attempt that stands there after a failed write may be somebody else's.
func TestSomebodyElsesAttemptIsNotTakenForOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := flaky(t)
		pass(2 * time.Hour)
		rival := &rivalled{Store: w.store, before: func() { w.crashed(false) }}
		m := w.process(func(c *oauthflow.Config) { c.Store = rival })
		_, err := w.token(m)
		problem(t, err, oauthflow.ErrUnavailable)
		require.Nil(t, rival.before)
		require.Empty(t, w.idp.refreshes(), "the other one's request may be under way")
		require.NotNil(t, w.row().Attempt, "nor is it closed")
		w.requireToken(m, "AT2")
	})
}

// rivalled calls before, which writes, and fails in place of its first write.
type rivalled struct {
	tokenstore.Store
	before func()
}

func (r *rivalled) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	if before := r.before; before != nil {
		r.before = nil
		before()
		return nil, errStore
	}
	return r.Store.Update(ctx, key, change)
}

// A key service that was away for a moment is asked again, though the record has
// not changed.
func TestTokensThatDidNotOpenAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		service := &keyService{AEAD: ring}
		w.sealer = tokenstore.NewSealer(service)
		w.m = w.process()
		w.connect("g2")
		m := w.process()
		defer follow(m)()
		pass(time.Second)
		service.away.Store(true)
		_, err = w.token(m)
		problem(t, err, oauthflow.ErrUnavailable)
		require.ErrorIs(t, err, errStore)
		service.away.Store(false)
		w.requireToken(m, "AT2")
	})
}

// keyService is an AEAD that can be away.
type keyService struct {
	tokenstore.AEAD
	away atomic.Bool
}

func (k *keyService) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if k.away.Load() {
		return nil, errStore
	}
	return k.AEAD.Decrypt(ciphertext, associatedData)
}

// unreadable loses the answer to its first write, and calls then.
type unreadable struct {
	*faulty
	then func()
}

func (u *unreadable) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	c, err := u.faulty.Update(ctx, key, change)
	if then := u.then; then != nil && err == nil {
		u.then = nil
		then()
		return nil, errStore
	}
	return c, err
}

func TestOutcomeThatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := flaky(t)
		pass(2 * time.Hour)
		w.idp.answer = func(url.Values) (int, string, error) {
			f.set(func(f *faulty) { f.update = errStore })
			return 400, `{"error":"invalid_grant"}`, nil
		}
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrUnavailable)
		f.set(func(f *faulty) { f.update = nil })
		pass(20 * time.Second)
		require.Equal(t, tokenstore.ReauthRequired, w.row().Status, "recorded when the store is back")
		require.Len(t, w.idp.refreshes(), 1)
	})
}

func TestTokensThatDoNotOpenAreAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		_, err := w.store.Update(context.Background(), w.target.Key, func(c *tokenstore.Connection, _ time.Time) error {
			c.Sealed[len(c.Sealed)-1] ^= 1
			return nil
		})
		require.NoError(t, err)
		_, err = w.token(w.process())
		problem(t, err, oauthflow.ErrUnavailable)
		require.ErrorIs(t, err, tokenstore.ErrSealBroken)
		pass(2 * time.Hour)
		_, err = w.token(w.process())
		require.ErrorIs(t, err, tokenstore.ErrSealBroken)
		require.Empty(t, w.idp.refreshes())
		w.connect("g2")
		w.requireToken(w.m, "AT2")
	})
}

func TestTokensOfAnOlderGenerationDoNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		old := w.row().Sealed
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		_, err := w.store.Update(context.Background(), w.target.Key, func(c *tokenstore.Connection, _ time.Time) error {
			c.Sealed = old
			return nil
		})
		require.NoError(t, err)
		_, err = w.token(w.process())
		require.ErrorIs(t, err, tokenstore.ErrSealBroken)
	})
}
