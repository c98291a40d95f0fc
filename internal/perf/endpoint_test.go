package perf_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// hosts is how many hosts the endpoint answers as: one host never gets all workers, so
// that with a single one the bare requests would have more at once.
const hosts = 8

// endpoint is a token endpoint on loopback addresses that answers after a while.
type endpoint struct {
	delay time.Duration
	urls  []string
	asked atomic.Int64
	first atomic.Pointer[time.Time] // request since reset
}

func newEndpoint(b *testing.B, delay time.Duration) *endpoint {
	b.Helper()
	e := &endpoint{delay: delay}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	b.Cleanup(func() { _ = server.Close() })
	for i := range hosts {
		l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		if err != nil {
			l, err = new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0") // where loopback has one address
		}
		require.NoError(b, err)
		go func() { _ = server.Serve(l) }()
		e.urls = append(e.urls, "http://"+l.Addr().String()+"/token")
	}
	return e
}

// ServeHTTP gives new tokens.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.first.Load() == nil {
		now := time.Now()
		e.first.CompareAndSwap(nil, &now)
	}
	_ = r.ParseForm()
	n := e.asked.Add(1)
	if e.delay > 0 {
		pause(r.Context(), e.delay)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"access_token":"access-token-of-usual-length-%011d","token_type":"Bearer","expires_in":3600,`+
		`"refresh_token":"refresh-token-of-usual-length-%010d"}`, n, n)
}

func (e *endpoint) reset() {
	e.asked.Store(0)
	e.first.Store(nil)
}

// keepingAlive is a client as one would write it for this.
func keepingAlive() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
}

// oneEach makes a connection for each request, as Bifrost has to: on one that is kept
// net/http may send a request twice.
func oneEach() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: oauthflow.NewTransport()}
}

// post is a refresh without anything that Bifrost does around it.
func (e *endpoint) post(client *http.Client, i int) error {
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {fmt.Sprintf("refresh-token-of-usual-length-%010d", i)},
		"client_id": {"client"}, "client_secret": {"client-secret"},
	}
	resp, err := client.Post(e.urls[i%len(e.urls)], "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.ReadAll(resp.Body)
	return err
}
