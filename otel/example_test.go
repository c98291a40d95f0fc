package bifrostotel_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	bifrostotel "github.com/bifrost-go/bifrost/otel"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// A connection is renewed, and a span says so. A program has exporters where this
// has a recorder.
func Example() {
	recorder := tracetest.NewSpanRecorder()
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))

	telemetry, err := bifrostotel.New(bifrostotel.Config{TracerProvider: traces, MeterProvider: metrics})
	if err != nil {
		log.Fatal(err)
	}
	defer telemetry.Close()
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		log.Fatal(err)
	}
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", Store: bifrost.Memory(), Keys: keys,
		Tracer: telemetry, Events: telemetry.Event,
		Transport: &endpoint{status: http.StatusOK, body: fresh}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bf.Close()
	if err := telemetry.Observe(bf.Integrations); err != nil {
		log.Fatal(err)
	}

	err = bf.Integrations.Define(integrations.Definition{Name: "CRM", OAuth: &oauthflow.Client{
		Provider: oauthflow.Provider{AuthorizationURL: "https://crm.example.com/authorize", TokenURL: "https://crm.example.com/token"},
		ClientID: "client", ClientSecret: bifrost.Secret("secret"),
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := bf.WithOrg(context.Background(), "acme")
	if _, err := bf.Integrations.Import(ctx, "CRM", &oauth2.Token{RefreshToken: "RT1"}, integrations.ImportOptions{Actor: "alice"}); err != nil {
		log.Fatal(err)
	}
	if _, err := integrations.Get(ctx, "CRM"); err != nil {
		log.Fatal(err)
	}
	for _, span := range recorder.Ended() {
		fmt.Println(span.Name())
		for _, a := range span.Attributes() {
			if a.Key != "bifrost.definition" {
				fmt.Printf("  %s: %s\n", a.Key, a.Value)
			}
		}
	}
	// Output:
	// POST refresh_token
	//   http.request.method: POST
	//   bifrost.request.kind: refresh_token
	//   bifrost.integration: CRM
	//   bifrost.background: false
	//   server.address: crm.example.com
	//   bifrost.org: acme
}
