package main

import (
	"fmt"
	"os"
	"strings"

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

// missing reports whether there is no such file, or nothing in it.
func missing(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Size() == 0
}
