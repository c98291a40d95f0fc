package oauthtest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Tokens and forms are sealed texts: kind_base64url(HMAC-SHA256 ‖ payload). What
// is genuine can be told without a list of everything ever issued, so a refresh
// token that was rotated away a year ago still revokes its family.

// strict refuses a last character with stray bits: one text, one token.
var strict = base64.RawURLEncoding.Strict()

func (s *state) seal(kind string, payload []byte) string {
	return kind + "_" + strict.EncodeToString(append(s.mac(kind, payload), payload...))
}

func (s *state) unseal(kind, text string) (payload []byte, ok bool) {
	text, ok = strings.CutPrefix(text, kind+"_")
	raw, err := strict.DecodeString(text)
	if !ok || err != nil || len(raw) < sha256.Size {
		return nil, false
	}
	payload = raw[sha256.Size:]
	return payload, hmac.Equal(raw[:sha256.Size], s.mac(kind, payload))
}

func (s *state) mac(kind string, payload []byte) []byte {
	h := hmac.New(sha256.New, s.Key)
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(payload)
	return h.Sum(nil)
}

// refreshToken is the text of a family's n-th refresh token, padded to size bytes.
func (s *state) refreshToken(f *Family, n, size int) string {
	payload := f.ID + "." + strconv.Itoa(n) + "."
	text := s.seal("rt", []byte(payload))
	if missing := size - len(text); missing > 0 {
		text = s.seal("rt", []byte(payload+strings.Repeat("+", missing*3/4+1)))
	}
	return text
}

// parseRefreshToken says which token this is; ok is false for a forgery.
func (s *state) parseRefreshToken(text string) (family string, n int, ok bool) {
	payload, ok := s.unseal("rt", text)
	if !ok {
		return "", 0, false
	}
	parts := strings.SplitN(string(payload), ".", 3)
	n, _ = strconv.Atoi(parts[1])
	return parts[0], n, true
}

// accessToken is the payload of an access token.
type accessToken struct {
	Family  string    `json:"f"`
	Epoch   int       `json:"e"`
	Expires time.Time `json:"x"`
	Nonce   string    `json:"n"` // so that no two are alike
}

func (s *state) newAccessToken(f *Family, expires time.Time) string {
	payload, _ := json.Marshal(accessToken{Family: f.ID, Epoch: s.Epoch, Expires: expires.UTC(), Nonce: rand.Text()}) // strings and a time always encode
	return s.seal("at", payload)
}

func (s *state) parseAccessToken(text string) (token accessToken, ok bool) {
	payload, ok := s.unseal("at", text)
	return token, ok && json.Unmarshal(payload, &token) == nil
}

// fingerprint is how tokens appear in the state file and in the journal.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
