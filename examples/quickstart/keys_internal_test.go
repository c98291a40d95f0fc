package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestKeyIsMadeOnce(t *testing.T) {
	s := &settings{database: filepath.Join(t.TempDir(), "bifrost.db")}
	ids := make([]string, 10)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			if ring, err := s.keyring(); err == nil {
				ids[i] = ring.KeyIDs()[0]
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.NotEmpty(t, id)
		require.Equal(t, ids[0], id, "all processes have the same key")
	}
	info, err := os.Stat(s.keyFile())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(s.database))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing temporary stays")

	// The database exists from now on; its key must, too.
	require.NoError(t, os.WriteFile(s.database, []byte("x"), 0o600))
	_, err = s.keyring()
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.keyFile()))
	_, err = s.keyring()
	require.ErrorContains(t, err, "set BIFROST_KEY")
	require.NoFileExists(t, s.keyFile())
}

func TestKeyProblems(t *testing.T) {
	s := &settings{database: filepath.Join(t.TempDir(), "none", "bifrost.db")}
	_, err := s.keyring()
	require.ErrorContains(t, err, "BIFROST_KEY")

	s.database = filepath.Join(t.TempDir(), "bifrost.db")
	require.NoError(t, os.WriteFile(s.keyFile(), []byte("short"), 0o600))
	_, err = s.keyring()
	require.ErrorContains(t, err, "damaged")
	require.NotContains(t, err.Error(), "short")

	s.keys = "nonsense"
	_, err = s.keyring()
	require.ErrorContains(t, err, "BIFROST_KEY")
	require.NotContains(t, err.Error(), "nonsense")

	s.keys = "new:" + tokenstore.GenerateKey() + "," + tokenstore.GenerateKey()
	ring, err := s.keyring()
	require.NoError(t, err)
	require.Len(t, ring.KeyIDs(), 2)
	require.Equal(t, "new", ring.KeyIDs()[0])
}

// Where there are no links, a file is made the plain way.
func TestWriteExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	text, created, err := writeExclusive(path, "one")
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, "one", text)
	text, created, err = writeExclusive(path, "two")
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, "one", text)
	_, _, err = writeExclusive(strings.Repeat("/none", 3), "x")
	require.Error(t, err)
}
