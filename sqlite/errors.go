package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// ErrClosed is returned by everything that is done after Close.
var ErrClosed = errors.New("sqlite: closed")

// ErrSchema is returned, wrapped, by Open and New when this version of the
// package cannot use the database's schema: it is too new, or too old and must
// not be upgraded.
var ErrSchema = sqlstore.ErrSchema

// hints say what to do about SQLite's result codes.
var hints = map[int]string{
	codes.SQLITE_NOTADB:   "the file is not an SQLite database (or is encrypted); name another file",
	codes.SQLITE_READONLY: "the database is not writable; check the permissions of the file, of its -wal and -shm files, and of the directory",
	codes.SQLITE_CANTOPEN: "the file or one of its -wal and -shm files cannot be opened; check the permissions of the file and of its directory",
	codes.SQLITE_FULL:     "the disk is full",
	codes.SQLITE_BUSY:     "another process has held the database's lock for too long; look for one that is stopped, or for a tool with an open transaction",
	codes.SQLITE_CORRUPT:  "the database is damaged; restore a backup",
	codes.SQLITE_IOERR:    "the disk failed; SQLite needs a local file system with working locks",
}

// explained is an error of the driver with advice. It exists so that an error
// that passes two layers is not explained twice.
type explained struct {
	hint string
	err  error
}

func (e *explained) Error() string { return fmt.Sprintf("%s: %v", e.hint, e.err) }
func (e *explained) Unwrap() error { return e.err }

// explain adds what to do to errors of SQLite; all others pass unchanged.
func explain(err error) error {
	var already *explained
	switch {
	case err == nil, errors.As(err, &already), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, sql.ErrNoRows):
		return err
	}
	if hint, ok := hints[code(err)&0xff]; ok {
		return &explained{hint, err}
	}
	return err
}

// code returns SQLite's extended result code, or 0.
func code(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err) & 0xff
	return c == codes.SQLITE_BUSY || c == codes.SQLITE_LOCKED
}
