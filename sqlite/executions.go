package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// executions implements workflow.Store.
type executions struct{ db *DB }

// Executions returns the store of workflow executions.
func (db *DB) Executions() workflow.Store { return &executions{db} }

const (
	executionColumns = `id, workflow, org, status, input, result, error_code, error_message,
		attempt, takeovers, retries, principal, idempotency_key, run_at, created_at, started_at, finished_at`

	insertExecution = `INSERT INTO bifrost_executions
			(id, workflow, org, status, input, attempt, takeovers, principal, idempotency_key, run_at, created_at, started_at, lease_until)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, {now}, CASE WHEN $6 = 1 THEN {now} END, CASE WHEN $6 = 1 THEN {now} + $10 END)
		RETURNING ` + executionColumns

	executionOfKey = `SELECT ` + executionColumns + ` FROM bifrost_executions
		WHERE workflow = $1 AND org = $2 AND idempotency_key = $3`

	// $1 and $2 are JSON arrays: workflows that can be run, executions that are
	// not wanted. Each condition begins with an index's, word for word; without
	// INDEXED BY the planner would read and sort everything that is pending.
	wanted        = ` AND workflow IN (SELECT value FROM json_each($1)) AND id NOT IN (SELECT value FROM json_each($2)) `
	nextExecution = `SELECT min(id) FROM (
		SELECT * FROM (SELECT id FROM bifrost_executions INDEXED BY bifrost_executions_open
			WHERE status IN ('pending', 'running') AND (status = 'pending' OR lease_until <= {now})` + wanted + `ORDER BY id LIMIT 1)
		UNION ALL
		SELECT * FROM (SELECT id FROM bifrost_executions INDEXED BY bifrost_executions_cancelling
			WHERE status = 'cancelling' AND lease_until <= {now}` + wanted + `ORDER BY id LIMIT 1)
		UNION ALL
		SELECT * FROM (SELECT id FROM bifrost_executions INDEXED BY bifrost_executions_scheduled
			WHERE status = 'scheduled' AND run_at <= {now}` + wanted + `ORDER BY run_at, id LIMIT 1))`

	claimExecution = `UPDATE bifrost_executions
		SET status = CASE status WHEN 'cancelling' THEN status ELSE 'running' END, attempt = attempt + 1,
			takeovers = takeovers + (status IN ('running', 'cancelling')), retries = retries + (status = 'scheduled' AND attempt > 0),
			error_code = NULL, error_message = NULL, run_at = NULL, started_at = {now}, lease_until = {now} + $3
		WHERE id = (` + nextExecution + `)
		RETURNING ` + executionColumns

	// held is the fence: the run is still this attempt's. stays is the same for what
	// must not follow a cancellation.
	held  = ` WHERE id = $1 AND attempt = $2 AND status IN ('running', 'cancelling')`
	stays = ` WHERE id = $1 AND attempt = $2 AND status = 'running'`

	extendExecution  = `UPDATE bifrost_executions SET lease_until = {now} + $3` + held + ` RETURNING status`
	checkExecution   = `SELECT 1 FROM bifrost_executions` + held
	releaseExecution = `UPDATE bifrost_executions SET status = 'pending', started_at = NULL, lease_until = NULL` + stays
	retryExecution   = `UPDATE bifrost_executions SET status = 'scheduled', run_at = {now} + $3, error_code = $4, error_message = $5,
		started_at = NULL, lease_until = NULL` + stays
	finishExecution = `UPDATE bifrost_executions
		SET status = $3, result = $4, error_code = $5, error_message = $6, finished_at = {now}, lease_until = NULL` + held

	// Of an execution that nobody runs, and of one that somebody does.
	cancelExecution = `UPDATE bifrost_executions
		SET status = 'cancelled', error_code = $2, error_message = $3, run_at = NULL, finished_at = {now}, lease_until = NULL
		WHERE id = $1 AND (status IN ('pending', 'scheduled') OR status IN ('running', 'cancelling') AND lease_until <= {now})`
	cancelRun = `UPDATE bifrost_executions SET status = 'cancelling' WHERE id = $1 AND status = 'running'`

	// Log lines go with their executions.
	deleteOrg = `DELETE FROM bifrost_executions WHERE org = $1`

	selectExecution    = `SELECT ` + executionColumns + ` FROM bifrost_executions WHERE id = $1`
	appendExecutionLog = `INSERT INTO bifrost_execution_logs (execution, attempt, seq, at, level, message, attrs)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`
	selectExecutionLogs = `SELECT attempt, seq, at, level, message, attrs FROM bifrost_execution_logs
		WHERE execution = $1 ORDER BY attempt, seq`
)

// Insert implements workflow.Store.
func (s *executions) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (stored *workflow.Record, err error) {
	status, attempt := workflow.Pending, 0
	var runAt sql.NullInt64
	switch {
	case lease > 0:
		status, attempt = workflow.Running, 1
	case !r.RunAt.IsZero():
		status, runAt = workflow.Scheduled, sql.NullInt64{Int64: r.RunAt.UnixMicro(), Valid: true}
	}
	key := sql.NullString{String: r.Key, Valid: r.Key != ""}
	scanStored := func(scan scanner) (err error) {
		stored, err = scanExecution(scan)
		return err
	}
	err = s.db.write(ctx, func(t *tx) error {
		stored = nil
		if key.Valid {
			// Under the write lock, so nobody inserts it in between.
			if err := t.each(scanStored, executionOfKey, r.Workflow, r.Scope.Org, key); err != nil || stored != nil {
				return err
			}
		}
		return t.each(scanStored, insertExecution, r.ID, r.Workflow, r.Scope.Org, string(status), string(r.Input), attempt,
			r.Principal, key, runAt, lease.Microseconds())
	})
	return stored, err
}

// Claim implements workflow.Store. It asks without the write lock first, because
// nearly always there is nothing to claim.
func (s *executions) Claim(ctx context.Context, c workflow.Claim) (claimed *workflow.Record, err error) {
	workflows, except, err := jsonStrings(c.Workflows, c.Except)
	if err != nil {
		return nil, err
	}
	var id sql.NullString // min of nothing
	if err := s.db.one(ctx, []any{&id}, nextExecution, workflows, except); err != nil || !id.Valid {
		return nil, err
	}
	err = s.db.write(ctx, func(t *tx) error {
		return t.each(func(scan scanner) (err error) {
			claimed, err = scanExecution(scan)
			return err
		}, claimExecution, workflows, except, c.Lease.Microseconds())
	})
	return claimed, err
}

// Extend implements workflow.Store.
func (s *executions) Extend(ctx context.Context, runs []workflow.Fence, lease time.Duration) (lost, cancelling []workflow.Fence, err error) {
	if len(runs) == 0 {
		return nil, nil, ctx.Err()
	}
	err = s.db.write(ctx, func(t *tx) error {
		for _, f := range runs {
			var status workflow.Status
			err := t.one([]any{&status}, extendExecution, f.ID, f.Attempt, lease.Microseconds())
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
func (s *executions) Append(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.db.write(ctx, func(t *tx) error {
		if isHeld, err := holds(t, run); err != nil {
			return err
		} else if !isHeld {
			return workflow.ErrLost
		}
		return appendLogs(t, run, logs)
	})
}

// Release implements workflow.Store.
func (s *executions) Release(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.change(ctx, run, logs, releaseExecution)
}

// Retry implements workflow.Store.
func (s *executions) Retry(
	ctx context.Context, run workflow.Fence, delay time.Duration, why workflow.Failure, logs []workflow.Log,
) error {
	return s.change(ctx, run, logs, retryExecution, delay.Microseconds(), why.Code, why.Message)
}

// Finish implements workflow.Store.
func (s *executions) Finish(ctx context.Context, run workflow.Fence, o workflow.Outcome) error {
	if !o.Status.Finished() {
		return fmt.Errorf("sqlite: %q is not a final status", o.Status)
	}
	var code, message sql.NullString
	if o.Error != nil {
		code, message = sql.NullString{String: o.Error.Code, Valid: true}, sql.NullString{String: o.Error.Message, Valid: true}
	}
	return s.change(ctx, run, o.Logs, finishExecution, string(o.Status), nullJSON(o.Result), code, message)
}

// change runs a fenced statement, whose first arguments are the fence.
func (s *executions) change(ctx context.Context, run workflow.Fence, logs []workflow.Log, query string, args ...any) error {
	args = append([]any{run.ID, run.Attempt}, args...)
	return s.db.write(ctx, func(t *tx) error {
		changed, err := t.exec(query, args...)
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
func holds(t *tx, run workflow.Fence) (bool, error) {
	var one int
	err := t.one([]any{&one}, checkExecution, run.ID, run.Attempt)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Cancel implements workflow.Store.
func (s *executions) Cancel(ctx context.Context, id string, why workflow.Failure) (r *workflow.Record, err error) {
	err = s.db.write(ctx, func(t *tx) error {
		changed, err := t.exec(cancelExecution, id, why.Code, why.Message)
		if err == nil && changed == 0 {
			_, err = t.exec(cancelRun, id)
		}
		if err != nil {
			return err
		}
		r = nil
		err = t.each(func(scan scanner) (err error) {
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
func (s *executions) DeleteOrg(ctx context.Context, org string) error {
	if org == "" {
		return errors.New("sqlite: DeleteOrg needs an organization")
	}
	return s.db.write(ctx, func(t *tx) error {
		_, err := t.exec(deleteOrg, org)
		return err
	})
}

func appendLogs(t *tx, run workflow.Fence, logs []workflow.Log) error {
	for _, l := range logs {
		_, err := t.exec(appendExecutionLog, run.ID, run.Attempt, l.Seq, l.At.UnixMicro(), int(l.Level), l.Message, nullJSON(l.Attrs))
		if err != nil {
			return err
		}
	}
	return nil
}

// Get implements workflow.Store.
func (s *executions) Get(ctx context.Context, id string) (found *workflow.Record, err error) {
	err = s.db.each(ctx, func(scan scanner) (err error) {
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
func (s *executions) List(ctx context.Context, m workflow.Match, before string, limit int) (page []*workflow.Record, err error) {
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
	err = s.db.each(ctx, func(scan scanner) error {
		r, err := scanExecution(scan)
		page = append(page, r)
		return err
	}, `SELECT `+executionColumns+` FROM bifrost_executions WHERE `+where+` ORDER BY id DESC LIMIT $1`, args...)
	return page, err
}

// Logs implements workflow.Store.
func (s *executions) Logs(ctx context.Context, id string) (logs []workflow.Log, err error) {
	err = s.db.each(ctx, func(scan scanner) error {
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

func scanExecution(scan scanner) (*workflow.Record, error) {
	var (
		r                 workflow.Record
		org               string
		input, result     []byte
		code, message     sql.NullString
		key               sql.NullString
		created           int64
		runAt             sql.NullInt64
		started, finished sql.NullInt64
	)
	err := scan(&r.ID, &r.Workflow, &org, &r.Status, &input, &result, &code, &message,
		&r.Attempt, &r.Takeovers, &r.Retries, &r.Principal, &key, &runAt, &created, &started, &finished)
	if err != nil {
		return nil, err
	}
	r.Scope = workflow.Global()
	if org != "" {
		r.Scope = workflow.Org(org)
	}
	r.Input, r.Result = input, result
	if code.Valid {
		r.Error = &workflow.Failure{Code: code.String, Message: message.String}
	}
	r.Key = key.String
	r.CreatedAt = time.UnixMicro(created).UTC()
	r.RunAt, r.StartedAt, r.FinishedAt = nullTime(runAt), nullTime(started), nullTime(finished)
	return &r, nil
}

func nullTime(micros sql.NullInt64) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return time.UnixMicro(micros.Int64).UTC()
}

// nullJSON stores no document as NULL.
func nullJSON(doc []byte) sql.NullString {
	return sql.NullString{String: string(doc), Valid: doc != nil}
}

// jsonStrings encodes both lists as JSON arrays.
func jsonStrings(a, b []string) (string, string, error) {
	x, err := json.Marshal(append([]string{}, a...))
	if err != nil {
		return "", "", err
	}
	y, err := json.Marshal(append([]string{}, b...))
	return string(x), string(y), err
}
