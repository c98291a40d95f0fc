package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// What a change of keys needs: which key a sealed text is under, the same text under
// the newest key, and an end of the keys that nothing is sealed with any more.

// Resealed counts sealed records, and what became of them.
type Resealed struct {
	Seen     int // looked at
	Resealed int // under the newest key now, and under another one before
	Failed   int // do not open, and stay as they are
}

// Add adds other to r.
func (r *Resealed) Add(other Resealed) {
	r.Seen += other.Seen
	r.Resealed += other.Resealed
	r.Failed += other.Failed
}

// keyIDs returns the ids of the AEAD's keys, newest first; nil if it tells none.
func (s *Sealer) keyIDs() []string {
	if k, ok := s.aead.(interface{ KeyIDs() []string }); ok {
		return k.KeyIDs()
	}
	return nil
}

// newest is the id of the key that seals.
func (s *Sealer) newest() string {
	if ids := s.keyIDs(); len(ids) > 0 {
		return ids[0]
	}
	return defaultKeyID
}

// TellsKeys reports whether the AEAD says which key a ciphertext is under. If it does
// not, what is under the newest key already cannot be told from the rest.
func (s *Sealer) TellsKeys() bool {
	_, ok := s.aead.(interface {
		KeyID(ciphertext []byte) (string, bool)
	})
	return ok && len(s.keyIDs()) > 0
}

// KeyID returns the id of the key that sealed names, without opening it. It is false
// if there is none to be read, or the AEAD cannot tell.
func (s *Sealer) KeyID(sealed []byte) (id string, ok bool) {
	k, tells := s.aead.(interface {
		KeyID(ciphertext []byte) (string, bool)
	})
	if !tells || len(sealed) == 0 || sealed[0] != sealFormat {
		return "", false
	}
	return k.KeyID(sealed[1:])
}

// Newest reports whether sealed is known to be under the key that Seal uses. It
// opens nothing.
func (s *Sealer) Newest(sealed []byte) bool {
	id, ok := s.KeyID(sealed)
	return ok && s.TellsKeys() && id == s.newest()
}

// Reseal opens what was sealed for the place from, and seals it with the newest key
// for the place to. Errors that are ErrSealBroken or ErrUnknownKey say that sealed
// does not open; others that the key service is away (ErrKeysAway), that the AEAD does
// not seal, or the context's end.
func (s *Sealer) Reseal(ctx context.Context, sealed []byte, from, to Binding) ([]byte, error) {
	text, err := s.Open(ctx, sealed, from)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return s.Seal(ctx, text, to)
}

// unknown says which key is missing, where the AEAD's own error does not.
func (s *Sealer) unknown(sealed []byte) error {
	ids := s.keyIDs()
	if id, ok := s.KeyID(sealed); ok && len(ids) > 0 && !slices.Contains(ids, id) {
		return fmt.Errorf("%w: %s (known: %s)", ErrUnknownKey, id, strings.Join(ids, ", "))
	}
	return nil
}

// retireLimit bounds how long it may take to put checks back.
const retireLimit = 15 * time.Second

// Retire removes the checks of all keys but the newest, so that [Sealer.Verify]
// passes without those, and returns their ids. Call it when nothing is sealed with
// them. It asks remains afterwards whether something is after all: another process
// may have sealed in between. If so, or if remains fails, the checks are put back.
//
// For an AEAD without KeyIDs the one check is sealed again.
func (s *Sealer) Retire(ctx context.Context, store Store, remains func(ctx context.Context) (bool, error)) (ids []string, err error) {
	if err := s.Verify(ctx, store); err != nil {
		return nil, err
	}
	checks, err := store.KeyCheck(ctx, "", nil)
	if err != nil {
		return nil, fmt.Errorf("tokenstore: reading the key check: %w", err)
	}
	if len(s.keyIDs()) > 0 {
		delete(checks, s.newest())
	}
	removed := make(map[string][]byte, len(checks))
	defer func() {
		if err != nil {
			ids, err = nil, errors.Join(err, s.restore(ctx, store, removed))
		}
	}()
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		removed[id] = checks[id] // also if it fails: it may have happened
		if err := store.DeleteKeyCheck(ctx, id); err != nil {
			return nil, fmt.Errorf("tokenstore: removing the check of key %s: %w", id, err)
		}
	}
	if err := s.Verify(ctx, store); err != nil { // and the one check of a sole, nameless key is there anew
		return nil, err
	}
	switch left, err := remains(ctx); {
	case err != nil:
		return nil, err
	case left:
		return nil, fmt.Errorf("%w: their checks are back", ErrKeyInUse)
	}
	if len(s.keyIDs()) == 0 {
		return nil, nil
	}
	return slices.Sorted(maps.Keys(removed)), nil
}

// ErrKeyInUse: something was sealed with a key just now that is to be retired.
var ErrKeyInUse = errors.New("tokenstore: a key that is not the newest is still in use")

// restore puts checks back, even if the caller has gone.
func (s *Sealer) restore(ctx context.Context, store Store, checks map[string][]byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireLimit)
	defer cancel()
	for id, check := range checks {
		if _, err := store.KeyCheck(ctx, id, check); err != nil {
			return fmt.Errorf("tokenstore: the check of key %s could not be put back; keep that key configured: %w", id, err)
		}
	}
	return nil
}

// Keep is for a process that was verified and has been sealing since: the keys may
// have changed under it. If the check of the key that it seals with is gone, because
// somebody retired that key, it is there again afterwards, so that nobody starts
// without the key; the error says so, or that others seal with a key that this
// process has not got.
func (s *Sealer) Keep(ctx context.Context, store Store) error {
	checks, err := store.KeyCheck(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("tokenstore: reading the key check: %w", err)
	}
	var retired error
	if id, none := s.newest(), len(checks) == 0; checks[id] == nil {
		if checks, err = s.mark(ctx, store); err != nil {
			return err
		}
		if len(s.keyIDs()) > 0 && !none {
			retired = fmt.Errorf("%w: key %s was retired, and this process seals with it; "+
				"give every process the same newest key, and reseal again", ErrKeyInUse, id)
		}
	}
	return errors.Join(retired, s.verify(ctx, checks))
}
