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
	// ErrCancelling is returned when a run cannot be begun again, because it is to
	// be cancelled: nothing was written, and it is still this attempt's to finish.
	ErrCancelling = errors.New("workflow: the run is being cancelled")
)

// Store keeps executions and their logs. Implementations must pass
// storetest.Run and be safe for concurrent use, by several processes too where
// the storage is shared.
//
// Leases and RunAt are compared with the store's clock only. Errors other than
// those named here mean a fault of the storage (or of the context), and that a
// write may or may not have happened. Whatever is written is on stable storage
// before the method returns.
//
// Texts are valid UTF-8 without NUL characters, JSON documents too: a write that has
// another is refused, and nothing is found under one.
//
// A run is what is Running or Cancelling; it belongs to its newest attempt.
type Store interface {
	// Insert stores a new execution with ID, Workflow, Scope, Input, Principal, Key
	// and RunAt of r, and returns it as stored. With a lease it is Running at once,
	// attempt 1, RunAt is ignored, and the caller must run it. With a lease of 0 it
	// is Pending, or Scheduled if RunAt is set.
	//
	// If r.Key is not empty, and an execution of the same Workflow and Scope has
	// it, nothing is written and that one is returned, recognized by its ID. Of
	// concurrent calls with one key, one stores.
	Insert(ctx context.Context, r *Record, lease time.Duration) (*Record, error)

	// Claim makes an execution the caller's: Attempt+1, started now, leased until
	// now + c.Lease, RunAt and Error empty. It takes the oldest (by ID) that is
	// Pending, or Running or Cancelling with a lease that has run out; or one that
	// is Scheduled and due, if its ID is lower or there is no other. It is Running
	// then; Cancelling stays so, and is only to be finished. Takeovers+1 if it was a
	// run, Retries+1 if it was Scheduled with an Attempt behind it. It returns
	// nil, nil if there is none. Of concurrent calls, in any number of processes,
	// each gets another execution.
	Claim(ctx context.Context, c Claim) (*Record, error)

	// Extend leases runs until now + lease. It returns as lost those that belong to
	// another attempt, are no runs, or do not exist, and as cancelling those that
	// are Cancelling; their leases are extended too. A lease that ran out without
	// being taken is extended like any other.
	Extend(ctx context.Context, runs []Fence, lease time.Duration) (lost, cancelling []Fence, err error)

	// Append adds log lines to a run, or returns ErrLost. A line whose Attempt and
	// Seq are stored already is left as it is, so that a call may be repeated.
	Append(ctx context.Context, run Fence, logs []Log) error

	// Finish stores the outcome of a run and its last log lines in one
	// transaction, or returns ErrLost.
	Finish(ctx context.Context, run Fence, o Outcome) error

	// Release makes a run Pending again and adds log lines, or returns ErrLost, or
	// ErrCancelling.
	Release(ctx context.Context, run Fence, logs []Log) error

	// Retry makes a run Scheduled at now + delay, with why as its Error, and adds
	// log lines; or returns ErrLost, or ErrCancelling.
	Retry(ctx context.Context, run Fence, delay time.Duration, why Failure, logs []Log) error

	// Cancel makes an execution Cancelled, with why as its Error, if it is Pending,
	// Scheduled, or a run whose lease has run out. Other runs become Cancelling. What
	// is finished stays as it is. It returns the execution as it is then, or
	// ErrNotFound.
	Cancel(ctx context.Context, id string, why Failure) (*Record, error)

	// Get returns one execution, or ErrNotFound.
	Get(ctx context.Context, id string) (*Record, error)

	// List returns executions that match, newest first (by ID, descending), at
	// most limit, with IDs less than before; an empty before starts at the newest.
	List(ctx context.Context, m Match, before string, limit int) ([]*Record, error)

	// DeleteOrg removes every execution of an organization, whatever its Status,
	// with its log lines and its Key. A run that is under way is lost to its attempt:
	// Extend reports it so, and Finish, Append, Release and Retry return ErrLost. None
	// is no error; the empty organization is one, because it is nobody's.
	DeleteOrg(ctx context.Context, org string) error

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
	Status Status // a final one
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
