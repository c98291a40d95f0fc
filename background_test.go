package bifrost_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/sqlite"
)

// tokenEndpoint answers every token request.
type tokenEndpoint struct{ requests atomic.Int64 }

func (e *tokenEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	e.requests.Add(1)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"access_token":"AT2","refresh_token":"RT2","expires_in":3600}`)),
	}, nil
}

// requestTracer counts what it is told.
type requestTracer struct{ starts, ends atomic.Int64 }

func (r *requestTracer) TraceRequestStart(ctx context.Context, _ oauthflow.RequestStart) context.Context {
	r.starts.Add(1)
	return ctx
}

func (r *requestTracer) TraceRequestEnd(context.Context, oauthflow.RequestEnd) { r.ends.Add(1) }

// Two processes on one database: what was imported without an access token is
// renewed by one of them, and nobody asked.
func TestStartRenewsInTheBackground(t *testing.T) {
	endpoint, tracer, heard := &tokenEndpoint{}, &requestTracer{}, make(chan integrations.Event, 10)
	cfg := config(t)
	file := filepath.Join(t.TempDir(), "bifrost.db")
	open := func() *bifrost.Bifrost {
		db, err := sqlite.Open(file)
		require.NoError(t, err)
		cfg := cfg
		cfg.Store, cfg.Transport, cfg.Tracer = db, endpoint, tracer
		cfg.Events = func(e integrations.Event) { heard <- e }
		bf, err := bifrost.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, bf.Close())
			require.NoError(t, db.Close())
		})
		require.NoError(t, bf.Integrations.Define(integrations.Definition{Name: "Graph", OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{AuthorizationURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token"},
			ClientID: "client", ClientSecret: bifrost.Secret("secret"),
		}}))
		return bf
	}
	one, other := open(), open()
	_, err := one.Integrations.Import(t.Context(), "Graph", &oauth2.Token{RefreshToken: "RT1"},
		integrations.ImportOptions{Actor: "alice"}, integrations.Org("acme"))
	require.NoError(t, err)
	require.Equal(t, oauthflow.EventConnected, (<-heard).Kind)
	require.NoError(t, one.Start(t.Context()))
	require.NoError(t, other.Start(t.Context()))
	select {
	case e := <-heard:
		require.Equal(t, oauthflow.EventRefreshed, e.Kind)
		require.Equal(t, "Graph", e.Integration)
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was renewed")
	}
	for _, bf := range []*bifrost.Bifrost{one, other} {
		graph, err := bf.Integrations.Get(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		require.Equal(t, "AT2", graph.OAuth().AccessToken())
	}
	require.Equal(t, int64(1), endpoint.requests.Load())
	require.Equal(t, int64(1), tracer.starts.Load())
	require.Equal(t, int64(1), tracer.ends.Load())
}
