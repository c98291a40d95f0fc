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
		attempt, takeovers, principal, created_at, started_at, finished_at`

	insertExecution = `INSERT INTO bifrost_executions
			(id, workflow, org, status, input, attempt, takeovers, principal, created_at, started_at, lease_until)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, {now}, CASE WHEN $6 = 1 THEN {now} END, CASE WHEN $6 = 1 THEN {now} + $8 END)
		RETURNING ` + executionColumns

	// $1 and $2 are JSON arrays: workflows that can be run, executions that are
	// not wanted. The first condition is the index's, word for word; without
	// INDEXED BY the planner would read and sort everything that is pending.
	nextExecution = `SELECT id FROM bifrost_executions INDEXED BY bifrost_executions_open
		WHERE status IN ('pending', 'running') AND (status = 'pending' OR lease_until <= {now})
		AND workflow IN (SELECT value FROM json_each($1)) AND id NOT IN (SELECT value FROM json_each($2))
		ORDER BY id LIMIT 1`

	claimExecution = `UPDATE bifrost_executions
		SET status = 'running', attempt = attempt + 1, takeovers = takeovers + (status = 'running'),
			started_at = {now}, lease_until = {now} + $3
		WHERE id = (` + nextExecution + `)
		RETURNING ` + executionColumns

	// held is the fence: the run is still this attempt's.
	held = ` WHERE id = $1 AND attempt = $2 AND status = 'running'`

	extendExecution  = `UPDATE bifrost_executions SET lease_until = {now} + $3` + held
	checkExecution   = `SELECT 1 FROM bifrost_executions` + held
	releaseExecution = `UPDATE bifrost_executions SET status = 'pending', started_at = NULL, lease_until = NULL` + held
	finishExecution  = `UPDATE bifrost_executions
		SET status = $3, result = $4, error_code = $5, error_message = $6, finished_at = {now}, lease_until = NULL` + held

	appendExecutionLog = `INSERT INTO bifrost_execution_logs (execution, attempt, seq, at, level, message, attrs)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`
	selectExecutionLogs = `SELECT attempt, seq, at, level, message, attrs FROM bifrost_execution_logs
		WHERE execution = $1 ORDER BY attempt, seq`
)

// Insert implements workflow.Store.
func (s *executions) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (stored *workflow.Record, err error) {
	status, attempt := workflow.Pending, 0
	if lease > 0 {
		status, attempt = workflow.Running, 1
	}
	err = s.db.write(ctx, func(t *tx) error {
		return t.each(func(scan scanner) (err error) {
			stored, err = scanExecution(scan)
			return err
		}, insertExecution, r.ID, r.Workflow, r.Scope.Org, string(status), string(r.Input), attempt, r.Principal, lease.Microseconds())
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
	var id string
	err = s.db.one(ctx, []any{&id}, nextExecution, workflows, except)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
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
func (s *executions) Extend(ctx context.Context, runs []workflow.Fence, lease time.Duration) (lost []workflow.Fence, err error) {
	if len(runs) == 0 {
		return nil, ctx.Err()
	}
	err = s.db.write(ctx, func(t *tx) error {
		for _, f := range runs {
			changed, err := t.exec(extendExecution, f.ID, f.Attempt, lease.Microseconds())
			if err != nil {
				return err
			}
			if changed == 0 {
				lost = append(lost, f)
			}
		}
		return nil
	})
	return lost, err
}

// Append implements workflow.Store.
func (s *executions) Append(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.db.write(ctx, func(t *tx) error {
		var one int
		err := t.one([]any{&one}, checkExecution, run.ID, run.Attempt)
		if errors.Is(err, sql.ErrNoRows) {
			return workflow.ErrLost
		}
		if err != nil {
			return err
		}
		return appendLogs(t, run, logs)
	})
}

// Release implements workflow.Store.
func (s *executions) Release(ctx context.Context, run workflow.Fence, logs []workflow.Log) error {
	return s.change(ctx, run, logs, releaseExecution)
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
			return workflow.ErrLost
		}
		return appendLogs(t, run, logs)
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
	}, `SELECT `+executionColumns+` FROM bifrost_executions WHERE id = $1`, id)
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
		created           int64
		started, finished sql.NullInt64
	)
	err := scan(&r.ID, &r.Workflow, &org, &r.Status, &input, &result, &code, &message,
		&r.Attempt, &r.Takeovers, &r.Principal, &created, &started, &finished)
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
	r.CreatedAt = time.UnixMicro(created).UTC()
	if started.Valid {
		r.StartedAt = time.UnixMicro(started.Int64).UTC()
	}
	if finished.Valid {
		r.FinishedAt = time.UnixMicro(finished.Int64).UTC()
	}
	return &r, nil
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
