package oauthtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// load reads the state file, or begins a new one where there is none.
func (p *Provider) load() error {
	path := p.config.StateFile
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		p.state = newState()
		return p.save()
	}
	if err != nil {
		return fmt.Errorf("oauthtest: reading the state file: %w", err)
	}
	s, err := decodeState(text)
	if err != nil {
		return fmt.Errorf("oauthtest: state file %s: %w; delete it to begin anew (every grant is then gone)", path, err)
	}
	p.state, p.saved = s, text
	return nil
}

func decodeState(text []byte) (state, error) {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("is damaged: %w", err)
	}
	if s.Version != stateVersion || len(s.Key) != 32 {
		return s, fmt.Errorf("has version %d, this program reads %d", s.Version, stateVersion)
	}
	s.complete()
	return s, nil
}

// save makes the state durable, or takes it back to what is on disk.
func (p *Provider) save() error {
	text, err := json.Marshal(&p.state)
	if err == nil {
		err = replaceFile(p.config.StateFile, text)
	}
	if err == nil {
		p.saved = text
		return nil
	}
	if p.saved != nil {
		p.state, _ = decodeState(p.saved) // it was read or written by this program
	}
	return fmt.Errorf("oauthtest: saving the state: %w", err)
}

// replaceFile puts text in place of path so that after a crash at any moment the
// file holds either the old or the new text, and after a return the new one.
func replaceFile(path string, text []byte) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
