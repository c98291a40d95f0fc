package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
)

const dataDir = "bifrost-quickstart"

// databasePath makes DATABASE absolute; where it is not set, it is a file in the
// user's data directory, which is made.
func databasePath(path string, getenv func(string) string) (string, error) {
	if path != "" {
		path, err := filepath.Abs(path)
		if err != nil {
			return "", fmt.Errorf("DATABASE: %w: name it by an absolute path", err)
		}
		info, err := os.Stat(filepath.Dir(path))
		if err != nil || !info.IsDir() {
			return "", fmt.Errorf("DATABASE: there is no directory %s: make it, or name a file elsewhere", filepath.Dir(path))
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return "", fmt.Errorf("DATABASE: %s is a directory: name a file in it", path)
		}
		return path, nil
	}
	dir, err := userData(runtime.GOOS, getenv)
	if err != nil {
		return "", fmt.Errorf("DATABASE is not set, and %w: set DATABASE to a file", err)
	}
	dir = filepath.Join(dir, dataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("DATABASE is not set, and the data directory cannot be made (%w): set DATABASE to a file", err)
	}
	return filepath.Join(dir, "bifrost.db"), nil
}

// userData is where a system keeps its users' data: $XDG_DATA_HOME or
// ~/.local/share, ~/Library/Application Support, %LocalAppData%.
func userData(goos string, getenv func(string) string) (string, error) {
	if goos == "windows" {
		if dir := getenv("LocalAppData"); dir != "" {
			return dir, nil
		}
		return "", errors.New("%LocalAppData% is not set either")
	}
	// The XDG specification wants relative paths ignored.
	if dir := getenv("XDG_DATA_HOME"); goos != "darwin" && filepath.IsAbs(dir) {
		return dir, nil
	}
	home := getenv("HOME")
	if home == "" {
		u, err := user.Current() // a service without environment still has an account
		if err != nil || !filepath.IsAbs(u.HomeDir) {
			return "", errors.New("neither is HOME")
		}
		home = u.HomeDir
	}
	if goos == "darwin" {
		return filepath.Join(home, "Library", "Application Support"), nil
	}
	return filepath.Join(home, ".local", "share"), nil
}

// writeOnce makes a file with this text, readable by its owner only, unless there
// is one, and returns what the file then holds. Of several processes at once,
// one wins and all return its text; after a crash at any moment the file is
// whole or absent.
//
//nolint:gosec // G703: the path is the operator's own
func writeOnce(path, text string) (content string, created bool, err error) {
	if content, err := os.ReadFile(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(content), false, err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // O_EXCL, mode 0600
	if err != nil {
		return "", false, err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.WriteString(text)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return "", false, err
	}
	// A link fails where a rename would replace what another process made.
	switch err := os.Link(temp.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		content, err := os.ReadFile(path)
		return string(content), false, err
	case err != nil:
		return writeExclusive(path, text)
	}
	return text, true, syncDir(filepath.Dir(path))
}

// writeExclusive is for file systems without links, where a crash in the middle
// can leave an unfinished file.
//
//nolint:gosec // G703: the path is the operator's own
func writeExclusive(path, text string) (content string, created bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		content, err := os.ReadFile(path)
		return string(content), false, err
	}
	if err != nil {
		return "", false, err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", false, errors.Join(err, os.Remove(path))
	}
	return text, true, syncDir(filepath.Dir(path))
}

// syncDir makes a new name durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // G703: the path is the operator's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
