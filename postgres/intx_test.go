package postgres_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// openings are the two ways to a DB. In the second, whoever asks the pool for
// another connection while a transaction is open waits for ever, and the pool would
// prepare statements, read only, in serializable transactions that nobody waits for.
var openings = map[string]func(t *testing.T) *postgres.DB{
	"Open": func(t *testing.T) *postgres.DB {
		t.Helper()
		return open(t, pgtest.Database(t))
	},
	"New, one connection": func(t *testing.T) *postgres.DB {
		t.Helper()
		cfg, err := pgxpool.ParseConfig(pgtest.Database(t))
		require.NoError(t, err)
		cfg.MaxConns = 1
		maps.Copy(cfg.ConnConfig.RuntimeParams, map[string]string{
			"default_transaction_isolation": "serializable", "synchronous_commit": "off", "default_transaction_read_only": "on",
		})
		return adopt(t, cfg)
	},
}

// adopt gives postgres.New a pool of the test's.
func adopt(t *testing.T, cfg *pgxpool.Config) *postgres.DB {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db, err := postgres.New(t.Context(), pool)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func everyOpening(t *testing.T, test func(t *testing.T, db *postgres.DB)) {
	for name, opening := range openings {
		t.Run(name, func(t *testing.T) { test(t, opening(t)) })
	}
}

// mark leaves a trace called name in every room of db.
func mark(ctx context.Context, db *postgres.DB, name string) error {
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

// traces counts the traces called name that ctx sees.
func traces(ctx context.Context, t *testing.T, db *postgres.DB, name string) (n int) {
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

const everyTrace = 6

var errFault = errors.New("fault")

func TestInTxCommitsEveryRoom(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			assert.Zero(t, traces(ctx, t, db, "x"))
			if err := mark(ctx, db, "x"); err != nil {
				return err
			}
			assert.Equal(t, everyTrace, traces(ctx, t, db, "x"), "it reads what it has written")
			return nil
		}))
		assert.Equal(t, everyTrace, traces(t.Context(), t, db, "x"))
	})
}

func TestInTxLeavesNoTraceOfWhatFails(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
		require.NoError(t, mark(t.Context(), db, "before"))
		require.Same(t, errFault, db.InTx(t.Context(), func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, db, "x"))
			assert.NoError(t, db.Executions().DeleteOrg(ctx, "acme"))
			assert.NoError(t, db.Definitions().ClearSettings(ctx, "", "acme"))
			_, err := db.Tokens().DeleteEvents(ctx, tokenstore.Match{}, 0, 100)
			assert.NoError(t, err)
			assert.NoError(t, db.Tokens().DeleteFlows(ctx, tokenstore.Match{}))
			assert.Equal(t, 2, traces(ctx, t, db, "before"), "the definition and the connection")
			return errFault
		}))
		assert.PanicsWithValue(t, "boom", func() {
			_ = db.InTx(t.Context(), func(ctx context.Context) error {
				assert.NoError(t, mark(ctx, db, "x"))
				panic("boom")
			})
		})
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, db.InTx(ctx, func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, db, "x"))
			cancel()
			return mark(ctx, db, "y")
		}), context.Canceled)
		require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("not called") }), context.Canceled)
		assert.Zero(t, traces(t.Context(), t, db, "x"))
		assert.Zero(t, traces(t.Context(), t, db, "y"))
		assert.Equal(t, everyTrace, traces(t.Context(), t, db, "before"))
		require.NoError(t, mark(t.Context(), db, "x"), "and the store goes on")
	})
}

// A part that refuses leaves nothing, and the rest is kept.
func TestInTxGoesOnAfterAnAnswer(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, db, "x"))
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
		assert.Equal(t, everyTrace, traces(t.Context(), t, db, "x"))
	})
}

func TestInTxJoins(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
		require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, db, "outer"))
			assert.NoError(t, db.InTx(ctx, func(ctx context.Context) error {
				assert.Equal(t, everyTrace, traces(ctx, t, db, "outer"))
				return db.InTx(ctx, func(ctx context.Context) error { return mark(ctx, db, "inner") })
			}))
			assert.Equal(t, everyTrace, traces(ctx, t, db, "inner"))
			return nil
		}))
		for _, name := range []string{"outer", "inner"} {
			assert.Equal(t, everyTrace, traces(t.Context(), t, db, name))
		}

		err := db.InTx(t.Context(), func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, db, "x"))
			assert.Same(t, errFault, db.InTx(ctx, func(ctx context.Context) error {
				assert.NoError(t, mark(ctx, db, "y"))
				return errFault
			}))
			require.ErrorIs(t, mark(ctx, db, "z"), errFault, "nothing can be added")
			return nil // swallowed
		})
		require.ErrorIs(t, err, errFault)
		require.ErrorContains(t, err, "nothing of this transaction is kept")
		err = db.InTx(t.Context(), func(ctx context.Context) error {
			assert.PanicsWithValue(t, "boom", func() {
				_ = db.InTx(ctx, func(ctx context.Context) error {
					assert.NoError(t, mark(ctx, db, "y"))
					panic("boom")
				})
			})
			return nil
		})
		require.ErrorContains(t, err, "it panicked")
		for _, name := range []string{"x", "y", "z"} {
			assert.Zero(t, traces(t.Context(), t, db, name))
		}
	})
}

func TestInTxContextEndsWithIt(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
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
			err := mark(ctx, db, "x")
			require.ErrorIs(t, err, sql.ErrTxDone)
			require.ErrorContains(t, err, "use the context that InTx was given")
			_, err = db.Tokens().Load(ctx, tokenstore.Key{})
			require.ErrorIs(t, err, sql.ErrTxDone)
			_, err = db.Executions().List(ctx, workflow.Match{}, "", 1)
			require.ErrorIs(t, err, sql.ErrTxDone)
			require.ErrorIs(t, db.InTx(ctx, func(context.Context) error { panic("not called") }), sql.ErrTxDone)
		}
		assert.Zero(t, traces(t.Context(), t, db, "x"))
	})
}

// Another DB has nothing to do with the transaction.
func TestInTxIsOfOneDB(t *testing.T) {
	db, other := openings["Open"](t), openings["Open"](t)
	require.Same(t, errFault, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, mark(ctx, db, "x"))
		assert.NoError(t, mark(ctx, other, "x"))
		assert.NoError(t, other.InTx(ctx, func(ctx context.Context) error {
			assert.NoError(t, mark(ctx, other, "y"))
			assert.Equal(t, everyTrace, traces(ctx, t, db, "x"), "both at once")
			return mark(ctx, db, "y")
		}))
		return errFault
	}))
	for _, name := range []string{"x", "y"} {
		assert.Zero(t, traces(t.Context(), t, db, name))
		assert.Equal(t, everyTrace, traces(t.Context(), t, other, name))
	}
}

// Transactions and ordinary writes at once: each is kept whole or not at all, and
// a reader sees all of one or nothing.
func TestInTxBesideOthers(t *testing.T) {
	everyOpening(t, func(t *testing.T, db *postgres.DB) {
		const n = 24
		ctx, stop := context.WithCancel(t.Context())
		var writers, readers sync.WaitGroup
		readers.Go(func() {
			for ctx.Err() == nil {
				list, _, err := db.Definitions().Definitions(t.Context(), 0, 1000)
				assert.NoError(t, err)
				for _, d := range list {
					assert.Equal(t, everyTrace, traces(t.Context(), t, db, d.ID))
				}
			}
		})
		for i := range n {
			writers.Go(func() {
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					var parts sync.WaitGroup // whose context several goroutines may use
					for part := range 3 {
						parts.Go(func() { assert.NoError(t, mark(ctx, db, fmt.Sprint(i, "-", part))) })
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
				want := everyTrace
				if i%3 == 2 {
					want = 0
				}
				assert.Equal(t, want, traces(t.Context(), t, db, fmt.Sprint(i, "-", part)))
			}
		}
		c, err := db.Tokens().Load(t.Context(), tokenstore.Key{Definition: "counted"})
		require.NoError(t, err)
		assert.Equal(t, n, c.Failures)
	})
}

// A process that ends in the middle of a transaction leaves nothing of it.
func TestInTxIsInvisibleUntilItCommits(t *testing.T) {
	db, beside := pair(t)
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error {
		assert.NoError(t, mark(ctx, db, "x"))
		assert.Zero(t, traces(t.Context(), t, beside, "x"))
		assert.Zero(t, traces(t.Context(), t, db, "x"), "nor does this one, with another context")
		return nil
	}))
	assert.Equal(t, everyTrace, traces(t.Context(), t, beside, "x"))
}
