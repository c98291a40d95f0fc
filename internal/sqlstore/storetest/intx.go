// Package storetest holds a database to what InTx promises over all of its rooms.
// What each room promises is in the rooms' own storetest packages.
package storetest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// DB is a database with its rooms.
type DB interface {
	Tokens() tokenstore.Store
	Definitions() integrations.Store
	Executions() workflow.Store
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
}

// Run tests InTx on databases that openings give, each in its own way of opening
// one. The one called Open is there. pair gives two handles on one database.
func Run(t *testing.T, openings map[string]func(t *testing.T) DB, pair func(t *testing.T) (a, b DB)) {
	for name, test := range map[string]func(t *testing.T, db DB){
		"CommitsEveryRoom":         commitsEveryRoom,
		"LeavesNoTraceOfWhatFails": leavesNoTraceOfWhatFails,
		"GoesOnAfterAnAnswer":      goesOnAfterAnAnswer,
		"Joins":                    joins,
		"ContextEndsWithIt":        contextEndsWithIt,
		"BesideOthers":             besideOthers,
	} {
		for way, opening := range openings {
			t.Run(name+"/"+way, func(t *testing.T) { test(t, opening(t)) })
		}
	}
	t.Run("IsOfOneDB", func(t *testing.T) { isOfOneDB(t, openings["Open"](t), openings["Open"](t)) })
	t.Run("IsInvisibleUntilItCommits", func(t *testing.T) {
		db, beside := pair(t)
		isInvisibleUntilItCommits(t, db, beside)
	})
}

// Mark leaves a trace called name in every room of db.
func Mark(ctx context.Context, db DB, name string) error {
	if _, err := db.Definitions().PutDefinition(ctx, integrations.DefinitionRecord{ID: name, Name: name, Body: json.RawMessage(`{}`)}); err != nil {
		return err
	}
	key := integrations.SettingsKey{Definition: name, Org: "acme"}
	if _, err := db.Definitions().PutSettings(ctx, integrations.SettingsRecord{SettingsKey: key, EntityID: name}); err != nil {
		return err
	}
	_, err := db.Tokens().Update(ctx, tokenstore.Key{Definition: name}, func(c *tokenstore.Connection, _ time.Time) error {
		c.GrantID = name
		c.Log("connected", name, "")
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := db.Tokens().PutFlow(ctx, tokenstore.Flow{StateHash: name, Principal: name, Key: tokenstore.Key{Definition: name}}, time.Minute, 8); err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = db.Executions().Insert(ctx, &workflow.Record{
		ID: id.String(), Workflow: name, Scope: workflow.Org("acme"), Input: json.RawMessage(`{}`), Key: name,
	}, 0)
	return err
}

// Traces counts the traces called name that ctx sees.
func Traces(ctx context.Context, t *testing.T, db DB, name string) (n int) {
	t.Helper()
	list, _, err := db.Definitions().Definitions(ctx, 0, 1000)
	require.NoError(t, err)
	for _, d := range list {
		if d.ID == name {
			n++
		}
	}
	settings, err := db.Definitions().ListSettings(ctx, name, nil, 10)
	require.NoError(t, err)
	c, err := db.Tokens().Load(ctx, tokenstore.Key{Definition: name})
	require.NoError(t, err)
	events, err := db.Tokens().Events(ctx, tokenstore.Match{Definition: name}, 0, 10)
	require.NoError(t, err)
	runs, err := db.Executions().List(ctx, workflow.Match{Workflow: name}, "", 10)
	require.NoError(t, err)
	n += len(settings) + int(c.Version) + len(events) + len(runs)
	if open, err := db.Tokens().HasFlow(ctx, tokenstore.Key{Definition: name}); err == nil && open {
		n++
	}
	return n
}

// EveryTrace is how many Mark leaves.
const EveryTrace = 6

var errFault = errors.New("fault")

func commitsEveryRoom(t *testing.T, db DB) {
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.Zero(t, Traces(ctx, t, db, "x"))
		if err := Mark(ctx, db, "x"); err != nil {
			return err
		}
		assert.Equal(t, EveryTrace, Traces(ctx, t, db, "x"), "it reads what it has written")
		return nil
	}))
	assert.Equal(t, EveryTrace, Traces(t.Context(), t, db, "x"))
}

func leavesNoTraceOfWhatFails(t *testing.T, db DB) {
	require.NoError(t, Mark(t.Context(), db, "before"))
	require.Same(t, errFault, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		assert.NoError(t, db.Executions().DeleteOrg(ctx, "acme"))
		assert.NoError(t, db.Definitions().ClearSettings(ctx, "", "acme"))
		_, err := db.Tokens().DeleteEvents(ctx, tokenstore.Match{}, 0, 100)
		assert.NoError(t, err)
		assert.NoError(t, db.Tokens().DeleteFlows(ctx, tokenstore.Match{}))
		assert.Equal(t, 2, Traces(ctx, t, db, "before"), "the definition and the connection")
		return errFault
	}))
	assert.PanicsWithValue(t, "boom", func() {
		_ = db.InTx(t.Context(), func(ctx context.Context) error {
			assert.NoError(t, Mark(ctx, db, "x"))
			panic("boom")
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, db.InTx(ctx, func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		cancel()
		return Mark(ctx, db, "y")
	}), context.Canceled)
	require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("not called") }), context.Canceled)
	assert.Zero(t, Traces(t.Context(), t, db, "x"))
	assert.Zero(t, Traces(t.Context(), t, db, "y"))
	assert.Equal(t, EveryTrace, Traces(t.Context(), t, db, "before"))
	require.NoError(t, Mark(t.Context(), db, "x"), "and the store goes on")
}

// A part that refuses leaves nothing, and the rest is kept.
func goesOnAfterAnAnswer(t *testing.T, db DB) {
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		_, err := db.Definitions().PutDefinition(ctx, integrations.DefinitionRecord{ID: "other", Name: "x"})
		require.ErrorIs(t, err, integrations.ErrNameTaken)
		_, err = db.Tokens().TakeFlow(ctx, "none")
		require.ErrorIs(t, err, tokenstore.ErrNotFound)
		c, err := db.Tokens().Update(ctx, tokenstore.Key{Definition: "x"}, func(c *tokenstore.Connection, _ time.Time) error {
			c.GrantID = "never"
			return errFault
		})
		assert.Same(t, errFault, err)
		assert.Equal(t, "x", c.GrantID)
		assert.Panics(t, func() {
			_, _ = db.Tokens().Update(ctx, tokenstore.Key{Definition: "x"}, func(*tokenstore.Connection, time.Time) error { panic("boom") })
		})
		return nil
	}))
	assert.Equal(t, EveryTrace, Traces(t.Context(), t, db, "x"))
}

func joins(t *testing.T, db DB) {
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "outer"))
		assert.NoError(t, db.InTx(ctx, func(ctx context.Context) error {
			assert.Equal(t, EveryTrace, Traces(ctx, t, db, "outer"))
			return db.InTx(ctx, func(ctx context.Context) error { return Mark(ctx, db, "inner") })
		}))
		assert.Equal(t, EveryTrace, Traces(ctx, t, db, "inner"))
		return nil
	}))
	for _, name := range []string{"outer", "inner"} {
		assert.Equal(t, EveryTrace, Traces(t.Context(), t, db, name))
	}

	err := db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		assert.Same(t, errFault, db.InTx(ctx, func(ctx context.Context) error {
			assert.NoError(t, Mark(ctx, db, "y"))
			return errFault
		}))
		require.ErrorIs(t, Mark(ctx, db, "z"), errFault, "nothing can be added")
		return nil // swallowed
	})
	require.ErrorIs(t, err, errFault)
	require.ErrorContains(t, err, "nothing of this transaction is kept")
	err = db.InTx(t.Context(), func(ctx context.Context) error {
		assert.PanicsWithValue(t, "boom", func() {
			_ = db.InTx(ctx, func(ctx context.Context) error {
				assert.NoError(t, Mark(ctx, db, "y"))
				panic("boom")
			})
		})
		return nil
	})
	require.ErrorContains(t, err, "it panicked")
	for _, name := range []string{"x", "y", "z"} {
		assert.Zero(t, Traces(t.Context(), t, db, name))
	}
}

func contextEndsWithIt(t *testing.T, db DB) {
	var kept []context.Context
	keep := func(ctx context.Context) error {
		kept = append(kept, ctx)
		return nil
	}
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, keep(ctx))
		return db.InTx(ctx, keep)
	}))
	_ = db.InTx(t.Context(), func(ctx context.Context) error { return errors.Join(keep(ctx), errFault) })
	assert.Panics(t, func() {
		_ = db.InTx(t.Context(), func(ctx context.Context) error { panic(keep(ctx)) })
	})
	require.Len(t, kept, 4)
	for _, ctx := range kept {
		err := Mark(ctx, db, "x")
		require.ErrorIs(t, err, sql.ErrTxDone)
		require.ErrorContains(t, err, "use the context that InTx was given")
		_, err = db.Tokens().Load(ctx, tokenstore.Key{})
		require.ErrorIs(t, err, sql.ErrTxDone)
		_, err = db.Executions().List(ctx, workflow.Match{}, "", 1)
		require.ErrorIs(t, err, sql.ErrTxDone)
		require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("not called") }), sql.ErrTxDone)
	}
	assert.Zero(t, Traces(t.Context(), t, db, "x"))
}

// Another DB has nothing to do with the transaction.
func isOfOneDB(t *testing.T, db, other DB) {
	require.Same(t, errFault, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		assert.NoError(t, Mark(ctx, other, "x"))
		assert.NoError(t, other.InTx(ctx, func(ctx context.Context) error {
			assert.NoError(t, Mark(ctx, other, "y"))
			assert.Equal(t, EveryTrace, Traces(ctx, t, db, "x"), "both at once")
			return Mark(ctx, db, "y")
		}))
		return errFault
	}))
	for _, name := range []string{"x", "y"} {
		assert.Zero(t, Traces(t.Context(), t, db, name))
		assert.Equal(t, EveryTrace, Traces(t.Context(), t, other, name))
	}
}

// Transactions and ordinary writes at once: each is kept whole or not at all, and
// a reader sees all of one or nothing.
func besideOthers(t *testing.T, db DB) {
	const n = 24
	ctx, stop := context.WithCancel(t.Context())
	var writers, readers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			list, _, err := db.Definitions().Definitions(t.Context(), 0, 1000)
			assert.NoError(t, err)
			for _, d := range list {
				assert.Equal(t, EveryTrace, Traces(t.Context(), t, db, d.ID))
			}
		}
	})
	for i := range n {
		writers.Go(func() {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				var parts sync.WaitGroup // whose context several goroutines may use
				for part := range 3 {
					parts.Go(func() { assert.NoError(t, Mark(ctx, db, fmt.Sprint(i, "-", part))) })
				}
				parts.Wait()
				if i%3 == 2 {
					return errFault
				}
				return nil
			})
			assert.Equal(t, i%3 == 2, errors.Is(err, errFault), "%v", err)
		})
		writers.Go(func() {
			_, err := db.Tokens().Update(t.Context(), tokenstore.Key{Definition: "counted"}, func(c *tokenstore.Connection, _ time.Time) error {
				c.Failures++
				return nil
			})
			assert.NoError(t, err)
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	for i := range n {
		for part := range 3 {
			want := EveryTrace
			if i%3 == 2 {
				want = 0
			}
			assert.Equal(t, want, Traces(t.Context(), t, db, fmt.Sprint(i, "-", part)))
		}
	}
	c, err := db.Tokens().Load(t.Context(), tokenstore.Key{Definition: "counted"})
	require.NoError(t, err)
	assert.Equal(t, n, c.Failures)
}

// A process that ends in the middle of a transaction leaves nothing of it: what is
// stored then is what another handle sees while it is open.
func isInvisibleUntilItCommits(t *testing.T, db, beside DB) {
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, Mark(ctx, db, "x"))
		assert.Zero(t, Traces(t.Context(), t, beside, "x"))
		assert.Zero(t, Traces(t.Context(), t, db, "x"), "nor does this one, with another context")
		return nil
	}))
	assert.Equal(t, EveryTrace, Traces(t.Context(), t, beside, "x"))
}
