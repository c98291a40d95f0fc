package main

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// A start with two keys ends the change, so that the next one needs the first alone.
func TestKeysAreChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, first, second := bifrost.Memory(), "first:"+tokenstore.GenerateKey(), "second:"+tokenstore.GenerateKey()
		var logs bytes.Buffer
		start := func(keys string) error {
			ring, err := (&settings{keys: keys}).keyring()
			require.NoError(t, err)
			log := slog.New(slog.NewTextHandler(&logs, nil))
			bf, err := bifrost.New(bifrost.Config{BaseURL: "http://localhost:8080", Store: store, Keys: ring, Logger: log})
			if err != nil {
				return err
			}
			stop := reseal(context.WithoutCancel(t.Context()), bf, ring, log)
			synctest.Wait()
			stop()
			return bf.Close()
		}
		require.NoError(t, start(first))
		require.Empty(t, logs.String())
		require.ErrorIs(t, start(second), tokenstore.ErrUnknownKey)
		require.NoError(t, start(first+","+second))
		require.Contains(t, logs.String(), "newest=first")
		require.NotContains(t, logs.String(), "take out", "the second is the new one, and would be missed")
		require.NoError(t, start(second+","+first))
		require.Contains(t, logs.String(), "retired=[first]")
		require.NoError(t, start(second))
	})
}
