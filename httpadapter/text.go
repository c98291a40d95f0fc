package httpadapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// cleanText makes a stranger's text safe to show beside ours: one line, no control
// or formatting characters (which could turn the reading direction of what
// follows), at most limit characters. Markup is the template's business.
func cleanText(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, c := range s {
		if n == limit {
			b.WriteString("…")
			break
		}
		switch {
		case unicode.IsSpace(c):
			c = ' '
		case c == unicode.ReplacementChar, unicode.IsControl(c), unicode.Is(unicode.Cf, c), unicode.Is(unicode.Co, c):
			continue
		}
		b.WriteRune(c)
		n++
	}
	return strings.TrimSpace(b.String())
}

// plainLine reports whether s is text of at most limit bytes without control
// characters.
func plainLine(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// stamp is a point in time on a page.
type stamp struct {
	ISO  string // for machines
	Text string // 22 Nov 2026, 15:04 UTC
	Ago  string // "in 59 min", "2 min ago"
}

func stampOf(t, now time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &stamp{t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04 UTC"), ago(t, now)}
}

func ago(t, now time.Time) string {
	d := t.Sub(now)
	if d > -5*time.Second && d < 5*time.Second {
		return "now"
	}
	text := roughly(d.Abs())
	if d < 0 {
		return text + " ago"
	}
	return "in " + text
}

func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// duration is how long something took.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "under 1 ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// maxShown is how much JSON a page shows, in bytes.
const maxShown = 100 << 10

// pretty indents JSON for reading; cut reports that it was too much to show.
func pretty(raw json.RawMessage) (text string, cut bool) {
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, "", "  ") != nil {
		return "", false
	}
	if b.Len() > maxShown {
		return strings.ToValidUTF8(string(b.Bytes()[:maxShown]), ""), true
	}
	return b.String(), false
}
