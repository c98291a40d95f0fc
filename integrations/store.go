package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Errors of a [Store]; every other one is a fault of the storage or of the
// context.
var (
	// ErrConflict: somebody else has written the record since it was read.
	ErrConflict = errors.New("changed by somebody else meanwhile")
	// ErrNameTaken: the organization (or the global scope) has a stored definition
	// of this name already.
	ErrNameTaken = errors.New("the name is taken")
)

// Store keeps what is made at run time: definitions, and settings that
// organizations have for definitions, stored ones and those from code.
// Implementations must pass storetest.Run and be safe for concurrent use, by
// several processes too where the storage is shared.
//
// Texts are valid UTF-8 without NUL characters, JSON documents too: a write that has
// another is refused, and nothing is found under one.
//
// Records have versions, and a write is a comparison: two administrators who edit
// at once do not undo each other's work. Nothing is ever deleted in fact; what is
// left is a record without content, from which other processes learn of it.
type Store interface {
	// PutDefinition writes d if the stored Version is d.Version, 0 meaning that
	// there is none, and returns what is stored then: Version one higher, UpdatedAt
	// (and CreatedAt, the first time) by the store's clock. It is on stable storage
	// before PutDefinition returns nil, unless within a transaction.
	//
	// Errors are ErrConflict, and ErrNameTaken if another definition that is not
	// Deleted has d's Org and Name. ID, Org and Name of a record never change.
	PutDefinition(ctx context.Context, d DefinitionRecord) (DefinitionRecord, error)

	// Definitions returns the definitions written after position after, deleted ones
	// included, in order of their last write, at most limit, and the position to
	// continue from: after itself if there is none. 0 starts at the beginning, and so
	// does an after that no write has reached yet, as [tokenstore.Store]'s Changes
	// does. No write that was committed before the call began is missed.
	Definitions(ctx context.Context, after int64, limit int) (list []DefinitionRecord, next int64, err error)

	// PutSettings writes s if the stored Version is s.Version, as PutDefinition
	// does. Its error is ErrConflict otherwise.
	PutSettings(ctx context.Context, s SettingsRecord) (SettingsRecord, error)

	// Settings returns the settings of org for a definition; if there are none, a
	// record with these two and Version 0.
	Settings(ctx context.Context, definition, org string) (SettingsRecord, error)

	// ListSettings returns the settings for a definition that are not empty, ordered
	// by organization (byte-wise), at most limit, beginning behind organization
	// after; a nil after begins at the first, which may be the empty one.
	ListSettings(ctx context.Context, definition string, after *string, limit int) ([]SettingsRecord, error)

	// ClearSettings empties all settings for a definition, all of an organization,
	// or of one for the other; the empty string means any. At least one is given.
	ClearSettings(ctx context.Context, definition, org string) error

	// SettingsChanges returns whose settings were written after position after, as
	// Definitions does. A negative after returns none and the current position.
	SettingsChanges(ctx context.Context, after int64, limit int) (keys []SettingsKey, next int64, err error)
}

// DefinitionRecord is a stored definition.
type DefinitionRecord struct {
	ID      string // UUIDv7, never used again
	Org     string // owner; empty: global
	Name    string
	Version int64 // rises by one with every write
	// Body is the definition as JSON, without secrets; nil once Deleted.
	Body json.RawMessage
	// Sealed holds its secrets as ciphertext bound to Version; nil without any.
	Sealed  []byte
	Deleted bool

	CreatedAt time.Time // the store's clock, as UpdatedAt
	UpdatedAt time.Time
	UpdatedBy string // the host's user, or empty
}

// SettingsKey says whose settings they are, and for what.
type SettingsKey struct {
	Definition string
	Org        string // empty: integration-level values, which are every organization's defaults
}

// SettingsRecord is what an organization has set for a definition.
type SettingsRecord struct {
	SettingsKey
	Version    int64
	EntityID   string // the mapping; empty: none
	EntityName string
	// Config holds values that are not secret, as a JSON object; nil without any.
	Config json.RawMessage
	// Sealed holds secret values as ciphertext bound to Version; nil without any.
	Sealed []byte

	UpdatedAt time.Time // the store's clock
	UpdatedBy string
}

// Empty reports whether nothing is set.
func (s *SettingsRecord) Empty() bool {
	return s.EntityID == "" && s.EntityName == "" && s.Config == nil && s.Sealed == nil
}
