package httpadapter

import (
	"net/url"
	"strings"
	"testing"
)

// Whatever is accepted stays on the origin, for a parser that follows the URL
// standard of browsers as well as for net/url: browsers drop tabs and newlines, and
// read a backslash as a slash.
func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{"/", "/a?b#c", "//evil", `/\evil`, `/./\evil`, "/x/../\\evil", "/\t/evil", "/a\x00", "/é", "https://front.example.com/x", ""} {
		f.Add(seed)
	}
	const origin = "https://app.example.com"
	f.Fuzz(func(t *testing.T, s string) {
		h := &Handler{origin: origin, cfg: Config{ReturnOrigins: []string{"https://front.example.com"}}}
		location, ok := h.returnLocation(s)
		if !ok {
			if location != "" {
				t.Fatalf("%q refused, and %q returned", s, location)
			}
			return
		}
		want := origin
		if !strings.HasPrefix(s, "/") {
			want = "https://front.example.com"
		}
		lenient := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(location)
		for _, text := range []string{location, lenient} {
			u, err := url.Parse(text)
			if err != nil {
				continue // net/url is stricter than browsers about %zz
			}
			if u.Scheme+"://"+u.Host != want || u.User != nil {
				t.Fatalf("%q leads to %s://%s", s, u.Scheme, u.Host)
			}
		}
		if len(s) > maxReturnTo || strings.ContainsAny(location, "\r\n\x00") {
			t.Fatalf("%q accepted", s)
		}
		// Even resolved as a relative reference, should anybody ever do that.
		path, _, _ := strings.Cut(strings.TrimPrefix(s, want), "?")
		if strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
			t.Fatalf("%q is a reference to another host", s)
		}
	})
}

// No text makes cleaning panic, or survives it longer or with control characters.
func FuzzCleanText(f *testing.F) {
	f.Add("plain", 10)
	f.Add("a\u202eb\x00\r\n\xff", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, min(limit, 1000))
		got := cleanText(s, limit)
		if n := len([]rune(got)); n > limit+1 {
			t.Fatalf("%d characters, limit %d", n, limit)
		}
		if strings.ContainsAny(got, "\x00\r\n\u202e\u2066\u200f") {
			t.Fatalf("%q", got)
		}
	})
}

// Any JSON is shown as a table or not, without a panic and within the limits.
func FuzzTable(f *testing.F) {
	f.Add(`[{"a":1,"b":[2]},{"c":null}]`)
	f.Add(`[{}]`)
	f.Add(`{"a":`)
	f.Fuzz(func(t *testing.T, s string) {
		if table := tableOf([]byte(s)); table != nil && (len(table.Columns) > maxColumns || len(table.Rows) > maxRows) {
			t.Fatal("too much")
		}
		inputSkeleton([]byte(s))
	})
}
