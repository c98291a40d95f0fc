package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// keyFile is where the sealing key is kept when BIFROST_KEY is not set.
func (s *settings) keyFile() string { return s.database + ".key" }

// keyring returns the keys that seal what is stored: BIFROST_KEY's, or one that
// is made once and kept beside the database.
func (s *settings) keyring() (*tokenstore.Keyring, error) {
	if s.keys != "" {
		ring, err := tokenstore.ParseKeyring(s.keys)
		if err != nil {
			return nil, fmt.Errorf("BIFROST_KEY: %w", err)
		}
		return ring, nil
	}
	path := s.keyFile()
	if missing(path) && !missing(s.database) {
		return nil, fmt.Errorf("the database %s was sealed with a key that is not here: set BIFROST_KEY to it, or put its key file %s back; "+
			"to begin anew, move the database away", s.database, path)
	}
	text, _, err := writeOnce(path, tokenstore.GenerateKey()+"\n")
	if err != nil {
		return nil, fmt.Errorf("the sealing key cannot be kept beside the database (%w): set DATABASE to a file in a directory you may write to, or BIFROST_KEY", err)
	}
	ring, err := tokenstore.ParseKeyring(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the sealing key in %s is damaged (%w): put it back from a backup; without it what the database holds cannot be read", path, err)
	}
	return ring, nil
}

// reseal ends a change of keys, if there is more than one: beside the serving, and
// until it is done or stop is called. With the same keys again there is nothing to do.
func reseal(ctx context.Context, bf *bifrost.Bifrost, keys *tokenstore.Keyring, log *slog.Logger) (stop func()) {
	if len(keys.KeyIDs()) == 1 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		switch done, err := bf.Reseal(ctx); {
		case ctx.Err() != nil: // the next start goes on
		case err != nil:
			log.Error("quickstart: the old sealing keys are still needed", "error", err)
		case len(done.Retired) == 0: // a new key that comes second seals nothing yet, and must stay
			log.Info("quickstart: everything is sealed with the first key of BIFROST_KEY", "newest", keys.KeyIDs()[0])
		default:
			log.Info("quickstart: everything is sealed with the first key of BIFROST_KEY; ten minutes from now take out those that are retired",
				"newest", keys.KeyIDs()[0], "retired", done.Retired)
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// missing reports whether there is no such file, or nothing in it.
func missing(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Size() == 0
}
