package tokenstore

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is returned by GetFlow and TakeFlow when there is no such flow,
// or no longer.
var ErrNotFound = errors.New("tokenstore: not found")

// Store keeps connections, flows and events. Implementations must pass
// storetest.Run and be safe for concurrent use, by several processes too where
// the storage is shared.
//
// Keys and texts are valid UTF-8 without NUL characters, because PostgreSQL keeps no
// others: a write that has another is refused as a whole, and nothing is found under
// one. Ciphertexts are any bytes.
//
// Any other error that is returned means a fault of the storage (or of the context);
// an absent record is not an error, see Load.
type Store interface {
	// Load returns the record under key. If nothing was ever stored, it returns
	// a record with that Key, Version 0 and Status NotConnected, and no error.
	// ReadAt is always set, to the store's clock.
	Load(ctx context.Context, key Key) (*Connection, error)

	// Update is one atomic read-modify-write of the record under key. It calls
	// change with the current record (as Load would return it) and the store's
	// clock, then stores the changed record with Version+1 and appends its Pending
	// events, all in one transaction that is on stable storage before Update
	// returns nil.
	//
	// If change returns an error, nothing is written and Update returns the
	// record as it was together with that error, unwrapped. On a conflict with
	// another writer, change is run again with the newer record: it must be a pure
	// function of its arguments, and must not call the store. Key, Version,
	// UpdatedAt and ReadAt are the store's; what change does to them is ignored.
	//
	// On success the stored record is returned. Any other error means that the
	// write may or may not have happened.
	Update(ctx context.Context, key Key, change func(c *Connection, now time.Time) error) (*Connection, error)

	// List returns records that match, ordered by key (definition, org, user,
	// account; byte-wise), at most limit, starting after the given key. Tombstones
	// are included. A nil after starts at the beginning.
	List(ctx context.Context, match Match, after *Key, limit int) ([]*Connection, error)

	// Due returns at most limit keys whose DueAt is set and not later than the
	// store's clock, the longest due first. Its cost follows what is due, not what
	// is stored.
	Due(ctx context.Context, limit int) ([]Key, error)

	// Changes returns the keys written after position after, in order of their
	// last write, at most limit, and the position to continue from. A negative
	// after returns no keys and the current position. A key written twice may be
	// reported once. No write that was committed before the call began is missed. An
	// after that no write has reached yet comes from a history that was lost, before a
	// backup was restored for example: then all is returned from the beginning.
	Changes(ctx context.Context, after int64, limit int) (keys []Key, next int64, err error)

	// Events returns the history of the connections that match, newest first, at
	// most limit, older than the event with id before (0 starts at the newest).
	Events(ctx context.Context, match Match, before int64, limit int) ([]Event, error)

	// AddEvents appends events to the history that no record is written with: what
	// was done to a definition, say. ID and At are the store's, rising and the clock,
	// whatever the events hold. They are written in the order given, all or none,
	// and are on stable storage before AddEvents returns nil. No events, no write.
	AddEvents(ctx context.Context, events ...Event) error

	// DeleteEvents removes events that match and are at least age old by the
	// store's clock, at most limit, and returns how many; fewer than limit means
	// that none are left. An age of 0 is all of them, whatever the clock says. The
	// oldest go first, by At or by ID, which differ only where a clock was set back.
	// IDs of removed events are not given again.
	DeleteEvents(ctx context.Context, match Match, age time.Duration, limit int) (int, error)

	// PutFlow stores a flow under its StateHash, setting CreatedAt to the store's
	// clock and ExpiresAt to life later; the stored flow is returned. Flows of the
	// same Principal beyond maxOpen are dropped, oldest first, and expired flows
	// of anyone may be.
	PutFlow(ctx context.Context, flow Flow, life time.Duration, maxOpen int) (Flow, error)

	// GetFlow returns a flow without consuming it, or ErrNotFound. Expired flows
	// are not found.
	GetFlow(ctx context.Context, stateHash string) (Flow, error)

	// TakeFlow removes a flow and returns it. Of concurrent calls with the same
	// hash, in any number of processes, exactly one gets the flow; the others get
	// ErrNotFound. Expired flows are not found.
	TakeFlow(ctx context.Context, stateHash string) (Flow, error)

	// HasFlow reports whether an unexpired flow is open for key.
	HasFlow(ctx context.Context, key Key) (bool, error)

	// DeleteFlows removes the flows whose Key matches: whoever comes back from the
	// provider with one is too late. None is no error.
	DeleteFlows(ctx context.Context, match Match) error

	// KeyCheck stores check under keyID unless that id has one, and returns all
	// that are stored, by key id. An empty keyID stores nothing. It lets a wrong
	// sealing key be found at start-up; see [Sealer.Verify].
	KeyCheck(ctx context.Context, keyID string, check []byte) (map[string][]byte, error)

	// DeleteKeyCheck removes the check of a key that nothing is sealed with any
	// more. None is no error.
	DeleteKeyCheck(ctx context.Context, keyID string) error
}

// Notifier is a [Store] that may hear of writes of other processes without asking.
type Notifier interface {
	// Notify returns a channel that receives soon after a write that Changes
	// reports, this process's own or another's, until ctx ends; several writes may
	// be one. It is a hint and no promise: whoever must not miss a write still has to
	// ask Changes. Nil: this store hears of none.
	Notify(ctx context.Context) <-chan struct{}
}

// Match selects connections, and events and flows by their Key. Empty fields match everything;
// Org is a pointer because the empty organization is a value (the global
// connection).
type Match struct {
	Definition string
	Org        *string
}

// Matches reports whether key is selected.
func (m Match) Matches(key Key) bool {
	return (m.Definition == "" || m.Definition == key.Definition) && (m.Org == nil || *m.Org == key.Org)
}

// Flow is one pending authorization: single use and short-lived. It holds no
// secret in clear text: the state and the cookie only as hashes, the PKCE verifier
// sealed.
type Flow struct {
	StateHash  string // hex SHA-256 of the state parameter
	CookieHash string // hex SHA-256 of the flow cookie's value
	CookieName string
	Key        Key    // what is being connected
	Principal  string // who started it: at the callback it must be the same
	EntityID   string
	// Verifier is the PKCE code verifier, with what the code is for; sealed.
	Verifier    []byte
	RedirectURI string
	ReturnTo    string
	Scopes      []string
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// Event is one line of the append-only history. Nothing in it is secret.
type Event struct {
	ID     int64     // assigned by the store, rising
	At     time.Time // the store's clock, assigned by the store
	Key    Key
	Kind   string // "connected", "refreshed", "refresh_failed", "disconnected", …
	Reason string // code, may be empty
	Actor  string // the host's user, or empty for Bifrost itself
}
