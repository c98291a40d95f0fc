// Package integrations is the room that answers one question: which token does
// this call use?
//
// A [Definition] names an external API and says how to talk OAuth to it. A
// [Registry] holds the definitions and the connections that organizations made
// for them. [Registry.Get] resolves a name for the scope of a call, an
// organization or the whole platform, and returns an [Integration]: immutable,
// with a token that is fresh.
//
//	graph, err := integrations.Get(ctx, "Microsoft_Graph")
//	...
//	res, err := graph.Client().Do(req)
//
// The scope comes from [Org] or [Global], else from the context. No scope is an
// error, never the global one. An organization without a connection of its own
// falls back to the integration-level connection of the same definition.
//
// What a name means comes from code ([Registry.Define]) or is made while the
// program runs ([Registry.Create]) and kept in a [Store]. Over a definition lie
// settings: which tenant of the external side an organization is mapped to
// ([Registry.SetMapping]), and typed configuration ([Registry.SetConfig]). All of
// it may change in any process at any time. Each process follows the changes, so
// that Get still takes no lock and reads nothing: definitions.go is the set of
// definitions, settings.go what is known of settings, effective.go what both come to
// in one organization, slot.go what is kept per way of asking.
//
// Definitions from code are trusted. The others reach public addresses only; see
// egress.go.
//
// The management side ([Registry.List], [Registry.Connect], [Registry.Refresh],
// [Registry.Import], …) is the same API that package httpadapter translates to HTTP.
//
// Start reading at [Registry.Get].
package integrations
