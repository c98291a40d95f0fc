package postgres

import (
	"context"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// engine is a DB as the stores use it.
type engine struct{ db *DB }

func (e engine) Each(ctx context.Context, row func(scan sqlstore.Scanner) error, query string, args ...any) error {
	return e.db.each(ctx, row, query, args...)
}

func (e engine) One(ctx context.Context, dest []any, query string, args ...any) error {
	return e.db.one(ctx, dest, query, args...)
}

func (e engine) Write(ctx context.Context, fn func(t sqlstore.Tx) error) error {
	return e.db.write(ctx, func(t *tx) error { return fn(t) })
}

func (e engine) Change(ctx context.Context, c sqlstore.Change) error { return e.db.change(ctx, c) }

// Any implements sqlstore.Engine: lists are arrays.
func (engine) Any(texts []string) (any, error) { return append([]string{}, texts...), nil }

// Tokens returns the store of connections, flows and their history. It is a
// [tokenstore.Notifier], which hears of writes if Listen was given.
func (db *DB) Tokens() tokenstore.Store { return tokens{sqlstore.Tokens(engine{db}), db} }

type tokens struct {
	tokenstore.Store
	db *DB
}

// Notify implements tokenstore.Notifier.
func (s tokens) Notify(ctx context.Context) <-chan struct{} { return s.db.news.notifications(ctx) }

// Definitions returns the store of definitions made at run time, and of what
// organizations have set for definitions.
func (db *DB) Definitions() integrations.Store { return sqlstore.DefinitionStore(engine{db}) }

// Executions returns the store of workflow executions.
func (db *DB) Executions() workflow.Store { return sqlstore.Executions(engine{db}) }
