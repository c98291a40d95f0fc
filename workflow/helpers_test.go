package workflow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start returns a started registry that is closed when the test ends.
func start(t *testing.T, cfg workflow.Config) *workflow.Registry {
	t.Helper()
	r := newRegistry(t, cfg)
	require.NoError(t, r.Start(t.Context()))
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func newRegistry(t *testing.T, cfg workflow.Config) *workflow.Registry {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = workflow.NewMemory()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := workflow.New(cfg)
	require.NoError(t, err)
	return r
}

// request is a synchronous request of org-1.
func request(input string) workflow.ExecuteRequest {
	return workflow.ExecuteRequest{Scope: workflow.Org("org-1"), Input: json.RawMessage(input)}
}

func async(input string) workflow.ExecuteRequest {
	req := request(input)
	req.Async = true
	return req
}

func get(t *testing.T, r *workflow.Registry, id string) *workflow.Record {
	t.Helper()
	rec, err := r.Execution(context.Background(), id)
	require.NoError(t, err)
	return rec
}

// tell makes secret one that the run resolved, as integrations does.
func tell(ctx context.Context, secret string) { scope.RunFrom(ctx).Redact(secret) }

// output is a buffer for loggers of several goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(o, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
