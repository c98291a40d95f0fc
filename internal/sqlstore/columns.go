package sqlstore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// How values stand in columns: times as microseconds since 1970 or NULL, flags as
// 0 or 1, lists and attempts as JSON or NULL.

// micros is the column value of a time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// flag is the column value of a truth.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// document is the column value of a JSON document; nil is NULL.
func document(doc []byte) any {
	if doc == nil {
		return nil
	}
	return string(doc)
}

// list is the column value of a list of texts; nil and empty are kept apart.
func list(texts []string) (any, error) {
	if texts == nil {
		return nil, nil
	}
	b, err := json.Marshal(texts)
	return string(b), err
}

// into is a destination of Scan. Unlike Scan's own, NULL gives the zero value: a
// record that is not there comes as a row of NULLs.
type into func(v any) error

// Scan implements sql.Scanner.
func (f into) Scan(v any) error { return f(v) }

func unexpected(v any) error { return fmt.Errorf("sqlstore: a column holds a %T", v) }

func intoText[T ~string](dest *T) into {
	return func(v any) error {
		switch v := v.(type) {
		case nil:
			*dest = ""
		case string:
			*dest = T(v)
		default:
			return unexpected(v)
		}
		return nil
	}
}

func intoInt[T int | int64](dest *T) into {
	return func(v any) error {
		switch v := v.(type) {
		case nil:
			*dest = 0
		case int64:
			*dest = T(v)
		default:
			return unexpected(v)
		}
		return nil
	}
}

// position takes the position of a row. A provisional one is nothing to continue
// from: it is another one once the transaction is committed.
func position(next *int64) into {
	return func(v any) error {
		at, ok := v.(int64)
		switch {
		case !ok:
			return unexpected(v)
		case at < Provisional:
			*next = at
		}
		return nil
	}
}

func intoBool(dest *bool) into {
	return func(v any) error {
		var n int64
		err := intoInt(&n)(v)
		*dest = n != 0
		return err
	}
}

func intoTime(dest *time.Time) into {
	return func(v any) error {
		switch v := v.(type) {
		case nil:
			*dest = time.Time{}
		case int64:
			*dest = time.UnixMicro(v).UTC()
		default:
			return unexpected(v)
		}
		return nil
	}
}

func intoJSON(dest any) into {
	return func(v any) error {
		switch v := v.(type) {
		case nil:
			return nil
		case string:
			return json.Unmarshal([]byte(v), dest)
		}
		return unexpected(v)
	}
}

// attempt is tokenstore.Attempt as JSON. TokenHash is a hash and no secret.
type attempt struct {
	ID            string   `json:"id"`
	Open          []string `json:"open"`
	Generation    int64    `json:"generation"`
	TokenHash     []byte   `json:"token_hash"`
	Started       *int64   `json:"started"`
	Deadline      *int64   `json:"deadline"`
	Presentations int      `json:"presentations"`
}

func newAttempt(a *tokenstore.Attempt) (any, error) {
	if a == nil {
		return nil, nil
	}
	at := func(t time.Time) *int64 {
		if t.IsZero() {
			return nil
		}
		n := t.UnixMicro()
		return &n
	}
	b, err := json.Marshal(attempt{
		ID: a.ID, Open: a.Open, Generation: a.Generation, TokenHash: a.TokenHash,
		Started: at(a.Started), Deadline: at(a.Deadline), Presentations: a.Presentations,
	})
	return string(b), err
}

func (a *attempt) value() *tokenstore.Attempt {
	if a == nil {
		return nil
	}
	at := func(n *int64) time.Time {
		if n == nil {
			return time.Time{}
		}
		return time.UnixMicro(*n).UTC()
	}
	return &tokenstore.Attempt{
		ID: a.ID, Open: a.Open, Generation: a.Generation, TokenHash: a.TokenHash,
		Started: at(a.Started), Deadline: at(a.Deadline), Presentations: a.Presentations,
	}
}
