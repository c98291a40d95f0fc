package e2e_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the quickstart prints under "The same by hand" works as it stands.
func TestByHand(t *testing.T) {
	t.Parallel()
	for flow, connects := range map[string]bool{"authorization_code": true, "client_credentials": false} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			for _, tool := range []string{"sh", "curl"} {
				_, err := exec.LookPath(tool)
				need(t, err == nil, tool)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := newSite(t, "OAUTH_FLOW="+flow)
			a := s.start(t, s.addr())
			const last = `/api/integrations/Directory?org=acme"`
			require.NoError(t, poll(ctx, 10*time.Millisecond, func() (bool, error) {
				return strings.Contains(a.output.String(), last), nil // it comes through a pipe
			}), a.output)
			_, script, _ := strings.Cut(a.output.String(), "The same by hand:\n")
			script, _, _ = strings.Cut(script, "\ntime=") // the log
			script = strings.ReplaceAll(script, "\nAnother integration", "\n# Another integration")
			require.Equal(t, connects, strings.Contains(script, "/oauth/connect/"))

			cmd := exec.CommandContext(ctx, "sh", "-eu")
			cmd.Dir = t.TempDir()
			cmd.Stdin = strings.NewReader(script)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, want := range []string{
				`"status":"active"`, `"status":"succeeded"`, "Alice Archer", // its own integration, executed
				`"name":"Directory"`, `"entity_id":"initech"`, `"ok":true`, // the one made at run time
			} {
				require.Contains(t, string(out), want)
			}
			require.NotContains(t, string(out), "problem")
		})
	}
}
