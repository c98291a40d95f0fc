package httpadapter

import (
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// cookieRequest is a GET with this Cookie header, as a server reads it.
func cookieRequest(header string) *http.Request {
	return &http.Request{Method: http.MethodGet, Header: http.Header{"Cookie": {header}}}
}

// A flow's cookie counts if it came once, and as it was set; a note is one of ours
// about a name, or none.
func FuzzCookie(f *testing.F) {
	const name = "__Host-bifrost_flow_0123456789abcdef"
	for _, header := range []string{
		"", name + "=abc", name + `="abc"`, name + "=a; " + name + "=b", name + "=a;" + name + `="b c"; x=y`, name + "=; =" + name,
		"bifrost_note=connected.Graph", "bifrost_note=connected.<b>", "bifrost_note=disconnected-failed.Graph; bifrost_note=x", "bifrost_note=\"connected.Graph\"",
		"bifrost_note=connected.Graph\r\nX: y", ";;==;" + name, name + " =0",
	} {
		f.Add(header)
	}
	base := &url.URL{Scheme: "http", Host: "127.0.0.1"}
	f.Fuzz(func(t *testing.T, header string) {
		r := cookieRequest(header)
		value := onlyCookie(r)(name)
		if value != "" {
			// net/http allows blanks around a name.
			bare := strings.NewReplacer(" ", "", "\t", "", `"`, "")
			if !strings.Contains(bare.Replace(header), name+"="+bare.Replace(value)) {
				t.Fatalf("%q gives %q", header, value)
			}
			if strings.ContainsAny(value, ";\r\n\x00\"\\") {
				t.Fatalf("%q is no cookie's value", value)
			}
			if planted := onlyCookie(cookieRequest(header + "; " + name + "=planted"))(name); planted != "" {
				t.Fatalf("%q beside a planted one gives %q", header, planted)
			}
		}

		h := &Handler{base: base}
		w := httptest.NewRecorder()
		n := h.takeNote(w, r)
		if n == nil {
			return
		}
		about, rest, _ := strings.Cut(n.Text, " ")
		if !slices.ContainsFunc(slices.Collect(maps.Values(notes)), func(known note) bool { return known.Text == rest && known.Good == n.Good }) {
			t.Fatalf("%q says %q", header, n.Text)
		}
		if len(about) > 64 || strings.Trim(about, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			t.Fatalf("%q is about %q", header, about)
		}
		if set := w.Result().Cookies(); len(set) != 1 || set[0].MaxAge >= 0 {
			t.Fatalf("%q was not taken: %v", header, set)
		}
		r.Method = http.MethodPost
		if h.takeNote(httptest.NewRecorder(), r) != nil {
			t.Fatal("a form took the next page's note")
		}
	})
}

// Headers that say what is wanted are read or ignored. A quality is one; a wildcard
// asks for nothing.
func FuzzAccept(f *testing.F) {
	for _, accept := range []string{
		"", "*/*", mediaJSON, "text/html,application/json;q=0.9", "application/json;q=NaN, text/html;q=-1", "text/html;q=1e400", ";,;q=",
		"application/*", "text/html; level=\"1", "Application/JSON; q=0",
	} {
		f.Add(accept, mediaJSON)
		f.Add(accept, "application/problem+json; charset=x")
		f.Add(accept, mediaForm)
	}
	f.Fuzz(func(t *testing.T, accept, sent string) {
		r := &http.Request{Method: http.MethodPost, Header: http.Header{"Accept": {accept}, "Content-Type": {sent}}}
		lower := strings.ToLower(accept)
		for _, media := range []string{mediaJSON, "text/html"} {
			q := accepted(r, media)
			if q < 0 || q > 1 || math.IsNaN(q) {
				t.Fatalf("%q gives %s the quality %v", accept, media, q)
			}
			if q > 0 && !strings.Contains(lower, media) {
				t.Fatalf("%q names no %s", accept, media)
			}
		}
		if surfaceAPI.speaksJSON(r) == fromPage(r) {
			t.Fatal("an API route speaks JSON, but to our own forms")
		}
		if media := sentMedia(r); media != "" && media != "unknown" && media != mediaJSON && !strings.Contains(strings.ToLower(sent), media) {
			t.Fatalf("%q is read as %q", sent, media)
		}
	})
}
