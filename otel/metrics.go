package bifrostotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// Event counts a change of a connection. It is made for bifrost.Config.Events; call
// it from a listener of your own, if there is one.
func (t *Telemetry) Event(e integrations.Event) {
	t.events.Add(context.Background(), 1, metric.WithAttributes(
		keyEventKind.String(string(e.Kind)), keyIntegration.String(e.Integration)))
}

// Statistics are what [Telemetry.Observe] reads: bf.Integrations, or an
// *oauthflow.Manager.
type Statistics interface {
	Stats() oauthflow.Stats
}

// Observe reports what of counts, whenever metrics are collected, until
// [Telemetry.Close]. Once for each Telemetry: two of them would count under one name.
func (t *Telemetry) Observe(of Statistics) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return errors.New("bifrostotel: Observe after Close: make a new Telemetry instead")
	case t.observed != nil:
		return errors.New("bifrostotel: Observe was called already: make a Telemetry for each Bifrost")
	}
	var wrong []error
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		wrong = append(wrong, err)
		return c
	}
	requests := counter("bifrost.requests", "{request}", "Requests to providers that were sent or tried.")
	failures := counter("bifrost.request.failures", "{request}", "Requests that did not bring what was asked for.")
	visits := counter("bifrost.background.visits", "{connection}", "Connections that the background has looked at because they were due.")
	passes := counter("bifrost.background.passes", "{pass}", "How often the background asked the store what is due.")
	dropped := counter("bifrost.events.dropped", "{event}", "Events that the listener was too slow for.")
	revoked := counter("bifrost.revocation.successes", "{grant}", "Removed grants that a provider has revoked.")
	notRevoked := counter("bifrost.revocation.failures", "{grant}", "Removed grants that it was given up to revoke.")
	breakers, err := t.meter.Int64ObservableUpDownCounter("bifrost.breakers.open",
		metric.WithUnit("{endpoint}"), metric.WithDescription("Endpoints that are left alone at the moment."))
	if err := errors.Join(append(wrong, err)...); err != nil {
		return fmt.Errorf("bifrostotel: %w", err)
	}
	t.observed, err = t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := of.Stats()
		o.ObserveInt64(requests, s.Requests)
		o.ObserveInt64(failures, s.Failed)
		o.ObserveInt64(visits, s.Visits)
		o.ObserveInt64(passes, s.Passes)
		o.ObserveInt64(dropped, s.DroppedEvents)
		o.ObserveInt64(revoked, s.Revoked)
		o.ObserveInt64(notRevoked, s.NotRevoked)
		o.ObserveInt64(breakers, int64(s.OpenBreakers))
		return nil
	}, requests, failures, visits, passes, dropped, revoked, notRevoked, breakers)
	if err != nil {
		return fmt.Errorf("bifrostotel: %w", err)
	}
	return nil
}
