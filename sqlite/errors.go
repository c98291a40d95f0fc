package sqlite

import (
	"errors"

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

// explain adds what to do to errors of SQLite; all others pass unchanged.
func explain(err error) error {
	return sqlstore.Explain(err, func(err error) string { return hints[code(err)&0xff] })
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
