package oauthflow

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Snapshot is a connection with a usable access token, as it was at one moment.
// It is immutable and may be shared. Nothing prints its token.
type Snapshot struct {
	conn       *tokenstore.Connection // never changed
	tok        *tokens
	access     *accessToken
	scopes     []string
	generation int64

	// By this machine's clock; the last two are zero if the token's end is unknown.
	obtained time.Time
	expires  time.Time
	renew    time.Time
}

// newSnapshot returns a slot's access token, or nil if there is none. It translates
// the store's clock into this machine's: at is an instant before the record was
// read, so no token lives longer here than there.
func newSnapshot(c *tokenstore.Connection, t *tokens, slot string, at time.Time) *Snapshot {
	a := t.access[slot]
	if a == nil || slot == "" && !c.HasAccessToken {
		return nil
	}
	s := &Snapshot{conn: c, tok: t, access: a, scopes: a.scopes, generation: t.born(c, slot)}
	if slot == "" {
		s.scopes = c.ScopesGranted
	}
	shown := want{slot: slot}.about(c, t).view(c, c.ReadAt)
	s.obtained = at.Add(shown.ObtainedAt.Sub(c.ReadAt))
	if !shown.ExpiresAt.IsZero() {
		s.expires = at.Add(shown.ExpiresAt.Sub(c.ReadAt))
		s.renew = at.Add(renewAt(shown).Sub(c.ReadAt))
	}
	return s
}

// Key returns the connection's key.
func (s *Snapshot) Key() tokenstore.Key { return s.conn.Key }

// AccessToken returns the access token.
func (s *Snapshot) AccessToken() tokenstore.Secret { return s.access.secret }

// TokenType returns how the token is presented: "Bearer" unless the provider said
// otherwise.
func (s *Snapshot) TokenType() string { return s.access.kind }

// ObtainedAt returns when the token was asked for, by this machine's clock; not an
// earlier instant, and a later one at most by what the store took to say so.
func (s *Snapshot) ObtainedAt() time.Time { return s.obtained }

// ExpiresAt returns when the access token stops working by this machine's clock;
// zero if nobody knows.
func (s *Snapshot) ExpiresAt() time.Time { return s.expires }

// Fresh reports whether the token is good and need not be renewed at now.
func (s *Snapshot) Fresh(now time.Time) bool { return s.renew.IsZero() || before(now, s.renew) }

// Usable reports whether the token is good at now as far as anyone knows.
func (s *Snapshot) Usable(now time.Time) bool { return s.expires.IsZero() || before(now, s.expires) }

// Generation is the one that the access token came with, of those under this key;
// see [Manager.Renew].
func (s *Snapshot) Generation() int64 { return s.generation }

// GrantID is new with every connect.
func (s *Snapshot) GrantID() string { return s.conn.GrantID }

// EntityID returns the external tenant the grant was made under.
func (s *Snapshot) EntityID() string { return s.conn.EntityID }

// AccountID and AccountName return the provider's names for the connected
// account; empty where it told none.
func (s *Snapshot) AccountID() string { return s.conn.AccountID }

// AccountName returns the account's name for people to read.
func (s *Snapshot) AccountName() string { return s.conn.AccountName }

// Scopes returns the scopes granted to this access token; nil if the provider did
// not say.
func (s *Snapshot) Scopes() []string { return slices.Clone(s.scopes) }

// Extra returns a further member of the token reply as JSON: instance_url,
// id_token, team. Members of earlier replies of the same grant stay; an access
// token for another scope or audience has those of its own reply as well.
func (s *Snapshot) Extra(name string) (json.RawMessage, bool) {
	raw, ok := s.access.extra[name]
	if !ok {
		raw, ok = s.tok.extra[name]
	}
	return slices.Clone(raw), ok
}

// before compares both clocks: the monotonic one stands still while a virtual
// machine is suspended, the wall clock can be set back.
func before(now, t time.Time) bool {
	if !now.Before(t) {
		return false
	}
	a, b := now.Unix(), t.Unix() // of the wall clock; cheaper than comparing copies without the other
	return a < b || a == b && now.Nanosecond() < t.Nanosecond()
}
