// Package bifrostotel tells OpenTelemetry what Bifrost does: a span for each request
// to a provider, and metrics.
//
//	telemetry, err := bifrostotel.New(bifrostotel.Config{})
//	bf, err := bifrost.New(bifrost.Config{…, Tracer: telemetry, Events: telemetry.Event})
//	err = telemetry.Observe(bf.Integrations)
//	defer telemetry.Close()
//
// It is a module of its own, so that only those who use it depend on OpenTelemetry,
// and of that on the API alone: the SDK, the exporters and the sampling are the
// program's. In a clone of the repository a replace directive leads to the Bifrost
// beside it; who requires this module gets a release of Bifrost with it, of the same
// version.
//
// # Spans
//
// One for each token or revocation request, of kind client, named after what it is
// for, such as "POST refresh_token". It is one HTTP request, since none is repeated.
// It is the root of a trace, because a refresh belongs to none of its callers. A
// bifrost.Config.Transport that makes spans makes children of it.
//
//	http.request.method          POST
//	server.address, server.port  of the endpoint
//	bifrost.request.kind         authorization_code, refresh_token, client_credentials, revocation
//	bifrost.integration          the definition's name
//	bifrost.definition           its id
//	bifrost.org                  the organization; absent for the integration-level connection
//	bifrost.background           whether nobody waits for it
//	error.type                   the failure's oauthflow.Class, or _OTHER
//	bifrost.error.code           the OAuth error code, if the provider gave one
//	bifrost.sent                 of a failure: whether any of it may have left
//	http.response.status_code    of a failure, if there was an answer
//
// With Config.Passes there is one more for each look at what is due (a few a minute),
// named "bifrost pass", with bifrost.pass.due and bifrost.pass.taken.
//
// # Metrics
//
//	bifrost.request.duration      histogram, s: the requests, by bifrost.request.kind, bifrost.integration,
//	                              bifrost.background and error.type
//	bifrost.connection.events     counter: changes of connections, by bifrost.event.kind (connected, refreshed,
//	                              refresh_failed, reauth_required, healed, …) and bifrost.integration
//	bifrost.requests              counter: requests that were sent or tried
//	bifrost.request.failures      counter: of them, those that did not bring what was asked for
//	bifrost.background.visits     counter: connections that the background has looked at
//	bifrost.background.passes     counter: how often it asked the store what is due
//	bifrost.events.dropped        counter: events that bifrost.Config.Events was too slow for
//	bifrost.revocation.successes  counter: removed grants that a provider has revoked
//	bifrost.revocation.failures   counter: those that it was given up to revoke
//	bifrost.breakers.open         up-down counter: endpoints that are left alone at the moment
//
// What to be woken by: bifrost.connection.events of kind reauth_required that rise
// for many connections at once, and bifrost.breakers.open above zero.
//
// # What is told to nobody
//
// No token, code or secret; no URL, because its path or query may hold a tenant (at
// some providers the host names it too, and server.address is on spans); no entity id,
// user, account label or text of a provider's. Organizations are on spans,
// where [Config].OmitOrgs does not forbid it, and never on metrics, which keep one
// series for each value for ever. Names of integrations are on both: there are as many
// as administrators make. If customers make their own, drop the attribute with a view
// of the SDK's.
package bifrostotel
