package integrations_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestAGraceThatCannotBeUsedIsSaidOnce(t *testing.T) {
	forgiving := func(name string) integrations.Definition {
		d := definition(name)
		d.OAuth.ReuseGrace = 30 * time.Second
		return d
	}
	tight := oauthflow.Timing{
		Request: 8 * time.Second, SendWindow: 3 * time.Second, Transit: 3 * time.Second,
		Stall: 2 * time.Second, Record: 5 * time.Second, Attempt: 15 * time.Second,
	}
	for name, c := range map[string]struct {
		timing oauthflow.Timing
		define func(*testing.T, *world)
		lines  int
	}{
		"from code": {oauthflow.Timing{}, func(t *testing.T, w *world) {
			require.NoError(t, w.Define(forgiving("Okta")))
			require.NoError(t, w.Define(definition("Graph")))
		}, 1},
		"at run time": {oauthflow.Timing{}, func(t *testing.T, w *world) {
			_, err := w.Create(t.Context(), forgiving("Okta"), "alice")
			require.NoError(t, err)
		}, 1},
		"the timing fits": {tight, func(t *testing.T, w *world) { require.NoError(t, w.Define(forgiving("Okta"))) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			w := newWorld(t, func(cfg *integrations.Config) {
				cfg.Timing, cfg.Logger = c.timing, slog.New(slog.NewTextHandler(&log, nil))
			})
			c.define(t, w)
			require.Equal(t, c.lines, strings.Count(log.String(), "ReuseGrace 30s cannot be used after a crash with Timing.Attempt 30s"))
			require.Equal(t, c.lines, strings.Count(log.String(), "integration=Okta"))
		})
	}
}
