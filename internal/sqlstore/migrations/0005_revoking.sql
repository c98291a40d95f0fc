-- oldest: 1
-- What is still to be revoked at a provider after a grant was removed here, and how
-- often in a row a refresh left the refresh token as it was. A program that knows
-- nothing of them leaves them as they are; a connection that it makes again is not
-- revoked by a later one, which sees that there is a grant.

ALTER TABLE bifrost_connections ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bifrost_connections ADD COLUMN revoking BLOB;
