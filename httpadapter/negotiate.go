package httpadapter

import (
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// surface is how a route speaks when the request leaves it open.
type surface uint8

const (
	surfacePage surface = iota // pages and redirects; JSON on request
	surfaceAPI                 // JSON; redirects for forms that browsers post
)

// speaksJSON decides between JSON and pages.
func (s surface) speaksJSON(r *http.Request) bool {
	if s == surfaceAPI {
		return !fromPage(r)
	}
	if sentMedia(r) == mediaJSON {
		return true
	}
	json, html := accepted(r, mediaJSON), accepted(r, "text/html")
	return json > 0 && json >= html
}

// fromPage reports whether a browser posted a form of ours: only browsers ask for
// text/html.
func fromPage(r *http.Request) bool {
	return r.Method == http.MethodPost && (sentMedia(r) == mediaForm || sentMedia(r) == "") && accepted(r, "text/html") > 0
}

// sentMedia is the media type of the body, with application/…+json as
// application/json; empty if none was said.
func sentMedia(r *http.Request) string {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return ""
	}
	media, _, err := mime.ParseMediaType(header)
	switch {
	case err != nil:
		return "unknown"
	case strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		return mediaJSON
	}
	return media
}

// accepted returns the quality (0 to 1) that Accept gives to a media type by
// name. Wildcards do not count: curl's */* asks for nothing.
func accepted(r *http.Request, media string) float64 {
	best := 0.0
	for _, header := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			name, params, err := mime.ParseMediaType(part)
			if err != nil || name != media {
				continue
			}
			q := 1.0
			if text, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(q) {
					q = 0
				}
			}
			best = max(best, min(q, 1))
		}
	}
	return best
}
