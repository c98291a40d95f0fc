package oauthflow

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

func org(i int) tokenstore.Key { return tokenstore.Key{Definition: "d", Org: fmt.Sprint(i)} }

func TestBlame(t *testing.T) {
	tests := map[string]struct {
		e        TokenError
		limit    int
		answered bool
	}{
		"invalid_client":          {TokenError{Class: ClassOperator, Sent: true, Status: 401}, 1, false},
		"a URL that is no URL":    {TokenError{Class: ClassOperator}, 0, false},
		"throttled":               {TokenError{Class: ClassTransient, Sent: true, Status: 429}, endpointFailures, false},
		"unreachable":             {TokenError{Class: ClassTransient}, endpointFailures, false},
		"no answer":               {TokenError{Class: ClassUnknown, Sent: true}, endpointFailures, false},
		"dead grant":              {TokenError{Class: ClassDead, Sent: true, Status: 400}, 0, true},
		"dead grant, by a broken": {TokenError{Class: ClassDead, Sent: true, Status: 500}, 0, false},
		"invalid_scope":           {TokenError{Class: ClassConfiguration, Sent: true, Status: 400}, 0, true},
		"value does not fit":      {TokenError{Class: ClassConfiguration}, 0, false},
		"unknown code":            {TokenError{Class: ClassUnclassified, Sent: true, Status: 400}, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.limit, blame(&tt.e))
			require.Equal(t, tt.answered, answered(&tt.e))
		})
	}
}

func TestBreakerOpens(t *testing.T) {
	transient, operator := failure{class: ClassTransient}, failure{class: ClassOperator}
	type fault struct {
		after time.Duration
		org   int
		f     failure
	}
	s := time.Second
	tests := map[string]struct {
		faults []fault
		pause  time.Duration // after the last one; 0: closed
	}{
		"one":                          {[]fault{{0, 1, transient}}, 0},
		"two":                          {[]fault{{0, 1, transient}, {s, 2, transient}}, 0},
		"three":                        {[]fault{{0, 1, transient}, {s, 2, transient}, {2 * s, 3, transient}}, s},
		"three of two connections":     {[]fault{{0, 1, transient}, {s, 2, transient}, {2 * s, 1, transient}}, s},
		"three of one connection":      {[]fault{{0, 1, transient}, {s, 1, transient}, {2 * s, 1, transient}}, 0},
		"the first long ago":           {[]fault{{0, 1, transient}, {endpointMemory, 2, transient}, {endpointMemory + s, 3, transient}}, 0},
		"operator, at once":            {[]fault{{0, 1, operator}}, 30 * s},
		"Retry-After":                  {[]fault{{0, 1, transient}, {0, 2, transient}, {0, 3, failure{class: ClassTransient, retryAfter: time.Minute}}}, time.Minute},
		"Retry-After of the one alone": {[]fault{{0, 1, failure{class: ClassTransient, retryAfter: time.Minute}}}, 0},
		"full jitter":                  {[]fault{{0, 1, failure{class: ClassOperator, jitter: 0.5}}}, 45 * s},
		"more that were under way":     {[]fault{{0, 1, operator}, {s, 2, operator}, {2 * s, 3, operator}}, 28 * s},
		"one of them asks for more":    {[]fault{{0, 1, operator}, {s, 2, failure{class: ClassTransient, retryAfter: time.Hour}}}, time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, now := breaker{}, at(0)
			for _, one := range tt.faults {
				now = at(one.after)
				limit := endpointFailures
				if one.f.class == ClassOperator {
					limit = 1
				}
				b = b.failed(now, org(one.org), limit, one.f, false)
			}
			require.Equal(t, tt.pause > 0, b.admit(now, false).refused)
			if tt.pause > 0 {
				require.Equal(t, tt.pause, b.admit(now, false).wait)
				require.Equal(t, admission{probe: true}, b.admit(now.Add(tt.pause), false))
				require.Equal(t, admission{probe: true}, b.admit(now, true), "a person may find out sooner")
			} else {
				require.Equal(t, admission{}, b.admit(now, false))
			}
		})
	}
}

func TestBreakerHalfOpen(t *testing.T) {
	b := breaker{}.failed(at(0), org(1), 1, failure{class: ClassOperator, jitter: 0.5}, false)
	now, last := at(0), time.Duration(0)
	for range 5 {
		wait := b.admit(now, false).wait
		require.Greater(t, wait, last, "ever longer")
		last, now = wait, now.Add(wait)
		require.True(t, b.admit(now, false).probe)
		b.probing = true
		require.Equal(t, admission{refused: true, wait: probePause}, b.admit(now, false), "one probe")
		require.True(t, b.admit(now, true).refused, "whoever asks")
		b = b.failed(now, org(1), 1, failure{class: ClassOperator, jitter: 0.5}, true)
		require.False(t, b.probing)
	}
	require.LessOrEqual(t, last, 15*time.Minute)
	require.False(t, b.over(now.Add(time.Minute)))
	require.True(t, b.over(now.Add(time.Hour)))
}

func TestBreakersAreBounded(t *testing.T) {
	var s breakers
	fail := func(url string, probe bool) {
		p := &pass{breakers: &s, key: breakerKey{tokenURL: url}, probe: probe}
		p.failed(&TokenError{Class: ClassOperator, Sent: true}, &Client{}, 0)
	}
	for i := range maxBreakers + 100 {
		fail(fmt.Sprint(i), false)
	}
	require.Len(t, s.all, maxBreakers)
	require.Equal(t, maxBreakers, s.open())
	fail("newest", false)
	require.NotNil(t, s.ask(breakerKey{tokenURL: "newest"}, false))

	(&pass{breakers: &s, key: breakerKey{tokenURL: "newest"}}).succeeded()
	require.Nil(t, s.ask(breakerKey{tokenURL: "newest"}, false))
	require.Len(t, s.all, maxBreakers-1, "nothing is kept of an endpoint that is well")
}

func TestAProbeThatIsGivenUpLeavesItToTheNext(t *testing.T) {
	var s breakers
	key := breakerKey{tokenURL: "u"}
	(&pass{breakers: &s, key: key}).failed(&TokenError{Class: ClassOperator, Sent: true}, &Client{}, 0)
	_, refused := s.enter(key, org(1), false)
	require.NotNil(t, refused)
	p, refused := s.enter(key, org(1), true)
	require.Nil(t, refused)
	_, refused = s.enter(key, org(2), true)
	require.Equal(t, probePause, refused.wait)
	p.leave()
	p.leave()
	p, refused = s.enter(key, org(2), true)
	require.Nil(t, refused)
	p.succeeded()
	p.leave()
	require.Nil(t, s.ask(key, false))
}
