package bifrostotel

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// request is one that has begun; it goes with the context.
type request struct {
	span  trace.Span
	begun time.Time
	// measured are the attributes that its measurement has, too: few values each.
	measured []attribute.KeyValue
}

type requestKey struct{}

// TraceRequestStart implements [oauthflow.Tracer].
func (t *Telemetry) TraceRequestStart(ctx context.Context, data oauthflow.RequestStart) context.Context {
	r := &request{begun: time.Now(), measured: []attribute.KeyValue{
		keyRequestKind.String(string(data.Kind)), keyIntegration.String(data.Integration), keyBackground.Bool(data.Background),
	}}
	attributes := append([]attribute.KeyValue{semconv.HTTPRequestMethodPost, keyDefinition.String(data.Key.Definition)}, r.measured...)
	attributes = append(attributes, server(data.Host)...)
	if data.Key.Org != "" && !t.omitOrgs {
		attributes = append(attributes, keyOrg.String(data.Key.Org))
	}
	ctx, r.span = t.tracer.Start(ctx, "POST "+string(data.Kind), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return context.WithValue(ctx, requestKey{}, r)
}

// TraceRequestEnd implements [oauthflow.Tracer].
func (t *Telemetry) TraceRequestEnd(ctx context.Context, data oauthflow.RequestEnd) {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return
	}
	measured := r.measured
	// That a provider cannot revoke this kind of token is an answer, and no failure.
	if data.Err != nil && !errors.Is(data.Err, oauthflow.ErrNoRevocation) {
		kind := semconv.ErrorTypeOther
		if data.Class != "" {
			kind = semconv.ErrorTypeKey.String(string(data.Class))
		}
		measured = append(measured, kind)
		// Never the error's text, nor the provider's.
		r.span.SetStatus(codes.Error, kind.Value.AsString())
		r.span.SetAttributes(kind, keySent.Bool(data.Sent))
		if data.Code != "" {
			r.span.SetAttributes(keyErrorCode.String(data.Code))
		}
		if data.Status != 0 {
			r.span.SetAttributes(semconv.HTTPResponseStatusCode(data.Status))
		}
	}
	// Before the span ends, so that it can be the measurement's exemplar.
	t.duration.Record(ctx, time.Since(r.begun).Seconds(), metric.WithAttributes(measured...))
	r.span.End()
}

// server says which server a host of a URL is.
func server(host string) []attribute.KeyValue {
	if host == "" {
		return nil
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil { // there is no port
		return []attribute.KeyValue{semconv.ServerAddress(strings.Trim(host, "[]"))}
	}
	attributes := []attribute.KeyValue{semconv.ServerAddress(name)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, semconv.ServerPort(n))
	}
	return attributes
}

// passKey finds the span of a pass, and not whatever span is in the context.
type passKey struct{}

// TracePassStart implements [oauthflow.PassTracer].
func (t *Telemetry) TracePassStart(ctx context.Context, _ oauthflow.PassStart) context.Context {
	if !t.passes {
		return ctx
	}
	ctx, span := t.tracer.Start(ctx, "bifrost pass")
	return context.WithValue(ctx, passKey{}, span)
}

// TracePassEnd implements [oauthflow.PassTracer].
func (t *Telemetry) TracePassEnd(ctx context.Context, data oauthflow.PassEnd) {
	span, ok := ctx.Value(passKey{}).(trace.Span)
	if !ok {
		return
	}
	span.SetAttributes(keyDue.Int(data.Due), keyTaken.Int(data.Taken))
	if data.Err != nil { // a store's error may name hosts and users
		span.SetStatus(codes.Error, "the store could not be read")
		span.SetAttributes(semconv.ErrorTypeOther)
	}
	span.End()
}
