package bifrost

import (
	"context"

	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// Memory returns a store that forgets everything when the process ends. It is
// for tests; its clock is time.Now, so it works in testing/synctest bubbles.
func Memory() Store {
	return memory{tokenstore.NewMemory(), workflow.NewMemory()}
}

type memory struct {
	tokens     tokenstore.Store
	executions workflow.Store
}

func (m memory) Tokens() tokenstore.Store     { return m.tokens }
func (m memory) Executions() workflow.Store   { return m.executions }
func (memory) Ping(ctx context.Context) error { return ctx.Err() }
func (memory) Close() error                   { return nil }
