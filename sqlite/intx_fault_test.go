package sqlite

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// When SQLite has ended the transaction by itself, as it does on a full disk, what
// comes after must not be committed on its own, whoever swallows the error.
func TestInTxWritesNothingOutside(t *testing.T) {
	db := openTemp(t)
	add := func(ctx context.Context) error { return db.Tokens().AddEvents(ctx, tokenstore.Event{Kind: "x"}) }
	lose := func(ctx context.Context) error {
		return db.write(ctx, func(tx *tx) error {
			_, err := tx.conn.ExecContext(tx.ctx, "ROLLBACK")
			return err
		})
	}
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, add(ctx))
		require.ErrorIs(t, lose(ctx), errUnconfirmed)
		require.ErrorIs(t, add(ctx), errUnconfirmed)
		_, err := db.Tokens().Events(ctx, tokenstore.Match{}, 0, 1)
		require.ErrorIs(t, err, errUnconfirmed)
		return nil
	})
	require.ErrorIs(t, err, errUnconfirmed)
	events, err := db.Tokens().Events(t.Context(), tokenstore.Match{}, 0, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	require.NoError(t, db.InTx(t.Context(), add))
}

// A full disk within a transaction fails the part that met it, and all of it if fn
// says so.
func TestInTxOnAFullDisk(t *testing.T) {
	db := openTemp(t)
	big := func(tx *tx) error {
		_, _ = tx.conn.ExecContext(tx.ctx, "PRAGMA max_page_count = 1") // as many as there are
		_, err := tx.Exec(`INSERT INTO bifrost_key_checks (key_id, sealed) VALUES ('big', zeroblob(1000000))`)
		_, _ = tx.conn.ExecContext(tx.ctx, "PRAGMA max_page_count = 1000000")
		return err
	}
	require.ErrorContains(t, db.InTx(t.Context(), func(ctx context.Context) error {
		require.NoError(t, db.write(ctx, put("n", 1)))
		return db.write(ctx, big)
	}), "the disk is full")
	require.Zero(t, value(t, db, "n"))
	require.NoError(t, db.InTx(t.Context(), func(ctx context.Context) error { return db.write(ctx, put("n", 1)) }))
	require.Equal(t, 1, value(t, db, "n"))
}
