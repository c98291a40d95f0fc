package oauthflow

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Whatever a provider asks for, it is between nothing and a day; whole seconds
// are taken at their word, and a date does not depend on this machine's clock where
// the reply has one of its own.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "7", "0", " 120 ", "7200", "86400", "86401", "99999999999999999999999", "-1", "+5", "1.5", "٣", "0x10",
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "soon",
	} {
		f.Add(value, "Sun, 06 Nov 1994 08:49:07 GMT")
		f.Add(value, "")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		got := retryAfter(h, now)
		if got < 0 || got > longestRetryAfter {
			t.Fatalf("%q is %v", value, got)
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			if want := min(n, uint64(longestRetryAfter/time.Second)); got != time.Duration(want)*time.Second {
				t.Fatalf("%q is %v", value, got)
			}
		}
		if _, err := http.ParseTime(date); err == nil && got != retryAfter(h, now.AddDate(40, 0, 0)) {
			t.Fatalf("%q depends on this machine's clock", value)
		}
		if at, err := http.ParseTime(value); err == nil && date == "" && got != min(max(at.Sub(now), 0), longestRetryAfter) {
			t.Fatalf("%q is %v", value, got)
		}
	})
}
