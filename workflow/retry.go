package workflow

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Retries lets an execution that failed or timed out be tried again, up to n
// times: after 1 s, 2 s, 4 s and so on, at most 5 minutes, and up to a quarter
// more, so that what failed together does not come back together. Default 0.
//
// Errors, panics and timeouts are retried. An error marked as [Permanent] is not,
// nor are an input or a result that does not fit its type, and a function that
// ignored the end of its context and may still be at work. Attempts after a crash
// or a restart of the process are no retries.
//
// Between two tries the execution is Scheduled, in the store: another process may
// make the next one.
func Retries(n int) Option {
	return func(d *definition) { d.retries = n }
}

const (
	maxRetries      = 100
	firstRetryDelay = time.Second
	maxRetryDelay   = 5 * time.Minute
)

// retryDelay is how long an execution rests that was tried again so often before.
func retryDelay(retries int) time.Duration {
	delay := maxRetryDelay
	if retries < 16 { // no overflow
		delay = min(firstRetryDelay<<retries, maxRetryDelay)
	}
	return delay + rand.N(delay/4) //nolint:gosec // spreads load, guards nothing
}

// Permanent marks an error as one that another try cannot heal: a customer who
// does not exist, a grant that lacks a scope. Text and wrapped errors stay as they
// are; nil stays nil.
//
//	return nil, workflow.Permanent(err)
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// isPermanent reports whether another try would end alike.
func isPermanent(err error) bool {
	var marked *permanentError
	var own *codedError
	return errors.As(err, &marked) || errors.As(err, &own)
}
