package oauthflow

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// scrubber removes what was sent from texts that others wrote: providers quote
// the code they refuse, and transports the URL they could not reach.
type scrubber struct{ secrets []string }

// minSecret is the shortest text worth removing; shorter ones would tear holes
// into innocent words. A definition's parameters and a URL's query have many of
// those (access_type=offline).
const (
	minSecret     = 4
	minConfigured = 12
)

const redaction = "[REDACTED]"

// harmless are parameters whose values may be shown.
var harmless = []string{"grant_type", "redirect_uri", "scope", "client_id", "token_type_hint", "audience", "resource"}

func newScrubber(o outgoing, u *url.URL) scrubber {
	var s scrubber
	add := func(text string, shortest int) {
		if len(text) < shortest {
			return
		}
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text)} {
			if !slices.Contains(s.secrets, form) {
				s.secrets = append(s.secrets, form)
			}
		}
	}
	add(o.client.ClientSecret.Reveal(), minSecret)
	if o.client.ClientAuth == AuthBasic {
		add(basicCredentials(o.client), minSecret)
	}
	for name, values := range o.params {
		if !slices.Contains(harmless, name) {
			for _, value := range values {
				add(value, minSecret)
			}
		}
	}
	add(u.RawQuery, minSecret)
	for _, values := range []url.Values{o.extra, u.Query()} {
		for _, value := range slices.Concat(slices.Collect(maps.Values(values))...) {
			add(value, minConfigured)
		}
	}
	// Longest first, so that no secret survives as the rest of a shorter one.
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) })
	return s
}

// userinfo is a password in a URL, the proxy's for instance.
var userinfo = regexp.MustCompile(`//[^/@\s"]*@`)

// text returns t without secrets.
func (s scrubber) text(t string) string {
	for _, secret := range s.secrets {
		t = strings.ReplaceAll(t, secret, redaction)
	}
	return userinfo.ReplaceAllString(t, "//"+redaction+"@")
}

// display cleans a text for people: no secret, no control or formatting
// characters (line breaks, right-to-left marks), at most limit runes.
func (s scrubber) display(t string, limit int) string {
	t = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s.text(t), ""))
	// Again: what was taken out may have stood inside a secret.
	t = s.text(strings.Join(strings.Fields(t), " "))
	if runes := []rune(t); len(runes) > limit {
		t = string(runes[:limit-1]) + "…"
	}
	return t
}

// quoted is a text in Go's double quotes, or the beginning of one.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"?`)

// clean returns err, or if anywhere in its chain stands what must not be seen, an
// error with a clean text that still is the same well-known errors. replied says
// that the error may quote the reply: net/http does so with whatever it takes for
// a malformed header, which can be tokens.
func (s scrubber) clean(err error, replied bool) error {
	for {
		u, ok := err.(*url.Error) //nolint:errorlint // the outermost only; inner ones are found below
		if !ok {
			break
		}
		err = u.Err
	}
	if err == nil {
		return nil
	}
	text := s.text(err.Error())
	if replied {
		text = quoted.ReplaceAllString(text, `"…"`)
	}
	var inner *url.Error
	if text != err.Error() || errors.As(err, &inner) {
		c := &cleanError{text: text}
		for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
			if errors.Is(err, known) {
				c.known = append(c.known, known)
			}
		}
		return c
	}
	return err
}

// cleanError does not hold the error it replaces: whoever walks the chain would
// find the secret there.
type cleanError struct {
	text  string
	known []error
}

func (e *cleanError) Error() string   { return e.text }
func (e *cleanError) Unwrap() []error { return e.known }
