package sqlstore

import (
	"database/sql"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

const (
	executionColumns = `id, workflow, org, status, input, result, error_code, error_message,
		attempt, takeovers, retries, principal, idempotency_key, run_at, created_at, started_at, finished_at`

	insertExecution = `INSERT INTO bifrost_executions
			(id, workflow, org, status, input, attempt, takeovers, principal, idempotency_key, run_at, created_at, started_at, lease_until)
		VALUES ($1, $2, $3, $4, $5, CAST($6 AS BIGINT), 0, $7, $8, $9, {now}, CASE WHEN CAST($6 AS BIGINT) = 1 THEN {now} END, CASE WHEN CAST($6 AS BIGINT) = 1 THEN {now} + $10 END)
		RETURNING ` + executionColumns

	executionOfKey = `SELECT ` + executionColumns + ` FROM bifrost_executions
		WHERE workflow = $1 AND org = $2 AND idempotency_key = $3`

	// $1 and $2 are lists: workflows that can be run, executions that are not
	// wanted. Each condition begins with an index's, word for word. SQLite is told
	// the index: its planner would read and sort everything that is pending.
	wanted      = ` AND workflow {any $1} AND NOT id {any $2} `
	firstWanted = `SELECT min(id) FROM (
		SELECT * FROM (SELECT id FROM bifrost_executions {by bifrost_executions_open}
			WHERE status IN ('pending', 'running') AND (status = 'pending' OR lease_until <= {now})` + wanted + `ORDER BY id LIMIT 1 {skip}) AS open
		UNION ALL
		SELECT * FROM (SELECT id FROM bifrost_executions {by bifrost_executions_cancelling}
			WHERE status = 'cancelling' AND lease_until <= {now}` + wanted + `ORDER BY id LIMIT 1 {skip}) AS cancelling
		UNION ALL
		SELECT * FROM (SELECT id FROM bifrost_executions {by bifrost_executions_scheduled}
			WHERE status = 'scheduled' AND run_at <= {now}` + wanted + `ORDER BY run_at, id LIMIT 1 {skip}) AS scheduled) AS next`

	claimExecution = `UPDATE bifrost_executions
		SET status = CASE status WHEN 'cancelling' THEN status ELSE 'running' END, attempt = attempt + 1,
			takeovers = takeovers + CASE WHEN status IN ('running', 'cancelling') THEN 1 ELSE 0 END,
			retries = retries + CASE WHEN status = 'scheduled' AND attempt > 0 THEN 1 ELSE 0 END,
			error_code = NULL, error_message = NULL, run_at = NULL, started_at = {now}, lease_until = {now} + $3
		WHERE id = (` + firstWanted + `)
		RETURNING ` + executionColumns

	// held is the fence: the run is still this attempt's. stays is the same for what
	// must not follow a cancellation.
	held  = ` WHERE id = $1 AND attempt = $2 AND status IN ('running', 'cancelling')`
	stays = ` WHERE id = $1 AND attempt = $2 AND status = 'running'`

	extendExecution  = `UPDATE bifrost_executions SET lease_until = {now} + $3` + held + ` RETURNING status`
	checkExecution   = `SELECT 1 FROM bifrost_executions` + held + ` {lock}`
	lockExecution    = `SELECT 1 FROM bifrost_executions WHERE id = $1 {lock}`
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

// nextExecution is what would be claimed, without a lock.
var nextExecution = strings.ReplaceAll(firstWanted, "{skip}", "")

func scanExecution(scan Scanner) (*workflow.Record, error) {
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
