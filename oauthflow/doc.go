// Package oauthflow is the room for OAuth 2.0 itself: how an authorization is
// asked for, how a code becomes tokens, how tokens are renewed without ever being
// lost, and what a provider's answers mean.
//
// The layers, lowest first; each can be used alone:
//
//   - [Provider] and [Client] are plain data: how to talk to a provider, and as whom.
//   - [Expand] puts values into URL templates such as
//     https://login.example.com/{entity_id}/token and refuses what would change the host or path.
//   - [Requester] sends one token request (RFC 6749 §4.1.3 and §6) and reads the reply totally;
//     its errors are [*TokenError], classified.
//   - [Manager] runs the two protocols over a tokenstore.Store: connect and callback
//     ([Manager.Start], [Manager.Callback]), and refresh with a single flight per connection, in
//     this process and across processes ([Manager.Token], [Manager.Renew]), for the grant's own
//     access token and for those of other scopes and audiences ([Access]). [Manager.Source] has
//     what is fresh without a look at the store.
//   - [Manager.KeepFresh] renews before anybody asks: what is in use ahead of its end, and the rest
//     now and then (due.go). Breakers keep all of it from endpoints that are away or refuse the
//     client (breaker.go).
//   - [Manager.Disconnect], [Manager.Remove], [Manager.Import] and [Manager.Export] end, move in
//     and move out connections.
//   - [Manager.Reseal] moves everything to the newest sealing key, beside all of that.
//   - [Config].Events, [Tracer] and [Manager.Stats] say what happens, to whatever collects that.
//
// The refresh protocol is a set of pure functions over tokenstore.Connection
// (protocol.go); start reading there for the promises, at [Manager] for the use.
// docs/refresh.md has its steps, its promise and what breaks without each part.
package oauthflow
