package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ExplainedError is an error of a driver with advice. It exists so that an error that
// passes two layers is not explained twice.
type ExplainedError struct {
	Hint string
	Err  error
}

func (e *ExplainedError) Error() string { return fmt.Sprintf("%s: %v", e.Hint, e.Err) }

// Unwrap returns the driver's error.
func (e *ExplainedError) Unwrap() error { return e.Err }

// Explain adds what to do, which hint says of an error; "" adds nothing. What is no
// fault of the database, or is explained already, passes unchanged. Of a timeout hint is
// asked: that of a dial is DeadlineExceeded as well as the caller's is.
func Explain(err error, hint func(error) string) error {
	var already *ExplainedError
	switch {
	case err == nil, errors.As(err, &already), errors.Is(err, context.Canceled), errors.Is(err, sql.ErrNoRows):
		return err
	}
	if text := hint(err); text != "" {
		return &ExplainedError{text, err}
	}
	return err
}
