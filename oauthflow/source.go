package oauthflow

import (
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Source has one access token of one connection, as this process knows it.
type Source interface {
	// Current returns the token if it is known to be current and fresh, without
	// lock or database. A connection known not to exist is (nil, true). Otherwise
	// ok is false: call [Manager.Token].
	Current() (s *Snapshot, ok bool)
}

// identity is what a grant must have been made under to be used for a target.
type identity struct {
	entityID, clientID, tokenHost, fingerprint string
}

// fits reports whether c was, as [Changed] has it.
func (i *identity) fits(c *tokenstore.Connection) bool {
	return c.EntityID == i.entityID && c.ClientID == i.clientID && c.TokenHost == i.tokenHost &&
		(c.Fingerprint == i.fingerprint || c.Fingerprint == "" || i.fingerprint == "")
}

// source is the [Source] of a target whose tokens are stored. It is bound to what
// the target's definition says: once that has changed, a grant from before is not
// current for the new target's source, however warm it is.
type source struct {
	h    *Handle
	slot string
	identity
	last atomic.Pointer[sourced]
	next *source // of h
}

// sourced is what a source makes of one reading of the record.
type sourced struct {
	v    *view
	snap *Snapshot // nil without one, and if the grant was made under something else
}

// unsourced is for targets that have no token: [Manager.Token] says why.
type unsourced struct{}

func (unsourced) Current() (*Snapshot, bool) { return nil, false }

// Source returns where t's access token is to be had while it is fresh: the same
// source each time for the same key and access, as long as the definition says the
// same about them. For client credentials it has the token that was minted last.
func (m *Manager) Source(t Target) Source {
	if t.Client.Flow == ClientCredentials {
		return m.minted(t)
	}
	host, err := t.Client.TokenHost(t.EntityID, t.Values)
	if err != nil || t.Access.Validate() != nil {
		return unsourced{}
	}
	return m.Handle(t.Key).source(t.Access.slot(), identity{t.EntityID, t.Client.ClientID, host, t.Fingerprint})
}

// source returns h's source for a slot and an identity. Most have one.
func (h *Handle) source(slot string, id identity) *source {
	var made *source
	for {
		first := h.sources.Load()
		for s := first; s != nil; s = s.next {
			if s.slot == slot && s.identity == id {
				return s
			}
		}
		if made == nil {
			made = &source{h: h, slot: slot, identity: id}
		}
		made.next = first
		if h.sources.CompareAndSwap(first, made) {
			return made
		}
	}
}

// Current implements [Source].
func (s *source) Current() (*Snapshot, bool) {
	v, now := s.h.last.Load(), time.Now()
	if v == nil || !s.h.current(v, now) {
		return nil, false
	}
	last := s.last.Load()
	if last == nil || last.v != v {
		if !v.conn.Connected() {
			return nil, true
		}
		last = &sourced{v: v}
		if s.fits(v.conn) {
			last.snap = v.snapshot(s.slot)
		}
		s.last.Store(last)
	}
	if last.snap == nil || !v.fits.Load() || !last.snap.Fresh(now) {
		return nil, false
	}
	s.h.touch(now)
	return last.snap, true
}
