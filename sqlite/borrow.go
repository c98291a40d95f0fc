package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
)

// Connections of a pool that is not ours come with settings that are not ours.

// needed are the settings a write depends on. With synchronous below FULL, WAL
// forgets the newest commits on power loss, and a forgotten refresh token is a
// lost connection.
var needed = []struct {
	pragma string
	enough func(value int) bool
	value  int
}{
	{"synchronous", func(v int) bool { return v >= 2 }, 2},
	{"foreign_keys", func(v int) bool { return v == 1 }, 1},
}

// borrow makes the settings of a foreign connection fit, and remembers them.
func (t *tx) borrow() error {
	for _, n := range needed {
		var was int
		if err := t.conn.QueryRowContext(t.ctx, "PRAGMA "+n.pragma).Scan(&was); err != nil {
			return err
		}
		if n.enough(was) {
			continue
		}
		if _, err := t.conn.ExecContext(t.ctx, fmt.Sprintf("PRAGMA %s = %d", n.pragma, n.value)); err != nil {
			return err
		}
		t.restore = append(t.restore, fmt.Sprintf("PRAGMA %s = %d", n.pragma, was))
	}
	return nil
}

// giveBack restores the settings and returns the connection to its pool.
func (t *tx) giveBack() {
	for _, pragma := range t.restore {
		_, _ = t.conn.ExecContext(t.ctx, pragma)
	}
	_ = t.conn.Close()
}

// ignoreDone drops the error of closing a connection that is closed already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}
