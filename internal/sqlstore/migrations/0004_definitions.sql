-- oldest: 1
-- Definitions made at run time, and what organizations have set for definitions.
-- A program that knows nothing of them finds no definition for their connections,
-- and leaves those alone; a connection that it writes has the default fingerprint,
-- or keeps the one it has.

INSERT INTO bifrost_counters (name, value) VALUES ('definitions', 0), ('settings', 0);

-- Never deleted: a deleted definition is left without content.
CREATE TABLE bifrost_definitions (
	id         TEXT PRIMARY KEY,            -- UUIDv7
	org        TEXT NOT NULL,               -- '': global
	name       TEXT NOT NULL,
	version    INTEGER NOT NULL,
	change     INTEGER NOT NULL,            -- bifrost_counters 'definitions' at the last write
	body       TEXT,                        -- JSON; NULL once deleted
	sealed     BLOB,
	deleted    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	updated_by TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX bifrost_definitions_change ON bifrost_definitions (change);
CREATE UNIQUE INDEX bifrost_definitions_name ON bifrost_definitions (org, name) WHERE deleted = 0;

-- Never deleted either: what was cleared is left without content.
CREATE TABLE bifrost_settings (
	definition  TEXT NOT NULL,
	org         TEXT NOT NULL,              -- '': integration-level, everybody's defaults
	version     INTEGER NOT NULL,
	change      INTEGER NOT NULL,           -- bifrost_counters 'settings' at the last write
	entity_id   TEXT NOT NULL,
	entity_name TEXT NOT NULL,
	config      TEXT,                       -- JSON object
	sealed      BLOB,
	updated_at  INTEGER NOT NULL,
	updated_by  TEXT NOT NULL,
	PRIMARY KEY (definition, org)
) STRICT;

CREATE UNIQUE INDEX bifrost_settings_change ON bifrost_settings (change);
CREATE INDEX bifrost_settings_org ON bifrost_settings (org);

ALTER TABLE bifrost_connections ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';

-- For reading an organization's history, and for forgetting old or one's events.
CREATE INDEX bifrost_events_at ON bifrost_events (at);
CREATE INDEX bifrost_events_org_id ON bifrost_events (org, id);
