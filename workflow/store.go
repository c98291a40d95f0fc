package workflow

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound is returned when there is no such execution.
	ErrNotFound = errors.New("workflow: no such execution")
	// ErrLost is returned when a run belongs to another attempt by now, or is
	// finished: nothing was written.
	ErrLost = errors.New("workflow: the run is no longer this attempt's")
)

// Store keeps executions and their logs. Implementations must pass
// storetest.Run and be safe for concurrent use, by several processes too where
// the storage is shared.
//
// Leases are compared with the store's clock only. Errors other than ErrNotFound
// and ErrLost mean a fault of the storage (or of the context), and that a write
// may or may not have happened. Whatever is written is on stable storage before
// the method returns.
type Store interface {
	// Insert stores a new execution with ID, Workflow, Scope, Input and Principal
	// of r, and returns it as stored. With a lease of 0 it is Pending. Otherwise it
	// is Running at once, attempt 1, and the caller must run it.
	Insert(ctx context.Context, r *Record, lease time.Duration) (*Record, error)

	// Claim makes the oldest execution (by ID) that is Pending, or Running with a
	// lease that has run out, the caller's: Running, Attempt+1, started now, leased
	// until now + c.Lease; Takeovers+1 if it was Running. It returns nil, nil if
	// there is none. Of concurrent calls, in any number of processes, each gets
	// another execution.
	Claim(ctx context.Context, c Claim) (*Record, error)

	// Extend leases runs until now + lease and returns those that belong to
	// another attempt, are not Running, or do not exist. A lease that ran out
	// without being taken is extended like any other.
	Extend(ctx context.Context, runs []Fence, lease time.Duration) (lost []Fence, err error)

	// Append adds log lines to a run, or returns ErrLost. A line whose Attempt and
	// Seq are stored already is left as it is, so that a call may be repeated.
	Append(ctx context.Context, run Fence, logs []Log) error

	// Finish stores the outcome of a run and its last log lines in one
	// transaction, or returns ErrLost.
	Finish(ctx context.Context, run Fence, o Outcome) error

	// Release makes a run Pending again and adds log lines, or returns ErrLost.
	Release(ctx context.Context, run Fence, logs []Log) error

	// Get returns one execution, or ErrNotFound.
	Get(ctx context.Context, id string) (*Record, error)

	// List returns executions that match, newest first (by ID, descending), at
	// most limit, with IDs less than before; an empty before starts at the newest.
	List(ctx context.Context, m Match, before string, limit int) ([]*Record, error)

	// Logs returns the lines of one execution in order of Attempt and Seq; none
	// if there is no such execution.
	Logs(ctx context.Context, id string) ([]Log, error)
}

// Claim is what a process can run.
type Claim struct {
	Workflows []string      // only these
	Except    []string      // not these executions: the process still has them
	Lease     time.Duration // how long the claim holds without Extend
}

// Fence identifies one attempt at an execution. Attempts only rise, so a writer
// whose attempt is not the newest knows that it was overtaken.
type Fence struct {
	ID      string
	Attempt int
}

// Outcome is how a run ended.
type Outcome struct {
	Status Status // Succeeded, Failed or TimedOut
	Result []byte // JSON; nil unless Succeeded
	Error  *Failure
	Logs   []Log
}

// Match selects executions for List. Zero fields match everything.
type Match struct {
	Workflow string
	Status   Status
	Scope    Scope
}
