package bifrost

import (
	"context"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// Memory returns a store that forgets everything when the process ends. It is
// for tests; its clock is time.Now, so it works in testing/synctest bubbles. Its
// InTx only calls the function: what that has written stays, whatever it returns,
// and others may see it before the function returns.
func Memory() Store {
	return memory{tokenstore.NewMemory(), integrations.NewMemory(), workflow.NewMemory()}
}

type memory struct {
	tokens      tokenstore.Store
	definitions integrations.Store
	executions  workflow.Store
}

func (m memory) Tokens() tokenstore.Store        { return m.tokens }
func (m memory) Definitions() integrations.Store { return m.definitions }
func (m memory) Executions() workflow.Store      { return m.executions }
func (memory) Ping(ctx context.Context) error    { return ctx.Err() }
func (memory) Close() error                      { return nil }

func (memory) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(ctx)
}
