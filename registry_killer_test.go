package bifrost_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// killer is a store that kills its own process, as kill -9 does, at one of the
// places between which something is written: before each write, within the change
// of a connection, before each commit and after it. Reads change nothing, so these
// are all the places that differ.
type killer struct {
	bifrost.Store

	mu      sync.Mutex
	armed   bool
	point   int // at which it kills; 0: none
	passed  int
	commits int
}

type inTransaction struct{}

// pass is called at each place.
func (k *killer) pass(where string, committed bool) {
	k.mu.Lock() // for good, if this is the place: nothing else happens then
	defer k.mu.Unlock()
	if !k.armed {
		return
	}
	if committed {
		k.commits++
	}
	if k.passed++; k.passed != k.point {
		return
	}
	tell("killed %d %s", k.commits, where)
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// write is one write.
func (k *killer) write(ctx context.Context, name string, do func() error) error {
	k.pass("before "+name, false)
	err := do()
	if err == nil && ctx.Value(inTransaction{}) == nil {
		k.pass("after "+name, true)
	}
	return err
}

// InTx implements bifrost.Store.
func (k *killer) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if ctx.Value(inTransaction{}) != nil {
		return k.Store.InTx(ctx, fn)
	}
	err := k.Store.InTx(ctx, func(ctx context.Context) error {
		err := fn(context.WithValue(ctx, inTransaction{}, true))
		if err == nil {
			k.pass("before the commit", false)
		}
		return err
	})
	if err == nil {
		k.pass("after the commit", true)
	}
	return err
}

func (k *killer) Tokens() tokenstore.Store        { return deadlyTokens{k.Store.Tokens(), k} }
func (k *killer) Definitions() integrations.Store { return deadlyDefinitions{k.Store.Definitions(), k} }
func (k *killer) Executions() workflow.Store      { return deadlyExecutions{k.Store.Executions(), k} }

type deadlyTokens struct {
	tokenstore.Store
	k *killer
}

func (s deadlyTokens) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (c *tokenstore.Connection, err error) {
	err = s.k.write(ctx, "Update", func() error {
		c, err = s.Store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
			err := change(c, now)
			if err == nil {
				s.k.pass("within Update", false)
			}
			return err
		})
		return err
	})
	return c, err
}

func (s deadlyTokens) DeleteKeyCheck(ctx context.Context, id string) error {
	return s.k.write(ctx, "DeleteKeyCheck", func() error { return s.Store.DeleteKeyCheck(ctx, id) })
}

func (s deadlyTokens) AddEvents(ctx context.Context, events ...tokenstore.Event) error {
	return s.k.write(ctx, "AddEvents", func() error { return s.Store.AddEvents(ctx, events...) })
}

func (s deadlyTokens) DeleteEvents(ctx context.Context, match tokenstore.Match, age time.Duration, limit int) (n int, err error) {
	err = s.k.write(ctx, "DeleteEvents", func() error {
		n, err = s.Store.DeleteEvents(ctx, match, age, limit)
		return err
	})
	return n, err
}

func (s deadlyTokens) DeleteFlows(ctx context.Context, match tokenstore.Match) error {
	return s.k.write(ctx, "DeleteFlows", func() error { return s.Store.DeleteFlows(ctx, match) })
}

type deadlyDefinitions struct {
	integrations.Store
	k *killer
}

func (s deadlyDefinitions) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (stored integrations.DefinitionRecord, err error) {
	err = s.k.write(ctx, "PutDefinition", func() error {
		stored, err = s.Store.PutDefinition(ctx, d)
		return err
	})
	return stored, err
}

func (s deadlyDefinitions) PutSettings(ctx context.Context, r integrations.SettingsRecord) (stored integrations.SettingsRecord, err error) {
	err = s.k.write(ctx, "PutSettings", func() error {
		stored, err = s.Store.PutSettings(ctx, r)
		return err
	})
	return stored, err
}

func (s deadlyDefinitions) ClearSettings(ctx context.Context, definition, org string) error {
	return s.k.write(ctx, "ClearSettings", func() error { return s.Store.ClearSettings(ctx, definition, org) })
}

type deadlyExecutions struct {
	workflow.Store
	k *killer
}

func (s deadlyExecutions) DeleteOrg(ctx context.Context, org string) error {
	return s.k.write(ctx, "DeleteOrg", func() error { return s.Store.DeleteOrg(ctx, org) })
}

// runStep is a child that takes one of steps and kills itself within. One that is
// not to be killed tells how many places there are.
func runStep(t *testing.T, cfg registryConfig) {
	var k *killer
	s := openSite(t, cfg.Dir, cfg.Keys, func(db *sqlite.DB) bifrost.Store {
		k = &killer{Store: db, point: cfg.Point}
		return k
	})
	k.armed = true
	require.NoError(t, steps[cfg.Task].run(t.Context(), s))
	k.mu.Lock()
	defer k.mu.Unlock()
	tell("places %d %d", k.passed, k.commits)
	k.armed = false
}
