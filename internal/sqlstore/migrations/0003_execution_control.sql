-- oldest: 1
-- Executions that begin later, are tried again, are cancelled, or have an
-- idempotency key. A program that knows nothing of them leaves them alone: the
-- statuses 'scheduled' and 'cancelling' are in no query of its own, and a run
-- that becomes 'cancelling' is lost to it like one that was taken over.

ALTER TABLE bifrost_executions ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bifrost_executions ADD COLUMN run_at INTEGER;          -- while scheduled
ALTER TABLE bifrost_executions ADD COLUMN idempotency_key TEXT;    -- NULL: none

CREATE INDEX bifrost_executions_scheduled ON bifrost_executions (run_at, id) WHERE status = 'scheduled';
CREATE INDEX bifrost_executions_cancelling ON bifrost_executions (id) WHERE status = 'cancelling';

-- A key lives as long as its execution.
CREATE UNIQUE INDEX bifrost_executions_key ON bifrost_executions (workflow, org, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
