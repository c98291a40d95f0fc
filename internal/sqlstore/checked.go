package sqlstore

import (
	"context"
	"slices"

	"github.com/bifrost-go/bifrost/internal/texts"
)

// checked is an engine in whose queries texts that cannot be stored are equal to
// none. (Who stores has checked his.) A database might answer them with a fault
// instead, and they come from strangers: in paths, in cursors.
type checked struct{ Engine }

// known returns args with NULL, which nothing is equal to, for what is in no row.
func known(args []any) []any {
	cloned := false
	for i, arg := range args {
		if text, ok := arg.(string); ok && !texts.Valid(text) {
			if !cloned {
				args, cloned = slices.Clone(args), true
			}
			args[i] = nil
		}
	}
	return args
}

func (e checked) Each(ctx context.Context, row func(scan Scanner) error, query string, args ...any) error {
	return e.Engine.Each(ctx, row, query, known(args)...)
}

func (e checked) One(ctx context.Context, dest []any, query string, args ...any) error {
	return e.Engine.One(ctx, dest, query, known(args)...)
}

func (e checked) Write(ctx context.Context, fn func(t Tx) error) error {
	return e.Engine.Write(ctx, func(t Tx) error { return fn(checkedTx{t}) })
}

func (e checked) Any(list []string) (any, error) {
	return e.Engine.Any(slices.DeleteFunc(slices.Clone(list), func(text string) bool { return !texts.Valid(text) }))
}

type checkedTx struct{ Tx }

func (t checkedTx) Exec(query string, args ...any) (int64, error) {
	return t.Tx.Exec(query, known(args)...)
}

func (t checkedTx) One(dest []any, query string, args ...any) error {
	return t.Tx.One(dest, query, known(args)...)
}

func (t checkedTx) Each(row func(scan Scanner) error, query string, args ...any) error {
	return t.Tx.Each(row, query, known(args)...)
}

func (t checkedTx) Lock(query string, args ...any) error { return t.Tx.Lock(query, known(args)...) }
