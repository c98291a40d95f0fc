package sqlstore

import (
	"github.com/bifrost-go/bifrost/tokenstore"
)

// connectionColumns are the fields of a record, in the order of record.dest and
// of connectionValues.
const connectionColumns = `definition, org, user_id, account,
	version, updated_at, generation, grant_id, status, reason, error_code, error_message, error_at,
	sealed, has_access_token, has_refresh_token, expires_at, obtained_at, last_refresh_at, due_at,
	entity_id, client_id, token_host, account_id, account_name, connected_by, connected_at,
	scopes_requested, scopes_granted, failures, first_failure_at, retry_at,
	attempt, parent_generation, parent_presentation, fingerprint, kept, revoking`

// record is one row of {now} and connectionColumns while it is read.
type record struct {
	c       tokenstore.Connection
	failure tokenstore.Failure
	failed  *string // error_code; nil without a failure
	attempt *attempt
}

func (r *record) dest() []any {
	c := &r.c
	return []any{
		intoTime(&c.ReadAt),
		intoText(&c.Definition), intoText(&c.Org), intoText(&c.User), intoText(&c.Account),
		intoInt(&c.Version), intoTime(&c.UpdatedAt), intoInt(&c.Generation), intoText(&c.GrantID),
		intoText(&c.Status), intoText(&c.Reason), &r.failed, intoText(&r.failure.Message), intoTime(&r.failure.At),
		&c.Sealed, intoBool(&c.HasAccessToken), intoBool(&c.HasRefreshToken),
		intoTime(&c.ExpiresAt), intoTime(&c.ObtainedAt), intoTime(&c.LastRefreshAt), intoTime(&c.DueAt),
		intoText(&c.EntityID), intoText(&c.ClientID), intoText(&c.TokenHost),
		intoText(&c.AccountID), intoText(&c.AccountName), intoText(&c.ConnectedBy), intoTime(&c.ConnectedAt),
		intoJSON(&c.ScopesRequested), intoJSON(&c.ScopesGranted),
		intoInt(&c.Failures), intoTime(&c.FirstFailureAt), intoTime(&c.RetryAt),
		intoJSON(&r.attempt), intoInt(&c.ParentGeneration), intoInt(&c.ParentPresentation), intoText(&c.Fingerprint),
		intoInt(&c.Kept), &c.Revoking,
	}
}

// clock is where {now} goes, if that alone is read.
func (r *record) clock() []any { return []any{intoTime(&r.c.ReadAt)} }

// connection returns what was read.
func (r *record) connection() *tokenstore.Connection {
	if r.c.Version == 0 {
		return &tokenstore.Connection{Status: tokenstore.NotConnected, ReadAt: r.c.ReadAt}
	}
	if r.failed != nil {
		r.failure.Code = *r.failed
		r.c.LastError = &r.failure
	}
	r.c.Attempt = r.attempt.value()
	return &r.c
}

// connectionValues returns the values of connectionColumns.
func connectionValues(c *tokenstore.Connection) ([]any, error) {
	var errorCode, errorMessage, errorAt any
	if e := c.LastError; e != nil {
		errorCode, errorMessage, errorAt = e.Code, e.Message, micros(e.At)
	}
	requested, err := list(c.ScopesRequested)
	if err != nil {
		return nil, err
	}
	granted, err := list(c.ScopesGranted)
	if err != nil {
		return nil, err
	}
	attempt, err := newAttempt(c.Attempt)
	if err != nil {
		return nil, err
	}
	return []any{
		c.Definition, c.Org, c.User, c.Account,
		c.Version, micros(c.UpdatedAt), c.Generation, c.GrantID, string(c.Status), c.Reason, errorCode, errorMessage, errorAt,
		c.Sealed, flag(c.HasAccessToken), flag(c.HasRefreshToken),
		micros(c.ExpiresAt), micros(c.ObtainedAt), micros(c.LastRefreshAt), micros(c.DueAt),
		c.EntityID, c.ClientID, c.TokenHost, c.AccountID, c.AccountName, c.ConnectedBy, micros(c.ConnectedAt),
		requested, granted, c.Failures, micros(c.FirstFailureAt), micros(c.RetryAt),
		attempt, c.ParentGeneration, c.ParentPresentation, c.Fingerprint,
		c.Kept, c.Revoking,
	}, nil
}
