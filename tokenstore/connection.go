package tokenstore

import (
	"slices"
	"time"
)

// Key identifies a connection. It is the whole identity: two connections are
// the same exactly when all four parts are.
type Key struct {
	Definition string // immutable id of the integration's definition
	Org        string // organization; empty for the integration-level (global) connection
	User       string // the host's user, for per-user connections; usually empty
	Account    string // label, where one org connects several accounts; usually empty
}

// Status is the state of a connection.
type Status string

// The states a connection can be in. A derived fifth, "connecting" (no
// connection, an open flow), is never stored.
const (
	// NotConnected: no grant; also the tombstone that a disconnect leaves.
	NotConnected Status = "not_connected"
	// Active: the grant works as far as anyone knows.
	Active Status = "active"
	// Degraded: the last refresh failed, and may succeed later.
	Degraded Status = "degraded"
	// ReauthRequired: only a person who connects again can help.
	ReauthRequired Status = "reauth_required"
)

// Connection is the record of one grant. Stores hand out copies: changing one
// changes nothing but the copy.
//
// All times are the store's clock. Compare them with ReadAt or with the now that
// Update passes, never with this machine's clock.
type Connection struct {
	Key

	// Version rises by one with every write; zero means that nothing was ever
	// stored under this key. Stores maintain it.
	Version int64
	// ReadAt is the store's clock when the record was read. Not stored.
	ReadAt time.Time
	// UpdatedAt is the store's clock at the last write. Stores maintain it.
	UpdatedAt time.Time

	// Generation rises by one whenever tokens are stored or removed. It never
	// restarts, so a disconnect leaves a tombstone instead of deleting the row.
	Generation int64
	// GrantID is new with every connect, and empty while disconnected.
	GrantID string
	Status  Status
	// Reason says why Status is what it is, as a code: "invalid_grant",
	// "lost_rotation", "entity_changed"; empty while Active.
	Reason string
	// LastError is the last failure, kept until a refresh succeeds.
	LastError *Failure

	// Sealed holds the tokens of this Generation as ciphertext; nil without any.
	Sealed []byte
	// HasAccessToken and HasRefreshToken say what Sealed holds.
	HasAccessToken  bool
	HasRefreshToken bool
	// ExpiresAt is when the access token stops working; zero if nobody knows.
	ExpiresAt time.Time
	// ObtainedAt is when the access token was asked for.
	ObtainedAt time.Time
	// LastRefreshAt is when tokens were last renewed; zero if never.
	LastRefreshAt time.Time
	// DueAt is when a background refresh should look at this connection; zero
	// if never. It is what [Store.Due] orders by.
	DueAt time.Time

	// EntityID, ClientID and TokenHost are what the grant was made under. A
	// refresh goes nowhere else.
	EntityID  string
	ClientID  string
	TokenHost string
	// Fingerprint is what the grant was made under beyond these three: the
	// lower-case hex SHA-256 of the definition's URLs, issuer and client
	// authentication. Empty where it was not recorded.
	Fingerprint string

	// AccountID and AccountName are the provider's names for the connected
	// account, where it told them.
	AccountID   string
	AccountName string

	ConnectedBy     string // the host's user who connected
	ConnectedAt     time.Time
	ScopesRequested []string
	ScopesGranted   []string // nil if the provider did not say

	// Failures counts failed refreshes since the last success, FirstFailureAt is
	// the first of them, and no refresh is tried before RetryAt.
	Failures       int
	FirstFailureAt time.Time
	RetryAt        time.Time

	// Attempt is the refresh that is under way or whose outcome is unknown; nil
	// otherwise. It is the lease as well.
	Attempt *Attempt
	// ParentGeneration and ParentPresentation say which presentation of which
	// generation's refresh token produced the stored tokens.
	ParentGeneration   int64
	ParentPresentation int

	// Kept counts the refreshes in a row after which the refresh token was still the
	// same one.
	Kept int

	// Revoking is what is still to be done at the provider about a grant that was
	// removed here, as ciphertext; nil if nothing is.
	Revoking []byte

	// Pending are events that Update appends to the history in the same
	// transaction as the record. Always empty when a record was read.
	Pending []Event
}

// Failure is one recorded failure. Nothing in it is secret.
type Failure struct {
	Code    string // OAuth error code, or one of Bifrost's own
	Message string
	At      time.Time
}

// Attempt records that a refresh token may have been presented to the provider.
type Attempt struct {
	// ID is the newest presentation's id.
	ID string
	// Open are the presentations whose outcome is unknown.
	Open []string
	// Generation is the one whose refresh token was presented.
	Generation int64
	// TokenHash is the SHA-256 of that refresh token.
	TokenHash []byte
	// Started is the first presentation, Deadline when the newest is given up.
	Started  time.Time
	Deadline time.Time
	// Presentations counts them; the newest has this number.
	Presentations int
}

// Connected reports whether there is a grant, working or not.
func (c *Connection) Connected() bool { return c.GrantID != "" }

// Log adds an event to the history, written together with the record.
func (c *Connection) Log(kind, reason, actor string) {
	c.Pending = append(c.Pending, Event{Key: c.Key, Kind: kind, Reason: reason, Actor: actor})
}

// Clone returns a copy that shares nothing with c.
func (c *Connection) Clone() *Connection {
	d := *c
	d.Sealed = slices.Clone(c.Sealed)
	d.Revoking = slices.Clone(c.Revoking)
	d.ScopesRequested = slices.Clone(c.ScopesRequested)
	d.ScopesGranted = slices.Clone(c.ScopesGranted)
	d.Pending = slices.Clone(c.Pending)
	if c.LastError != nil {
		e := *c.LastError
		d.LastError = &e
	}
	if c.Attempt != nil {
		a := *c.Attempt
		a.Open = slices.Clone(a.Open)
		a.TokenHash = slices.Clone(a.TokenHash)
		d.Attempt = &a
	}
	return &d
}
