package oauthflow_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// What a provider does with refresh tokens shows after some refreshes, and then a
// lost reply is made good at once, as if somebody had declared it.
func TestProvidersThatKeepRefreshTokensAreNoticed(t *testing.T) {
	keeping := always(200, `{"access_token":"AT","token_type":"Bearer","expires_in":3600}`)
	repeating := func(form url.Values) (int, string, error) {
		return 200, `{"access_token":"AT","token_type":"Bearer","expires_in":3600,"refresh_token":"` + form.Get("refresh_token") + `"}`, nil
	}
	// story returns how often the refresh token was presented after a reply was lost,
	// while the old access token was good.
	story := func(t *testing.T, answer func(url.Values) (int, string, error), refreshes int, change func(*oauthflow.Provider)) (asked int) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			change(&w.target.Client.Provider)
			w.connect("g")
			w.idp.answer = answer
			for range refreshes {
				pass(2 * time.Hour)
				w.requireToken(w.m, "AT")
			}
			w.idp.set(func(p *idp) { p.answer = lost })
			pass(time.Hour - 14*time.Second) // every margin has begun
			before := len(w.idp.refreshes())
			w.m = w.process() // it knows what is stored, and nothing else
			w.requireToken(w.m, "AT")
			pass(8 * time.Second) // no byte is under way any more
			w.idp.set(func(p *idp) { p.answer = answer })
			w.requireToken(w.m, "AT")
			synctest.Wait()
			asked = len(w.idp.refreshes()) - before
		})
		return asked
	}
	asis := func(*oauthflow.Provider) {}
	t.Run("no refresh token in the reply", func(t *testing.T) { require.Equal(t, 2, story(t, keeping, 2, asis)) })
	t.Run("the same in the reply", func(t *testing.T) { require.Equal(t, 2, story(t, repeating, 2, asis)) })
	t.Run("once is not enough", func(t *testing.T) { require.Equal(t, 1, story(t, keeping, 1, asis)) })
	t.Run("what is declared stands", func(t *testing.T) {
		require.Equal(t, 1, story(t, keeping, 3, func(p *oauthflow.Provider) { p.RefreshPolicy = oauthflow.Ask }))
	})
}

func TestARotationEndsWhatWasObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		w.idp.answer = always(200, `{"access_token":"AT","token_type":"Bearer","expires_in":3600}`)
		for n := range 3 {
			require.Equal(t, n, w.row().Kept)
			pass(2 * time.Hour)
			w.requireToken(w.m, "AT")
		}
		w.idp.set(func(p *idp) { p.answer = nil })
		pass(2 * time.Hour)
		w.requireToken(w.m, "AT2")
		require.Zero(t, w.row().Kept)
	})
}
