package oauthflow_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// An access token that an API has rejected, and a verdict on its grant: nobody is
// served it again, neither here nor in another process.

func TestARejectedTokenWithoutARefreshTokenIsNotServedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.answer = always(200, `{"access_token":"AT1"}`)
		w.connect("g")
		pass(time.Hour)
		w.requireToken(w.m, "AT1")
		_, err := w.m.Renew(t.Context(), w.target, 1)
		require.Equal(t, oauthflow.ReasonNoRefreshToken, problem(t, err, oauthflow.ErrReauthRequired).Reason)
		for _, m := range []*oauthflow.Manager{w.m, w.process()} {
			_, err = w.token(m)
			require.Equal(t, oauthflow.ReasonNoRefreshToken, problem(t, err, oauthflow.ErrReauthRequired).Reason)
		}
		require.Empty(t, w.idp.refreshes())
	})
}

func TestARejectedTokenOfALostRotationIsNotServedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.target.Client.RefreshPolicy = oauthflow.Never
		w.connect("g")
		w.idp.set(func(p *idp) { p.answer = lost })
		_, err := w.m.Renew(t.Context(), w.target, oauthflow.AnyGeneration)
		require.Error(t, err)
		pass(time.Minute)
		w.requireToken(w.m, "AT1")
		_, err = w.m.Renew(t.Context(), w.target, 1)
		require.Equal(t, oauthflow.ReasonLostRotation, problem(t, err, oauthflow.ErrReauthRequired).Reason)
		for _, m := range []*oauthflow.Manager{w.m, w.process()} {
			_, err = w.token(m)
			require.Equal(t, oauthflow.ReasonLostRotation, problem(t, err, oauthflow.ErrReauthRequired).Reason)
		}
		require.Len(t, w.idp.refreshes(), 1)
	})
}

// What an API rejects is no token to live on, although its end is unknown.
func TestRefusalsWithoutAReasonEndAGrantWhoseTokenIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.lifetime = "null"
		w.connect("g")
		w.idp.set(func(p *idp) { p.answer = always(400, "") })
		n := w.refusedInTheEnd(func() error {
			w.requireToken(w.m, "AT1")
			_, err := w.m.Renew(t.Context(), w.target, 1)
			return err
		})
		for _, m := range []*oauthflow.Manager{w.m, w.process()} {
			_, err := w.token(m)
			require.Equal(t, "unclassified", problem(t, err, oauthflow.ErrReauthRequired).Reason)
		}
		require.Len(t, w.idp.refreshes(), n)
	})
}
