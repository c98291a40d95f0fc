// Package oauthtest is an OAuth 2.0 provider for tests: a real one, with sign-in
// and consent pages, PKCE, rotating refresh tokens and reuse detection, that can
// also be told to misbehave.
//
// [New] works without any configuration and returns a [Provider], which is an
// http.Handler for httptest.NewServer. [Provider.RoundTripper] is the same
// provider without sockets, for tests in a testing/synctest bubble:
//
//	provider, err := oauthtest.New(oauthtest.Config{})
//	client := &http.Client{Transport: provider.RoundTripper()}
//	urls := provider.Endpoints()                              // or oauthtest.At(server.URL)
//
// It is dressed as Microsoft's identity platform and Graph: the URLs carry a tenant
// (or "common"), and GET /v1.0/users returns the users of the tenant that the access
// token belongs to, in pages. Applications get tokens of their own by client
// credentials, from a tenant's own endpoint, and a refresh may ask for another
// resource. Nothing in it is specific to Bifrost.
//
// What a test usually needs next:
//
//   - [Provider.Authorize] and [Provider.Deny] walk sign-in and consent as a browser would
//     and return the callback URL; [Browser] does the same over real sockets.
//   - [Provider.Script] queues faults and odd replies ([Step]): lost replies, resets,
//     silence, redirects, endless bodies, and whatever else arrives from real providers.
//     [Set], [Unset], [Form], [Under], [Rewrite] and [Edit] change a reply that is
//     processed as usual, [Raw], [Fail] and [Answer] send one that is not.
//   - [Rotation] says what becomes of used refresh tokens.
//   - [Provider.Revoke] is a changed password, [Provider.ExpireAll] the passing of time.
//   - [Provider.Journal], [Provider.Counts] and [Provider.Families] tell what happened:
//     above all, whether a refresh token was presented twice.
//
// With [Config].StateFile the provider's state survives kill -9.
//
// It accepts any password. Never let anybody rely on it.
package oauthtest
