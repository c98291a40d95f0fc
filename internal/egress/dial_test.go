package egress_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// serve answers one request on a connection.
func serve(conn net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

// Addresses are tried as RFC 8305 has it, by a dialer that knows nothing of it.
func TestSeveralAddresses(t *testing.T) {
	const second, v6a, v6b, v4 = time.Second, "[2606:4700::1]:80", "[2606:4700::2]:80", "93.184.215.14:80"
	failed := errors.New("refused")
	type attempt struct {
		takes time.Duration
		err   error
	}
	for name, c := range map[string]struct {
		attempts map[string]attempt
		tried    []string
		takes    time.Duration
		err      error
	}{
		"the first answers": {
			attempts: map[string]attempt{v6a: {}}, tried: []string{v6a},
		},
		"the first is silent": {
			attempts: map[string]attempt{v6a: {takes: time.Hour}, v4: {}}, tried: []string{v6a, v4}, takes: second / 4,
		},
		"the first is slow, and faster": {
			attempts: map[string]attempt{v6a: {takes: second / 2}, v4: {takes: second}, v6b: {takes: second}}, tried: []string{v6a, v4, v6b}, takes: second / 2,
		},
		"two refuse at once": {
			attempts: map[string]attempt{v6a: {err: failed}, v4: {err: errors.New("another")}, v6b: {}}, tried: []string{v6a, v4, v6b},
		},
		"all refuse": {
			attempts: map[string]attempt{v6a: {err: failed, takes: second}, v4: {err: errors.New("another"), takes: second}, v6b: {err: errors.New("another"), takes: 2 * second}},
			tried:    []string{v6a, v4, v6b}, takes: second * 5 / 2, err: failed,
		},
		"all are silent": {
			attempts: map[string]attempt{v6a: {takes: time.Hour}, v4: {takes: time.Hour}, v6b: {takes: time.Hour}},
			tried:    []string{v6a, v4, v6b}, takes: 10 * second, err: context.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var tried []string
				base := &http.Transport{DisableKeepAlives: true}
				base.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
					mu.Lock()
					tried = append(tried, address)
					mu.Unlock()
					a := c.attempts[address]
					time.Sleep(a.takes) // a dialer that does not look at its context
					if a.err != nil {
						return nil, a.err
					}
					here, there := net.Pipe()
					go serve(there)
					return here, nil
				}
				p := parse(t, "localhost")
				p.Resolver = always("2606:4700::1", "2606:4700::2", "93.184.215.14")

				ctx, cancel := context.WithTimeout(t.Context(), 10*second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", nil)
				require.NoError(t, err)
				defer time.Sleep(2 * time.Hour) // net/http goes on dialling after its request's end
				began := time.Now()
				res, err := p.RoundTripper(base).RoundTrip(req)
				require.Equal(t, c.takes, time.Since(began))
				mu.Lock()
				require.Equal(t, c.tried, tried)
				mu.Unlock()
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
					return
				}
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
			}) // the bubble ends only if no attempt is left behind, and no connection open
		})
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	var answer []string
	for i := range 200 {
		answer = append(answer, "93.184.215."+strconv.Itoa(i))
	}
	synctest.Test(t, func(t *testing.T) {
		var tried atomic.Int32
		base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			tried.Add(1)
			return nil, errors.New("refused")
		}}
		p := parse(t)
		p.Resolver = always(answer...)
		_, err := get(t, p.RoundTripper(base), "https://example.com/")
		require.ErrorContains(t, err, "refused")
		require.EqualValues(t, 8, tried.Load())
	})
}
