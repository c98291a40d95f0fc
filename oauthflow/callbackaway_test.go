package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// asked are targets that do what a test says whenever they are asked.
type asked func(ctx context.Context) error

func (f asked) Target(ctx context.Context, _ tokenstore.Key) (oauthflow.Target, error) {
	return oauthflow.Target{}, f(ctx)
}

// What a callback cannot find out just now says nothing about the definition, and
// nothing about anybody when the browser has left.
func TestACallbackSaysWhatIsAway(t *testing.T) {
	silent := func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("x: %w", ctx.Err())
	}
	tests := map[string]struct {
		targets asked // nil: as usual
		code    string
	}{
		"the definition is gone":   {func(context.Context) error { return fmt.Errorf("x: %w", oauthflow.ErrGone) }, "definition_gone"},
		"nobody knows":             {func(context.Context) error { return errStore }, "store_unavailable"},
		"they took too long":       {func(context.Context) error { return context.DeadlineExceeded }, "store_unavailable"},
		"the caller leaves":        {silent, ""},
		"the keys are not at hand": {nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, keys, _ := keyed(t)
				started, state := w.start()
				r := w.arriving(started, url.Values{"code": {"g2"}, "state": {state}})
				m := w.process(func(c *oauthflow.Config) {
					if tt.targets != nil {
						c.Targets = tt.targets
					}
				})
				keys.silent.Store(true)
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				_, err := m.Callback(ctx, r)
				if tt.code == "" {
					require.Equal(t, context.DeadlineExceeded, err)
				} else {
					var failed *oauthflow.CallbackError
					require.ErrorAs(t, err, &failed)
					require.Equal(t, oauthflow.CallbackFailed, failed.Kind)
					require.Equal(t, tt.code, failed.Code)
					require.Nil(t, failed.ExpiredCookie, "the flow is open")
				}
				keys.silent.Store(false)
				_, err = w.m.Callback(context.Background(), r)
				require.NoError(t, err)
			})
		})
	}
}
