package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

// ErrClosed is returned by everything that is done after Close.
var ErrClosed = errors.New("postgres: closed")

// ErrSchema is returned, wrapped, by Open and New when this version of the
// package cannot use the database's schema: it is too new, or too old and must
// not be upgraded.
var ErrSchema = sqlstore.ErrSchema

// errUnconfirmed says that it is not known whether a transaction was kept.
var errUnconfirmed = fmt.Errorf("postgres: %w", sqlstore.ErrUnconfirmed)

func unconfirmed(err error) error { return fmt.Errorf("%w: %w", errUnconfirmed, explain(err)) }

// PostgreSQL's codes that are asked for.
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

const standby = "the server is a standby, or read-only; connect to the primary (name all hosts, or set target_session_attrs=read-write)"

// hints say what to do about PostgreSQL's codes.
var hints = map[string]string{
	"28000": "the server does not let this user in from here; look at its pg_hba.conf",
	"28P01": "the password is not the right one",
	"3D000": "the database does not exist; create it",
	"3F000": "the search_path names no schema that exists; set one (ALTER ROLE … SET search_path = …)",
	"42501": "the role lacks a privilege; to migrate it needs CREATE on the schema, otherwise SELECT, INSERT, UPDATE and DELETE on the tables bifrost_… " +
		"(run postgres.Migrate with a role that may, and use WithoutMigration)",
	"42P01": "a table is missing; run postgres.Migrate, and look at the role's search_path",
	"25006": standby,
	"53100": "the server's disk is full",
	"53200": "the server is out of memory or of locks",
	"53300": "the server has no connection left; lower pool_max_conns, or put PgBouncer between",
	"57014": "the server cancelled the statement; look at its statement_timeout",
	"57P01": "the server is shutting down",
	"57P03": "the server is starting up or shutting down",
	"55P03": "another transaction has held a lock for longer than the server's lock_timeout",
	"25P03": "the transaction was open for too long without doing anything; what is given to InTx must be quick",
}

// explain adds what to do to errors of PostgreSQL; all others pass unchanged.
func explain(err error) error {
	return sqlstore.Explain(err, func(err error) string {
		var connecting *pgconn.ConnectError
		if code := code(err); code != "" {
			return hints[code]
		} else if errors.As(err, &connecting) {
			return "the database cannot be reached"
		}
		return ""
	})
}

// code returns PostgreSQL's code, or "".
func code(err error) string {
	var fault *pgconn.PgError
	if errors.As(err, &fault) {
		return fault.Code
	}
	return ""
}
