package integrations_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// Whoever leaves a test learns nothing of the connection; whoever stays hears that the
// API does not answer.
func TestCallersLeaveATest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *integrations.Config) {
			c.APITransport = oauthRoundTrip(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
		})
		d := definition("Graph")
		d.TestURL = "https://api.example.com/me"
		require.NoError(t, w.Define(d))
		w.connect(t, "Graph", "shared", integrations.Global())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Test(ctx, "Graph", integrations.Global())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		result, err := w.Test(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		require.False(t, result.OK)
		require.Equal(t, 15*time.Second, result.Duration)
	})
}
