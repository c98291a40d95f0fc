package workflow

import (
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/internal/scope"
)

// Scope is whose execution it is: an organization's, or global. The zero value
// is no scope.
type Scope = scope.Scope

// Org returns the scope of one organization; the empty organization is no scope.
func Org(org string) Scope { return scope.Of(org) }

// Global returns the scope that belongs to no organization, whose runs may read
// every organization's connections.
func Global() Scope { return Scope{Kind: scope.Global} }

// Status is the state of an execution.
type Status string

// The states of an execution. It begins as Scheduled, Pending or Running; the
// last four are final.
const (
	Scheduled  Status = "scheduled" // begins at RunAt: delayed, or between two tries
	Pending    Status = "pending"   // begins when a worker is free
	Running    Status = "running"
	Cancelling Status = "cancelling" // running, and told to stop
	Succeeded  Status = "succeeded"
	Failed     Status = "failed"
	TimedOut   Status = "timed_out"
	Cancelled  Status = "cancelled"
)

// Finished reports whether the status is final.
func (s Status) Finished() bool {
	return s == Succeeded || s == Failed || s == TimedOut || s == Cancelled
}

// Codes of failures that Bifrost gives. A workflow's error gives its own if it
// has, or wraps an error that has, a method ErrorCode() string.
const (
	CodeError   = "error"   // the function returned an error
	CodePanic   = "panic"   // the function panicked
	CodeTimeout = "timeout" // the function did not end in time
	CodeInput   = "input"   // the stored input no longer fits the registered type
	CodeResult  = "result"  // the result is not JSON, or too large
	CodeLost    = "lost"    // the processes running it ended too often
	// CodeCancelled is the code of every execution that is Cancelled.
	CodeCancelled = "cancelled"
)

// Failure says why an execution failed. Secrets the run resolved are redacted.
type Failure struct {
	Code    string
	Message string
}

// Record is one execution in the history. Stores hand out copies.
//
// All times are the store's clock.
type Record struct {
	ID       string // UUIDv7: ids sort by time of creation
	Workflow string
	Scope    Scope
	Status   Status
	Input    json.RawMessage
	// Result is the function's result while Status is Succeeded, nil otherwise.
	Result json.RawMessage
	// Error is set while Status is Failed, TimedOut or Cancelled, and between two
	// tries: why the first of them failed.
	Error *Failure
	// Attempt counts how often it was begun; 0 while it never was.
	Attempt int
	// Takeovers counts the attempts whose process vanished.
	Takeovers int
	// Retries counts the attempts that followed a failure.
	Retries int
	// RunAt is when it begins, while Scheduled; zero otherwise.
	RunAt time.Time
	// Key is the idempotency key it was submitted with; may be empty.
	Key string
	// Principal is who asked for it; may be empty.
	Principal string

	CreatedAt  time.Time
	StartedAt  time.Time // of the newest attempt; zero while Pending or Scheduled
	FinishedAt time.Time // zero until finished
}

// Duration is how long the newest attempt took; 0 until it is finished.
func (r *Record) Duration() time.Duration {
	if r.StartedAt.IsZero() || r.FinishedAt.IsZero() {
		return 0
	}
	return r.FinishedAt.Sub(r.StartedAt)
}

// Clone returns a copy that shares nothing with r.
func (r *Record) Clone() *Record {
	c := *r
	c.Input = slices.Clone(r.Input)
	c.Result = slices.Clone(r.Result)
	if r.Error != nil {
		e := *r.Error
		c.Error = &e
	}
	return &c
}

// Log is one line that a run wrote to its [Logger].
type Log struct {
	Attempt int
	Seq     int // from 1 in each attempt
	At      time.Time
	Level   slog.Level
	Message string
	Attrs   json.RawMessage // a JSON object, or nil
}
