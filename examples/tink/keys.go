package tinkkeys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Keys is a keyset in use. It is a tokenstore.AEAD.
type Keys struct {
	tink.AEAD
	ids []string
}

var _ tokenstore.AEAD = (*Keys)(nil)

// KeyIDs returns the ids of the keys, the one that seals first. With it Bifrost
// keeps a check for each key, so that a wrong keyset shows at start and not when a
// customer's token is needed.
func (k *Keys) KeyIDs() []string { return k.ids }

// KeyID returns the id of the key that a ciphertext is under, which Tink puts before
// it: a byte 1, and four of the id. With it a change of keys finds what is still to be
// sealed again, and a key that is missing is named.
func (k *Keys) KeyID(ciphertext []byte) (string, bool) {
	if len(ciphertext) < 5 || ciphertext[0] != 1 {
		return "", false
	}
	return id(binary.BigEndian.Uint32(ciphertext[1:5])), true
}

// purpose binds an encrypted keyset to its use.
var purpose = []byte("bifrost sealing keys")

// Create makes a keyset with one AES-256-GCM key, encrypted by kms. Keep what it
// returns; without it nothing that was sealed opens again.
func Create(kms tink.AEAD) (encrypted []byte, err error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	return write(handle, kms)
}

// Open decrypts a keyset for use. It refuses one with keys whose ciphertexts do not
// begin with the key's id: nobody could tell when such a key may go. Create and Add
// make none.
func Open(encrypted []byte, kms tink.AEAD) (*Keys, error) {
	handle, err := read(encrypted, kms)
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, err
	}
	info := handle.KeysetInfo() // ids and states, no keys
	ids := []string{id(info.GetPrimaryKeyId())}
	for _, key := range info.GetKeyInfo() {
		if key.GetStatus().String() != "ENABLED" {
			continue // it opens nothing
		}
		if prefix := key.GetOutputPrefixType().String(); prefix != "TINK" {
			return nil, fmt.Errorf("tinkkeys: the output prefix of key %s is %s: use keys with the prefix TINK", id(key.GetKeyId()), prefix)
		}
		if key.GetKeyId() != info.GetPrimaryKeyId() {
			ids = append(ids, id(key.GetKeyId()))
		}
	}
	return &Keys{primitive, ids}, nil
}

// Add returns the keyset with a new key that opens, and does not seal yet.
func Add(encrypted []byte, kms tink.AEAD) (next []byte, err error) {
	return change(encrypted, kms, func(m *keyset.Manager, _ *keyset.Handle) error {
		_, err := m.Add(aead.AES256GCMKeyTemplate())
		return err
	})
}

// Promote returns the keyset with its newest key as the one that seals.
func Promote(encrypted []byte, kms tink.AEAD) (next []byte, err error) {
	return change(encrypted, kms, func(m *keyset.Manager, h *keyset.Handle) error {
		newest, err := h.Entry(h.Len() - 1)
		if err != nil {
			return err
		}
		return m.SetPrimary(newest.KeyID())
	})
}

// Remove returns the keyset without all keys but the one that seals.
func Remove(encrypted []byte, kms tink.AEAD) (next []byte, err error) {
	return change(encrypted, kms, func(m *keyset.Manager, h *keyset.Handle) error {
		info := h.KeysetInfo()
		for _, key := range info.GetKeyInfo() {
			if key.GetKeyId() == info.GetPrimaryKeyId() {
				continue
			}
			if err := m.Delete(key.GetKeyId()); err != nil {
				return err
			}
		}
		return nil
	})
}

func change(encrypted []byte, kms tink.AEAD, f func(*keyset.Manager, *keyset.Handle) error) ([]byte, error) {
	handle, err := read(encrypted, kms)
	if err != nil {
		return nil, err
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := f(manager, handle); err != nil {
		return nil, err
	}
	if handle, err = manager.Handle(); err != nil {
		return nil, err
	}
	return write(handle, kms)
}

func read(encrypted []byte, kms tink.AEAD) (*keyset.Handle, error) {
	handle, err := keyset.ReadWithAssociatedData(keyset.NewJSONReader(bytes.NewReader(encrypted)), kms, purpose)
	if err != nil {
		return nil, fmt.Errorf("tinkkeys: the keyset does not open; is this the key that encrypted it? %w", err)
	}
	if handle.Len() == 0 {
		return nil, errors.New("tinkkeys: the keyset is empty")
	}
	return handle, nil
}

func write(handle *keyset.Handle, kms tink.AEAD) ([]byte, error) {
	var text bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewJSONWriter(&text), kms, purpose); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
