package oauthflow_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// distantKeys is an AEAD that is far away: something happens whenever what is to be
// revoked is sealed, or opened.
type distantKeys struct {
	tokenstore.AEAD
	sealing, opening func() error
}

func (s distantKeys) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if bytes.Contains(associatedData, []byte("revocation")) && s.sealing != nil {
		if err := s.sealing(); err != nil {
			return nil, err
		}
	}
	return s.AEAD.Encrypt(plaintext, associatedData)
}

func (s distantKeys) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if bytes.Contains(associatedData, []byte("revocation")) && s.opening != nil {
		if err := s.opening(); err != nil {
			return nil, err
		}
	}
	return s.AEAD.Decrypt(ciphertext, associatedData)
}

// keyedWorld is a revokeWorld whose keys can be had without its sealer.
func keyedWorld(t *testing.T) (*revokeWorld, tokenstore.AEAD) {
	w := newRevokeWorld(t)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	w.sealer = tokenstore.NewSealer(ring)
	w.m = w.start()
	w.connect(w.m)
	return w, ring
}

// Somebody renews the tokens while they are sealed for the tombstone, in vain: what is
// revoked from memory are the newer ones.
func TestRenewedWhileTheKeyServiceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		var sent []string
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) {
			sent = append(sent, x.Form().Get("token"))
		}))
		access := ""
		m := w.start(func(c *oauthflow.Config) {
			c.Sealer = tokenstore.NewSealer(distantKeys{AEAD: ring, sealing: func() error {
				if access == "" {
					snap, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
					require.NoError(t, err)
					access = snap.AccessToken().Reveal()
				}
				return tokenstore.ErrKeysAway
			}})
		})
		w.disconnect(m)
		pass(time.Minute)
		synctest.Wait()
		require.Len(t, sent, 2)
		require.Equal(t, access, sent[1])
	})
}

// Somebody connects again while what is to be revoked is opened.
func TestConnectedAgainWhileTheKeyServiceIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.abandon(w.m)
		asked := false
		m := w.start(func(c *oauthflow.Config) {
			c.Sealer = tokenstore.NewSealer(distantKeys{AEAD: ring, opening: func() error {
				if !asked {
					asked = true
					w.connect(w.m)
				}
				return nil
			}})
		})
		defer keepFresh(m)()
		pass(time.Hour)
		synctest.Wait()
		require.True(t, asked)
		require.Empty(t, w.seen())
		require.Zero(t, w.dead())
		require.True(t, w.row().Connected())
	})
}

// Somebody connects again and disconnects while the provider is asked: what it says is
// of no concern to the newer grant.
func TestAnswersAreForTheGrantThatWasAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := keyedWorld(t)
		asked := 0
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) {
			if asked++; asked > 1 { // of the newer grant
				x.Wait(5 * time.Second)
				return
			}
			w.connect(w.m)
			w.disconnect(w.start())
			synctest.Wait()
			x.Send(&oauthtest.Reply{Status: 503})
		}))
		w.disconnect(w.m)
		pass(time.Second)
		synctest.Wait()
		require.Equal(t, 2, asked)
		c := w.row()
		require.NotNil(t, c.Revoking)
		require.Zero(t, c.Failures)
	})
}

// What does not open any more would stay in the store, and in the way of a rotation,
// for ever.
func TestForgettingWhatDoesNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := keyedWorld(t)
		w.abandon(w.m)
		problem(t, w.m.Forget(t.Context(), w.target, "bob"), oauthflow.ErrNotConnected)
		require.NotNil(t, w.row().Revoking, "it opens, and is revoked")

		ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
		require.NoError(t, err)
		m := w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(ring) })
		require.NoError(t, m.Forget(t.Context(), w.target, "bob"))
		w.requireDone()
		require.Contains(t, w.events(), "revocation_failed forgotten")
		problem(t, m.Forget(t.Context(), w.target, "bob"), oauthflow.ErrNotConnected)
		require.Empty(t, w.seen())
	})
}

// What cannot be opened because the key service is away is revoked soon after it is
// back.
func TestRevokedSoonAfterTheKeyServiceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.abandon(w.m)
		var away atomic.Bool
		away.Store(true)
		m := w.start(func(c *oauthflow.Config) {
			c.Sealer = tokenstore.NewSealer(distantKeys{AEAD: ring, opening: func() error {
				if away.Load() {
					return tokenstore.ErrKeysAway
				}
				return nil
			}})
		})
		defer keepFresh(m)()
		pass(20 * time.Minute)
		require.NotNil(t, w.row().Revoking)
		away.Store(false)
		pass(10 * time.Minute)
		synctest.Wait()
		w.requireDone()
		require.Equal(t, 1, w.dead())
	})
}

// The time that a key service takes is not the provider's.
func TestOpeningTakesNoTimeFromTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) { x.Wait(3 * time.Second) }))
		m := w.start(func(c *oauthflow.Config) {
			c.Sealer = tokenstore.NewSealer(distantKeys{AEAD: ring, opening: func() error {
				pass(14 * time.Second)
				return nil
			}})
		})
		w.disconnect(m)
		pass(25 * time.Second)
		synctest.Wait()
		w.requireDone()
		require.Equal(t, 1, w.dead())
		require.NotContains(t, w.logs.String(), "did not revoke")
	})
}

// While Close waits, nobody takes his time again.
func TestCloseWaitsForARevocationThatIsSlowToOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.provider.Always(oauthtest.Revocation, oauthtest.Do(func(x *oauthtest.Exchange) { x.Wait(time.Hour) }))
		m := w.start(func(c *oauthflow.Config) {
			c.Sealer = tokenstore.NewSealer(distantKeys{AEAD: ring, opening: func() error {
				pass(13 * time.Second)
				return nil
			}})
		})
		w.disconnect(m)
		synctest.Wait()
		require.NoError(t, m.Close())
		require.NotNil(t, w.row().Revoking)
	})
}

// A key service that does not answer is away as well, and what it keeps from being
// revoked is put off like that.
func TestRevokedSoonAfterTheKeyServiceAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ring := keyedWorld(t)
		w.abandon(w.m)
		keys := &muteKeys{Keyring: ring.(*tokenstore.Keyring)}
		keys.silent.Store(true)
		m := w.start(func(c *oauthflow.Config) { c.Sealer = tokenstore.NewSealer(keys) })
		defer keepFresh(m)()
		pass(20 * time.Minute)
		require.NotNil(t, w.row().Revoking)
		require.NotContains(t, w.logs.String(), "could not be put off")
		require.Less(t, time.Until(w.row().DueAt), 5*time.Minute)
		keys.silent.Store(false)
		pass(10 * time.Minute)
		synctest.Wait()
		w.requireDone()
		require.Equal(t, 1, w.dead())
	})
}
