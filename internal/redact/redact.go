// Package redact removes known secrets from text before it is stored or shown.
//
// It knows secrets by value, not by shape: a [Set] is told each secret of a run
// and finds it again in the encodings in which secrets travel.
//
//   - as it is, and without surrounding white space
//   - JSON-escaped, once or twice, with and without escaped HTML characters and
//     slashes, and as Go quotes it
//   - URL-encoded for a path or a query, hexadecimal digits in either case
//   - base64, standard or URL alphabet, padded or not, alone or anywhere inside a
//     longer encoded text ("user:password" of Basic authentication), and the
//     standard form URL-encoded
//   - hexadecimal
//
// Not found: a secret that was cut, split over two texts, compressed, encrypted,
// hashed, reversed, encoded twice in other combinations than those above, or
// base64 with line breaks in it (MIME, PEM).
//
// Secrets of 3 to 5 bytes are found only as whole words, because as parts of
// words they would make every text unreadable; shorter ones protect nothing and
// are ignored.
package redact

import (
	"slices"
	"strings"
	"sync"
)

// Mark stands where a secret stood.
const Mark = "[REDACTED]"

// Lengths in bytes from which secrets are looked for as words, and everywhere.
const (
	minWord     = 3
	minAnywhere = 6
)

// Set is a growing set of secrets. The zero value is empty and ready; a Set is
// safe for concurrent use.
type Set struct {
	mu       sync.RWMutex
	known    map[string]bool
	anywhere []string // forms of long secrets
	words    []string // forms of short ones
}

// Add makes secret, in all its forms, one of those removed from now on.
func (s *Set) Add(secret string) {
	if len(secret) < minWord {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[secret] {
		return
	}
	if s.known == nil {
		s.known = make(map[string]bool)
	}
	s.known[secret] = true
	for _, form := range forms(secret) {
		if len(secret) < minAnywhere {
			s.words = append(s.words, form)
		} else {
			s.anywhere = append(s.anywhere, form)
		}
	}
}

// String returns text with every secret replaced by Mark.
func (s *Set) String(text string) string {
	found := s.find(text)
	if len(found) == 0 {
		return text
	}
	var b strings.Builder
	from := 0
	for _, f := range found {
		b.WriteString(text[from:f.start])
		b.WriteString(Mark)
		from = f.end
	}
	b.WriteString(text[from:])
	return b.String()
}

// Contains reports whether any secret is in text.
func (s *Set) Contains(text string) bool { return len(s.find(text)) > 0 }

// span is a half-open range of bytes.
type span struct{ start, end int }

// find returns where secrets are, in order and merged. Secrets may overlap: if
// matches were replaced one after the other, the rest of the second would stay.
func (s *Set) find(text string) []span {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []span
	for _, form := range s.anywhere {
		found = appendMatches(found, text, form, false)
	}
	for _, form := range s.words {
		found = appendMatches(found, text, form, true)
	}
	if len(found) < 2 {
		return found
	}
	slices.SortFunc(found, func(a, b span) int { return a.start - b.start })
	merged := found[:1]
	for _, f := range found[1:] {
		if last := &merged[len(merged)-1]; f.start <= last.end {
			last.end = max(last.end, f.end)
		} else {
			merged = append(merged, f)
		}
	}
	return merged
}

func appendMatches(found []span, text, form string, wholeWord bool) []span {
	for from := 0; ; {
		i := strings.Index(text[from:], form)
		if i < 0 {
			return found
		}
		m := span{from + i, from + i + len(form)}
		if !wholeWord || isWord(text, m) {
			found = append(found, m)
		}
		from = m.start + 1
	}
}

// isWord reports whether m is bounded by something else than letters and digits.
func isWord(text string, m span) bool {
	return (m.start == 0 || !isWordByte(text[m.start-1])) && (m.end == len(text) || !isWordByte(text[m.end]))
}

func isWordByte(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
