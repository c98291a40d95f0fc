package tokenstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// keyLength is AES-256's, in bytes.
const keyLength = 32

// keyringFormat begins every ciphertext of a Keyring: format, length of the key
// id, key id, 12 bytes of nonce, AES-256-GCM ciphertext and tag.
const keyringFormat = 1

// SealingKey is one AES-256 key.
type SealingKey struct {
	// ID names the key in ciphertexts, 1 to 64 characters of [A-Za-z0-9._-]. Empty:
	// the first 4 bytes of the key's SHA-256 in hex.
	ID string
	// Key is the standard base64 of 32 random bytes, as GenerateKey returns it.
	Key Secret
}

// Keyring is the built-in [AEAD]: AES-256-GCM under the first of its keys, opened
// with whichever key a ciphertext names. To change keys, put a new one in front and
// keep the old ones until everything was sealed again; see bifrost's Reseal. It prints
// as its key ids and is safe for concurrent use.
type Keyring struct {
	ids  []string
	keys map[string]cipher.AEAD
}

// GenerateKey returns a new random key in the form that [ParseKeyring] and
// [SealingKey] take.
func GenerateKey() string {
	key := make([]byte, keyLength)
	_, _ = rand.Read(key) // never fails: it ends the program instead
	return base64.StdEncoding.EncodeToString(key)
}

// ParseKeyring reads keys as an environment variable holds them: newest first,
// separated by commas, each the standard base64 of 32 bytes with an optional
// "id:" before it. Errors name the position of the key, never its text.
func ParseKeyring(text string) (*Keyring, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("tokenstore: no sealing key; make one with: openssl rand -base64 32")
	}
	var keys []SealingKey
	for part := range strings.SplitSeq(text, ",") {
		var key SealingKey
		part = strings.TrimSpace(part)
		if id, rest, ok := strings.Cut(part, ":"); ok {
			if id == "" {
				return nil, fmt.Errorf("tokenstore: sealing key %d has a colon and no id before it", len(keys)+1)
			}
			key.ID, part = id, rest
		}
		key.Key = NewSecret(strings.TrimSpace(part))
		keys = append(keys, key)
	}
	return NewKeyring(keys...)
}

// NewKeyring returns a keyring that seals with the first key and opens with all.
func NewKeyring(keys ...SealingKey) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("tokenstore: a keyring needs at least one key; make one with GenerateKey")
	}
	ring := &Keyring{keys: make(map[string]cipher.AEAD, len(keys))}
	for i, key := range keys {
		id, aead, err := key.open()
		if err != nil {
			return nil, fmt.Errorf("tokenstore: sealing key %d %w", i+1, err)
		}
		if ring.keys[id] != nil {
			return nil, fmt.Errorf("tokenstore: sealing key %d has the same id (%s) as an earlier one", i+1, id)
		}
		ring.ids = append(ring.ids, id)
		ring.keys[id] = aead
	}
	return ring, nil
}

func (k SealingKey) open() (id string, aead cipher.AEAD, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(k.Key.Reveal())
	switch {
	case k.Key.IsZero():
		return "", nil, errors.New("is empty")
	case err != nil: // its text would quote the key
		return "", nil, errors.New("is not standard base64; make one with: openssl rand -base64 32")
	case len(raw) != keyLength:
		return "", nil, fmt.Errorf("has %d bytes instead of %d; make one with: openssl rand -base64 32", len(raw), keyLength)
	case [keyLength]byte(raw) == [keyLength]byte{}:
		return "", nil, errors.New("is all zeros; make a random one with: openssl rand -base64 32")
	}
	id = k.ID
	if id == "" {
		sum := sha256.Sum256(raw)
		id = hex.EncodeToString(sum[:4])
	}
	if !validKeyID(id) {
		return "", nil, errors.New("has an id that is not 1 to 64 characters of A-Z a-z 0-9 . _ -")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return "", nil, err
	}
	aead, err = cipher.NewGCMWithRandomNonce(block)
	return id, aead, err
}

func validKeyID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// KeyIDs returns the ids, newest first.
func (r *Keyring) KeyIDs() []string { return slices.Clone(r.ids) }

// Encrypt seals with the first key. The result is 30 bytes and the key id longer
// than the plaintext.
func (r *Keyring) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	id := r.ids[0]
	header := append([]byte{keyringFormat, byte(len(id))}, id...)
	//nolint:gosec // this AEAD makes a random nonce itself
	return r.keys[id].Seal(header, nil, plaintext, bindHeader(header, associatedData)), nil
}

// Decrypt opens what Encrypt returned. Its error is ErrUnknownKey or ErrSealBroken.
func (r *Keyring) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	header, ok := keyringHeader(ciphertext)
	if !ok {
		return nil, fmt.Errorf("%w: not a ciphertext of this keyring", ErrSealBroken)
	}
	body := ciphertext[len(header):]
	aead := r.keys[string(header[2:])]
	if aead == nil {
		return nil, fmt.Errorf("%w: %s (known: %s)", ErrUnknownKey, header[2:], r)
	}
	plaintext, err := aead.Open(nil, nil, body, bindHeader(header, associatedData))
	if err != nil {
		return nil, ErrSealBroken
	}
	return plaintext, nil
}

// KeyID returns the id of the key that a ciphertext names. Nothing vouches for it
// until the ciphertext opens.
func (r *Keyring) KeyID(ciphertext []byte) (id string, ok bool) {
	header, ok := keyringHeader(ciphertext)
	if !ok {
		return "", false
	}
	return string(header[2:]), true
}

// keyringHeader returns what stands before nonce and ciphertext.
func keyringHeader(ciphertext []byte) (header []byte, ok bool) {
	if len(ciphertext) < 2 || ciphertext[0] != keyringFormat {
		return nil, false
	}
	end := 2 + int(ciphertext[1])
	if len(ciphertext) < end || !validKeyID(string(ciphertext[2:end])) {
		return nil, false
	}
	return ciphertext[:end], true
}

// bindHeader makes the header, and so the key id, part of what is authenticated.
// Its length is in its second byte, so the two parts cannot be confused.
func bindHeader(header, associatedData []byte) []byte {
	return slices.Concat(header, associatedData)
}

// String returns the key ids.
func (r *Keyring) String() string { return strings.Join(r.ids, ", ") }

// Format implements fmt.Formatter: the key ids, whatever the verb.
func (r *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue implements slog.LogValuer: the key ids.
func (r *Keyring) LogValue() slog.Value { return slog.StringValue(r.String()) }
