package oauthflow_test

import (
	"context"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// The store takes a connect and its answer is lost. Before the repetition somebody
// disconnects, or connects again: that came later and must stay.
func TestARepeatedConnectDoesNotUndoWhatCameAfterIt(t *testing.T) {
	for name, later := range map[string]func(t *testing.T, w *world, other *oauthflow.Manager){
		"disconnect": func(t *testing.T, w *world, other *oauthflow.Manager) {
			_, err := other.Disconnect(context.Background(), w.target, "bob")
			require.NoError(t, err)
		},
		"connect": func(t *testing.T, w *world, other *oauthflow.Manager) {
			_, err := other.Import(context.Background(), w.target, oauthflow.Imported{
				Tokens: oauthflow.Tokens{RefreshToken: tokenstore.NewSecret("of-bob")}, Actor: "bob", Replace: true,
			})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := flaky(t)
				other := w.process()
				started, state := w.start()
				f.set(func(f *faulty) { f.after = errStore })
				answer := make(chan error, 1)
				go func() {
					_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"h"}, "state": {state}}))
					answer <- err
				}()
				synctest.Wait()
				require.Equal(t, int64(2), w.row().Generation, "the connect is stored")
				later(t, w, other)
				before := w.row()
				pass(time.Minute)
				ce := refused(t, <-answer, oauthflow.CallbackFailed)
				require.Equal(t, "overtaken", ce.Code)
				require.Equal(t, before.GrantID, w.row().GrantID, "what came later was undone")
				revoked := w.idp.revocations()
				if name == "connect" {
					require.Empty(t, revoked, "at some providers that ends the newer grant as well")
				} else {
					require.NotEmpty(t, revoked)
				}
			})
		})
	}
}
