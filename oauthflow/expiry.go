package oauthflow

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxLifetime is where a lifetime stops being believable; above it, nothing is
// known. It keeps every sum of instants far from overflow.
const maxLifetime = 100 * 365 * 24 * time.Hour

// lifetime reads expires_in: seconds as a number or a numeric string. 0 means
// unknown, which absent, null, "", 0, booleans, "NaN" and absurd values are; a
// negative result means expired.
func lifetime(raw json.RawMessage) time.Duration {
	seconds, ok := number(raw)
	limit := maxLifetime.Seconds()
	switch {
	case !ok, seconds == 0, seconds > limit:
		return 0
	case seconds < 0:
		return -max(time.Second, time.Duration(min(-seconds, limit))*time.Second)
	case seconds < 1: // whole seconds would make it unknown, and used for long
		return time.Second
	}
	return time.Duration(seconds) * time.Second // whole seconds: "3600.5" is 3600
}

// absoluteExpiry reads an instant: seconds or milliseconds since 1970, as a
// number or numeric string, or RFC 3339. Zero if it is none of these.
func absoluteExpiry(raw json.RawMessage) time.Time {
	if seconds, ok := number(raw); ok {
		// 1e11 seconds is the year 5138, 1e11 milliseconds 1973.
		if seconds >= 1e11 {
			seconds /= 1000
		}
		if seconds < 1 || seconds >= 1e11 {
			return time.Time{}
		}
		return believable(time.Unix(int64(seconds), 0))
	}
	s, _ := text(raw)
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return time.Time{}
	}
	return believable(t)
}

// believable turns instants that only a mistake can mean into unknown.
func believable(t time.Time) time.Time {
	if t.Year() < 1971 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC()
}

// number reads a JSON number or a numeric string. Infinities count as numbers
// (1e400 is one), NaN, hexadecimal and words do not.
func number(raw json.RawMessage) (float64, bool) {
	s := string(raw)
	if quoted, ok := text(raw); ok {
		s = strings.TrimSpace(quoted)
	}
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" || len(s) > 400 {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}
