package oauthflow

import (
	"net/http"
	"strings"
	"time"
)

// longestRetryAfter caps what a provider may ask for: a mistaken header must not put
// a connection to sleep for a year.
const longestRetryAfter = 24 * time.Hour

// retryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or an HTTP date. A
// date is compared with the reply's own Date where it has one, because the
// provider's clock and ours may differ. 0 if there is nothing to wait for.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		var d time.Duration
		for _, digit := range value {
			if d = d*10 + time.Duration(digit-'0')*time.Second; d >= longestRetryAfter {
				return longestRetryAfter
			}
		}
		return d
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), longestRetryAfter)
}
