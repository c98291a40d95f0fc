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
		blame    blame
		answered bool
	}{
		"invalid_client":          {TokenError{Class: ClassOperator, Sent: true, Status: 401, Code: "invalid_client"}, blameClient, false},
		"Slack's name for it":     {TokenError{Class: ClassOperator, Sent: true, Status: 200, Code: "bad_client_secret"}, blameClient, false},
		"as a suberror":           {TokenError{Class: ClassOperator, Sent: true, Status: 400, Code: "x", SubCode: "invalid_client"}, blameClient, false},
		"unauthorized_client":     {TokenError{Class: ClassOperator, Sent: true, Status: 400, Code: "unauthorized_client", SubCode: "invalid_client"}, blameDoubtful, false},
		"another operator's":      {TokenError{Class: ClassOperator, Sent: true, Status: 400, Code: "invalid_grant"}, blameDoubtful, false},
		"a URL that is no URL":    {TokenError{Class: ClassOperator}, blameNobody, false},
		"throttled":               {TokenError{Class: ClassTransient, Sent: true, Status: 429}, blameDoubtful, false},
		"its own fault":           {TokenError{Class: ClassUnknown, Sent: true, Status: 500}, blameDoubtful, false},
		"unreachable":             {TokenError{Class: ClassTransient}, blameEndpoint, false},
		"no answer":               {TokenError{Class: ClassUnknown, Sent: true}, blameEndpoint, false},
		"dead grant":              {TokenError{Class: ClassDead, Sent: true, Status: 400}, blameNobody, true},
		"dead grant, by a broken": {TokenError{Class: ClassDead, Sent: true, Status: 500}, blameNobody, false},
		"invalid_scope":           {TokenError{Class: ClassConfiguration, Sent: true, Status: 400}, blameNobody, true},
		"value does not fit":      {TokenError{Class: ClassConfiguration}, blameNobody, false},
		"unknown code":            {TokenError{Class: ClassUnclassified, Sent: true, Status: 400}, blameNobody, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.blame, blameFor(&tt.e))
			require.Equal(t, tt.answered, answered(&tt.e))
		})
	}
	for code := range clientErrors {
		require.Equal(t, ClassOperator, codes[code], code)
	}
}

func TestBreakerOpens(t *testing.T) {
	const s, m, h = time.Second, time.Minute, time.Hour
	type fault struct {
		after time.Duration
		org   int // negative: another connection of it
		blame blame
		asked time.Duration
	}
	const doubt, gone, client = blameDoubtful, blameEndpoint, blameClient
	three := func(l blame, asked ...time.Duration) []fault {
		return []fault{{0, 1, l, asked[0]}, {0, 2, l, asked[1]}, {0, 3, l, asked[2]}}
	}
	tests := map[string]struct {
		success time.Duration // how long before; 0: none is known
		faults  []fault
		pause   time.Duration // after the last one; 0: closed
	}{
		"one":                           {0, []fault{{0, 1, doubt, 0}}, 0},
		"two":                           {0, []fault{{0, 1, doubt, 0}, {s, 2, doubt, 0}}, 0},
		"three":                         {0, []fault{{0, 1, doubt, 0}, {s, 2, doubt, 0}, {2 * s, 3, doubt, 0}}, s},
		"three, without an answer":      {0, three(gone, 0, 0, 0), s},
		"three of two organizations":    {0, []fault{{0, 1, doubt, 0}, {s, 2, doubt, 0}, {2 * s, 1, doubt, 0}}, 0},
		"three connections of one":      {0, []fault{{0, 1, doubt, 0}, {s, -1, doubt, 0}, {2 * s, 1, gone, 0}}, 0},
		"three without organization":    {0, []fault{{0, 0, doubt, 0}, {s, -100, doubt, 0}, {2 * s, -101, gone, 0}}, s},
		"the first long ago":            {0, []fault{{0, 1, doubt, 0}, {endpointMemory, 2, doubt, 0}, {endpointMemory + s, 3, doubt, 0}}, 0},
		"the client, at once":           {0, []fault{{0, 1, client, 0}}, 30 * s},
		"Retry-After of three":          {0, three(doubt, h, m, 2*m), m},
		"Retry-After of two":            {0, three(doubt, h, 0, 2*m), s},
		"Retry-After of one":            {0, []fault{{0, 1, doubt, h}}, 0},
		"Retry-After beside the client": {0, []fault{{0, 1, client, h}}, 30 * s},
		"more that were under way":      {0, []fault{{0, 1, client, 0}, {s, 2, client, 0}, {2 * s, 3, client, 0}}, 28 * s},
		"one of them asks for more":     {0, []fault{{0, 1, client, 0}, {s, 2, doubt, h}}, 29 * s},
		"three of them ask for more":    {0, append([]fault{{0, 4, client, 0}}, three(doubt, h, h, m)...), m},

		"somebody got through":               {m, three(doubt, h, h, h), 0},
		"as good as long ago":                {successMemory, three(doubt, 0, 0, 0), s},
		"that runs out meanwhile":            {successMemory - s, append(three(doubt, 0, 0, 0), fault{s, 3, doubt, 0}), s},
		"the client, but one got through":    {m, []fault{{0, 1, client, 0}}, 30 * s},
		"the client, by three":               {m, three(client, 0, 0, 0), 30 * s},
		"the client, and others in doubt":    {m, []fault{{0, 1, doubt, 0}, {0, 3, client, 0}}, 30 * s},
		"away since":                         {m, three(gone, 0, 0, 0), s},
		"two time out, another is refused":   {m, []fault{{0, 1, doubt, 0}, {0, 2, gone, 0}, {0, 3, gone, 0}}, 0},
		"the client, long after it was well": {h, []fault{{0, 1, client, 0}}, 30 * s},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, now := breaker{}, at(0)
			if tt.success > 0 {
				b.success = now.Add(-tt.success)
			}
			for _, one := range tt.faults {
				now = at(one.after)
				key, f := org(max(one.org, -one.org)), failure{class: ClassTransient, retryAfter: one.asked}
				if one.org < 0 {
					key.Account = "another"
				}
				if one.org == 0 || one.org <= -100 {
					key = tokenstore.Key{Definition: "d", User: fmt.Sprint(one.org)}
				}
				if one.blame == client {
					f.class = ClassOperator
				}
				b = b.failed(now, key, one.blame, f, false, false)
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

// What a probe finds out that adds nothing does not make the pause longer.
func TestAProbeThatTellsNothingNew(t *testing.T) {
	tests := map[string]struct {
		org    int
		blame  blame
		forced bool
		longer bool
	}{
		"a person's":                     {1, blameDoubtful, true, false},
		"a person's, of another":         {4, blameDoubtful, true, false},
		"a person's, about the client":   {1, blameClient, true, false},
		"who was refused before":         {1, blameDoubtful, false, false},
		"another":                        {4, blameDoubtful, false, true},
		"no answer, whoever":             {1, blameEndpoint, false, true},
		"the client is refused, whoever": {1, blameClient, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b breaker
			for i := range endpointFailures {
				b = b.failed(at(0), org(i+1), blameDoubtful, failure{class: ClassOperator}, false, false)
			}
			until := b.until
			require.True(t, b.admit(at(0), false).refused)
			b.probing = true
			b = b.failed(at(time.Second/2), org(tt.org), tt.blame, failure{class: ClassOperator, retryAfter: time.Hour}, true, tt.forced)
			require.False(t, b.probing)
			require.Equal(t, tt.longer, b.until.After(until))
			require.Equal(t, tt.longer, b.openings == 2)
		})
	}
}

func TestVoicesAreBounded(t *testing.T) {
	var b breaker
	for i := range 100 {
		before := b
		b = b.failed(at(0), org(i), blameDoubtful, failure{class: ClassTransient}, false, false)
		require.Len(t, before.voices, min(i, maxVoices), "a breaker is a value")
	}
	require.Len(t, b.voices, maxVoices)
}

func TestBreakerHalfOpen(t *testing.T) {
	b := breaker{}.failed(at(0), org(1), blameClient, failure{class: ClassOperator, jitter: 0.5}, false, false)
	now, last := at(0), time.Duration(0)
	for range 5 {
		wait := b.admit(now, false).wait
		require.Greater(t, wait, last, "ever longer")
		last, now = wait, now.Add(wait)
		require.True(t, b.admit(now, false).probe)
		b.probing = true
		require.Equal(t, admission{refused: true, wait: probePause}, b.admit(now, false), "one probe")
		require.True(t, b.admit(now, true).refused, "whoever asks")
		b = b.failed(now, org(1), blameClient, failure{class: ClassOperator, jitter: 0.5}, true, false)
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
		p.failed(&TokenError{Class: ClassOperator, Sent: true, Code: "invalid_client"}, &Client{}, 0)
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
	require.Equal(t, maxBreakers-1, s.open())
	for i := range maxBreakers {
		(&pass{breakers: &s, key: breakerKey{tokenURL: fmt.Sprint("well", i)}}).succeeded()
	}
	require.LessOrEqual(t, len(s.all), maxBreakers)
}

func TestAProbeThatIsGivenUpLeavesItToTheNext(t *testing.T) {
	var s breakers
	key := breakerKey{tokenURL: "u"}
	(&pass{breakers: &s, key: key}).failed(&TokenError{Class: ClassOperator, Sent: true, Code: "invalid_client"}, &Client{}, 0)
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
