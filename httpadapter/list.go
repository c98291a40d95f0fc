package httpadapter

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/integrations"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// list is how every list looks. NextCursor is empty on the last page.
type list[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

var errBadCursor = invalidField("cursor", "is not one that was given out here; leave it away to start at the beginning")

// limitOf reads ?limit=. More than maxLimit is maxLimit.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, invalidField("limit", "must be a number from 1 to "+strconv.Itoa(maxLimit))
	}
	return min(n, maxLimit), nil
}

// pageOfStatuses cuts one page out of a sorted list.
func pageOfStatuses(r *http.Request, all []integrations.Status) (page []integrations.Status, next string, err error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, "", err
	}
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			return nil, "", errBadCursor
		}
		i := 0
		for i < len(all) && position(all[i]) <= string(after) {
			i++
		}
		all = all[i:]
	}
	if len(all) > limit {
		all = all[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(position(all[limit-1])))
	}
	return all, next, nil
}

// position is what a list of integrations is sorted by. No part contains a NUL. The
// id tells a shadowed definition from the one that shadows it.
func position(s integrations.Status) string { return s.Name + "\x00" + s.Owner + "\x00" + s.ID }

// idCursor reads a cursor that is a number, as events have it.
func idCursor(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("cursor")
	if text == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || strings.HasPrefix(text, "+") {
		return 0, errBadCursor
	}
	return id, nil
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // URLs stay what they are; the media type and nosniff keep it from being a page
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the client went away, or not
	return nil
}
