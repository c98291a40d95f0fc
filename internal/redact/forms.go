package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// forms returns the texts under which secret may appear, each once. For most
// tokens the escaped forms are the token itself, so there are about a dozen.
func forms(secret string) []string {
	all := []string{secret}
	if trimmed := strings.TrimSpace(secret); len(trimmed) >= minWord {
		all = append(all, trimmed)
	}
	all = append(all, escapedForms(secret)...)
	all = append(all, urlForms(secret)...)
	all = append(all, base64Forms(secret)...)
	h := hex.EncodeToString([]byte(secret))
	all = append(all, h, strings.ToUpper(h))

	slices.Sort(all)
	return slices.Compact(all)
}

func escapedForms(secret string) []string {
	goQuoted := strconv.Quote(secret)
	all := []string{goQuoted[1 : len(goQuoted)-1]}
	for _, escapeHTML := range []bool{false, true} {
		once := quoteJSON(secret, escapeHTML)
		for _, form := range []string{once, asciiOnly(once)} { // Go and browsers; Python and PHP
			all = append(all, form, strings.ReplaceAll(form, "/", `\/`), quoteJSON(form, escapeHTML))
		}
	}
	return all
}

// asciiOnly writes everything beyond printable ASCII as JSON's \uXXXX.
func asciiOnly(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x7f {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// quoteJSON returns text as it stands between the quotes of a JSON string.
func quoteJSON(text string, escapeHTML bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(text) // a string cannot fail
	return string(b.Bytes()[1 : b.Len()-2])
}

func urlForms(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	strict := strings.ReplaceAll(query, "+", "%20")
	// encodeURIComponent of browsers leaves these as they are.
	browser := strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(strict)
	all := []string{query, path, strict, browser}
	for _, form := range all[:4:4] {
		all = append(all, lowerEscapes(form))
	}
	return all
}

// lowerEscapes writes the digits of %XX escapes in lower case.
func lowerEscapes(text string) string {
	b := []byte(text)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

func base64Forms(secret string) []string {
	padded := base64.StdEncoding.EncodeToString([]byte(secret))
	all := []string{
		padded, url.QueryEscape(padded),
		base64.RawStdEncoding.EncodeToString([]byte(secret)),
		base64.URLEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	if len(secret) < minAnywhere {
		return all // the middle of a short secret is too short to be told from chance
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			all = append(all, base64Inside(enc, secret, before))
		}
	}
	return all
}

// base64Inside returns the characters that secret alone decides when it is
// encoded after a text whose length is before modulo 3. At most six bits at either
// end are shared with the neighbours and stay.
func base64Inside(enc *base64.Encoding, secret string, before int) string {
	encoded := enc.EncodeToString(append(make([]byte, before), secret...))
	first := (before*8 + 5) / 6
	end := (before + len(secret)) * 8 / 6
	return encoded[first:end]
}
