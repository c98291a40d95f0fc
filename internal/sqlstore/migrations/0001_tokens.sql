-- oldest: 1
-- Connections, authorization flows and their history. Times are microseconds
-- since 1970, NULL where there is none.

CREATE TABLE bifrost_counters (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT;

INSERT INTO bifrost_counters (name, value) VALUES ('changes', 0);

-- One row per grant, never deleted: a disconnect leaves a tombstone.
CREATE TABLE bifrost_connections (
	definition          TEXT NOT NULL,
	org                 TEXT NOT NULL,
	user_id             TEXT NOT NULL,
	account             TEXT NOT NULL,
	version             INTEGER NOT NULL,
	change              INTEGER NOT NULL,   -- bifrost_counters 'changes' at the last write
	updated_at          INTEGER NOT NULL,
	generation          INTEGER NOT NULL,
	grant_id            TEXT NOT NULL,
	status              TEXT NOT NULL,
	reason              TEXT NOT NULL,
	error_code          TEXT,               -- the three error columns are NULL together
	error_message       TEXT,
	error_at            INTEGER,
	sealed              BLOB,
	has_access_token    INTEGER NOT NULL,
	has_refresh_token   INTEGER NOT NULL,
	expires_at          INTEGER,
	obtained_at         INTEGER,
	last_refresh_at     INTEGER,
	due_at              INTEGER,
	entity_id           TEXT NOT NULL,
	client_id           TEXT NOT NULL,
	token_host          TEXT NOT NULL,
	account_id          TEXT NOT NULL,
	account_name        TEXT NOT NULL,
	connected_by        TEXT NOT NULL,
	connected_at        INTEGER,
	scopes_requested    TEXT,               -- JSON array
	scopes_granted      TEXT,               -- JSON array; NULL: the provider did not say
	failures            INTEGER NOT NULL,
	first_failure_at    INTEGER,
	retry_at            INTEGER,
	attempt             TEXT,               -- JSON object; NULL: none under way
	parent_generation   INTEGER NOT NULL,
	parent_presentation INTEGER NOT NULL,
	PRIMARY KEY (definition, org, user_id, account)
) STRICT;

CREATE UNIQUE INDEX bifrost_connections_change ON bifrost_connections (change);
CREATE INDEX bifrost_connections_due ON bifrost_connections (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX bifrost_connections_org ON bifrost_connections (org, definition, user_id, account);

-- Pending authorizations. The state and the cookie are here as hashes only.
CREATE TABLE bifrost_flows (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	state_hash   TEXT NOT NULL UNIQUE,
	cookie_hash  TEXT NOT NULL,
	cookie_name  TEXT NOT NULL,
	definition   TEXT NOT NULL,
	org          TEXT NOT NULL,
	user_id      TEXT NOT NULL,
	account      TEXT NOT NULL,
	principal    TEXT NOT NULL,
	entity_id    TEXT NOT NULL,
	verifier     BLOB,
	redirect_uri TEXT NOT NULL,
	return_to    TEXT NOT NULL,
	scopes       TEXT,                      -- JSON array
	created_at   INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX bifrost_flows_principal ON bifrost_flows (principal, id);
CREATE INDEX bifrost_flows_key ON bifrost_flows (definition, org, user_id, account);
CREATE INDEX bifrost_flows_expiry ON bifrost_flows (expires_at);

-- The history, append only.
CREATE TABLE bifrost_events (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	at         INTEGER NOT NULL,
	definition TEXT NOT NULL,
	org        TEXT NOT NULL,
	user_id    TEXT NOT NULL,
	account    TEXT NOT NULL,
	kind       TEXT NOT NULL,
	reason     TEXT NOT NULL,
	actor      TEXT NOT NULL
) STRICT;

CREATE INDEX bifrost_events_definition ON bifrost_events (definition, id);
CREATE INDEX bifrost_events_org ON bifrost_events (org, definition, id);

-- A sealed known text per sealing key, by which a wrong key is found at start.
CREATE TABLE bifrost_key_checks (
	key_id TEXT PRIMARY KEY,
	sealed BLOB NOT NULL
) STRICT;
