package bifrostotel

import (
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// scope is the name of the instrumentation.
const scope = "github.com/bifrost-go/bifrost/otel"

// Attributes that the semantic conventions have no name for.
const (
	keyRequestKind = attribute.Key("bifrost.request.kind")
	keyIntegration = attribute.Key("bifrost.integration")
	keyDefinition  = attribute.Key("bifrost.definition")
	keyOrg         = attribute.Key("bifrost.org")
	keyBackground  = attribute.Key("bifrost.background")
	keyErrorCode   = attribute.Key("bifrost.error.code")
	keySent        = attribute.Key("bifrost.sent")
	keyEventKind   = attribute.Key("bifrost.event.kind")
	keyDue         = attribute.Key("bifrost.pass.due")
	keyTaken       = attribute.Key("bifrost.pass.taken")
)

// Config says where telemetry goes. The zero value works.
type Config struct {
	// TracerProvider defaults to otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider defaults to otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// OmitOrgs leaves organizations off spans, too: where their ids are about people.
	OmitOrgs bool
	// Passes makes a span of each look at what is due. Each is a trace of its own, a
	// few a minute, mostly of nothing.
	Passes bool
}

// Telemetry is a bifrost.Config.Tracer, and more. It is safe for concurrent use. Make
// one with [New], for one Bifrost.
type Telemetry struct {
	omitOrgs, passes bool

	tracer   trace.Tracer
	meter    metric.Meter
	duration metric.Float64Histogram
	events   metric.Int64Counter

	mu       sync.Mutex
	observed metric.Registration // nil before Observe
	closed   bool
}

var (
	_ oauthflow.Tracer     = (*Telemetry)(nil)
	_ oauthflow.PassTracer = (*Telemetry)(nil)
)

// New makes a Telemetry. An error says which instrument the MeterProvider refuses.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		omitOrgs: cfg.OmitOrgs, passes: cfg.Passes,
		tracer: cfg.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:  cfg.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)),
	}
	var failed [2]error
	t.duration, failed[0] = t.meter.Float64Histogram("bifrost.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Token and revocation requests to providers."),
		metric.WithExplicitBucketBoundaries(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15))
	t.events, failed[1] = t.meter.Int64Counter("bifrost.connection.events",
		metric.WithUnit("{event}"), metric.WithDescription("Changes of connections."))
	if err := errors.Join(failed[:]...); err != nil {
		return nil, fmt.Errorf("bifrostotel: %w", err)
	}
	return t, nil
}

// Close stops observing what [Telemetry.Observe] was given; call it before the
// Bifrost is dropped. Spans and measurements that come afterwards are still made. It
// is idempotent.
func (t *Telemetry) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.observed == nil {
		return nil
	}
	observed := t.observed
	t.observed = nil
	return observed.Unregister()
}
