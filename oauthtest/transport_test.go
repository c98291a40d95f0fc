package oauthtest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bifrost-go/bifrost/oauthtest"
)

func TestMain(m *testing.M) {
	serveForCrashTest()
	goleak.VerifyTestMain(m)
}

func TestOtherHostsDoNotExist(t *testing.T) {
	a := inProcess(t, newProvider(t, oauthtest.Config{}))
	for _, target := range []string{"https://elsewhere.example/", "http://login.oauthtest.example/", "https://login.oauthtest.example:444/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		require.NoError(t, err)
		_, err = a.send(req)
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns, target)
		require.True(t, dns.IsNotFound)
	}
}

// What reading the request's body says is what the client hears, and nothing was
// processed.
func TestErrorsOfTheRequestBody(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, &countingReader{})
	require.NoError(t, err)
	_, err = a.send(req)
	require.ErrorContains(t, err, "the first read")
	require.Zero(t, p.Counts().Total())
}

func TestCancelledRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, oauthtest.Config{})
		a := inProcess(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := a.post(ctx, a.urls.TokenURL, "grant_type", "refresh_token")
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, p.Counts().Total(), "cancelled before: no request")

		p.Script(oauthtest.Token, oauthtest.Stall(5))
		client := *a.http
		client.Timeout = 3 * time.Second
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, strings.NewReader("grant_type=refresh_token"))
		require.NoError(t, err)
		started := time.Now()
		res, err := client.Do(req)
		require.NoError(t, err, "status and header arrived")
		_, err = io.ReadAll(res.Body)
		require.Error(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 3*time.Second, time.Since(started))
	})
}

// A client that closes a body early stops the handler behind it.
func TestClosedBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, oauthtest.Config{})
		a := inProcess(t, p)
		for _, step := range []oauthtest.Step{oauthtest.Endless(), oauthtest.Stall(1), oauthtest.Drip(time.Hour), oauthtest.Serve()} {
			p.Script(oauthtest.Token, step)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, strings.NewReader("grant_type=refresh_token"))
			require.NoError(t, err)
			res, err := a.http.Do(req)
			require.NoError(t, err)
			_, err = io.ReadFull(res.Body, make([]byte, 1))
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
			}
			require.NoError(t, res.Body.Close())
		} // synctest.Test fails if a goroutine stays behind
	})
}

func TestGzipIsLeftToThoseWhoAsk(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	p.Script(oauthtest.Token, oauthtest.Bomb(1<<10))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.urls.TokenURL, strings.NewReader("grant_type=x"))
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "gzip")
	r, err := a.send(req)
	require.NoError(t, err)
	require.Equal(t, "gzip", r.Header.Get("Content-Encoding"))
	require.True(t, strings.HasPrefix(r.Body, "\x1f\x8b"))
}

func TestCredentialsInTheURL(t *testing.T) {
	p := newProvider(t, oauthtest.Config{})
	a := inProcess(t, p)
	target := strings.Replace(a.urls.TokenURL, "https://", "https://test-client:test-client-secret@", 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("grant_type=x"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r, err := a.send(req)
	require.NoError(t, err)
	a.requireError(r, http.StatusBadRequest, "unsupported_grant_type")
}
