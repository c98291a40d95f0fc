package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
	"github.com/bifrost-go/bifrost/workflow"
)

// executions implements workflow.Store.
type executions struct{ engine Engine }

// Executions returns the store of workflow executions.
func Executions(e Engine) workflow.Store { return executions{checked{e}} }

// Insert implements workflow.Store.
func (s executions) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (stored *workflow.Record, err error) {
	if err := texts.Check(r); err != nil {
		return nil, err
	}
	status, attempt := workflow.Pending, 0
	var runAt, key any
	switch {
	case lease > 0:
		status, attempt = workflow.Running, 1
	case !r.RunAt.IsZero():
		status, runAt = workflow.Scheduled, micros(r.RunAt)
	}
	if r.Key != "" {
		key = r.Key
	}
	scanStored := func(scan Scanner) (err error) {
		stored, err = scanExecution(scan)
		return err
	}
	err = s.engine.Write(ctx, func(t Tx) error {
		stored = nil
		if key != nil {
			// Whoever inserts it in between makes this one look again.
			if err := t.Each(scanStored, executionOfKey, r.Workflow, r.Scope.Org, key); err != nil || stored != nil {
				return err
			}
		}
		return t.Each(scanStored, insertExecution, r.ID, r.Workflow, r.Scope.Org, string(status), string(r.Input), attempt,
			r.Principal, key, runAt, lease.Microseconds())
	})
	return stored, err
}

// claimTries bounds how often Claim looks again for what others seem to be claiming.
const claimTries = 20

// Claim implements workflow.Store. It asks without a lock first, because nearly
// always there is nothing to claim.
func (s executions) Claim(ctx context.Context, c workflow.Claim) (claimed *workflow.Record, err error) {
	workflows, err := s.engine.Any(c.Workflows)
	if err != nil {
		return nil, err
	}
	except, err := s.engine.Any(c.Except)
	if err != nil {
		return nil, err
	}
	for range claimTries {
		var id sql.NullString // min of nothing
		if err := s.engine.One(ctx, []any{&id}, nextExecution, workflows, except); err != nil || !id.Valid {
			return nil, err
		}
		err = s.engine.Write(ctx, func(t Tx) error {
			claimed = nil
			return t.Each(func(scan Scanner) (err error) {
				claimed, err = scanExecution(scan)
				return err
			}, claimExecution, workflows, except, c.Lease.Microseconds())
		})
		if err != nil || claimed != nil {
			return claimed, err
		}
		// Others were faster, or hold for a moment what they looked at.
	}
	return nil, nil
}

// Extend implements workflow.Store.
func (s executions) Extend(ctx context.Context, runs []workflow.Fence, lease time.Duration) (lost, cancelling []workflow.Fence, err error) {
	if len(runs) == 0 {
		return nil, nil, ctx.Err()
	}
	err = s.engine.Write(ctx, func(t Tx) error {
		lost, cancelling = nil, nil
		for _, f := range runs {
			var status workflow.Status
			err := t.One([]any{&status}, extendExecution, f.ID, f.Attempt, lease.Microseconds())
			switch {
			case errors.Is(err, sql.ErrNoRows):
				lost = append(lost, f)
			case err != nil:
				return err
			case status == workflow.Cancelling:
				cancelling = append(cancelling, f)
			}
		}
		return nil
	})
	return lost, cancelling, err
}

// Append implements workflow.Store.
func (s executions) Append(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.engine.Write(ctx, func(t Tx) error {
		if isHeld, err := holds(t, run); err != nil {
			return err
		} else if !isHeld {
			return workflow.ErrLost
		}
		return appendLogs(t, run, logs)
	})
}

// Release implements workflow.Store.
func (s executions) Release(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.change(ctx, run, logs, releaseExecution)
}

// Retry implements workflow.Store.
func (s executions) Retry(
	ctx context.Context, run workflow.Fence, delay time.Duration, why workflow.Failure, logs []workflow.Log,
) error {
	return s.change(ctx, run, logs, retryExecution, delay.Microseconds(), why.Code, why.Message)
}

// Finish implements workflow.Store.
func (s executions) Finish(ctx context.Context, run workflow.Fence, o workflow.Outcome) error {
	if !o.Status.Finished() {
		return fmt.Errorf("workflow: %q is not a final status", o.Status)
	}
	var code, message any
	if o.Error != nil {
		code, message = o.Error.Code, o.Error.Message
	}
	return s.change(ctx, run, o.Logs, finishExecution, string(o.Status), document(o.Result), code, message)
}

// change runs a fenced statement, whose first arguments are the fence.
func (s executions) change(ctx context.Context, run workflow.Fence, logs []workflow.Log, query string, args ...any) error {
	if err := texts.Check(args...); err != nil {
		return err
	}
	args = append([]any{run.ID, run.Attempt}, args...)
	return s.engine.Write(ctx, func(t Tx) error {
		changed, err := t.Exec(query, args...)
		if err != nil {
			return err
		}
		if changed == 0 {
			isHeld, err := holds(t, run)
			switch {
			case err != nil:
				return err
			case isHeld:
				return workflow.ErrCancelling
			}
			return workflow.ErrLost
		}
		return appendLogs(t, run, logs)
	})
}

// holds reports whether a run is still this attempt's.
func holds(t Tx, run workflow.Fence) (bool, error) {
	var one int
	err := t.One([]any{&one}, checkExecution, run.ID, run.Attempt)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Cancel implements workflow.Store.
func (s executions) Cancel(ctx context.Context, id string, why workflow.Failure) (r *workflow.Record, err error) {
	if err := texts.Check(why); err != nil {
		return nil, err
	}
	err = s.engine.Write(ctx, func(t Tx) error {
		if err := t.Lock(lockExecution, id); err != nil { // it must not change between the two
			return err
		}
		changed, err := t.Exec(cancelExecution, id, why.Code, why.Message)
		if err == nil && changed == 0 {
			_, err = t.Exec(cancelRun, id)
		}
		if err != nil {
			return err
		}
		r = nil
		err = t.Each(func(scan Scanner) (err error) {
			r, err = scanExecution(scan)
			return err
		}, selectExecution, id)
		if err == nil && r == nil {
			return workflow.ErrNotFound
		}
		return err
	})
	return r, err
}

// DeleteOrg implements workflow.Store.
func (s executions) DeleteOrg(ctx context.Context, org string) error {
	if org == "" {
		return errors.New("workflow: DeleteOrg needs an organization")
	}
	return s.engine.Write(ctx, func(t Tx) error {
		_, err := t.Exec(deleteOrg, org)
		return err
	})
}

func appendLogs(t Tx, run workflow.Fence, logs []workflow.Log) error {
	if err := texts.Check(logs); err != nil {
		return err
	}
	for _, l := range logs {
		_, err := t.Exec(appendExecutionLog, run.ID, run.Attempt, l.Seq, l.At.UnixMicro(), int(l.Level), l.Message, document(l.Attrs))
		if err != nil {
			return err
		}
	}
	return nil
}

// Get implements workflow.Store.
func (s executions) Get(ctx context.Context, id string) (found *workflow.Record, err error) {
	err = s.engine.Each(ctx, func(scan Scanner) (err error) {
		found, err = scanExecution(scan)
		return err
	}, selectExecution, id)
	if err == nil && found == nil {
		return nil, workflow.ErrNotFound
	}
	return found, err
}

// List implements workflow.Store. Each combination of conditions is a query text
// of its own, because each has an index of its own.
func (s executions) List(ctx context.Context, m workflow.Match, before string, limit int) (page []*workflow.Record, err error) {
	where, args := "true", []any{limit}
	add := func(column, operator, value string) {
		args = append(args, value)
		where += fmt.Sprintf(" AND %s %s $%d", column, operator, len(args))
	}
	if before != "" {
		add("id", "<", before)
	}
	if m.Workflow != "" {
		add("workflow", "=", m.Workflow)
	}
	if m.Status != "" {
		add("status", "=", string(m.Status))
	}
	if m.Scope != (workflow.Scope{}) {
		add("org", "=", m.Scope.Org)
	}
	err = s.engine.Each(ctx, func(scan Scanner) error {
		r, err := scanExecution(scan)
		page = append(page, r)
		return err
	}, `SELECT `+executionColumns+` FROM bifrost_executions WHERE `+where+` ORDER BY id DESC LIMIT $1`, args...)
	return page, err
}

// Logs implements workflow.Store.
func (s executions) Logs(ctx context.Context, id string) (logs []workflow.Log, err error) {
	err = s.engine.Each(ctx, func(scan Scanner) error {
		var l workflow.Log
		var at, level int64
		var attrs []byte
		if err := scan(&l.Attempt, &l.Seq, &at, &level, &l.Message, &attrs); err != nil {
			return err
		}
		l.At, l.Level, l.Attrs = time.UnixMicro(at).UTC(), slog.Level(level), attrs
		logs = append(logs, l)
		return nil
	}, selectExecutionLogs, id)
	return logs, err
}
