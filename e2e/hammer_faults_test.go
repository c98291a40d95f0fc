package e2e_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// What goes wrong between a provider and its clients.
var (
	// unprocessed leave the refresh token as it was; of some nobody knows that.
	unprocessed = []oauthtest.Step{
		oauthtest.Drop(),
		oauthtest.Reset(),
		oauthtest.Fail(http.StatusServiceUnavailable, "temporarily_unavailable", "Later."),
		oauthtest.Raw(http.StatusServiceUnavailable, "text/html", "<p>Busy</p>"),
		oauthtest.Raw(http.StatusInternalServerError, "text/html", "<p>Oops</p>"),
		oauthtest.Answer(oauthtest.Reply{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}),
	}
	// lost are replies that do not arrive: the refresh token is spent.
	lost = []oauthtest.Step{oauthtest.Lose(), oauthtest.Cut(30)}
)

// As TestHammer, at a provider that answers every eighth refresh otherwise than it
// should. Callers hear of it once their tokens have ended. But where the provider
// gives a lost reply again, or has none lost, every connection comes back by
// itself, and no refresh token is used whose successor had arrived.
func TestHammerWithFaults(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		database string
		config   oauthtest.Config
		faults   []oauthtest.Step
	}{
		"strict, SQLite":       {"sqlite", oauthtest.Config{Rotation: oauthtest.Strict}, unprocessed},
		"strict, PostgreSQL":   {"postgres", oauthtest.Config{Rotation: oauthtest.Strict}, unprocessed},
		"grace, SQLite":        {"sqlite", oauthtest.Config{Rotation: oauthtest.Grace, Grace: time.Hour}, append(lost, unprocessed...)},
		"reusable, PostgreSQL": {"postgres", oauthtest.Config{Rotation: oauthtest.Reusable}, append(lost, unprocessed...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnvil(t, databases[v.database](t), v.config)
			a.provider.Always(oauthtest.Refresh, oauthtest.Do(func(*oauthtest.Exchange) {
				if rand.IntN(7) == 0 {
					a.provider.Script(oauthtest.Token, v.faults[rand.IntN(len(v.faults))]) // for the next one
				}
			}))
			a.strike(t, max(hammerTime(t)/4, 5*time.Second), 4, func(int) {})
			a.provider.Always(oauthtest.Refresh, oauthtest.Serve())
			a.heal(t)
			a.check(t)
			require.Positive(t, a.sum.Failed)
		})
	}
}

// heal waits until all connections work, which is longer for some than for others:
// an attempt whose outcome is unknown stays open for a while, and who has failed
// often waits longer.
func (a *anvil) heal(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began, ill := time.Now(), 0
	err := poll(ctx, 250*time.Millisecond, func() (bool, error) {
		ill = 0
		for _, c := range a.connections(t) {
			if c.Status != tokenstore.Active {
				ill++
			}
		}
		return ill == 0 && a.provider.Pending() == 0, nil
	})
	require.NoError(t, err, "%d connections do not come back", ill)
	t.Logf("all connections work again after %s", time.Since(began))
}
