package bifrostotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	bifrostotel "github.com/bifrost-go/bifrost/otel"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// endpoint is a token endpoint that answers what it is told to.
type endpoint struct {
	mu     sync.Mutex
	status int
	body   string
}

func (e *endpoint) set(status int, body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.body = status, body
}

// RoundTrip implements http.RoundTripper.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return &http.Response{
		StatusCode: e.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(e.body)),
	}, nil
}

const fresh = `{"access_token":"canary-AT","refresh_token":"canary-RT","expires_in":3600}`

// world is a Bifrost whose telemetry is recorded.
type world struct {
	*endpoint
	spans     *tracetest.SpanRecorder
	reader    *sdkmetric.ManualReader
	telemetry *bifrostotel.Telemetry
	bf        *bifrost.Bifrost
}

func newWorld(t *testing.T, change func(*bifrostotel.Config)) *world {
	t.Helper()
	w := &world{endpoint: &endpoint{status: http.StatusOK, body: fresh}, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	cfg := bifrostotel.Config{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)),
	}
	change(&cfg)
	var err error
	w.telemetry, err = bifrostotel.New(cfg)
	require.NoError(t, err)
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	require.NoError(t, err)
	w.bf, err = bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", Store: bifrost.Memory(), Keys: keys, Transport: w.endpoint,
		Tracer: w.telemetry, Events: w.telemetry.Event, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, w.telemetry.Observe(w.bf.Integrations))
	t.Cleanup(func() {
		require.NoError(t, w.telemetry.Close())
		require.NoError(t, w.bf.Close())
	})
	require.NoError(t, w.bf.Integrations.Define(integrations.Definition{
		Name: "Graph", DefaultEntityID: "canary-entity",
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{
				AuthorizationURL: "https://login.example.com/{entity_id}/authorize", TokenURL: "https://login.example.com:8443/{entity_id}/token",
				RevocationURL: "https://login.example.com/revoke",
			},
			ClientID: "canary-client", ClientSecret: bifrost.Secret("canary-secret"),
		},
	}))
	_, err = w.bf.Integrations.Import(t.Context(), "Graph", &oauth2.Token{RefreshToken: "canary-RT0"},
		integrations.ImportOptions{Actor: "canary-user"}, integrations.Org("acme"))
	require.NoError(t, err)
	return w
}

// collect returns the data points of all metrics, each as its value by its
// attributes.
func (w *world) collect(t *testing.T) map[string]map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, w.reader.Collect(context.Background(), &data))
	all := map[string]map[string]float64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			points := map[string]float64{}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					points[p.Attributes.Encoded(attribute.DefaultEncoder())] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					points[p.Attributes.Encoded(attribute.DefaultEncoder())] = float64(p.Count)
				}
			default:
				t.Fatalf("%s is of an unexpected kind: %T", m.Name, m.Data)
			}
			all[m.Name] = points
		}
	}
	return all
}

func described(attributes []attribute.KeyValue) map[string]any {
	all := map[string]any{}
	for _, a := range attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

func none(*bifrostotel.Config) {}

func TestRequestsAreTraced(t *testing.T) {
	w := newWorld(t, none)
	_, err := w.bf.Integrations.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	w.set(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"canary-text"}`)
	_, err = w.bf.Integrations.Refresh(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrReauthRequired)

	spans := w.spans.Ended()
	require.Len(t, spans, 2)
	id := described(spans[0].Attributes())["bifrost.definition"]
	require.NotEmpty(t, id)
	wanted := map[string]any{
		"http.request.method": "POST", "server.address": "login.example.com", "server.port": int64(8443), "bifrost.definition": id,
		"bifrost.integration": "Graph", "bifrost.org": "acme", "bifrost.request.kind": "refresh_token", "bifrost.background": false,
	}
	require.Equal(t, wanted, described(spans[0].Attributes()))
	require.Equal(t, sdktrace.Status{}, spans[0].Status())
	require.Equal(t, []string{"POST refresh_token", "client"}, []string{spans[0].Name(), spans[0].SpanKind().String()})
	wanted["error.type"], wanted["bifrost.error.code"] = "dead", "invalid_grant"
	wanted["bifrost.sent"], wanted["http.response.status_code"] = true, int64(400)
	require.Equal(t, wanted, described(spans[1].Attributes()))
	require.Equal(t, "dead", spans[1].Status().Description)
	for _, s := range spans {
		require.False(t, s.Parent().IsValid(), "a refresh belongs to none of its callers")
		require.Empty(t, s.Events())
	}
	require.NotContains(t, fmt.Sprintf("%+v", tracetest.SpanStubsFromReadOnlySpans(spans)), "canary")
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, none)
	_, err := w.bf.Integrations.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	w.set(http.StatusServiceUnavailable, "")
	_, err = w.bf.Integrations.Refresh(t.Context(), "Graph", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	series := func(more string) string {
		return "bifrost.background=false,bifrost.integration=Graph,bifrost.request.kind=refresh_token" + more
	}
	event := func(kind string) string { return "bifrost.event.kind=" + kind + ",bifrost.integration=Graph" }
	wanted := map[string]map[string]float64{
		"bifrost.request.duration":     {series(""): 1, series(",error.type=transient"): 1},
		"bifrost.connection.events":    {event("connected"): 1, event("refreshed"): 1, event("refresh_failed"): 1},
		"bifrost.requests":             {"": 2},
		"bifrost.request.failures":     {"": 1},
		"bifrost.background.visits":    {"": 0},
		"bifrost.background.passes":    {"": 0},
		"bifrost.events.dropped":       {"": 0},
		"bifrost.breakers.open":        {"": 0},
		"bifrost.revocation.successes": {"": 0}, "bifrost.revocation.failures": {"": 0},
	}
	require.Eventually(t, func() bool { return len(w.collect(t)["bifrost.connection.events"]) == 3 }, 10*time.Second, time.Millisecond,
		"events come after what they tell of")
	require.Equal(t, wanted, w.collect(t))

	require.NoError(t, w.telemetry.Close())
	require.NoError(t, w.telemetry.Close())
	require.NotContains(t, w.collect(t), "bifrost.requests")
}

func TestObserveOnce(t *testing.T) {
	w := newWorld(t, none)
	require.ErrorContains(t, w.telemetry.Observe(w.bf.Integrations), "called already")
	require.NoError(t, w.telemetry.Close())
	require.ErrorContains(t, w.telemetry.Observe(w.bf.Integrations), "after Close")
}

func TestOrganizationsCanBeOmitted(t *testing.T) {
	w := newWorld(t, func(c *bifrostotel.Config) { c.OmitOrgs = true })
	_, err := w.bf.Integrations.Get(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.NotContains(t, described(w.spans.Ended()[0].Attributes()), "bifrost.org")
}

// What a manager can tell, given to the tracer as it would.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		start oauthflow.RequestStart
		end   oauthflow.RequestEnd
		kind  any // error.type
		host  any // server.address
	}{
		"well":                   {end: oauthflow.RequestEnd{Sent: true}},
		"cannot revoke":          {end: oauthflow.RequestEnd{Err: oauthflow.ErrNoRevocation, Sent: true}},
		"an error of no class":   {end: oauthflow.RequestEnd{Err: errors.New("canary")}, kind: "_OTHER"},
		"an error of some class": {end: oauthflow.RequestEnd{Err: errors.New("canary"), Class: oauthflow.ClassUnknown}, kind: "unknown"},
		"a host without a port":  {start: oauthflow.RequestStart{Host: "a.example"}, host: "a.example"},
		"an address":             {start: oauthflow.RequestStart{Host: "[::1]"}, host: "::1"},
		"an address with a port": {start: oauthflow.RequestStart{Host: "[::1]:80"}, host: "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			telemetry, err := bifrostotel.New(bifrostotel.Config{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))})
			require.NoError(t, err)
			telemetry.TraceRequestEnd(telemetry.TraceRequestStart(t.Context(), c.start), c.end)
			require.Len(t, spans.Ended(), 1)
			got := described(spans.Ended()[0].Attributes())
			require.Equal(t, c.kind, got["error.type"])
			require.Equal(t, c.host, got["server.address"])
			require.NotContains(t, got, "bifrost.org", "the integration-level connection")
		})
	}
}

func TestPasses(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		telemetry, err := bifrostotel.New(bifrostotel.Config{TracerProvider: provider, Passes: wanted})
		require.NoError(t, err)
		ctx, outer := provider.Tracer("test").Start(t.Context(), "outer")
		telemetry.TracePassEnd(telemetry.TracePassStart(ctx, oauthflow.PassStart{}), oauthflow.PassEnd{Due: 3, Taken: 2})
		telemetry.TracePassEnd(telemetry.TracePassStart(ctx, oauthflow.PassStart{}), oauthflow.PassEnd{Err: errors.New("canary")})
		ended := spans.Ended()
		require.True(t, outer.IsRecording(), "it is the caller's")
		if !wanted {
			require.Empty(t, ended)
			continue
		}
		require.Len(t, ended, 2)
		require.Equal(t, "bifrost pass", ended[0].Name())
		require.Equal(t, map[string]any{"bifrost.pass.due": int64(3), "bifrost.pass.taken": int64(2)}, described(ended[0].Attributes()))
		require.Equal(t, "the store could not be read", ended[1].Status().Description)
	}
}
