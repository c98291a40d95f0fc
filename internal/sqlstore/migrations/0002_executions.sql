-- oldest: 1
-- Executions of workflows and what they logged. Times are microseconds since
-- 1970, NULL where there is none.

CREATE TABLE bifrost_executions (
	id            TEXT PRIMARY KEY,         -- UUIDv7: in order of creation
	workflow      TEXT NOT NULL,
	org           TEXT NOT NULL,            -- '': global
	status        TEXT NOT NULL,
	input         TEXT NOT NULL,            -- JSON
	result        TEXT,                     -- JSON
	error_code    TEXT,                     -- the two error columns are NULL together
	error_message TEXT,
	attempt       INTEGER NOT NULL,
	takeovers     INTEGER NOT NULL,
	principal     TEXT NOT NULL,
	lease_until   INTEGER,                  -- while running: whose attempt it is until then
	created_at    INTEGER NOT NULL,
	started_at    INTEGER,
	finished_at   INTEGER
) STRICT;

-- What is to be run. History grows, this does not.
CREATE INDEX bifrost_executions_open ON bifrost_executions (id) WHERE status IN ('pending', 'running');
CREATE INDEX bifrost_executions_workflow ON bifrost_executions (workflow, id);
CREATE INDEX bifrost_executions_org ON bifrost_executions (org, id);
CREATE INDEX bifrost_executions_status ON bifrost_executions (status, id);

CREATE TABLE bifrost_execution_logs (
	execution TEXT NOT NULL REFERENCES bifrost_executions (id) ON DELETE CASCADE,
	attempt   INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	at        INTEGER NOT NULL,
	level     INTEGER NOT NULL,             -- log/slog's
	message   TEXT NOT NULL,
	attrs     TEXT,                         -- JSON object
	PRIMARY KEY (execution, attempt, seq)
) STRICT, WITHOUT ROWID;
