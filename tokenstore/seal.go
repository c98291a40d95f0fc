package tokenstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
)

// Errors of opening a seal. The data is there and cannot be read: that is never
// the same as "no token".
var (
	// ErrSealBroken: the ciphertext was changed or cut, belongs to another row,
	// field or generation, or was sealed with another key of the same id.
	ErrSealBroken = errors.New("tokenstore: sealed data does not open")
	// ErrUnknownKey: sealed with a key that is not configured.
	ErrUnknownKey = errors.New("tokenstore: sealed with an unknown key")
)

// ErrKeysAway: the service that holds the keys cannot be asked at the moment, which
// says nothing about the data.
var ErrKeysAway = errors.New("tokenstore: the key service cannot be asked at the moment")

// AEAD is authenticated encryption with associated data. It is the method set of
// Tink's tink.AEAD, so any Tink primitive fits.
//
// Where the primitive also has
//
//	EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error)
//	DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error)
//
// those are called instead. An error of a service that is away or refuses for a while
// should wrap [ErrKeysAway], unless it is a net.Error or one of package context's (a
// gRPC status is neither): any other says that the ciphertext does not open.
//
// If it has KeyIDs() []string (newest first), a check row is kept per key; see
// [Sealer.Verify]. If it has
//
//	KeyID(ciphertext []byte) (id string, ok bool)
//
// as well, which says what key a ciphertext is under (for each that the newest key
// makes), a change of keys need not seal again what is under the newest already, and
// a missing key is named.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

type contextAEAD interface {
	EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error)
	DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error)
}

// Binding is the place a ciphertext belongs to. It opens nowhere else.
type Binding struct {
	Key        Key
	Field      string // "tokens", "verifier", …
	Generation int64
}

// sealFormat begins every sealed text; the AEAD's ciphertext follows.
const sealFormat = 1

// Sealer encrypts what a store keeps. It is safe for concurrent use.
type Sealer struct {
	aead AEAD
}

// NewSealer returns a sealer that uses aead.
func NewSealer(aead AEAD) *Sealer { return &Sealer{aead} }

// Seal encrypts plaintext for the place b.
func (s *Sealer) Seal(ctx context.Context, plaintext []byte, b Binding) ([]byte, error) {
	var sealed []byte
	var err error
	if c, ok := s.aead.(contextAEAD); ok {
		sealed, err = c.EncryptWithContext(ctx, plaintext, b.associatedData())
	} else {
		sealed, err = s.aead.Encrypt(plaintext, b.associatedData())
	}
	if err != nil {
		return nil, fmt.Errorf("tokenstore: sealing %s: %w", b.Field, err)
	}
	return append([]byte{sealFormat}, sealed...), nil
}

// Open decrypts what Seal returned for the same place. Errors are ErrSealBroken,
// ErrUnknownKey or ErrKeysAway, wrapped, or the context's, if ctx has ended.
func (s *Sealer) Open(ctx context.Context, sealed []byte, b Binding) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealFormat {
		return nil, fmt.Errorf("%w (%s): a format this version does not know", ErrSealBroken, b.Field)
	}
	var plaintext []byte
	var err error
	if c, ok := s.aead.(contextAEAD); ok {
		plaintext, err = c.DecryptWithContext(ctx, sealed[1:], b.associatedData())
	} else {
		plaintext, err = s.aead.Decrypt(sealed[1:], b.associatedData())
	}
	switch {
	case err == nil:
		return plaintext, nil
	case errors.Is(err, ErrUnknownKey), errors.Is(err, ErrSealBroken), errors.Is(err, ErrKeysAway):
		return nil, fmt.Errorf("%w (%s)", err, b.Field)
	case ctx.Err() != nil: // whatever the key service calls it: gRPC has a status of its own
		return nil, fmt.Errorf("%w (%s): %w", ctx.Err(), b.Field, err)
	// Nobody but the service's client gave up: Go's timeouts are DeadlineExceeded too.
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, new(net.Error)):
		return nil, fmt.Errorf("%w (%s): %w", ErrKeysAway, b.Field, err)
	default:
		if unknown := s.unknown(sealed); unknown != nil {
			return nil, fmt.Errorf("%w (%s)", unknown, b.Field)
		}
		return nil, fmt.Errorf("%w (%s): %w", ErrSealBroken, b.Field, err)
	}
}

// associatedData encodes the place. Every part has its length before it, so no
// two places have the same encoding.
func (b Binding) associatedData() []byte {
	data := []byte("bifrost/seal/1")
	for _, part := range []string{b.Key.Definition, b.Key.Org, b.Key.User, b.Key.Account, b.Field} {
		data = binary.BigEndian.AppendUint64(data, uint64(len(part)))
		data = append(data, part...)
	}
	return binary.BigEndian.AppendUint64(data, uint64(b.Generation))
}

const (
	checkText    = "bifrost"
	checkField   = "key check"
	defaultKeyID = "default"
)

// Verify makes sure that the keys are those the store's secrets were sealed with,
// so that a wrong or missing key shows at start and not when a customer's token
// is needed. The store keeps a sealed known text for each key that ever sealed;
// all must open, and the newest key gets one if it has none.
func (s *Sealer) Verify(ctx context.Context, store Store) error {
	// Look before writing: a wrong key must not leave its mark.
	checks, err := store.KeyCheck(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("tokenstore: reading the key check: %w", err)
	}
	if err := s.verify(ctx, checks); err != nil {
		return err
	}
	if checks[s.newest()] != nil {
		return nil
	}
	if checks, err = s.mark(ctx, store); err != nil {
		return err
	}
	// And once more: another process may have started with another key.
	return s.verify(ctx, checks)
}

// mark stores the check of the key that seals, unless it has one, and returns all.
func (s *Sealer) mark(ctx context.Context, store Store) (map[string][]byte, error) {
	check, err := s.Seal(ctx, []byte(checkText), Binding{Field: checkField})
	if err != nil {
		return nil, err
	}
	checks, err := store.KeyCheck(ctx, s.newest(), check)
	if err != nil {
		return nil, fmt.Errorf("tokenstore: storing the key check: %w", err)
	}
	return checks, nil
}

func (s *Sealer) verify(ctx context.Context, checks map[string][]byte) error {
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		text, err := s.Open(ctx, checks[id], Binding{Field: checkField})
		if err == nil && string(text) != checkText {
			err = ErrSealBroken
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrUnknownKey):
			return fmt.Errorf("tokenstore: the store holds secrets sealed with key %s, which is not configured; "+
				"add that key after the newest one, and reseal with it before you remove it: %w", id, err)
		case errors.Is(err, ErrSealBroken):
			return fmt.Errorf("tokenstore: the configured key is not the one this store's secrets were sealed with (key id %s); "+
				"configure the key that the store is used with: %w", id, err)
		default:
			return fmt.Errorf("tokenstore: checking key %s: %w", id, err)
		}
	}
	return nil
}
