package redact

import (
	"encoding/json"
	"strings"
)

// JSON returns doc, which must be valid JSON, with every secret replaced, valid
// still and otherwise byte for byte as it was.
//
// Strings, member names included, are compared as what they mean, so that no
// way of escaping hides a secret. A number that contains one becomes the string
// Mark. If a secret stretches over several values (a key file given back as an
// object), the whole document becomes the string Mark.
func (s *Set) JSON(doc json.RawMessage) json.RawMessage {
	if len(doc) == 0 || s.empty() {
		return doc
	}
	text := string(doc)
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; {
		case c == '"':
			end = endOfString(text, i)
			b.WriteString(s.literal(text[i:end]))
		case c == '-' || '0' <= c && c <= '9':
			end = endOfNumber(text, i)
			if s.Contains(text[i:end]) {
				b.WriteString(`"` + Mark + `"`)
			} else {
				b.WriteString(text[i:end])
			}
		default:
			b.WriteByte(c)
		}
		i = end
	}
	if clean := b.String(); json.Valid([]byte(clean)) && !s.spans(clean) {
		return json.RawMessage(clean)
	}
	return json.RawMessage(`"` + Mark + `"`)
}

func (s *Set) empty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.known) == 0
}

// spans reports whether a long secret is still in text.
func (s *Set) spans(text string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, form := range s.anywhere {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// literal cleans one string literal, quotes included.
func (s *Set) literal(quoted string) string {
	var text string
	if json.Unmarshal([]byte(quoted), &text) != nil {
		return `"` + Mark + `"`
	}
	clean := s.String(text)
	if clean == text {
		return quoted
	}
	return `"` + quoteJSON(clean, false) + `"`
}

// endOfString returns the index after the literal that starts at i.
func endOfString(text string, i int) int {
	for j := i + 1; j < len(text); j++ {
		switch text[j] {
		case '\\':
			j++
		case '"':
			return j + 1
		}
	}
	return len(text)
}

func endOfNumber(text string, i int) int {
	rest := strings.TrimLeft(text[i:], "+-.0123456789eE")
	return len(text) - len(rest)
}
